/**
 * LZ4 into clusters of a fixed size, for EROFS: AssemblyScript, compiled by scripts/lib/wasm.ts into
 * src/codecs/lz4-wasm.ts. Spec: lz4_Block_format.md of lz4 1.10 (last 5 bytes literal, last match 12 bytes before the end).
 *
 * One call encodes a row of pieces. The memory is divided once and for all, below. Nothing here checks bounds: buffers
 * have SLACK behind them, since matches are compared eight bytes and literals copied sixteen at a time, and whoever calls
 * keeps to the capacities. src/codecs/lz4-reference.test.ts says the same in plain TypeScript; a test compares them.
 *
 * Positions are addresses. A table entry counts only if it lies in the current cluster and before the current place, so
 * tables are cleared once a call, not once a cluster, and what a piece becomes depends on that piece alone.
 */

/** Bytes; what one call takes, each piece padded to whole blocks. */
export const INPUT_CAPACITY: u32 = 4194304;
/** Bytes; the largest cluster of the format. */
export const MAX_CLUSTER: u32 = 1048576;
const SLACK: u32 = 64;
const MAX_BLOCKS: u32 = INPUT_CAPACITY / 512;

/** Two u32 a piece: place in the input and size, bytes. */
export const PIECES: u32 = 1024;
/** Two u32 an extent: bytes of content; blocks that store it, times two, plus one where they are compressed. */
export const EXTENTS: u32 = PIECES + MAX_BLOCKS * 8;
const FAST_TABLE: u32 = EXTENTS + MAX_BLOCKS * 8;
const FAST_TABLE_SIZE: u32 = 65536;
/** u32 an entry: the last place with this hash that is in the chains. */
const HEADS: u32 = FAST_TABLE + FAST_TABLE_SIZE;
const HEADS_SIZE: u32 = 1048576;
/** u16 for each of the last 65536 places: distance to the one before with the same hash. */
const CHAIN: u32 = HEADS + HEADS_SIZE;
const CHAIN_SIZE: u32 = 131072;
export const INPUT: u32 = CHAIN + CHAIN_SIZE;
export const OUTPUT: u32 = INPUT + INPUT_CAPACITY + SLACK;
/** Bytes of memory. */
export const END: u32 = OUTPUT + INPUT_CAPACITY + MAX_CLUSTER + SLACK;

const MIN_MATCH: u32 = 4;
const LAST_LITERALS: u32 = 5;
const MATCH_END_DISTANCE: u32 = 12;
const MAX_DISTANCE: u32 = 65535;
/** Behind a match of as many bytes no better one is looked for. */
const LONG_MATCH: u32 = 256;
/** A match of as many bytes ends a search. */
const NICE_MATCH: u32 = 128;
/** After 2^this places without a match, every second place is tried, and so on. */
const SKIP_SHIFT: u32 = 6;
/** Places that are put into the chains at once: the loads of one do not wait for those of the one before. */
const AHEAD: u32 = 256;
/** Bytes; as much is encoded the fast way to see whether content is worth a search. */
const TRIAL: u32 = 4096;

let extents: u32 = 0; // so far
let consumed: u32 = 0; // bytes of content in the cluster just made
let chained: u32 = 0; // places below are in the chains
let chainEnd: u32 = 0; // behind the last place of the piece that may be in them
let headsShift: u32 = 0; // 32 less log2 of the heads that are used
let bestStart: u32 = 0; // of the last search
let bestMatch: u32 = 0;

/** Of the five bytes at `at`. One load and one multiplication: two of each of 32 bits took a tenth of the time (measured). */
function hash5(at: u32, shift: u32): u32 {
  return <u32>(((load<u64>(at) << 24) * 889523592379) >> <u64>(shift + 32));
}

/** Bytes that are equal from `at` and `match` on, `at` before `limit`. */
function common(at: u32, match: u32, limit: u32): u32 {
  const start = at;
  while (at + 8 <= limit) {
    const difference = load<u64>(at) ^ load<u64>(match);
    if (difference !== 0) return at - start + (<u32>ctz(difference) >> 3);
    at += 8;
    match += 8;
  }
  while (at < limit && load<u8>(at) === load<u8>(match)) {
    at++;
    match++;
  }
  return at - start;
}

/** Bytes beyond the token that a length of `value` above the token's `15` takes. */
function extra(value: u32): u32 {
  return value < 15 ? 0 : (value - 15) / 255 + 1;
}

function putLength(op: u32, value: u32): u32 {
  value -= 15;
  while (value >= 255) {
    store<u8>(op++, 255);
    value -= 255;
  }
  store<u8>(op++, value);
  return op;
}

