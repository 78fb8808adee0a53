/** The LZ4 encoder said again in plain TypeScript, and the proof that core/assembly/lz4.ts does the same. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ClusterEncoding, createPieceEncoder, type Piece } from "./index.ts";

const MIN_MATCH = 4;
const LAST_LITERALS = 5;
const MATCH_END_DISTANCE = 12;
const MAX_DISTANCE = 65535;

const extra = (value: number): number => (value < 15 ? 0 : Math.floor((value - 15) / 255) + 1);

interface Cluster {
  readonly bytes: Uint8Array;
  readonly consumed: number;
}

interface Reference {
  readonly bytes: Uint8Array;
  readonly extents: readonly number[];
}

/** One piece as core/assembly/lz4.ts encodes it, without its ways to be fast. */
export function encodeReference(
  content: Uint8Array,
  { algorithm, level, blockSize, clusterSize }: ClusterEncoding,
  { maxContent, tableBits, headBits }: Readonly<Record<"maxContent" | "tableBits" | "headBits", number>>,
): Reference {
  const view = new DataView(content.buffer, content.byteOffset, content.length);
  const table = new Map<number, number>(); // place of the last content with this hash
  const hash = (at: number): number => {
    const five = BigInt(view.getUint32(at, true)) + (BigInt(content[at + 4]!) << 32n);
    return Number(BigInt.asUintN(40, five * 889523592379n) >> BigInt(40 - tableBits));
  };
  const word = (at: number): number => view.getUint32(at, true);

  function sequence(from: number, literals: number, length: number, distance: number): number[] {
    const code = length === 0 ? 0 : length - MIN_MATCH;
    const out = [(Math.min(literals, 15) << 4) | Math.min(code, 15), ...more(literals)];
    for (let i = 0; i < literals; i++) out.push(content[from + i]!);
    if (length > 0) out.push(distance & 255, distance >> 8, ...more(code));
    return out;
  }
  function more(value: number): number[] {
    if (value < 15) return [];
    return [...new Array<number>(extra(value) - 1).fill(255), (value - 15) % 255];
  }
  function fit(room: number, literals: number, length: number): number {
    const need = literals + extra(literals) + 3;
    if (need + LAST_LITERALS >= room) return 0;
    const cut = Math.min(length, (room - need - 1 - LAST_LITERALS) * 255 + MIN_MATCH + 14);
    const tail = Math.max(LAST_LITERALS, MATCH_END_DISTANCE - cut);
    return need + extra(cut - MIN_MATCH) + tail >= room ? 0 : cut;
  }
  function cluster(start: number, end: number, capacity: number): Cluster {
    const out: number[] = [];
    let anchor = start;
    const lastStart = end - MATCH_END_DISTANCE;
    const limit = end - LAST_LITERALS;
    const finish = (): Cluster => {
      const room = capacity - out.length;
      let literals = Math.min(end - anchor, room - 1);
      while (literals + extra(literals) >= room) literals--;
      out.push(...sequence(anchor, literals, 0, 0));
      return { bytes: Uint8Array.from(out), consumed: anchor + literals - start };
    };
    if (end - start <= MATCH_END_DISTANCE) return finish();
    table.set(hash(start), start);
    let ip = start + 1;
    while (ip <= lastStart) {
      let at = ip;
      let match = 0;
      for (let searches = 64; ; at += searches++ >> 6) {
        if (at > Math.min(lastStart, anchor + capacity - out.length)) return finish();
        const key = hash(at);
        match = table.get(key) ?? -1;
        table.set(key, at);
        if (match >= start && match < at && at - match <= MAX_DISTANCE && word(match) === word(at)) break;
      }
      let length = MIN_MATCH;
      while (at + length < limit && content[at + length] === content[match + length]) length++;
      while (at > anchor && match > start && content[at - 1] === content[match - 1]) {
        at--;
        match--;
        length++;
      }
      const fitted = fit(capacity - out.length, at - anchor, length);
      if (fitted === 0) break;
      out.push(...sequence(anchor, at - anchor, fitted, at - match));
      ip = at + fitted;
      anchor = ip;
      if (fitted < length) break;
      table.set(hash(ip - 2), ip - 2);
    }
    return finish();
  }

  /** Places of each word so far, ascending; those that the module leaves out are missing here too. */
  const places = new Map<number, number[]>();
  let chained = 0;
  const chainOf = (four: number): number => Math.imul(four, 0x9e3779b1) >>> (32 - headBits);
  function search(at: number, lowest: number, start: number, end: number, least: number, depth: number) {
    // As the module does it, places are put in ahead of their turn; here that only shortens how far back a match may lie.
    const ahead = at < chained ? chained : Math.min(at + 256, content.length - MATCH_END_DISTANCE + 1);
    for (; chained < ahead; chained++) {
      const key = chainOf(word(chained));
      const own = places.get(key);
      if (own === undefined) places.set(key, [chained]);
      else own.push(chained);
    }
    let best: { start: number; match: number; length: number } | undefined;
    const own = places.get(chainOf(word(at))) ?? [];
    const reach = Math.max(start, chained - MAX_DISTANCE);
    for (let i = own.lastIndexOf(at) - 1; i >= 0 && depth > 0 && own[i]! >= reach; i--, depth--) {
      const candidate = own[i]!;
      if (own[i + 1]! - candidate >= MAX_DISTANCE) break;
      if (word(candidate) !== word(at)) continue;
      let forward = MIN_MATCH;
      while (at + forward < end && content[at + forward] === content[candidate + forward]) forward++;
      let back = 0;
      while (at - back > lowest && candidate - back > start && content[at - back - 1] === content[candidate - back - 1])
        back++;
      if (forward + back > (best?.length ?? least))
        best = { start: at - back, match: candidate - back, length: forward + back };
      if (best !== undefined && best.length >= 128) break;
    }
    return best;
  }
  function highCluster(start: number, end: number, depth: number): Cluster {
    const out: number[] = [];
    let anchor = start;
    const put = (at: number, match: number, length: number): void => {
      out.push(...sequence(anchor, at - anchor, length, at - match));
      anchor = at + length;
    };
    for (let ip = start + 1; ip <= end - MATCH_END_DISTANCE && ip <= anchor + clusterSize - out.length; ) {
      let match = search(ip, ip, start, end - LAST_LITERALS, MIN_MATCH - 1, depth);
      if (match === undefined) {
        ip++;
        continue;
      }
      while (match.length < 256 && match.start + match.length - 2 <= end - MATCH_END_DISTANCE) {
        const { start: from, length }: NonNullable<typeof match> = match;
        const next = search(from + length - 2, from, start, end - LAST_LITERALS, length, Math.floor((depth * 3) / 8));
        if (next === undefined) break;
        const before = next.start - from;
        if (before >= MIN_MATCH) {
          if (fit(clusterSize - out.length, from - anchor, before) < before) break;
          put(from, match.match, before);
        }
        match = next;
      }
      const fitted = fit(clusterSize - out.length, match.start - anchor, match.length);
      if (fitted === 0) break;
      put(match.start, match.match, fitted);
      if (fitted < match.length) break;
      ip = anchor;
    }
    const room = clusterSize - out.length;
    let literals = Math.min(end - anchor, room - 1);
    while (literals + extra(literals) >= room) literals--;
    out.push(...sequence(anchor, literals, 0, 0));
    return { bytes: Uint8Array.from(out), consumed: anchor + literals - start };
  }

  const stored: Uint8Array[] = [];
  const extents: number[] = [];
  const saves = ({ bytes, consumed }: Cluster): boolean => {
    const size = Math.ceil(bytes.length / blockSize) * blockSize;
    return consumed > size + Math.floor(size / 64);
  };
  function raw(at: number, size: number): void {
    for (let done = 0; done < size; done += blockSize) {
      const bytes = new Uint8Array(blockSize);
      bytes.set(content.subarray(at + done, at + Math.min(size, done + blockSize)));
      stored.push(bytes);
      extents.push(Math.min(size - done, blockSize), 2);
    }
  }
  let isDense = false;
  for (let at = 0; at < content.length; ) {
    const left = content.length - at;
    const room = blockSize - (at % blockSize);
    if (left <= room) {
      raw(at, left);
      break;
    }
    const last = Math.min(content.length, at + maxContent);
    const trial = algorithm === "lz4" ? clusterSize : Math.min(clusterSize, 4096);
    const fast = algorithm === "lz4" || !isDense ? cluster(at, last, trial) : undefined;
    const isHigh = algorithm === "lz4hc" && (fast === undefined || left <= blockSize || saves(fast));
    if (isHigh) chained = Math.max(chained, at);
    const made = isHigh || fast === undefined ? highCluster(at, last, Math.max(4, 2 ** (level - 3))) : fast;
    const { bytes, consumed } = made;
    const blocks = Math.ceil(bytes.length / blockSize);
    const size = blocks * blockSize;
    if (!(left <= blockSize && consumed === left) && !saves(made)) {
      const rawSize =
        left <= blockSize ? room : Math.max(Math.floor(Math.min(consumed, left - 1) / blockSize), 1) * blockSize;
      raw(at, rawSize);
      at += rawSize;
      isDense = false;
      continue;
    }
    const padded = new Uint8Array(size);
    padded.set(bytes, size - bytes.length);
    stored.push(padded);
    extents.push(consumed, blocks * 2 + 1);
    at += consumed;
    isDense = true;
  }
  return { bytes: Uint8Array.from(Buffer.concat(stored)), extents };
}

