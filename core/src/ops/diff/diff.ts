/** What differs between two images: files, bytes, packages, and the blocks that an update would move. */
import { type ByteString, showBytes, toHex } from "../../bytes/index.ts";
import type { Node, NodeType, RegularFile } from "../../tree/index.ts";
import { showPath } from "../../tree/index.ts";
import type { Environment } from "../environment.ts";
import { type Package, type PackageManager, type Packages, readPackages } from "../packages/index.ts";
import { formatTime } from "../release/describe.ts";
import type { Note } from "../report.ts";
import { compareBlocks, type SideImage, UPDATE_BLOCK_SIZE } from "./blocks.ts";
import { type Aspect, compareTrees, type Difference, type Side, surveyTree } from "./compare.ts";

/** One of the two images, opened. */
export interface DiffInput {
  /** For people and errors: what was asked for. */
  readonly name: string;
  readonly root: Side["root"];
  /** Undefined for a tree that is no EROFS image (yet). */
  readonly image: SideImage | undefined;
}

export type DiffEnvironment = Pick<Environment, "blockHasher" | "reporter" | "signal">;

export type ChangeKind = "added" | "removed" | "changed";

/** Values of an aspect before and after, as text for people. */
export type Detail = readonly [before: string, after: string];

export interface FileChange {
  /** Absolute, bytes that are not UTF-8 escaped. */
  readonly path: string;
  readonly change: ChangeKind;
  /** In B, or in A of what was removed. */
  readonly type: NodeType;
  /** What differs; empty for what was added or removed. */
  readonly aspects: readonly Aspect[];
  readonly details: Partial<Record<Aspect, Detail>>;
  /** Id of the package that owns it, in B or else in A; null for none. */
  readonly package: string | null;
  /** Bytes of content in A and B; a file of several names is counted under the first of those that changed. Null for what has none. */
  readonly sizes: readonly [before: number | null, after: number | null];
  /** Blocks that an update would move for it. */
  readonly blocks: number;
}

/** Files and their bytes. */
export interface Count {
  readonly files: number;
  readonly bytes: number;
}

export interface Totals {
  readonly added: Count;
  readonly removed: Count;
  /** Bytes are those of new content alone, as B has it. */
  readonly changed: Count;
  /** Of the changed: those whose type, content or target differs. */
  readonly changedContent: number;
  /** Of the changed: those that differ in nothing but time. */
  readonly changedTimeOnly: number;
}

export interface PackageChange extends Totals {
  /** Null for everything that no package has. */
  readonly id: string | null;
  /** `same`: the version is the same, files differ all the same. */
  readonly change: "added" | "removed" | "version" | "same";
  readonly versions: readonly [before: string | null, after: string | null];
  readonly blocks: number;
}

export interface SideSummary {
  readonly name: string;
  /** Names in the tree. */
  readonly entries: number;
  /** Bytes of all files. */
  readonly bytes: number;
  /** Bytes of the EROFS image, where there is one. */
  readonly imageSize: number | null;
  /** Lower-case hexadecimal, where it is known. */
  readonly rootHash: string | null;
  readonly packageManagers: readonly PackageManager[];
  readonly packages: number;
}

export interface BlockSummary {
  /** `image`: blocks of both EROFS images. `contents`: file contents in whole blocks, since one side is no image. */
  readonly basis: "image" | "contents";
  /** Bytes. */
  readonly blockSize: number;
  /** Blocks of B. */
  readonly total: number;
  /** Different blocks of B that A has nowhere. */
  readonly moved: number;
  readonly movedBytes: number;
  /** Moved blocks of no file in particular: inodes, directories, links, xattrs. */
  readonly metadata: number;
}

export interface Diff {
  readonly same: boolean;
  readonly a: SideSummary;
  readonly b: SideSummary;
  readonly totals: Totals;
  readonly blocks: BlockSummary;
  /** Those with any change, the most blocks first, then the most bytes; files of no package last. */
  readonly packages: readonly PackageChange[];
  /** In canonical path order. */
  readonly files: readonly FileChange[];
  readonly notes: readonly Note[];
}