function copy(to: u32, from: u32, size: u32): void {
  if (size > 256) {
    memory.copy(to, from, size);
    return;
  }
  for (const end = to + size; to < end; to += 16, from += 16) {
    store<u64>(to, load<u64>(from));
    store<u64>(to + 8, load<u64>(from + 8));
  }
}

/** Token, literals [anchor, anchor + literals) and, unless `length` is 0, a match. Returns the place behind. */
function putSequence(op: u32, anchor: u32, literals: u32, length: u32, distance: u32): u32 {
  const token = op++;
  const code: u32 = length === 0 ? 0 : length - MIN_MATCH;
  store<u8>(token, ((literals < 15 ? literals : 15) << 4) | (code < 15 ? code : 15));
  if (literals >= 15) op = putLength(op, literals);
  copy(op, anchor, literals);
  op += literals;
  if (length === 0) return op;
  store<u16>(op, distance);
  op += 2;
  return code >= 15 ? putLength(op, code) : op;
}

/** Whatever fits of the rest, as literals. Sets `consumed`. */
function putLast(op: u32, anchor: u32, start: u32, end: u32, limit: u32): u32 {
  const room = limit - op;
  let literals = end - anchor;
  if (literals > room - 1) literals = room - 1;
  while (literals + extra(literals) >= room) literals--;
  consumed = anchor + literals - start;
  return putSequence(op, anchor, literals, 0, 0);
}

/**
 * Length to which a match must be cut so that it and the least end of a block behind it fit, 0 where not even that does.
 * The end is a token and the literals that the format wants there.
 */
function fitMatch(room: u32, literals: u32, length: u32): u32 {
  const need = literals + extra(literals) + 3;
  if (need + LAST_LITERALS >= room) return 0;
  const longest: u32 = (room - need - 1 - LAST_LITERALS) * 255 + MIN_MATCH + 14;
  if (length > longest) length = longest;
  const least = MATCH_END_DISTANCE - LAST_LITERALS;
  const tail = length < least ? MATCH_END_DISTANCE - length : LAST_LITERALS;
  return need + extra(length - MIN_MATCH) + tail >= room ? 0 : length;
}

/** As much of [start, end) as `capacity` bytes at `to` take. Sets `consumed`; returns the bytes written. */
function fastCluster(start: u32, end: u32, to: u32, capacity: u32, shift: u32): u32 {
  const limit = to + capacity;
  let op = to;
  let anchor = start;
  if (end - start > MATCH_END_DISTANCE) {
    const lastStart = end - MATCH_END_DISTANCE;
    const matchLimit = end - LAST_LITERALS;
    store<u32>(FAST_TABLE + (hash5(start, shift) << 2), start);
    let ip = start + 1;
    while (ip <= lastStart) {
      let at = ip;
      let match: u32 = 0;
      let searches: u32 = 1 << SKIP_SHIFT;
      const lastUseful = min<u32>(lastStart, anchor + (limit - op)); // beyond, the literals alone would not fit
      let hash = hash5(at, shift);
      for (;;) {
        if (at > lastUseful) return putLast(op, anchor, start, end, limit) - to;
        const entry = FAST_TABLE + (hash << 2);
        // Ahead of its turn, so that nothing waits for it.
        const next = at + (searches++ >> SKIP_SHIFT);
        hash = hash5(next, shift);
        match = load<u32>(entry);
        store<u32>(entry, at);
        if (load<u32>(match) === load<u32>(at) && match >= start && match < at && at - match <= MAX_DISTANCE) break;
        at = next;
      }
      let length = MIN_MATCH + common(at + MIN_MATCH, match + MIN_MATCH, matchLimit);
      while (at > anchor && match > start && load<u8>(at - 1) === load<u8>(match - 1)) {
        at--;
        match--;
        length++;
      }
      const fitted = fitMatch(limit - op, at - anchor, length);
      if (fitted === 0) break;
      op = putSequence(op, anchor, at - anchor, fitted, at - match);
      ip = at + fitted;
      anchor = ip;
      if (fitted < length) break;
      store<u32>(FAST_TABLE + (hash5(ip - 2, shift) << 2), ip - 2);
    }
  }
  return putLast(op, anchor, start, end, limit) - to;
}

/**
 * Puts `at`, which is not in the chains yet, and places behind it into them. Those are no candidates of `at`: a chain leads
 * from a place to ones before it.
 */
function chain(at: u32): void {
  const end = min<u32>(at + AHEAD, chainEnd);
  let place = chained;
  for (const shift = headsShift; place < end; place++) {
    const head = HEADS + (((load<u32>(place) * 0x9e3779b1) >> shift) << 2);
    const distance = place - load<u32>(head);
    store<u16>(CHAIN + ((place & 0xffff) << 1), distance < MAX_DISTANCE ? distance : MAX_DISTANCE);
    store<u32>(head, place);
  }
  chained = place;
}

