/** A dm-verity hash device: superblock, levels, and the root hash that its top block gives. */
import { equalBytes, toHex } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { layoutHashTree, readVeritySuperblock } from "../../formats/verity/index.ts";
import type { Digest } from "../../hash/index.ts";
import { type Source, sliceSource } from "../../source/index.ts";
import { attempt, digestWhole, type InspectEnvironment, type Problem } from "./parts.ts";

export interface VerityReport {
  readonly kind: "verity";
  /** Bytes of superblock and tree; the partition may have more. */
  readonly size: number;
  readonly digest: Digest | null;
  readonly algorithm: string;
  /** Hexadecimal. */
  readonly salt: string;
  readonly uuid: string;
  /** Bytes. */
  readonly dataBlockSize: number;
  /** Bytes. */
  readonly hashBlockSize: number;
  readonly dataBlocks: number;
  /** Bytes of the data that is protected. */
  readonly dataSize: number;
  /** The top first: hash blocks of each level. */
  readonly levels: readonly number[];
  /** Recomputed from the top block; the blocks below are not looked at (`ashlar verify` does). Null for one data block, which the root hash itself is of. */
  readonly rootHash: string | null;
  readonly problems: readonly Problem[];
}

export async function inspectVerity(
  source: Source,
  { hashes, signal }: InspectEnvironment,
  options: { readonly digest: boolean } = { digest: true },
): Promise<VerityReport> {
  const problems: Problem[] = [];
  const superblock = await readVeritySuperblock(source, { signal });
  const { algorithm, salt, uuid, dataBlockSize, hashBlockSize, dataBlocks } = superblock;
  const layout = layoutHashTree(dataBlocks, superblock);
  const isWhole = layout.size <= source.size;
  const top = layout.levels.at(-1);
  const rootHash = await attempt(problems, async () => {
    if (!isWhole)
      throw new FormatError("truncated", `the hash tree needs ${layout.size} bytes, ${source.size} are there`);
    if (top === undefined) return null;
    const block = await source.read(top.firstBlock * hashBlockSize, hashBlockSize, { signal });
    if (equalBytes(block, new Uint8Array(hashBlockSize)))
      throw new FormatError("verity-empty", "the top block of the hash tree is all zeros");
    const hasher = hashes.create(algorithm);
    hasher.update(salt);
    hasher.update(block);
    return toHex(hasher.digest());
  });
  return {
    kind: "verity",
    size: layout.size,
    digest: options.digest && isWhole ? await digestWhole(sliceSource(source, 0, layout.size), hashes, signal) : null,
    algorithm,
    salt: toHex(salt),
    uuid,
    dataBlockSize,
    hashBlockSize,
    dataBlocks,
    dataSize: dataBlocks * dataBlockSize,
    levels: layout.levels.map(({ blocks }) => blocks).reverse(),
    rootHash: rootHash ?? null,
    problems,
  };
}
