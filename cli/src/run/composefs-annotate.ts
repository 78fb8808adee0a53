import { tmpdir } from "node:os";
import { PolicyError } from "@ashlar/core/errors";
import { isIndexType, OCI_MANIFEST } from "@ashlar/core/formats/oci";
import { digestOf } from "@ashlar/core/hash";
import { fileScratch, nodeDecompressors, nodeFiles, nodeHashes } from "@ashlar/core/node";
import { openLocation, openRegistries } from "@ashlar/core/node/registry";
import {
  annotateManifest,
  checkClaims,
  computeSealingDigests,
  readClaims,
  type SealingDigests,
} from "@ashlar/core/ops/composefs/annotations";
import { type Image, openImage, parseReference, type Reference } from "@ashlar/core/ops/image";
import type { AnnotateFlags } from "../commands/composefs.ts";
import { platformOf } from "./inputs.ts";
import { registryOptions } from "./registries.ts";
import { inSession } from "./session.ts";
import { blockHasher } from "./workers.ts";

const SCHEMA = "ashlar.composefs-annotate/v1";

export function runAnnotate(flags: AnnotateFlags, word: string): Promise<void> {
  return inSession(flags, async (session) => {
    const { reporter, signal } = session;
    const reference = parseReference(word);
    const registries = openRegistries(registryOptions(flags));
    await using hasher = blockHasher(flags.workers);
    const environment = {
      hashes: nodeHashes,
      blockHasher: hasher,
      scratch: fileScratch(flags.tmpdir ?? tmpdir()),
      decompressors: nodeDecompressors,
      files: nodeFiles,
      registries,
      reporter,
      signal,
    };
    const platform = platformOf(flags);
    const image = await openImage(reference, environment, { platform, signal });
    try {
      const manifest = manifestOf(image, word);
      if (flags.check) {
        const claims = readClaims(manifest, image.name);
        const checked: SealingDigests[] = [];
        for (const algorithm of claims.algorithms) {
          const digests = await computeSealingDigests(image, { algorithm, bootable: claims.bootable }, environment);
          checkClaims(claims, digests, image.name);
          checked.push(digests);
        }
        if (flags.json) session.printJson({ schema: SCHEMA, reference: word, digest: image.digest, checked });
        else session.print(`${word}: ${claims.values.size} annotations verified`);
        return;
      }
      await refuseOthers(reference, word);
      const digests = await computeSealingDigests(image, flags, environment);
      const bytes = annotateManifest(manifest, digests, image.name);
      const location = await openLocation(reference, registries, { write: true, overwrite: true, signal });
      const mediaType = image.manifest?.mediaType ?? OCI_MANIFEST;
      const descriptor = { mediaType, digest: digestOf(nodeHashes, bytes), size: bytes.length, annotations: {} };
      try {
        await location.repository.putManifest(descriptor, bytes, reference.tag ?? "latest", { signal });
        await location.publish();
      } finally {
        await location.close();
      }
      if (flags.json)
        session.printJson({ schema: SCHEMA, reference: word, digest: descriptor.digest, written: digests });
      else session.print(descriptor.digest);
    } finally {
      await image.close();
    }

    /** What cannot be changed in place; an index names the manifest that would change. */
    async function refuseOthers(named: Reference, shown: string): Promise<void> {
      if (named.transport !== "docker" && named.transport !== "oci")
        throw new PolicyError("composefs-options", `${shown}: a manifest is changed in docker:// and oci: only`);
      if (named.digest !== undefined || (named.tag === undefined && named.transport === "oci"))
        throw new PolicyError("composefs-options", `${shown}: the new manifest needs a tag`);
      const location = await openLocation(named, registries, { write: false, signal });
      try {
        const { mediaType } = await location.repository.resolve(named, { signal });
        if (isIndexType(mediaType))
          throw new PolicyError("composefs-options", `${shown}: is an index; annotate the image of each platform`);
      } finally {
        await location.close();
      }
    }
  });
}

function manifestOf({ manifestBytes }: Image, word: string): Uint8Array {
  if (manifestBytes === undefined) throw new PolicyError("composefs-options", `${word}: has no manifest of OCI`);
  return manifestBytes;
}
