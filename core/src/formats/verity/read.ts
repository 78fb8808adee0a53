/** Reads the superblock of a dm-verity hash device. */
import { type ByteString, byteString, equalBytes, formatUuid, showBytes, type Uuid } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import type { HashAlgorithm } from "../../hash/index.ts";
import type { ReadOptions, Source } from "../../source/index.ts";
import {
  HASH_TYPE_CHROME,
  HASH_TYPE_NORMAL,
  MAX_SALT_SIZE,
  RawVeritySuperblock,
  SUPERBLOCK_MAGIC,
  SUPERBLOCK_VERSION,
} from "./format.ts";
import { isBlockSize, type VerityParameters } from "./geometry.ts";

/** It says how the tree was made and is not itself under the root hash: every lie in it shows as a mismatch or as a shorter device. */
export interface VeritySuperblock extends VerityParameters {
  readonly uuid: Uuid;
  /** Blocks of `dataBlockSize`, at least one. */
  readonly dataBlocks: number;
}

function parseAlgorithm(field: Uint8Array): HashAlgorithm {
  const end = field.indexOf(0);
  const name: string = byteString(end < 0 ? field : field.subarray(0, end));
  if (name === "sha256" || name === "sha512") return name;
  throw new UnsupportedError(
    "verity-algorithm",
    `verity hash algorithm ${showBytes(name as ByteString)} is not implemented`,
  );
}

/**
 * Interprets the 512 bytes at the start of a hash device. Throws FormatError `bad-magic`, `bad-block-size`,
 * `verity-hash-type`, `verity-salt`, `verity-data-blocks`, `truncated`, `too-large`; UnsupportedError `verity-version`,
 * `verity-hash-type` (type 0), `verity-algorithm`.
 */
export function parseVeritySuperblock(bytes: Uint8Array): VeritySuperblock {
  const raw = RawVeritySuperblock.view(bytes);
  const { fields } = RawVeritySuperblock;
  if (!equalBytes(raw.magic, SUPERBLOCK_MAGIC))
    throw new FormatError("bad-magic", "not a verity hash device: the superblock magic is missing", { offset: 0 });
  if (raw.version !== SUPERBLOCK_VERSION)
    throw new UnsupportedError("verity-version", `verity superblock version ${raw.version} is not implemented`, {
      offset: fields.version.offset,
      expected: SUPERBLOCK_VERSION,
      actual: raw.version,
    });
  if (raw.hashType === HASH_TYPE_CHROME)
    throw new UnsupportedError(
      "verity-hash-type",
      "verity hash type 0 (Chrome OS, salt after the block) is not implemented",
    );
  if (raw.hashType !== HASH_TYPE_NORMAL)
    throw new FormatError("verity-hash-type", `verity hash type ${raw.hashType} does not exist`, {
      offset: fields.hashType.offset,
    });
  const algorithm = parseAlgorithm(raw.algorithm);
  for (const key of ["dataBlockSize", "hashBlockSize"] as const)
    if (!isBlockSize(raw[key]))
      throw new FormatError("bad-block-size", `verity ${key} ${raw[key]} is not a power of two in 512 B to 512 KiB`, {
        offset: fields[key].offset,
      });
  if (raw.saltSize > MAX_SALT_SIZE)
    throw new FormatError("verity-salt", `verity salt of ${raw.saltSize} bytes, at most ${MAX_SALT_SIZE} are allowed`, {
      offset: fields.saltSize.offset,
    });
  const dataBlocks = raw.dataBlocks;
  if (dataBlocks < 1)
    throw new FormatError("verity-data-blocks", "verity superblock says that there is no data", {
      offset: fields.dataBlocks.offset,
    });
  if (!Number.isSafeInteger(dataBlocks * raw.dataBlockSize))
    throw new FormatError(
      "too-large",
      `verity data of ${dataBlocks} blocks of ${raw.dataBlockSize} bytes is past 2^53-1 bytes`,
      {
        offset: fields.dataBlocks.offset,
      },
    );
  return {
    uuid: formatUuid(raw.uuid),
    algorithm,
    dataBlockSize: raw.dataBlockSize,
    hashBlockSize: raw.hashBlockSize,
    dataBlocks,
    salt: raw.salt.slice(0, raw.saltSize),
  };
}

/** Reads and interprets the superblock. Throws as {@link parseVeritySuperblock}, and what `hashDevice` throws. */
export async function readVeritySuperblock(hashDevice: Source, options?: ReadOptions): Promise<VeritySuperblock> {
  const size = Math.min(RawVeritySuperblock.size, hashDevice.size);
  return parseVeritySuperblock(await hashDevice.read(0, size, options));
}
