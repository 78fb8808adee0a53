// Trees at random, with what breaks writers and readers: sizes around every boundary, sparse contents, hard links, xattrs
// in number and size, deep and wide directories. The same seed gives the same tree.
import { type ByteString, byteString, fromUtf8 } from "../../core/src/bytes/index.ts";
import { bytesSource, piecewiseSource, type Source } from "../../core/src/source/index.ts";
import {
  type Attributes,
  type Directory,
  deviceNode,
  directory,
  type Node,
  regularFile,
  specialNode,
  symlink,
} from "../../core/src/tree/index.ts";
import { type Random, seededRandom } from "./mutate.ts";

/** Bytes: blocks, inodes, directory blocks, clusters, pieces that are encoded at once. */
const BOUNDARIES = [0, 32, 64, 512, 1024, 2048, 4096, 8192, 12_288, 16_384, 65_536, 131_072];
const SMALL = BOUNDARIES.slice(0, 6);
const LARGE = [1 << 20, 4 << 20];
const NEAR = [-65, -64, -33, -32, -31, -8, -1, 0, 1, 8, 31, 32, 33, 64];
const XATTR_NAMES = [
  "user.a",
  "user.",
  "trusted.x",
  "security.capability",
  "security.apparmor",
  "trusted.overlay.opaque",
];
/** Bytes; most of the largest would make many trees slow to write. */
const XATTR_SIZES = [0, 1, 2, 3, 4, 20, 44, 255, 256, 1000, 3900, 4080, 4096, 9000];

export interface RandomTreeOptions {
  /** Names with `user.` on what the kernel does not show them of, and capabilities that are none. */
  readonly forMount?: boolean;
  /** The longest name. */
  readonly maxName?: number;
}

export function randomTree(seed: string, { forMount = false, maxName = 255 }: RandomTreeOptions = {}): Directory {
  const random = seededRandom(seed);
  const seen = new Set<Directory>();
  const leaves: Node[] = [];
  const root = directory(attributesOf(random, forMount, true));
  const directories = [root];
  seen.add(root);
  const count = random.pick([1, 2, 4, 8]);
  for (let i = 0; i < count; i++) {
    const made = directory(attributesOf(random, forMount, true));
    put(random.pick(directories), made);
    directories.push(made);
  }
  if (random.below(6) === 0) addDeep(30 + random.below(60));
  const files = random.pick([0, 1, 5, 20]);
  for (let i = 0; i < files; i++) {
    const leaf = leafOf(random, forMount);
    leaves.push(leaf);
    put(random.pick(directories), leaf);
  }
  for (let i = random.below(8); i > 0 && leaves.length > 0; i--) put(random.pick(directories), random.pick(leaves));
  if (random.below(6) === 0) addWide(random.pick(directories));
  return root;

  function put(parent: Directory, node: Node): void {
    const name = nameOf(random, maxName);
    if (!parent.entries.has(name)) parent.entries.set(name, node);
  }

  function addDeep(depth: number): void {
    let at = random.pick(directories);
    for (let i = 0; i < depth; i++) {
      const next = directory(attributesOf(random, forMount, true));
      at.entries.set(byteString(new Uint8Array([0x61 + (i % 26)])), next);
      at = next;
    }
    directories.push(at);
  }

  /** Blocks of directory entries that are just full, or hold one name more or less. */
  function addWide(at: Directory): void {
    const size = random.pick([1, 3, 8, 20, 100]);
    const perBlock = Math.floor(random.pick([512, 1024, 4096]) / (12 + size));
    const names = Math.min(perBlock * random.pick([1, 2, 5]) + random.below(3) - 1, 2000, 26 ** Math.min(size, 3));
    const leaf = leafOf(random, forMount, SMALL); // it is read by each of its names
    for (let i = 0; i < names; i++)
      at.entries.set(fromUtf8(i.toString(36).padStart(size, "-").slice(-Math.max(size, 3))), leaf);
  }
}

function nameOf(random: Random, maxName: number): ByteString {
  const kind = random.below(12);
  if (kind === 0) return fromUtf8(random.pick(["!x", "+x", "-", "...", ".x", "~", "é", " ", "\n", "..a"]));
  const size = kind === 1 ? maxName - random.below(4) : 1 + random.below(14);
  const bytes = random.bytes(size).map((byte) => (byte === 0 || byte === 0x2f ? 0x5f : byte));
  const name = byteString(bytes);
  return name === "." || name === ".." ? fromUtf8("dots") : name;
}

