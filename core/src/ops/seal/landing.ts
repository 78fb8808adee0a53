/**
 * The data of an image, written while its layer is read. Data stands in the order of paths, and so do the files of most
 * layers: where there is one layer alone, what it holds can go where it belongs at once, with its leaves hashed on the
 * way, and no scratch file is written and read again: that is a tenth of the CPU time (docs/performance.md).
 */
import { alignUp, type ByteString } from "../../bytes/index.ts";
import { blockWriter, type StoredData } from "../../formats/erofs/index.ts";
import { type LeafCollector, leafCollector, type VerityParameters } from "../../formats/verity/index.ts";
import { fillFrom, passingChunksOf, type Scratch, type Source, sliceSource, windowOf } from "../../source/index.ts";
import { comparePaths } from "../../tree/index.ts";
import type { Artifact } from "../artifacts.ts";
import type { Environment } from "../environment.ts";
import type { ContentStore, LayerEntry } from "../image/index.ts";
import type { LandedContent } from "./verify-root.ts";

/** Blocks of the root and of its hash tree, in bytes; the page size of every kernel that must read them. */
export const BLOCK_SIZE = 4096;

/** Contents land in `root` until one does not fit behind the others; then all of them go to scratch space instead. */
export interface Landing extends ContentStore {
  readonly root: Artifact;
  /** In front of `root`; another one after `withdraw`. */
  readonly leaves: LeafCollector;
  /** Called when all contents are here. */
  finish(): Promise<StoredData>;
  /** Takes everything out of `root` again. Contents are read from scratch space then. */
  withdraw(): Promise<LeafCollector>;
  /** For a content that is here as a whole. */
  landed(content: Source): LandedContent | undefined;
}

/**
 * Opens a landing in an artifact that has nothing in it. It is disposed of as the contents of a layer are; what has
 * landed stays in the artifact.
 *
 * @param environment without `crc32` nothing is recorded of what comes in
 */
export async function openLanding(
  root: Artifact,
  verity: VerityParameters,
  { blockHasher, scratch, signal, crc32 }: Pick<Environment, "blockHasher" | "scratch" | "signal" | "crc32">,
): Promise<Landing> {
  let digests = await scratch.create();
  let leaves = leafCollector(root, blockHasher, verity, digests);
  const writer = blockWriter(leaves, BLOCK_SIZE, { blockSize: BLOCK_SIZE, signal });
  let elsewhere: Scratch | undefined;
  let before: ByteString | undefined; // the path of the file that landed last
  let written: Promise<Source> | undefined;
  const arrived = new Map<number, number>(); // CRC-32 by place
  let arriving = 0; // place

  /** Whether the content belongs behind what has landed, as far as can be told before all entries are known. */
  function continues({ kind, path, entry }: LayerEntry): boolean {
    if (kind !== "node" || entry.segments !== undefined) return false;
    return before === undefined || comparePaths(before, path) < 0;
  }

  function begin(place: number): number {
    arriving = place;
    return place;
  }

  /** Fills the last block. */
  function pad(): Promise<void> | undefined {
    return writer.zerosUpTo(alignUp(writer.position, BLOCK_SIZE));
  }

  async function flush(): Promise<Source> {
    await pad();
    await writer.finish();
    await root.setSize(writer.position); // zeros at the end were not written
    return root.source(writer.position);
  }

  /** What the contents can be read from. */
  async function readable(): Promise<Source> {
    if (elsewhere !== undefined) return elsewhere;
    written ??= flush();
    return await written;
  }

  async function withdraw(): Promise<LeafCollector> {
    if (elsewhere !== undefined) return leaves;
    const landed = await readable();
    const taken = await scratch.create();
    try {
      await taken.append(new Uint8Array(BLOCK_SIZE)); // the places stay the same
      for await (const chunk of passingChunksOf(sliceSource(landed, BLOCK_SIZE), { signal })) await taken.append(chunk);
      await leaves.finish(writer.position); // waits for what is being hashed
      await root.setSize(0);
    } catch (error) {
      await taken.dispose();
      throw error;
    }
    elsewhere = taken;
    await digests.dispose();
    digests = await scratch.create();
    leaves = leafCollector(root, blockHasher, verity, digests);
    return leaves;
  }

  const landing: Landing = {
    root,
    get leaves() {
      return leaves;
    },
    async finish() {
      if (elsewhere === undefined) await pad();
      return { source: landing, writer };
    },
    withdraw,
    get size() {
      return elsewhere === undefined ? writer.position : elsewhere.size;
    },
    place(next) {
      const { storedSize, segments } = next.entry;
      if (storedSize === 0) return segments && 0; // a sparse file may be nothing but holes
      if (elsewhere !== undefined) return begin(elsewhere.size);
      if (!continues(next)) return withdraw().then(() => begin(landing.size));
      before = next.path;
      written = undefined;
      const padded = pad();
      return padded === undefined ? begin(writer.position) : padded.then(() => begin(writer.position));
    },
    append(bytes) {
      if (crc32 !== undefined) arrived.set(arriving, crc32(bytes, arrived.get(arriving) ?? 0));
      return elsewhere === undefined ? writer.append(bytes) : elsewhere.append(bytes);
    },
    landed(content) {
      const window = windowOf(content);
      if (elsewhere !== undefined || window?.source !== landing) return undefined;
      return { start: window.start, checksum: arrived.get(window.start) };
    },
    async read(offset, length, options) {
      return (await readable()).read(offset, length, options);
    },
    async readInto(offset, target) {
      await fillFrom(await readable(), offset, target);
    },
    async dispose() {
      await digests.dispose();
      await elsewhere?.dispose();
    },
  };
  return landing;
}
