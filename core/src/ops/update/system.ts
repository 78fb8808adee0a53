/** What a release must have to be put onto a disk. */
import { fromHex } from "../../bytes/index.ts";
import { IntegrityError, UnsupportedError } from "../../errors/index.ts";
import { type Architecture, architectureOf } from "../build/architecture.ts";
import type { Identity } from "../release/identity.ts";
import { artifactOf, type Release } from "../release/release.ts";
import type { ReleaseContent } from "./content.ts";

/** A release of a system with everything that a slot needs. */
export interface System extends Identity {
  readonly architecture: Architecture;
  readonly rootHash: Uint8Array;
  readonly root: Release["artifacts"][number];
  readonly uki: Release["artifacts"][number];
}

/** Bytes of the sealed pair's root hash: DPS takes the partition UUIDs from 32. */
const ROOT_HASH_SIZE = 32;

/** Throws UnsupportedError `not-a-system`, `architecture`; IntegrityError `size-mismatch`. */
export function assertSystem({ name, release }: ReleaseContent): System {
  const [root, verity, uki] = (["root", "root-verity", "uki"] as const).map((role) => artifactOf(release, role));
  const { imageId, imageVersion, architecture } = release;
  const rootHash = fromHex(release.rootHash);
  if (root === undefined || verity === undefined || uki === undefined)
    throw new UnsupportedError("not-a-system", `${name}: has no root and no UKI: it is no system that boots`);
  if (imageId === undefined || imageVersion === undefined || architecture === undefined)
    throw new UnsupportedError("not-a-system", `${name}: says not what system it is, or for which machines`);
  if (rootHash.length !== ROOT_HASH_SIZE)
    throw new UnsupportedError("not-a-system", `${name}: its root hash is not sha256, so it names no partitions`);
  const { dataBlocks, dataBlockSize } = release.verity;
  if (root.size !== dataBlocks * dataBlockSize)
    throw new IntegrityError("size-mismatch", `${name}: the root has ${root.size} bytes, its hash tree is for others`, {
      expected: dataBlocks * dataBlockSize,
      actual: root.size,
    });
  return { imageId, imageVersion, architecture: architectureOf(architecture), rootHash, root, uki };
}