function attributesOf(random: Random, forMount: boolean, isOrdinary: boolean): Attributes {
  const ids = [0, 1, 1000, 65_535, 65_536, 0xfffffffe];
  const times = [0n, 1n, -1n, 1_700_000_000_000_000_000n, 1_700_000_000_000_000_001n, -2_000_000_000_500_000_000n];
  return {
    mode: random.below(0o10000),
    uid: random.pick(ids),
    gid: random.pick(ids),
    mtime: random.below(4) === 0 ? 4_000_000_000_000_000_000n + BigInt(random.below(2 ** 31)) : random.pick(times),
    xattrs: random.below(4) === 0 ? xattrsOf(random, forMount, isOrdinary) : new Map(),
  };
}

function xattrsOf(random: Random, forMount: boolean, isOrdinary: boolean): Map<ByteString, Uint8Array> {
  const xattrs = new Map<ByteString, Uint8Array>();
  const count = random.pick([1, 1, 2, 5, 60]);
  for (let i = 0; i < count; i++) {
    let name = random.pick(XATTR_NAMES);
    if (name === "user.") name += random.pick(["b", "longer name é", "n".repeat(250), `${i}`]);
    if (forMount && (name === "security.capability" || (!isOrdinary && name.startsWith("user.")))) continue;
    // Few values, so that some are shared; their sum stays below what an inode may have.
    const size = count > 5 ? random.pick([0, 1, 44]) : random.pick(XATTR_SIZES);
    xattrs.set(fromUtf8(name), new Uint8Array(size).fill(random.below(3)));
  }
  return xattrs;
}

function leafOf(random: Random, forMount: boolean, sizes: readonly number[] = BOUNDARIES): Node {
  const kind = random.below(10);
  const own = attributesOf(random, forMount, kind < 7);
  if (kind < 7) return regularFile(own, contentOf(random, sizes));
  if (kind === 7) {
    const size =
      random.below(4) === 0 ? 4095 - random.pick([0, 1, 31, 32, 33, 63, 64, 65, 1000]) : 1 + random.below(60);
    return symlink(own, byteString(random.bytes(size).map((byte) => byte || 1)));
  }
  if (kind === 8) return specialNode(random.pick(["fifo", "socket"] as const), own);
  return deviceNode(random.pick(["character", "block"] as const), own, random.below(4096), random.below(1 << 20));
}

/** What compresses, what does not, one after the other, and holes. */
function contentOf(random: Random, sizes: readonly number[]): Source {
  const isLarge = sizes === BOUNDARIES && random.below(40) === 0;
  const size = Math.max(0, random.pick(isLarge ? LARGE : sizes) * (1 + random.below(2)) + random.pick(NEAR));
  const kind = random.below(6);
  if (kind === 0) return piecewiseSource(size, []);
  if (kind === 1) return sparse(random, size);
  return bytesSource(bytesOf(random, size, kind));
}

function sparse(random: Random, size: number): Source {
  const pieces: { at: number; source: Source }[] = [];
  for (let at = random.below(9000); at < size; at += 1 + random.below(40_000)) {
    const length = Math.min(size - at, 1 + random.below(9000));
    pieces.push({ at, source: bytesSource(bytesOf(random, length, 4)) });
    at += length;
  }
  return piecewiseSource(size, pieces);
}

function bytesOf(random: Random, size: number, kind: number): Uint8Array {
  const bytes = new Uint8Array(size);
  const seed = random.below(2 ** 31) | 1;
  for (let at = 0, part = kind; at < size; part = kind === 2 ? part + 1 : kind) {
    const end = kind === 2 ? Math.min(size, at + 1 + random.below(30_000)) : size;
    if (part % 2 === 0) fillNoise(bytes, at, end, seed);
    else fillWords(bytes, at, end, seed);
    at = end;
  }
  return bytes;
}

function fillNoise(bytes: Uint8Array, from: number, to: number, seed: number): void {
  let state = seed;
  for (let i = from; i < to; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = state >>> 24;
  }
}

function fillWords(bytes: Uint8Array, from: number, to: number, seed: number): void {
  let state = seed;
  for (let at = from; at < to; ) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const word = state >>> 22;
    for (let i = 0; i < 3 + (word & 7) && at < to; i++) bytes[at++] = (Math.imul(word, 0x9e3779b1) >>> (i * 3)) & 255;
  }
}