/**
 * The first place from `at` on with one at `start` or later before it in its chain, `end` or more where there is none below
 * `end`. Most places have none, so eight are looked at together: asking one after the other took a fifth of the time (measured).
 */
function nextChained(at: u32, start: u32, end: u32): u32 {
  while (at < end) {
    if (at >= chained) chain(at);
    const index = at & 0xffff;
    const valid = min<u32>(min<u32>(chained - at, 0x10000 - index), 8);
    const first = i16x8.splat(<i16>min<u32>(at - start, MAX_DISTANCE - 1));
    const farthest = i16x8.min_u(
      i16x8.add_sat_u(first, i16x8(0, 1, 2, 3, 4, 5, 6, 7)),
      i16x8.splat(<i16>(MAX_DISTANCE - 1)),
    );
    const near = i16x8.bitmask(i16x8.le_u(v128.load(CHAIN + (index << 1)), farthest));
    const step = min<u32>(<u32>ctz(near | 0x100), valid);
    at += step;
    if (step < valid) break;
  }
  return at;
}

/**
 * The longest match of more than `least` bytes that covers `at` and starts at `lowest` or later; its length, 0 where there is
 * none. Sets `bestStart` and `bestMatch`.
 */
function search(at: u32, lowest: u32, start: u32, limit: u32, least: u32, depth: u32): u32 {
  if (at >= chained) chain(at);
  // What a chain says of places further back than its table is long means nothing. No link of MAX_DISTANCE leads here either.
  const reach = max<u32>(start, chained - MAX_DISTANCE);
  const word = load<u32>(at);
  let candidate = at - load<u16>(CHAIN + ((at & 0xffff) << 1));
  let best = least;
  let found: u32 = 0;
  const behind = at - lowest;
  // The last four bytes that a longer match would have; backwards it can get `behind` bytes at most.
  let probe: u32 = best > behind + 3 ? best - behind - 3 : 0;
  let wanted = load<u32>(at + probe);
  for (; depth > 0 && candidate >= reach; depth--) {
    if (load<u32>(candidate + probe) === wanted && load<u32>(candidate) === word) {
      const forward = MIN_MATCH + common(at + MIN_MATCH, candidate + MIN_MATCH, limit);
      let back: u32 = 0;
      while (back < behind && candidate - back > start && load<u8>(at - back - 1) === load<u8>(candidate - back - 1))
        back++;
      if (forward + back > best) {
        best = forward + back;
        found = best;
        bestStart = at - back;
        bestMatch = candidate - back;
        if (best >= NICE_MATCH) break;
        probe = best > behind + 3 ? best - behind - 3 : 0;
        wanted = load<u32>(at + probe);
      }
    }
    candidate -= load<u16>(CHAIN + ((candidate & 0xffff) << 1));
  }
  return found;
}

/** As {@link fastCluster}, with all matches tried that chains of `depth` give, and the next one before one is taken. */
function highCluster(start: u32, end: u32, to: u32, capacity: u32, depth: u32): u32 {
  const limit = to + capacity;
  const nextDepth = (depth * 3) / 8;
  let op = to;
  let anchor = start;
  if (end - start > MATCH_END_DISTANCE) {
    const lastStart = end - MATCH_END_DISTANCE;
    const matchLimit = end - LAST_LITERALS;
    let ip = start + 1;
    for (;;) {
      const stop = min<u32>(lastStart, anchor + (limit - op)) + 1; // beyond, the literals alone would not fit
      ip = nextChained(ip, start, stop);
      if (ip >= stop) break;
      let length = search(ip, ip, start, matchLimit, MIN_MATCH - 1, depth);
      if (length === 0) {
        ip++;
        continue;
      }
      let match = bestMatch;
      // A longer match that starts before this one ends: this one is cut, or given up where too little would be left.
      while (length < LONG_MATCH && ip + length - 2 <= lastStart) {
        const other = search(ip + length - 2, ip, start, matchLimit, length, nextDepth);
        if (other === 0) break;
        const before = bestStart - ip;
        if (before >= MIN_MATCH) {
          if (fitMatch(limit - op, ip - anchor, before) < before) break;
          op = putSequence(op, anchor, ip - anchor, before, ip - match);
          anchor = bestStart;
        }
        ip = bestStart;
        match = bestMatch;
        length = other;
      }
      const fitted = fitMatch(limit - op, ip - anchor, length);
      if (fitted === 0) break;
      op = putSequence(op, anchor, ip - anchor, fitted, ip - match);
      ip += fitted;
      anchor = ip;
      if (fitted < length) break;
    }
  }
  return putLast(op, anchor, start, end, limit) - to;
}