/** Compares two opened images. Memory: the metadata of both trees, and 45 bytes for each block. */
export async function diffImages(a: DiffInput, b: DiffInput, environment: DiffEnvironment): Promise<Diff> {
  const { reporter, signal, blockHasher } = environment;
  const sideA = surveyTree(a.root, a.name);
  const sideB = surveyTree(b.root, b.name);
  const packagesA = await readPackages(a.root);
  const packagesB = await readPackages(b.root);

  const task = reporter.start("comparing files", Math.min(sideA.bytes, sideB.bytes));
  const kept = new Set<Node>(); // files of several names that have the same content under one of them on both sides
  const differences: Difference[] = [];
  for await (const difference of compareTrees(sideA, sideB, {
    signal,
    onProgress: task.advance,
    onSameContent(left, right) {
      if (sideA.groups.has(left)) kept.add(left);
      if (sideB.groups.has(right)) kept.add(right);
    },
  }))
    differences.push(difference);
  task.end();

  const sizes = countOnce(differences, kept);
  const fresh = new Set<RegularFile>();
  for (const [index, { after }] of differences.entries())
    if (after?.type === "file" && sizes[index]?.isNew === true) fresh.add(after);
  const blockTask = reporter.start("comparing blocks");
  const blocks = await compareBlocks(a, b, [...fresh], { hasher: blockHasher, signal, onProgress: blockTask.advance });
  blockTask.end();

  const counted = new Set<RegularFile>();
  const files = differences.map((difference, index): FileChange => {
    const { path, before, after, aspects } = difference;
    const node = after ?? before!; // a difference has one of them
    let moved = 0;
    if (after?.type === "file" && !counted.has(after)) {
      counted.add(after);
      moved = blocks.byFile.get(after) ?? 0;
    }
    return {
      path: showPath(path),
      change: before === undefined ? "added" : after === undefined ? "removed" : "changed",
      type: node.type,
      aspects,
      details: detailsOf(difference, sideA, sideB),
      package: ownerOf(path, after === undefined ? [packagesA] : [packagesB, packagesA])?.id ?? null,
      sizes: [sizes[index]!.before, sizes[index]!.after], // one for each difference
      blocks: moved,
    };
  });
  const packages = groupByPackage(files, packagesA, packagesB);
  return {
    // Images may hold the same tree and still differ in a block: by how it is laid out.
    same: files.length === 0 && blocks.moved === 0 && packages.length === 0,
    a: summarise(a, sideA, packagesA),
    b: summarise(b, sideB, packagesB),
    totals: sumUp(files),
    blocks: {
      basis: blocks.basis,
      blockSize: UPDATE_BLOCK_SIZE,
      total: blocks.total,
      moved: blocks.moved,
      movedBytes: blocks.moved * UPDATE_BLOCK_SIZE,
      metadata: blocks.unattributed,
    },
    packages,
    files,
    notes: [...tagged(packagesA.notes, a.name), ...tagged(packagesB.notes, b.name)],
  };
}

function tagged(notes: readonly Note[], name: string): Note[] {
  return notes.map(({ code, message }) => ({ code, message: `${name}: ${message}` }));
}

function summarise({ name, image }: DiffInput, side: Side, packages: Packages): SideSummary {
  const rootHash = image?.hashTree?.rootHash;
  return {
    name,
    entries: side.entries,
    bytes: side.bytes,
    imageSize: image?.data.size ?? null,
    rootHash: rootHash === undefined ? null : toHex(rootHash),
    packageManagers: packages.managers,
    packages: packages.packages.size,
  };
}

function ownerOf(path: ByteString, databases: readonly Packages[]): Package | undefined {
  for (const database of databases) {
    const owner = database.ownerOf(path);
    if (owner !== undefined) return owner;
  }
  return undefined;
}

interface Sizes {
  readonly before: number | null;
  readonly after: number | null;
  /** Whether B has content here that A does not have at this name, seen for the first time. */
  readonly isNew: boolean;
}

/** Sizes of each difference, the content of a file with several names only once. */
function countOnce(differences: readonly Difference[], kept: ReadonlySet<Node>): Sizes[] {
  const seen = new Set<Node>(kept);
  function sizeOf(node: Node | undefined): number | null {
    if (node?.type !== "file") return null;
    if (seen.has(node)) return 0;
    seen.add(node);
    return node.content.size;
  }
  return differences.map(({ before, after, aspects }) => {
    // What differs in metadata alone has its size on both sides, and is no new content.
    if (before?.type === "file" && after?.type === "file" && !aspects.includes("content"))
      return { before: before.content.size, after: after.content.size, isNew: false };
    const isNew = after !== undefined && !seen.has(after);
    return { before: sizeOf(before), after: sizeOf(after), isNew };
  });
}

