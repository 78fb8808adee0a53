/** How a root is laid out and compressed: what users say and releases record, chosen by the kernel that is to read it. */
import { PolicyError } from "../../errors/index.ts";
import { MAX_CHUNK_SIZE, type Tails } from "../../formats/erofs/index.ts";
import { type Directory, type Glob, getNode, type Node, parseGlob, walkTree } from "../../tree/index.ts";
import type { Release } from "../release/release.ts";
import {
  type CompressionOptions,
  chooseCompression,
  type RootCompression,
  recordCompression,
  storesPlain,
} from "./compression.ts";
import { MAX_LINE_SIZE } from "./hints.ts";
import { type KernelNeed, lackOf, type TargetKernel } from "./target-kernel.ts";

export type { Tails };

export interface FormOptions extends CompressionOptions {
  /**
   * Ends of files: in blocks of their own, which keeps updates small; or beside the inode, which keeps the root small; of
   * compressed files beside the inode too (`ztailpacking`) or compressed together (`fragments`).
   */
  readonly tails: Tails;
  /** Bytes: a power of two. Files are cut into chunks of it: zeros take no blocks, equal chunks are stored once. */
  readonly chunksize?: number | undefined;
  /** Patterns of paths; the data of these files comes first, in the order of the patterns. */
  readonly dataFirst?: readonly string[] | undefined;
}

export interface RootForm {
  readonly tails: Tails;
  readonly compression: RootCompression | undefined;
  readonly chunkSize: number | undefined;
  readonly dataFirst: readonly Glob[];
}

const CHUNKS: KernelNeed = { since: [5, 15] };
const ENDS: Readonly<Record<Tails, KernelNeed | undefined>> = {
  blocks: undefined,
  inline: undefined,
  ztailpacking: { since: [5, 17], option: "CONFIG_EROFS_FS_ZIP" },
  fragments: { since: [6, 1], option: "CONFIG_EROFS_FS_ZIP" },
};
/** A release records them, and each with a wildcard is compared with each path. */
const MAX_FIRST = { all: 10_000, wildcards: 1000 } as const;

function parseFirst(lines: readonly string[]): readonly Glob[] {
  const globs = lines.map((line) => parseGlob(line.slice(0, MAX_LINE_SIZE)));
  const wildcards = globs.filter(({ path }) => path === undefined).length;
  if (globs.length > MAX_FIRST.all || wildcards > MAX_FIRST.wildcards)
    throw new PolicyError(
      "bad-layout",
      `${globs.length} patterns say whose data comes first, ${wildcards} of them with wildcards: more than ${MAX_FIRST.all} or ${MAX_FIRST.wildcards}`,
    );
  return globs;
}

/** What can be said without a tree. Throws PolicyError as {@link chooseForm} does. */
export function checkForm(options: FormOptions, blockSize: number): void {
  const isPlain = storesPlain(options, blockSize);
  parseFirst(options.dataFirst ?? []);
  const { chunksize, tails } = options;
  if (isPlain && ENDS[tails] !== undefined)
    throw new PolicyError("bad-layout", `${tails} says nothing where nothing is compressed`);
  if (chunksize === undefined) return;
  if (!isPlain) throw new PolicyError("bad-layout", "what is cut into chunks is not compressed");
  if (chunksize < blockSize || chunksize > MAX_CHUNK_SIZE || !Number.isInteger(Math.log2(chunksize)))
    throw new PolicyError(
      "bad-layout",
      `chunks of ${chunksize} bytes: not a power of two from ${blockSize} to ${MAX_CHUNK_SIZE}`,
      { expected: MAX_CHUNK_SIZE, actual: chunksize },
    );
}

/** Whether each file stands in whole blocks of its own, as it is and in the order of paths. */
export function standsPlain(options: FormOptions, blockSize: number): boolean {
  checkForm(options, blockSize);
  const isOrdered = (options.dataFirst ?? []).length === 0;
  return options.tails === "blocks" && options.chunksize === undefined && isOrdered && storesPlain(options, blockSize);
}

/**
 * Throws PolicyError `bad-layout`, `bad-pattern`, what {@link chooseCompression} throws, and `kernel-lacks`.
 *
 * @param kernel is asked for where something depends on it
 */
export async function chooseForm(
  options: FormOptions,
  blockSize: number,
  kernel: () => Promise<TargetKernel | undefined>,
): Promise<RootForm> {
  checkForm(options, blockSize);
  const { tails, chunksize, dataFirst = [] } = options;
  const end = ENDS[tails];
  // Packed bytes have no place for ends elsewhere.
  const packing = end === undefined ? options.packing : "blocks";
  const compression = await chooseCompression({ ...options, packing }, blockSize, kernel);
  if (end !== undefined && compression !== undefined) assertRead(await kernel(), end, `tails ${tails}`);
  if (chunksize !== undefined) assertRead(await kernel(), CHUNKS, "files in chunks");
  return { tails, compression, chunkSize: chunksize, dataFirst: parseFirst(dataFirst) };
}

function assertRead(target: TargetKernel | undefined, need: KernelNeed, what: string): void {
  const lack = target && lackOf(target, need);
  if (lack !== undefined) throw new PolicyError("kernel-lacks", `the root's kernel cannot read ${what}: ${lack}`);
}

/** What a release says. */
export function recordForm({ tails, compression, chunkSize, dataFirst }: RootForm): Release["options"] {
  return {
    tails,
    ...recordCompression(compression),
    ...(chunkSize === undefined ? {} : { chunksize: chunkSize }),
    ...(dataFirst.length === 0 ? {} : { dataFirst: dataFirst.map(({ text }) => text) }),
  };
}

/** What the patterns mean in `tree`: of each the files in the order of paths, of a directory all in it. */
export function firstFiles(tree: Directory, patterns: readonly Glob[]): readonly Node[] {
  const found: Node[][] = patterns.map(() => []);
  const wildcards: number[] = [];
  for (const [i, { path }] of patterns.entries()) {
    if (path === undefined) {
      wildcards.push(i);
      continue;
    }
    const node = getNode(tree, path);
    if (node?.type === "directory") found[i]!.push(...[...walkTree(node)].map((visit) => visit.node));
    else if (node !== undefined) found[i]!.push(node); // found has a list for each
  }
  if (wildcards.length > 0)
    for (const { path, node } of walkTree(tree)) {
      if (node.type !== "file") continue;
      const i = wildcards.find((wildcard) => patterns[wildcard]!.matches(path)); // an index of patterns
      if (i !== undefined) found[i]!.push(node);
    }
  return found.flat();
}
