/**
 * What every byte of an image belongs to. Whoever walks the image claims ranges; settled, they tile it: each byte is in one
 * run, and what nobody claimed is zeros or stray.
 */
import type { CompressionAlgorithm } from "../../codecs/index.ts";
import { ALGORITHMS } from "./format-compressed.ts";

/**
 * `boot area`: the first 1024 bytes. `file data`: as it is; `chunk data`: the same of files with chunks, which may share parts
 * of them; `compressed data`: whole clusters, of files, directories and
 * links alike. `packed data`: of the inode that holds fragments; `metabox`: of the one that holds metadata. `slack`: the
 * unused end of the last block of plain data. `free`: zeros that nobody claimed; `stray`: what is not zero and unclaimed.
 */
export const SPACE_KINDS = [
  "boot area",
  "superblock",
  "settings",
  "device table",
  "inodes",
  "xattrs",
  "shared xattrs",
  "xattr prefixes",
  "chunk tables",
  "cluster maps",
  "inline data",
  "directories",
  "links",
  "file data",
  "chunk data",
  "compressed data",
  "packed data",
  "metabox",
  "slack",
  "free",
  "stray",
] as const;
export type SpaceKind = (typeof SPACE_KINDS)[number];

/** What a range of compressed data yields. */
export interface Cluster {
  readonly encoding: CompressionAlgorithm;
  /** Bytes of content. */
  readonly size: number;
  /** It yields more than that. */
  readonly isPartial: boolean;
}

/** A range that something says is its own. */
export interface Claim {
  /** Bytes. */
  readonly start: number;
  /** Bytes. */
  readonly size: number;
  readonly kind: SpaceKind;
  /** Number of the inode that claims it; undefined for what belongs to the image. */
  readonly nid: number | undefined;
}

/** A claim of compressed data. */
export interface ClusterClaim extends Claim {
  readonly cluster: Cluster;
}

/** A run of bytes that belong to the same thing. */
export interface SpaceRun extends Claim {
  /** How many claimed the very same range; 0 for what nobody claimed. */
  readonly claims: number;
}

/** Two claims that are neither apart nor the same. */
export interface Overlap {
  readonly first: Claim;
  readonly second: Claim;
}

/** Claims that are kept at most, about 600 MB; a sound image of half a terabyte in clusters of 64 KiB has as many. */
export const MAX_CLAIMS = 2 ** 23;

const NO_NID = -1;
const NO_CLUSTER = -1; // in place of its bytes
const PARTIAL = 0x80; // beside the number of the algorithm

/** Kinds whose range several may claim, each all of it: identical files, deduplicated clusters. */
const SHAREABLE: ReadonlySet<SpaceKind> = /* @__PURE__ */ new Set<SpaceKind>([
  "file data",
  "chunk data",
  "compressed data",
  "shared xattrs",
  "links",
]);

/** Kinds behind which the rest of the block is slack. */
const IN_BLOCKS: ReadonlySet<SpaceKind> = /* @__PURE__ */ new Set<SpaceKind>([
  "file data",
  "chunk data",
  "directories",
  "links",
  "compressed data",
  "packed data",
  "metabox",
]);

/** Claims in flat arrays: an image has millions. */
export class Accounts {
  private starts = new Float64Array(1024);
  private sizes = new Float64Array(1024);
  private nids = new Float64Array(1024);
  private contents = new Float64Array(1024);
  private kinds = new Uint8Array(1024);
  private codes = new Uint8Array(1024);
  private count = 0;
  private order: Uint32Array | undefined;
  /** Whether there were more than MAX_CLAIMS; then the account is not whole. */
  isOverfull = false;

  claim(kind: SpaceKind, start: number, size: number, nid?: number, cluster?: Cluster): void {
    if (size === 0) return;
    if (this.count >= MAX_CLAIMS) {
      this.isOverfull = true;
      return;
    }
    if (this.count === this.starts.length) this.grow();
    this.starts[this.count] = start;
    this.sizes[this.count] = size;
    this.nids[this.count] = nid ?? NO_NID;
    this.kinds[this.count] = SPACE_KINDS.indexOf(kind);
    this.contents[this.count] = cluster?.size ?? NO_CLUSTER;
    if (cluster !== undefined)
      this.codes[this.count] = ALGORITHMS.indexOf(cluster.encoding) | (cluster.isPartial ? PARTIAL : 0);
    this.count++;
  }