function sumUp(files: Iterable<FileChange>): Totals {
  const totals = {
    added: { files: 0, bytes: 0 },
    removed: { files: 0, bytes: 0 },
    changed: { files: 0, bytes: 0 },
    changedContent: 0,
    changedTimeOnly: 0,
  };
  for (const { change, aspects, sizes } of files) {
    const count = totals[change];
    count.files++;
    if (change !== "changed") count.bytes += sizes[change === "added" ? 1 : 0] ?? 0;
    else if (isContentChange(aspects)) {
      totals.changedContent++;
      count.bytes += sizes[1] ?? 0;
    } else if (aspects.every((aspect) => aspect === "mtime")) totals.changedTimeOnly++;
  }
  return totals;
}

function isContentChange(aspects: readonly Aspect[]): boolean {
  return aspects.some(
    (aspect) => aspect === "content" || aspect === "type" || aspect === "target" || aspect === "device",
  );
}

function groupByPackage(files: readonly FileChange[], a: Packages, b: Packages): PackageChange[] {
  const groups = new Map<string | null, FileChange[]>();
  for (const file of files) {
    const group = groups.get(file.package);
    if (group === undefined) groups.set(file.package, [file]);
    else group.push(file);
  }
  // A package may change its version and no file that is in the image.
  for (const id of new Set([...a.packages.keys(), ...b.packages.keys()]))
    if (!groups.has(id) && a.packages.get(id)?.version !== b.packages.get(id)?.version) groups.set(id, []);
  const changes = [...groups].map(([id, group]): PackageChange => {
    const before = id === null ? undefined : a.packages.get(id);
    const after = id === null ? undefined : b.packages.get(id);
    return {
      id,
      change: changeOf(before, after),
      versions: [before?.version ?? null, after?.version ?? null],
      ...sumUp(group),
      blocks: group.reduce((sum, { blocks }) => sum + blocks, 0),
    };
  });
  const weight = ({ added, removed, changed }: Totals): number => added.bytes + removed.bytes + changed.bytes;
  return changes.sort(
    (x, y) =>
      Number(x.id === null) - Number(y.id === null) ||
      y.blocks - x.blocks ||
      weight(y) - weight(x) ||
      ((x.id ?? "") < (y.id ?? "") ? -1 : 1),
  );
}

function changeOf(before: Package | undefined, after: Package | undefined): PackageChange["change"] {
  if (before?.version === after?.version && before?.architecture === after?.architecture) return "same";
  return before === undefined ? "added" : after === undefined ? "removed" : "version";
}

/** Values of an aspect that are shown. */
const MAX_DETAIL = 200;

function detailsOf({ before, after, aspects }: Difference, sideA: Side, sideB: Side): FileChange["details"] {
  if (before === undefined || after === undefined) return {};
  const details: Partial<Record<Aspect, Detail>> = {};
  for (const aspect of aspects) {
    const pair = [aspectValue(before, aspect, sideA), aspectValue(after, aspect, sideB)] as const;
    details[aspect] = [pair[0].slice(0, MAX_DETAIL), pair[1].slice(0, MAX_DETAIL)];
  }
  return details;
}

function aspectValue(node: Node, aspect: Aspect, side: Side): string {
  switch (aspect) {
    case "type":
      return node.type;
    case "content":
      return node.type === "file" ? `${node.content.size} bytes` : "";
    case "target":
      return node.type === "symlink" ? showBytes(node.target) : "";
    case "device":
      return node.type === "character" || node.type === "block" ? `${node.major}:${node.minor}` : "";
    case "links":
      return side.groups.get(node)?.map(showPath).join(" ") ?? "one name";
    case "mode":
      return node.mode.toString(8).padStart(4, "0");
    case "owner":
      return `${node.uid}:${node.gid}`;
    case "xattrs":
      return [...node.xattrs]
        .map(([name, value]) => `${showBytes(name)}=${toHex(value.subarray(0, MAX_DETAIL))}`)
        .sort()
        .join(" ");
    case "mtime":
      return formatTime(node.mtime);
  }
}
