/** Recomputes a whole verity device, or a part of it, and says which blocks are bad. */
import { toHex } from "../../bytes/index.ts";
import { type Finding, IntegrityError } from "../../errors/index.ts";
import { type BlockHasher, DIGEST_SIZES } from "../../hash/index.ts";
import type { Source } from "../../source/index.ts";
import { dataBlockHash, hashBlockHash, layoutHashTree, sameDigest } from "./geometry.ts";
import { readVeritySuperblock, type VeritySuperblock } from "./read.ts";
import { assertDevicesFit } from "./verified.ts";

/** Bytes of data read and hashed at once. */
const CHUNK_SIZE = 2 * 1024 * 1024;
/** Chunks in work at the same time. */
const MAX_CHUNKS = 4;
const DEFAULT_MAX_FINDINGS = 1000;

export interface CheckVerityOptions {
  readonly hasher: BlockHasher;
  /** What the superblock must say, where the caller knows it; the one on the device is not read then. */
  readonly superblock?: VeritySuperblock | undefined;
  /** Bytes of data to check, widened to what whole hash blocks of level 0 cover; everything where absent. */
  readonly range?: { readonly offset: number; readonly length: number } | undefined;
  /** Findings kept; 1000 where absent. The counts go on. */
  readonly maxFindings?: number | undefined;
  /** Called now and then with bytes of data. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * - `verity-root`: the tree is sound at the top but belongs to another root hash;
 * - `verity-hash-block`: a hash block is not the one that the tree above it names;
 * - `verity-data`: data blocks do not match their digests;
 * - `verity-unverifiable`: the digests of these data blocks are lost with a hash block above them.
 */
export type VerityFindingCode = "verity-root" | "verity-hash-block" | "verity-data" | "verity-unverifiable";

export interface VerityFinding extends Finding<VerityFindingCode> {
  /** Level of the tree, 0 next to the data; absent for data blocks. */
  readonly level?: number | undefined;
  /** Blocks from the start of the data device, or of the hash device where there is a level. */
  readonly firstBlock: number;
  readonly lastBlock: number;
}

export interface VerityReport {
  readonly superblock: VeritySuperblock;
  /** Data blocks looked at. */
  readonly checkedBlocks: number;
  readonly badDataBlocks: number;
  readonly badHashBlocks: number;
  readonly unverifiableBlocks: number;
  /** In the order found: the tree from the top, then the data. At most `maxFindings`. */
  readonly findings: readonly VerityFinding[];
  /** No finding at all: these bytes are the ones that the root hash names. */
  readonly sound: boolean;
}

/** Collects findings; neighbouring data blocks become one. */
function findingList(limit: number) {
  const findings: VerityFinding[] = [];
  const counts = { badDataBlocks: 0, badHashBlocks: 0, unverifiableBlocks: 0 };
  let open: { code: "verity-data" | "verity-unverifiable"; first: number; last: number } | undefined;
  function add(finding: VerityFinding): void {
    if (findings.length < limit) findings.push(finding);
  }
  function flush(): void {
    if (open === undefined) return;
    const { code, first, last } = open;
    open = undefined;
    const blocks = first === last ? `data block ${first}` : `data blocks ${first} to ${last}`;
    const verb = first === last ? "does" : "do";
    const message =
      code === "verity-data" ? `${blocks} ${verb} not match the hash tree` : `${blocks} cannot be checked: no digests`;
    add({ code, message, firstBlock: first, lastBlock: last });
  }
  return {
    counts,
    findings,
    flush,
    hashBlock(code: "verity-root" | "verity-hash-block", message: string, level: number, block: number): void {
      flush();
      counts.badHashBlocks++;
      add({ code, message, level, firstBlock: block, lastBlock: block });
    },
    data(code: "verity-data" | "verity-unverifiable", first: number, last: number): void {
      counts[code === "verity-data" ? "badDataBlocks" : "unverifiableBlocks"] += last - first + 1;
      if (open?.code === code && open.last + 1 === first) open.last = last;
      else {
        flush();
        open = { code, first, last };
      }
    },
  };
}

/** Blocks `[from, to)` of one level, in numbers of that level. */
interface Span {
  readonly from: number;
  readonly to: number;
}

/**
 * Checks every hash block and every data block (or those of `range`) against the root hash, top down. A damaged hash
 * block is rebuilt from what lies below it, where that leads to the digest above, so that the data under it is still
 * checked. Memory: a few MiB and the levels above level 0.
 *
 * Throws as `readVeritySuperblock` where the superblock itself cannot be read; IntegrityError `verity-root-hash`,
 * `verity-size` where root hash and devices cannot belong together.
 */
export async function checkVerity(
  data: Source,
  hashDevice: Source,
  rootHash: Uint8Array,
  options: CheckVerityOptions,
): Promise<VerityReport> {
  const { hasher, signal } = options;
  const superblock = options.superblock ?? (await readVeritySuperblock(hashDevice, { signal }));
  assertDevicesFit(data, hashDevice, rootHash, superblock);
  const { dataBlockSize, hashBlockSize, dataBlocks } = superblock;
  const { levels, digestsPerBlock } = layoutHashTree(dataBlocks, superblock);
  const digestSize = DIGEST_SIZES[superblock.algorithm];
  const perRead = Math.max(1, CHUNK_SIZE / dataBlockSize); // data blocks; both are powers of two
  const list = findingList(options.maxFindings ?? DEFAULT_MAX_FINDINGS);
  const hashHashBlocks = (bytes: Uint8Array) => hasher.hashBlocks(bytes, hashBlockHash(superblock));

  const spans = spansOf(options.range, superblock, levels.length, digestsPerBlock);
  const dataSpan = spans[0]!; // there is always one for the data
  const total = (dataSpan.to - dataSpan.from) * dataBlockSize;

  function readLevel(level: number, from: number, to: number): Promise<Uint8Array> {
    const start = (levels[level]!.firstBlock + from) * hashBlockSize; // callers stay below levels.length
    return hashDevice.read(start, (to - from) * hashBlockSize, { signal });
  }

  /** The digests that the trusted blocks of the level above give for a span; undefined where a block above is lost. */
  type Expected = (index: number) => { readonly bytes: Uint8Array; readonly at: number } | undefined;
  let expected: Expected = () => ({ bytes: rootHash, at: 0 });

  /**
   * What block `index` of `level` must hold: its stored bytes if they are right, else those rebuilt from the digests of
   * its children as they are, if these are right, else undefined. Adds the finding.
   */
  async function settle(
    level: number,
    index: number,
    stored: Uint8Array,
    storedDigest: Uint8Array,
    wanted: Expected,
    children: () => Promise<Uint8Array>,
  ): Promise<Uint8Array | undefined> {
    const above = wanted(index);
    if (above === undefined) return undefined;
    if (sameDigest(storedDigest, 0, above.bytes, above.at, digestSize)) return stored;
    const rebuilt = new Uint8Array(hashBlockSize);
    rebuilt.set(await children());
    const repaired = sameDigest(await hashHashBlocks(rebuilt), 0, above.bytes, above.at, digestSize);
    const block = levels[level]!.firstBlock + index;
    const isRoot = level === levels.length - 1;
    if (isRoot && !repaired && sameDigest(rebuilt, 0, stored, 0, hashBlockSize))
      list.hashBlock(
        "verity-root",
        `the hash tree has root hash ${toHex(storedDigest)}, not ${toHex(rootHash)}`,
        level,
        block,
      );
    else
      list.hashBlock(
        "verity-hash-block",
        `hash block ${block} (level ${level}) at byte ${block * hashBlockSize} does not match the hash tree`,
        level,
        block,
      );
    return repaired ? rebuilt : undefined;
  }

  /** Turns the settled blocks of a level, the first of which is `from`, into what the level below is compared with. */
  function expectedFrom(settled: readonly (Uint8Array | undefined)[], from: number): Expected {
    return (index) => {
      const bytes = settled[Math.floor(index / digestsPerBlock) - from];
      return bytes && { bytes, at: (index % digestsPerBlock) * digestSize };
    };
  }

  for (let level = levels.length - 1; level > 0; level--) {
    const { from, to } = spans[level + 1]!; // spans has one more than levels
    const stored = await readLevel(level, from, to);
    const digests = await hashHashBlocks(stored);
    const settled: (Uint8Array | undefined)[] = [];
    for (let index = from; index < to; index++) {
      const at = index - from;
      const block = stored.subarray(at * hashBlockSize, (at + 1) * hashBlockSize);
      const below = levels[level - 1]!;
      const lastChild = Math.min(below.blocks, (index + 1) * digestsPerBlock);
      settled.push(
        await settle(
          level,
          index,
          block,
          digests.subarray(at * digestSize, (at + 1) * digestSize),
          expected,
          async () => hashHashBlocks(await readLevel(level - 1, index * digestsPerBlock, lastChild)),
        ),
      );
    }
    expected = expectedFrom(settled, from);
  }

  /** Reads and hashes data blocks `[from, to)` and the hash blocks of level 0 over them. */
  async function loadChunk(from: number, to: number) {
    const digests = new Uint8Array((to - from) * digestSize);
    // In pieces, since one large hash block may cover gigabytes of data.
    for (let at = from; at < to; at += perRead) {
      signal?.throwIfAborted();
      const blocks = Math.min(perRead, to - at);
      const bytes = await data.read(at * dataBlockSize, blocks * dataBlockSize, { signal });
      digests.set(await hasher.hashBlocks(bytes, dataBlockHash(superblock)), (at - from) * digestSize);
    }
    if (levels.length === 0) return { from, to, digests };
    const stored = await readLevel(0, from / digestsPerBlock, Math.ceil(to / digestsPerBlock));
    return { from, to, digests, stored, storedDigests: await hashHashBlocks(stored) };
  }

  function compare(first: number, last: number, actual: Uint8Array, holder: Uint8Array | undefined): void {
    if (holder === undefined) list.data("verity-unverifiable", first, last);
    else
      for (let block = first; block <= last; block++)
        if (!sameDigest(actual, (block - first) * digestSize, holder, (block - first) * digestSize, digestSize))
          list.data("verity-data", block, block);
  }

  const perChunk = digestsPerBlock * Math.max(1, Math.floor(perRead / digestsPerBlock));
  const starts = function* () {
    for (let from = dataSpan.from; from < dataSpan.to; from += perChunk) yield from;
  };
  const wanted = expected;
  const load = (from: number) => loadChunk(from, Math.min(dataSpan.to, from + perChunk));
  for await (const { from, to, digests, stored, storedDigests } of inOrder(starts(), MAX_CHUNKS, load)) {
    if (stored === undefined || storedDigests === undefined) compare(from, to - 1, digests, rootHash);
    else
      for (let first = from, at = 0; first < to; first += digestsPerBlock, at++) {
        const last = Math.min(to, first + digestsPerBlock) - 1;
        const actual = digests.subarray((first - from) * digestSize, (last + 1 - from) * digestSize);
        const block = stored.subarray(at * hashBlockSize, (at + 1) * hashBlockSize);
        const blockDigest = storedDigests.subarray(at * digestSize, (at + 1) * digestSize);
        const holder = await settle(0, first / digestsPerBlock, block, blockDigest, wanted, async () => actual);
        compare(first, last, actual, holder);
      }
    options.onProgress?.((to - dataSpan.from) * dataBlockSize, total);
  }
  list.flush();
  const { badDataBlocks, badHashBlocks, unverifiableBlocks } = list.counts;
  return {
    superblock,
    checkedBlocks: dataSpan.to - dataSpan.from,
    badDataBlocks,
    badHashBlocks,
    unverifiableBlocks,
    findings: list.findings,
    sound: badDataBlocks + badHashBlocks + unverifiableBlocks === 0,
  };
}

/** Like {@link checkVerity}, but throws the first finding as an IntegrityError of its code. */
export async function verifyVerity(
  data: Source,
  hashDevice: Source,
  rootHash: Uint8Array,
  options: CheckVerityOptions,
): Promise<VerityReport> {
  const report = await checkVerity(data, hashDevice, rootHash, options);
  const [first] = report.findings;
  if (first !== undefined || !report.sound)
    throw new IntegrityError(first?.code ?? "verity-data", `verity: ${first?.message ?? "blocks do not match"}`);
  return report;
}

/** The span of data blocks to check, then for each level the span of hash blocks above them. */
function spansOf(
  range: CheckVerityOptions["range"],
  { dataBlocks, dataBlockSize }: VeritySuperblock,
  levelCount: number,
  digestsPerBlock: number,
): Span[] {
  const { offset, length } = range ?? { offset: 0, length: dataBlocks * dataBlockSize };
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 1)
    throw new RangeError(`not a range to check: ${length} bytes at ${offset}`);
  if (offset + length > dataBlocks * dataBlockSize)
    throw new RangeError(`range of ${length} bytes at ${offset} is past the ${dataBlocks} data blocks`);
  let from = Math.floor(offset / dataBlockSize / digestsPerBlock);
  let to = Math.ceil((offset + length) / dataBlockSize / digestsPerBlock);
  const spans: Span[] = [{ from: from * digestsPerBlock, to: Math.min(dataBlocks, to * digestsPerBlock) }];
  for (let level = 0; level < levelCount; level++) {
    spans.push({ from, to });
    from = Math.floor(from / digestsPerBlock);
    to = Math.ceil(to / digestsPerBlock);
  }
  return spans;
}

/** The results of `work` in the order of `items`, with at most `limit` of them in work. */
async function* inOrder<T, R>(items: Iterable<T>, limit: number, work: (item: T) => Promise<R>): AsyncGenerator<R> {
  const queue: Promise<R>[] = [];
  for (const item of items) {
    const result = work(item);
    result.catch(() => {}); // seen when its turn comes, or not needed any more
    queue.push(result);
    if (queue.length === limit) yield await queue.shift()!; // not empty
  }
  for (const result of queue) yield await result;
}