/** An LZ4 block, by the letter of the specification: also where matches and the end may be. */
export function decodeLz4(block: Uint8Array): Uint8Array {
  const out: number[] = [];
  let at = 0;
  let lastMatch = Number.NEGATIVE_INFINITY;
  const length = (nibble: number): number => {
    let value = nibble;
    if (nibble === 15)
      for (let byte = 255; byte === 255; value += byte) {
        assert.ok(at < block.length);
        byte = block[at++]!;
      }
    return value;
  };
  for (;;) {
    assert.ok(at < block.length);
    const token = block[at++]!;
    const literals = length(token >> 4);
    assert.ok(at + literals <= block.length);
    for (let i = 0; i < literals; i++) out.push(block[at++]!);
    if (at === block.length) {
      if (lastMatch >= 0) {
        assert.ok(literals >= LAST_LITERALS, "the last five bytes are literals");
        assert.ok(lastMatch + MATCH_END_DISTANCE <= out.length, "the last match is far enough from the end");
      }
      return Uint8Array.from(out);
    }
    const distance = block[at]! | (block[at + 1]! << 8);
    at += 2;
    assert.ok(distance > 0 && distance <= out.length);
    lastMatch = out.length;
    for (let i = length(token & 15) + MIN_MATCH; i > 0; i--) out.push(out[out.length - distance]!);
  }
}

