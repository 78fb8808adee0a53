import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isAshlarError } from "../errors/index.ts";
import { type DecompressOptions, openStream } from "./decompressor.ts";
import { decodeLz4 } from "./lz4.ts";
import { createLz4Decoder } from "./lz4-decoder.ts";

const decoder = createLz4Decoder();

/** In the decoder's memory, where nothing is copied. */
const own = { input: decoder.buffer(64 * 1024), output: decoder.buffer(128 * 1024) };

/** What a decoder makes of a block: bytes and where it ended, or the message of an error of ours. */
function outcome(
  decode: typeof decodeLz4,
  input: Uint8Array,
  size: number,
  options: DecompressOptions,
  output: Uint8Array = new Uint8Array(size),
) {
  try {
    const end = decode(openStream("lz4", input, options), output);
    return { end, output };
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    return error.message;
  }
}

/** One sequence: literals, then a match, with lengths around every boundary. */
const sequence = fc.record({
  literals: fc.oneof(fc.nat(20), fc.nat(600)),
  distance: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 2000 }), fc.constant(0)),
  match: fc.oneof(fc.integer({ min: 4, max: 40 }), fc.integer({ min: 4, max: 1500 })),
});

function blockOf(sequences: readonly { literals: number; distance: number; match: number }[]): {
  readonly block: Uint8Array;
  readonly size: number;
} {
  const out: number[] = [];
  let size = 0;
  const extra = (rest: number): void => {
    let left = rest;
    for (; left >= 255; left -= 255) out.push(255);
    out.push(left);
  };
  for (const { literals, distance, match } of sequences) {
    out.push((Math.min(literals, 15) << 4) | Math.min(match - 4, 15));
    if (literals >= 15) extra(literals - 15);
    for (let i = 0; i < literals; i++) out.push((size + i * 7) & 255);
    out.push(distance & 255, distance >> 8);
    if (match >= 19) extra(match - 19);
    size += literals + match;
  }
  out.push(0x80, 1, 2, 3, 4, 5, 6, 7, 8);
  return { block: Uint8Array.from(out), size: size + 8 };
}

test("the compiled decoder and the plain one say the same of any block", () => {
  let decoded = 0;
  fc.assert(
    fc.property(
      fc.array(sequence, { maxLength: 12 }),
      fc.integer({ min: -3, max: 3 }),
      fc.boolean(),
      fc.constantFrom("exact", "rest-after", "zeros-before"),
      fc.option(fc.tuple(fc.nat(), fc.nat(255)), { nil: undefined }),
      (sequences, off, isPartial, placement, change) => {
        const { block, size } = blockOf(sequences);
        if (change !== undefined) block[change[0] % block.length] = change[1];
        const wanted = Math.max(0, isPartial && off < 0 ? size >> -off : size + off);
        const options = { isPartial, placement } as const;
        const plain = outcome(decodeLz4, block, wanted, options);
        assert.deepEqual(outcome(decoder.decode, block, wanted, options), plain);
        own.input.set(block, 3);
        own.output.fill(0xa5);
        const [input, output] = [own.input.subarray(3, 3 + block.length), own.output.subarray(5, 5 + wanted)];
        assert.deepEqual(outcome(decoder.decode, input, wanted, options, output), plain);
        assert.deepEqual(own.input.subarray(3, 3 + block.length), block);
        for (const beside of [own.output.subarray(0, 5), own.output.subarray(5 + wanted)])
          assert.ok(beside.every((byte) => byte === 0xa5));
        if (typeof plain !== "string") decoded++;
      },
    ),
    { numRuns: 3000 },
  );
  assert.ok(decoded > 100, `${decoded} blocks were decoded`);
});

test("blocks that are larger than its memory go to the plain one", () => {
  const size = 13 * 1024 * 1024;
  const input: number[] = [0x1f, 0x61, 1, 0];
  let rest = size - 1 - 8 - 19;
  for (; rest >= 255; rest -= 255) input.push(255);
  input.push(rest, 0x80, 1, 2, 3, 4, 5, 6, 7, 8);
  const output = new Uint8Array(size);
  decoder.decode(openStream("lz4", Uint8Array.from(input)), output);
  assert.ok(output.subarray(0, size - 8).every((byte) => byte === 0x61));
});

test("buffers lie apart, and are any memory once there is no more of its own", () => {
  const { buffer } = createLz4Decoder();
  const made = Array.from({ length: 12 }, () => buffer(1024 * 1024));
  for (const [i, bytes] of made.entries()) bytes.fill(i);
  for (const [i, bytes] of made.entries()) assert.ok(bytes.every((byte) => byte === i));
  assert.ok(made[0]?.buffer === made[1]?.buffer && made[0]?.buffer !== made.at(-1)?.buffer);
});
