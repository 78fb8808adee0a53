import { FormatError } from "@ashlar/core/errors";
import type { Repository, Selector } from "@ashlar/core/formats/oci";
import { nodeHashes } from "@ashlar/core/node";
import { type OpenedLocation, openLocation, openRegistries } from "@ashlar/core/node/registry";
import { copyImage } from "@ashlar/core/ops/copy";
import { parseReference, type Reference } from "@ashlar/core/ops/image";
import { parseRegistryReference } from "@ashlar/core/ops/registry";
import type { CopyFlags } from "../commands/copy.ts";
import { formatBytes } from "../output/units.ts";
import { registryOptions } from "./registries.ts";
import { inSession, type Session } from "./session.ts";
import { sourceAdmission } from "./trust.ts";

/** The source's path within the registry, where both are in one. */
function mountFrom(source: Reference, destination: Reference): string | undefined {
  if (source.transport !== "docker" || destination.transport !== "docker") return undefined;
  const from = parseRegistryReference(source.path);
  const to = parseRegistryReference(destination.path);
  return from.host === to.host && from.repository !== to.repository ? from.repository : undefined;
}

/** Of a registry «no tag» means latest on both sides; what was asked for by its digest gets no tag unless one is given. */
function tagFor(source: Reference, destination: Reference): string | undefined {
  if (destination.tag !== undefined || source.digest !== undefined) return destination.tag;
  return source.tag ?? (source.transport === "docker" || destination.transport === "docker" ? "latest" : undefined);
}

/** What is copied: where a signature is asked for, the digest that was verified. */
async function admitted(
  from: Reference,
  repository: Repository,
  flags: CopyFlags,
  session: Session,
): Promise<Selector> {
  const admit = await sourceAdmission(flags, session);
  if (admit === undefined) return from;
  const { digest } = await repository.resolve(from, session);
  await admit({ reference: from, repository, digests: [digest] });
  return { digest };
}

export function runCopy(flags: CopyFlags, sourceWord: string, destinationWord: string): Promise<void> {
  return inSession(flags, async (session) => {
    const { reporter, signal } = session;
    const from = parseReference(sourceWord);
    const to = parseReference(destinationWord);
    if (to.digest !== undefined)
      throw new FormatError("bad-reference", `${destinationWord}: a digest says what a copy is, not where it goes`);
    const registries = openRegistries(registryOptions(flags));
    const opened: OpenedLocation[] = [];
    try {
      const source = await openLocation(from, registries, { write: false, signal });
      opened.push(source);
      const destination = await openLocation(to, registries, { write: true, overwrite: flags.overwrite, signal });
      opened.push(destination);
      const selected = await admitted(from, source.repository, flags, session);
      const tag = tagFor(from, to);
      const copied = await copyImage(
        source.repository,
        selected,
        destination.repository,
        { hashes: nodeHashes, reporter, signal },
        { tag, all: flags.all, mountFrom: mountFrom(from, to) },
      );
      await destination.publish();
      const { descriptor, manifests, blobs, sentBytes } = copied;
      if (flags.json) {
        session.printJson({
          schema: "ashlar.copy/v1",
          source: sourceWord,
          destination: destinationWord,
          digest: descriptor.digest,
          mediaType: descriptor.mediaType,
          tag: tag ?? null,
          manifests,
          blobs,
          sentBytes,
          tags: copied.tags,
        });
        return;
      }
      const counts = `${blobs.sent} sent (${formatBytes(sentBytes)}), ${blobs.mounted} mounted, ${blobs.present} there before`;
      session.print(`manifests ${manifests}, blobs ${counts}`);
      session.print(`${descriptor.digest}`);
    } finally {
      for (const location of opened.reverse()) await location.close();
      registries.close();
    }
  });
}