/** The content of all pieces out of their blocks; asserts that clusters are as EROFS wants them. */
function decodePieces(bytes: Uint8Array, extents: ArrayLike<number>, pieces: readonly Piece[], blockSize: number) {
  const contents: Uint8Array[] = [];
  let at = 0;
  let i = 0;
  for (const { size } of pieces) {
    const parts: Uint8Array[] = [];
    for (let content = 0; content < size; i += 2) {
      const length = extents[i]!;
      const stored = extents[i + 1]!;
      const blocks = bytes.subarray(at, at + (stored >> 1) * blockSize);
      at += blocks.length;
      if ((stored & 1) === 0) {
        assert.ok(length <= blockSize && blocks.length === blockSize);
        assert.ok(blocks.subarray(length).every((byte) => byte === 0));
        const isLast = content + length === size;
        if (isLast) assert.ok((content % blockSize) + length <= blockSize, "a plain end lies in one part");
        else assert.ok(length === blockSize || (content + length) % blockSize === 0);
        parts.push(blocks.subarray(0, length));
      } else {
        const start = blocks.findIndex((byte) => byte !== 0);
        assert.ok(start < blockSize, "zeros are in the first block alone");
        const decoded = decodeLz4(blocks.subarray(start));
        assert.equal(decoded.length, length);
        assert.ok(blocks.length < length || content + length === size);
        parts.push(decoded);
      }
      content += length;
    }
    contents.push(Uint8Array.from(Buffer.concat(parts)));
  }
  assert.equal(at, bytes.length);
  assert.equal(i, extents.length);
  return contents;
}

/** Content of many kinds: noise, repetition near and far, long runs, text over few letters. */
const part = fc.oneof(
  fc.uint8Array({ maxLength: 6000 }),
  fc.tuple(fc.uint8Array({ minLength: 1, maxLength: 40 }), fc.integer({ min: 1, max: 800 })).map(([unit, times]) => {
    const bytes = new Uint8Array(unit.length * times);
    for (let i = 0; i < times; i++) bytes.set(unit, i * unit.length);
    return bytes;
  }),
  fc.tuple(fc.integer({ min: 1, max: 90_000 }), fc.nat(255)).map(([size, value]) => new Uint8Array(size).fill(value)),
  fc
    .tuple(fc.integer({ min: 1, max: 30_000 }), fc.integer({ min: 2, max: 200 }), fc.nat())
    .map(([size, letters, seed]) => {
      const bytes = new Uint8Array(size);
      let state = seed | 1;
      for (let i = 0; i < size; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        bytes[i] = (state >>> 16) % letters;
      }
      return bytes;
    }),
);
const content = fc
  .array(part, { minLength: 1, maxLength: 6 })
  .map((parts) => Uint8Array.from(Buffer.concat(parts)))
  .filter(({ length }) => length > 0);

const encoding = fc
  .tuple(
    fc.constantFrom(512, 4096, 4096),
    fc.constantFrom(1, 1, 2, 3, 16),
    fc.constantFrom("lz4" as const, "lz4hc" as const),
    fc.constantFrom(1, 2, 6, 9),
  )
  .map(
    ([blockSize, blocks, algorithm, level]): ClusterEncoding => ({
      algorithm,
      level: algorithm === "lz4" ? 1 : level,
      blockSize,
      packing: "blocks",
      clusterSize: blockSize * blocks,
    }),
  );

