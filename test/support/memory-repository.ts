/** A repository in memory, for tests of what is stored in repositories. Counts what is sent and what is read. */
import { IntegrityError, SourceError } from "../../core/src/errors/index.ts";
import {
  type ClosableSource,
  type Descriptor,
  parseArtifactManifest,
  type Repository,
  sourceBlob,
} from "../../core/src/formats/oci/index.ts";
import { type Digest, digestAlgorithm, digestOf } from "../../core/src/hash/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";

export interface MemoryRepository extends Repository {
  readonly blobs: Map<Digest, Uint8Array>;
  readonly manifests: Map<Digest, { readonly descriptor: Descriptor; readonly bytes: Uint8Array }>;
  readonly tagged: Map<string, Digest>;
  /** Bytes since the last reset. */
  readonly traffic: { sent: number; read: number };
}

export function memoryRepository(name = "memory"): MemoryRepository {
  const blobs: MemoryRepository["blobs"] = new Map();
  const manifests: MemoryRepository["manifests"] = new Map();
  const tagged: MemoryRepository["tagged"] = new Map();
  const traffic = { sent: 0, read: 0 };

  function bytesOf(digest: Digest): Uint8Array {
    const bytes = manifests.get(digest)?.bytes ?? blobs.get(digest);
    if (bytes === undefined) throw new SourceError("no-blob", `${name}: blob ${digest} is missing`);
    return bytes;
  }

  function openBytes(digest: Digest): ClosableSource {
    const source = bytesSource(bytesOf(digest));
    return {
      size: source.size,
      async read(offset, length) {
        const bytes = await source.read(offset, length);
        traffic.read += length;
        return bytes;
      },
      close: async () => {},
    };
  }

  function assertStored(descriptor: Descriptor, bytes: Uint8Array): void {
    const actual = digestOf(nodeHashes, bytes, digestAlgorithm(descriptor.digest));
    if (actual !== descriptor.digest || bytes.length !== descriptor.size)
      throw new IntegrityError("digest-mismatch", `${name}: content is not ${descriptor.digest}`);
  }

  return {
    name,
    blobs,
    manifests,
    tagged,
    traffic,
    async resolve({ tag, digest }) {
      const found = manifests.get(digest ?? tagged.get(tag ?? "latest") ?? ("" as Digest));
      if (found === undefined) throw new SourceError("no-such-image", `${name}: no ${digest ?? tag ?? "latest"}`);
      return found.descriptor;
    },
    open: async ({ digest }) => sourceBlob(openBytes(digest)),
    openBlob: async ({ digest }) => openBytes(digest),
    has: async ({ digest }) => blobs.has(digest) || manifests.has(digest),
    async putBlob(descriptor, content, options) {
      if (blobs.has(descriptor.digest)) return "present";
      const bytes = Uint8Array.from(await content.read(0, content.size));
      assertStored(descriptor, bytes);
      blobs.set(descriptor.digest, bytes);
      traffic.sent += bytes.length;
      options?.onProgress?.(bytes.length);
      return "sent";
    },
    async putManifest(descriptor, bytes, tag) {
      assertStored(descriptor, bytes);
      manifests.set(descriptor.digest, { descriptor, bytes: Uint8Array.from(bytes) });
      traffic.sent += bytes.length;
      if (tag !== undefined) tagged.set(tag, descriptor.digest);
    },
    async referrers(digest, options) {
      return [...manifests.values()].flatMap(({ descriptor, bytes }) => {
        if (!descriptor.mediaType.includes("manifest.v1")) return [];
        const { subject, artifactType, annotations } = parseArtifactManifest(bytes, descriptor.digest);
        const wanted = options?.artifactType ?? artifactType;
        return subject?.digest === digest && artifactType === wanted
          ? [{ ...descriptor, artifactType, annotations }]
          : [];
      });
    },
    tags: async () => [...tagged.keys()],
    close: async () => {},
  };
}