  private grow(): void {
    const length = 2 * this.count;
    const larger = <T extends Float64Array | Uint8Array>(from: T, to: T): T => {
      to.set(from);
      return to;
    };
    this.starts = larger(this.starts, new Float64Array(length));
    this.sizes = larger(this.sizes, new Float64Array(length));
    this.nids = larger(this.nids, new Float64Array(length));
    this.contents = larger(this.contents, new Float64Array(length));
    this.kinds = larger(this.kinds, new Uint8Array(length));
    this.codes = larger(this.codes, new Uint8Array(length));
  }

  private at(index: number): Claim {
    const nid = this.nids[index]!; // every index below is one of a claim
    return {
      start: this.starts[index]!,
      size: this.sizes[index]!,
      kind: SPACE_KINDS[this.kinds[index]!]!,
      nid: nid === NO_NID ? undefined : nid,
    };
  }

  /** Indexes by place; of those that start alike the largest first, then whole clusters, then by what they yield. */
  private sorted(): Uint32Array {
    if (this.order?.length === this.count) return this.order;
    const { starts, sizes, kinds, contents, codes } = this;
    this.order = new Uint32Array(this.count).map((_, i) => i);
    this.order.sort(
      (a, b) =>
        starts[a]! - starts[b]! ||
        sizes[b]! - sizes[a]! ||
        kinds[a]! - kinds[b]! ||
        codes[a]! - codes[b]! ||
        contents[b]! - contents[a]! ||
        a - b,
    );
    return this.order;
  }

  /** Compressed data by place, what several claim in the same way once; of parts of the same cluster the largest. */
  *clusters(): Generator<ClusterClaim> {
    const { starts, sizes, contents, codes } = this;
    let last = -1;
    for (const index of this.sorted()) {
      const content = contents[index]!;
      const code = codes[index]!;
      if (content === NO_CLUSTER) continue;
      const isPartial = (code & PARTIAL) !== 0;
      const isKnown =
        last >= 0 &&
        starts[last] === starts[index] &&
        sizes[last] === sizes[index] &&
        codes[last] === code &&
        (isPartial || contents[last] === content);
      if (isKnown) continue;
      last = index;
      yield { ...this.at(index), cluster: { encoding: ALGORITHMS[code & ~PARTIAL]!, size: content, isPartial } };
    }
  }

  /**
   * The claims in order of place, as runs that neither overlap nor leave anything out between 0 and `size`; gaps are `slack`
   * or `free`, which says nothing yet about what is in them. Where claims overlap the first one counts and
   * `onOverlap` is told.
   */
  *settle(size: number, blockSize: number, onOverlap: (overlap: Overlap) => void): Generator<SpaceRun> {
    const { starts, sizes } = this;
    const order = this.sorted();
    let covered = 0; // everything before is in a run
    let last: Claim | undefined; // the one that reaches farthest
    for (let i = 0; i < order.length; ) {
      const claim = this.at(order[i++]!);
      let claims = 1;
      for (; i < order.length; i++) {
        const next = order[i]!;
        if (starts[next] !== claim.start || sizes[next] !== claim.size) break;
        const other = this.at(next);
        if (other.kind !== claim.kind || !SHAREABLE.has(claim.kind)) onOverlap({ first: claim, second: other });
        else claims++;
      }
      const end = Math.min(claim.start + claim.size, size);
      const mayOverlap = claim.kind === "chunk data" && last?.kind === "chunk data";
      if (claim.start < covered && last !== undefined && !mayOverlap) onOverlap({ first: last, second: claim });
      if (end <= covered) continue;
      const start = Math.max(claim.start, covered);
      yield* gaps(last, covered, Math.min(start, size), blockSize);
      if (start < end) yield { ...claim, start, size: end - start, claims };
      covered = end;
      last = claim;
    }
    yield* gaps(last, covered, size, blockSize);
  }
}

/** What lies between claims: the rest of a block of data, then what is free. */
function* gaps(last: Claim | undefined, from: number, to: number, blockSize: number): Generator<SpaceRun> {
  const none = { nid: undefined, claims: 0 };
  const blockEnd = Math.ceil(from / blockSize) * blockSize;
  const slackEnd = last !== undefined && IN_BLOCKS.has(last.kind) ? Math.min(to, blockEnd) : from;
  if (slackEnd > from) yield { ...none, kind: "slack", start: from, size: slackEnd - from, nid: last?.nid };
  if (to > slackEnd) yield { ...none, kind: "free", start: slackEnd, size: to - slackEnd };
}