type Encoder = ReturnType<typeof createPieceEncoder>;

/** Module and reference give the same bytes for these pieces, and those decode to them. */
async function assertAsReference(
  encoder: Encoder,
  contents: readonly Uint8Array[],
  how: ClusterEncoding,
): Promise<void> {
  const pieces: Piece[] = [];
  let at = 0;
  for (const bytes of contents) {
    encoder.input.set(bytes, at);
    pieces.push({ at, size: bytes.length });
    at += Math.ceil(bytes.length / how.blockSize) * how.blockSize;
  }
  const { bytes, extents } = await encoder.encode(pieces, how);
  const isSmall = how.clusterSize <= 4 * 4096;
  const settings = { maxContent: 1024 * 1024, tableBits: isSmall ? 12 : 13, headBits: isSmall ? 16 : 18 };
  const expected = contents.map((one) => encodeReference(one, how, settings));
  assert.deepEqual(
    [...extents],
    expected.flatMap(({ extents: own }) => own),
  );
  assert.ok(Buffer.concat(expected.map(({ bytes: own }) => own)).equals(bytes));
  const decoded = decodePieces(bytes, extents, pieces, how.blockSize);
  for (const [i, one] of contents.entries()) assert.ok(Buffer.from(one).equals(decoded[i]!));
}

test("the module does what the reference does, and decodes to the content", async () => {
  const encoder = createPieceEncoder();
  await fc.assert(
    fc.asyncProperty(fc.array(content, { minLength: 1, maxLength: 4 }), encoding, (contents, how) =>
      assertAsReference(encoder, contents, how),
    ),
    { numRuns: 150 },
  );
});

test("as the reference where matches are as far away as they may be, or further", async () => {
  const encoder = createPieceEncoder();
  const block = Uint8Array.from({ length: 400 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 24);
  for (const algorithm of ["lz4", "lz4hc"] as const)
    for (let gap = 65535 - 700; gap < 65535 + 20; gap += 37) {
      const bytes = new Uint8Array(gap + 3 * block.length);
      for (let i = 0; i < bytes.length; i++) bytes[i] = (Math.imul(i >> 3, 0x85ebca6b) >>> 24) & 0x8f;
      for (const at of [0, gap, gap + 2 * block.length]) bytes.set(block, at);
      const level = algorithm === "lz4" ? 1 : 9;
      const how = { algorithm, level, blockSize: 4096, packing: "blocks", clusterSize: 65536 } as const;
      await assertAsReference(encoder, [bytes], how);
    }
});

test("every size near a block and near the least that LZ4 takes", async () => {
  const encoder = createPieceEncoder();
  const sizes = [...Array(40).keys()].map((i) => i + 1);
  for (const base of [4096, 8192, 65536]) for (let d = -20; d < 20; d++) sizes.push(base + d);
  for (const period of [1, 2, 7, 5000])
    for (const size of sizes)
      for (const clusterSize of [4096, 65536]) {
        for (let i = 0; i < size; i++) encoder.input[i] = Math.imul(i % period, 0x9e3779b1) >>> 24;
        const wanted = encoder.input.slice(0, size);
        const pieces = [{ at: 0, size }];
        for (const algorithm of ["lz4", "lz4hc"] as const) {
          const { bytes, extents } = await encoder.encode(pieces, {
            algorithm,
            level: 1,
            blockSize: 4096,
            packing: "blocks",
            clusterSize,
          });
          assert.ok(Buffer.from(wanted).equals(decodePieces(bytes, extents, pieces, 4096)[0]!), `${size}, ${period}`);
        }
      }
});

test("calls that the module could not survive are refused", async () => {
  const encoder = createPieceEncoder();
  const good: ClusterEncoding = { algorithm: "lz4", level: 1, blockSize: 4096, packing: "blocks", clusterSize: 4096 };
  const bad: [readonly Piece[], ClusterEncoding][] = [
    [[{ at: 0, size: 0 }], good],
    [[{ at: 1, size: 10 }], good],
    [[{ at: 0, size: 4 * 1024 * 1024 + 1 }], good],
    [
      [
        { at: 0, size: 4097 },
        { at: 4096, size: 1 },
      ],
      good,
    ],
    [[{ at: 0, size: 10 }], { ...good, clusterSize: 5000 }],
    [[{ at: 0, size: 10 }], { ...good, clusterSize: 2 * 1024 * 1024 }],
    [[{ at: 0, size: 10 }], { ...good, blockSize: 1000 }],
    [[{ at: 0, size: 10 }], { ...good, algorithm: "lz4hc", level: 13 }],
  ];
  for (const [pieces, how] of bad) await assert.rejects(encoder.encode(pieces, how), RangeError);
});
