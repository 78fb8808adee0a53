// Packs and recipes.
import assert from "node:assert/strict";
import {
  encodeRecipe,
  openPack,
  packWriter,
  parseRecipe,
  RawLeavesHeader,
  RawPackEntry,
  RawRecipeHeader,
  RawSeekEntry,
  RawSeekFooter,
  RawSkippableHeader,
  readPackShape,
} from "../../../core/src/formats/pack/index.ts";
import { inlineBlockHasher } from "../../../core/src/hash/index.ts";
import { createFrameCompressor, decompressFrame, nodeHashes } from "../../../core/src/node/index.ts";
import { bytesSource, forwardSink, memorySink } from "../../../core/src/source/index.ts";
import type { Placement } from "../../support/mutate.ts";
import type { Parser } from "../harness.ts";
import { binary, type Seed, shape } from "./common.ts";

const PACK_PARAMETERS = { algorithm: "sha256", salt: Uint8Array.of(1, 2, 3, 4), blockSize: 512 } as const;

/** A pack of 200 blocks in two frames; its placements are the header of its digests and its seek table. */
async function packSeeds(): Promise<Seed[]> {
  const blocks = new Uint8Array(200 * PACK_PARAMETERS.blockSize).map((_, index) => index >> 4);
  const sink = memorySink();
  const compressor = await createFrameCompressor({ workers: 0 });
  const compress = (bytes: Uint8Array, size: number) => compressor.compressFrames(bytes, size, 3);
  const writer = packWriter(forwardSink(sink), PACK_PARAMETERS, compress);
  await writer.add(blocks, await inlineBlockHasher(nodeHashes).hashBlocks(blocks, PACK_PARAMETERS));
  await writer.finish();
  const bytes = sink.bytes();
  const { blocks: count } = await readPackShape(bytesSource(bytes), "pack");
  const footer = bytes.length - RawSeekFooter.size;
  const entries = [1, 2, 3].map((back) => ({ struct: RawSeekEntry, offset: footer - back * RawSeekEntry.size }));
  const table = footer - 3 * RawSeekEntry.size - RawSkippableHeader.size;
  const header = table - count * 32 - PACK_PARAMETERS.salt.length - RawLeavesHeader.size;
  const placements: Placement[] = [
    { struct: RawSkippableHeader, offset: header - RawSkippableHeader.size },
    { struct: RawLeavesHeader, offset: header },
    { struct: RawSkippableHeader, offset: table },
    ...entries,
    { struct: RawSeekFooter, offset: footer },
  ];
  return [{ bytes, placements }];
}

function recipeSeeds(): Seed[] {
  const packs = [1, 2].map((n) => ({
    digest: `sha256:${`0${n}`.repeat(32)}` as const,
    size: 9000,
    blocks: 300,
    frameScale: n,
    filter: undefined,
  }));
  const runs = [
    { start: 0, count: 200, pack: 0, first: 5 },
    { start: 200, count: 3, pack: undefined, first: 0 },
    { start: 203, count: 297, pack: 1, first: 3 },
    { start: 500, count: 2, pack: 0, first: 0 },
  ];
  const bytes = encodeRecipe({ parameters: PACK_PARAMETERS, blocks: 502, packs, runs });
  const first = RawRecipeHeader.size + PACK_PARAMETERS.salt.length;
  const placements: Placement[] = [
    { struct: RawRecipeHeader, offset: 0 },
    { struct: RawPackEntry, offset: first },
    { struct: RawPackEntry, offset: first + RawPackEntry.size },
  ];
  return [{ bytes, placements }];
}

/** Blocks of zeros and of a pack by turns. */
function recipeOfRuns(count: number): Uint8Array {
  const digest = `sha256:${"ab".repeat(32)}` as const;
  const runs = Array.from({ length: count }, (_, start) =>
    start % 2 === 0 ? { start, count: 1, pack: 0, first: start } : { start, count: 1, pack: undefined, first: 0 },
  );
  const packs = [{ digest, size: 2 ** 30, blocks: count, frameScale: 0, filter: undefined }];
  return encodeRecipe({ parameters: PACK_PARAMETERS, blocks: count, packs, runs });
}

export const PACK_PARSERS: readonly Parser[] = [
  {
    name: "pack",
    mutants: binary(packSeeds),
    async read(bytes) {
      const source = bytesSource(bytes);
      const pack = await openPack(source, await readPackShape(source, "pack"), "pack");
      const { offset, size, blocks } = pack.frame(pack.frameCount - 1);
      assert.ok(offset + size <= bytes.length);
      decompressFrame(bytes.subarray(offset, offset + size), blocks * pack.parameters.blockSize, "frame");
      await pack.readLeaves(pack.blocks - 1, 1);
    },
  },
  {
    name: "recipe",
    mutants: binary(recipeSeeds),
    *shapes() {
      yield shape("many runs", recipeOfRuns(2 ** 20));
    },
    async read(bytes) {
      const recipe = parseRecipe(bytes, "recipe");
      assert.ok(encodeRecipe(recipe).length === bytes.length);
    },
  },
];
