/** Parts of a pack are fetched without the rest, so that the digest of the blob says nothing of them; the root hash does. */
import { unfilterBranches } from "../../codecs/index.ts";
import { FormatError, IntegrityError } from "../../errors/index.ts";
import type { PackShape } from "../../formats/pack/index.ts";
import type { DecompressFrame } from "../environment.ts";

/**
 * What of a pack cannot even be read is as little the promised bytes as what reads and does not match: IntegrityError
 * `damaged-pack` in place of a FormatError.
 */
export function asDamage(error: unknown): unknown {
  return error instanceof FormatError
    ? new IntegrityError("damaged-pack", error.message, { ...error.details, cause: error })
    : error;
}

/** The blocks of a frame, as many as it has. Throws IntegrityError `damaged-pack`. */
export function unpackFrame(
  decompressFrame: DecompressFrame,
  { parameters, filter }: PackShape,
  stored: Uint8Array,
  count: number,
  what: string,
): Uint8Array {
  try {
    const blocks = decompressFrame(stored, count * parameters.blockSize, what);
    if (filter !== undefined) unfilterBranches(blocks, filter);
    return blocks;
  } catch (error) {
    throw asDamage(error);
  }
}
