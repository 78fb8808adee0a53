/** Which release a name in a repository means, and whether a machine may take it. */
import { isAshlarError, PolicyError } from "../../errors/index.ts";
import { releasesIn, resolveRelease } from "../publish/index.ts";
import { compareVersions } from "../release/index.ts";
import { admit, candidateOf, describeRelease, type Found, type Look } from "./look.ts";
import { isSameRelease } from "./record.ts";

/** Errors: those of signatures and releases; PolicyError `wrong-architecture`, `wrong-product`. */
export async function findByName(look: Look): Promise<Found> {
  const { facts, record, open, options } = look;
  const { force = false, anyVersion = false } = options;
  const { descriptor, digests } = await resolveOnce(look);
  const signatures = await admit(look, digests, true);
  const stored = await open(descriptor);
  const none = { channel: undefined, expires: undefined };
  const selector = facts.imageVersion === undefined ? undefined : { tag: facts.imageVersion }; // as `ashlar push` names it
  const known = describeRelease(look, stored, descriptor, signatures, {});
  const { imageId, imageVersion, architecture, rootHash } = known;
  if (architecture !== facts.architecture)
    throw new PolicyError(
      "wrong-architecture",
      `${stored.name}: is for ${architecture}, this machine is ${facts.architecture}`,
      {
        expected: facts.architecture,
        actual: architecture,
      },
    );
  if (!anyVersion && imageId !== facts.imageId)
    throw new PolicyError("wrong-product", `${stored.name}: is ${imageId}, this machine runs ${facts.imageId}`, {
      expected: facts.imageId,
      actual: imageId,
    });
  const refused = force ? undefined : record.refused.find((other) => isSameRelease(other, known));
  if (refused !== undefined && !anyVersion)
    return {
      ...none,
      finding: {
        result: "refused",
        version: imageVersion,
        message: `release ${imageVersion} is not tried again: ${refused.message}`,
      },
    };
  const isSameRoot = rootHash === facts.root?.rootHash;
  if (
    !anyVersion &&
    !isSameRoot &&
    facts.imageVersion !== undefined &&
    compareVersions(imageVersion, facts.imageVersion) < 0
  )
    return {
      ...none,
      finding: {
        result: "refused",
        version: imageVersion,
        message: `release ${imageVersion} is older than what runs, ${facts.imageVersion}; switch goes back on purpose`,
      },
    };
  return { ...none, finding: { result: "newer", candidate: candidateOf(look, stored, known, selector, false) } };
}

/**
 * What the name means now; it may mean something else a moment later. The signature of an index counts for the release that was
 * chosen from it; that of a container image says nothing of the release that was made from it.
 */
async function resolveOnce({ reference, repository, facts, environment: { hashes, signal } }: Look) {
  const platform = { os: "linux", architecture: facts.architecture };
  const start = await repository.resolve(reference, { signal });
  const descriptor = await resolveRelease(repository, { digest: start.digest }, hashes, { platform, signal });
  const isCovered = await releasesIn(repository, start, hashes, { signal }).then(
    () => true,
    (error: unknown) => {
      if (!isAshlarError(error) || error.code !== "not-a-release") throw error;
      return false;
    },
  );
  return { descriptor, digests: [...new Set([...(isCovered ? [start.digest] : []), descriptor.digest])] };
}