function pushExtent(bytes: u32, stored: u32): void {
  store<u32>(EXTENTS + extents * 8, bytes);
  store<u32>(EXTENTS + extents * 8 + 4, stored);
  extents++;
}

/** Blocks of [at, at + size) as they are, zeros behind the last. Returns the place behind in the output. */
function storeRaw(to: u32, at: u32, size: u32, blockSize: u32): u32 {
  memory.copy(to, at, size);
  for (let left = size; left > 0; ) {
    const bytes = min<u32>(left, blockSize);
    pushExtent(bytes, 2);
    left -= bytes;
  }
  const end = to + ((size + blockSize - 1) / blockSize) * blockSize;
  memory.fill(to + size, 0, end - to - size);
  return end;
}

/** Whether the cluster just made, of `bytes` bytes, is worth unpacking. */
function savesEnough(bytes: u32, blockSize: u32): bool {
  const stored = ((bytes + blockSize - 1) / blockSize) * blockSize;
  return consumed > stored + stored / 64;
}

/** Encodes one piece; returns the place behind in the output. A `depth` of 0 takes the fast way. */
function encodePiece(
  piece: u32,
  size: u32,
  to: u32,
  blockSize: u32,
  clusterSize: u32,
  maxContent: u32,
  shift: u32,
  depth: u32,
): u32 {
  const end = piece + size;
  let at = piece;
  let isDense = false; // the cluster before was compressed
  chained = piece;
  chainEnd = size > MATCH_END_DISTANCE ? end - MATCH_END_DISTANCE + 1 : piece;
  while (at < end) {
    const left = end - at;
    // As the kernel maps a plain end of a file, it must not reach into a part of the content that it does not start in.
    const room = blockSize - ((at - piece) & (blockSize - 1));
    if (left <= room) return storeRaw(to, at, left, blockSize);
    const last = min<u32>(end, at + maxContent);
    let bytes: u32 = 0;
    if (depth === 0) bytes = fastCluster(at, last, to, clusterSize, shift);
    else if (!isDense) bytes = fastCluster(at, last, to, min<u32>(clusterSize, TRIAL), shift);
    if (depth > 0 && (isDense || left <= blockSize || savesEnough(bytes, blockSize))) {
      // What the fast way finds nothing in is not searched further. Behind a compressed cluster it is not asked.
      chained = max<u32>(chained, at);
      bytes = highCluster(at, last, to, clusterSize, depth);
    }
    const blocks = (bytes + blockSize - 1) / blockSize;
    const stored = blocks * blockSize;
    const isEnd = left <= blockSize && consumed === left; // one block of either kind; but see above
    if (!isEnd && !savesEnough(bytes, blockSize)) {
      // Whole blocks, so that the next cluster starts where this one did; not up to the end, for which see above.
      const raw = left <= blockSize ? room : max<u32>(min<u32>(consumed, left - 1) / blockSize, 1) * blockSize;
      to = storeRaw(to, at, raw, blockSize);
      at += raw;
      isDense = false;
      continue;
    }
    const padding = stored - bytes; // in front: the kernel skips zeros
    memory.copy(to + padding, to, bytes);
    memory.fill(to, 0, padding);
    pushExtent(consumed, blocks * 2 + 1);
    to += stored;
    at += consumed;
    isDense = true;
  }
  return to;
}

/**
 * Encodes `pieces` pieces: where they are says PIECES, their content stands at INPUT. Stored blocks go to OUTPUT, one piece
 * after the other, extents to EXTENTS. Returns the bytes of stored blocks.
 *
 * @param maxContent bytes, most content of a cluster
 * @param tableBits log2 of entries of the hash table of the fast way, at most 14
 * @param headBits log2 of chains, at most 18
 * @param depth candidates that are tried for a match; 0 takes the fast way
 */
export function encode(
  pieces: u32,
  blockSize: u32,
  clusterSize: u32,
  maxContent: u32,
  tableBits: u32,
  headBits: u32,
  depth: u32,
): u32 {
  headsShift = 32 - headBits;
  memory.fill(FAST_TABLE, 0, 4 << tableBits);
  if (depth > 0) memory.fill(HEADS, 0, 4 << headBits);
  extents = 0;
  let to = OUTPUT;
  for (let piece = PIECES; piece < PIECES + pieces * 8; piece += 8)
    to = encodePiece(
      INPUT + load<u32>(piece),
      load<u32>(piece + 4),
      to,
      blockSize,
      clusterSize,
      maxContent,
      32 - tableBits,
      depth,
    );
  return to - OUTPUT;
}

/** Extents that the last call made. */
export function extentCount(): u32 {
  return extents;
}
