/** The new root before it is in its slot: blocks from where the device has them, and the rest from where the release is. */
import { IntegrityError } from "../../errors/index.ts";
import { dataBlockHash, sameDigest } from "../../formats/verity/index.ts";
import { DIGEST_SIZES } from "../../hash/index.ts";
import { assertRange, type Source } from "../../source/index.ts";
import { readTolerantly } from "./device.ts";
import { type LocalEnvironment, placesOf, type Survey, type Target } from "./local-blocks.ts";
import type { SlotRoot } from "./slot-root.ts";

/** Every block is held against its digest. Throws IntegrityError `verity-mismatch` where the release's own is wrong. */
export function localRoot(
  survey: Survey,
  target: Target,
  running: SlotRoot | undefined,
  release: Source,
  { blockHasher }: Pick<LocalEnvironment, "blockHasher">,
): Source {
  const hash = dataBlockHash(target.parameters);
  const { blockSize } = hash;
  const digestSize = DIGEST_SIZES[hash.algorithm];
  const size = (target.leaves.length / digestSize) * blockSize;

  async function isRight(bytes: Uint8Array, block: number): Promise<boolean> {
    const digest = await blockHasher.hashBlocks(bytes, hash);
    return sameDigest(digest, 0, target.leaves, block * digestSize, digestSize);
  }
  async function readBlock(block: number): Promise<Uint8Array> {
    const places = placesOf(survey, target, block);
    for (const [source, at] of [
      [target.device, places.inactive === undefined ? undefined : target.start + places.inactive * blockSize],
      [running?.data, places.running === undefined ? undefined : places.running * blockSize],
    ] as const) {
      if (source === undefined || at === undefined || at + blockSize > source.size) continue;
      const bytes = await readTolerantly(source, at, blockSize);
      if (bytes !== undefined && (await isRight(bytes, block))) return bytes;
    }
    const bytes = await release.read(block * blockSize, blockSize);
    if (await isRight(bytes, block)) return bytes;
    throw new IntegrityError("verity-mismatch", `block ${block} of the root does not match the hash tree`, {
      offset: block * blockSize,
    });
  }
  return {
    size,
    async read(offset, length) {
      assertRange(offset, length, size);
      const whole = new Uint8Array(length);
      for (let at = offset; at < offset + length; ) {
        const within = at % blockSize;
        const part = Math.min(blockSize - within, offset + length - at);
        const bytes = await readBlock(Math.floor(at / blockSize));
        whole.set(bytes.subarray(within, within + part), at - offset);
        at += part;
      }
      return whole;
    },
  };
}
