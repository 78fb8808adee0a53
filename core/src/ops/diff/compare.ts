/** Two trees side by side: every name that differs, and in what. Contents are streamed. */
import { type ByteString, equalBytes } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { CHUNK_SIZE, type ReadOptions, type Source } from "../../source/index.ts";
import {
  type Directory,
  joinPath,
  MAX_DEPTH,
  type Node,
  type RegularFile,
  showPath,
  sortedEntries,
  walkTree,
} from "../../tree/index.ts";

/** What of a name can differ. `links` is the group of names that are one file. */
export const ASPECTS = ["type", "content", "target", "device", "links", "mode", "owner", "xattrs", "mtime"] as const;
export type Aspect = (typeof ASPECTS)[number];

export interface Difference {
  readonly path: ByteString;
  /** Undefined where the name was added. */
  readonly before: Node | undefined;
  /** Undefined where the name was removed. */
  readonly after: Node | undefined;
  /** In the order of {@link ASPECTS}; empty for what was added or removed. */
  readonly aspects: readonly Aspect[];
}

export interface Side {
  readonly root: Directory;
  /** Names of each file that has more than one, in canonical order. */
  readonly groups: ReadonlyMap<Node, readonly ByteString[]>;
  /** Names in the tree. */
  readonly entries: number;
  /** Bytes of all regular files, each counted once. */
  readonly bytes: number;
}

/** Bytes of all files of one side, holes included: a small image may claim any number of them. */
export const MAX_CONTENT_BYTES = 64 * 1024 ** 3;

/** Counts a tree and groups its hard links. Throws FormatError `too-large` past {@link MAX_CONTENT_BYTES}. */
export function surveyTree(root: Directory, what: string): Side {
  const first = new Map<Node, ByteString>();
  const groups = new Map<Node, ByteString[]>();
  let entries = 0;
  let bytes = 0;
  for (const { path, node } of walkTree(root)) {
    entries++;
    if (node.type === "directory") continue;
    const known = first.get(node);
    if (known === undefined) {
      first.set(node, path);
      if (node.type === "file") bytes += node.content.size;
      if (bytes > MAX_CONTENT_BYTES)
        throw new FormatError("too-large", `${what}: its files have more than ${MAX_CONTENT_BYTES} bytes`);
    } else {
      const group = groups.get(node);
      if (group === undefined) groups.set(node, [known, path]);
      else group.push(path);
    }
  }
  return { root, groups, entries, bytes };
}

export interface CompareOptions extends ReadOptions {
  /** @param amount bytes of B compared since the last call */
  readonly onProgress?: ((amount: number) => void) | undefined;
  /** Called for each pair of files that have the same content. */
  readonly onSameContent?: ((before: RegularFile, after: RegularFile) => void) | undefined;
}

/** Differences in canonical path order of both trees together. */
export async function* compareTrees(a: Side, b: Side, options: CompareOptions = {}): AsyncGenerator<Difference> {
  const compared = new Map<Node, { readonly before: Node; readonly same: boolean }>();

  async function isSameContent(before: RegularFile, after: RegularFile): Promise<boolean> {
    const known = compared.get(after);
    if (known?.before === before) return known.same;
    const same = await equalSources(before.content, after.content, options);
    options.onProgress?.(after.content.size);
    if (same) options.onSameContent?.(before, after);
    if (b.groups.has(after)) compared.set(after, { before, same });
    return same;
  }

  function sameNames(before: Node, after: Node): boolean {
    const names = a.groups.get(before);
    const others = b.groups.get(after);
    return names?.length === others?.length && (names ?? []).every((name, index) => name === others?.[index]);
  }

  async function aspectsOf(before: Node, after: Node): Promise<Aspect[]> {
    const found = new Set<Aspect>();
    if (before.type !== after.type) found.add("type");
    if (before.type === "file" && after.type === "file" && !(await isSameContent(before, after))) found.add("content");
    if (before.type === "symlink" && after.type === "symlink" && before.target !== after.target) found.add("target");
    if (isDevice(before) && isDevice(after) && (before.major !== after.major || before.minor !== after.minor))
      found.add("device");
    if (!sameNames(before, after)) found.add("links");
    if (before.mode !== after.mode) found.add("mode");
    if (before.uid !== after.uid || before.gid !== after.gid) found.add("owner");
    if (!sameXattrs(before, after)) found.add("xattrs");
    if (before.mtime !== after.mtime) found.add("mtime");
    return ASPECTS.filter((aspect) => found.has(aspect));
  }

  for (const { left, right, path } of pairsOf(a.root, b.root)) {
    options.signal?.throwIfAborted();
    if (left === undefined || right === undefined) yield { path, before: left, after: right, aspects: [] };
    else {
      const aspects = await aspectsOf(left, right);
      if (aspects.length > 0) yield { path, before: left, after: right, aspects };
    }
  }
}

interface Pair {
  readonly left: Node | undefined;
  readonly right: Node | undefined;
  readonly path: ByteString;
}

/**
 * What both sides have under each path, in canonical order. With a stack of its own: generators within each other would
 * use up the host's.
 */
function* pairsOf(before: Directory, after: Directory): Generator<Pair> {
  const open: { readonly path: ByteString; readonly rest: ReturnType<typeof merged> }[] = [];
  function enter({ left, right, path }: Pair): void {
    const lower = left?.type === "directory" ? left : undefined;
    const upper = right?.type === "directory" ? right : undefined;
    if (lower === undefined && upper === undefined) return;
    if (open.length >= MAX_DEPTH)
      throw new FormatError("too-deep", `directories nest deeper than ${MAX_DEPTH}: ${showPath(path)}`);
    open.push({ path, rest: merged(lower, upper) });
  }
  const roots: Pair = { left: before, right: after, path: "" as ByteString };
  yield roots;
  enter(roots);
  for (let here = open.at(-1); here !== undefined; here = open.at(-1)) {
    const { done, value } = here.rest.next();
    if (done === true) {
      open.pop();
      continue;
    }
    const pair: Pair = { left: value.left, right: value.right, path: joinPath(here.path, value.name) };
    yield pair;
    enter(pair);
  }
}

/** Names of both directories in byte order. */
function* merged(before: Directory | undefined, after: Directory | undefined) {
  const lefts = before === undefined ? [] : sortedEntries(before);
  const rights = after === undefined ? [] : sortedEntries(after);
  for (let i = 0, j = 0; i < lefts.length || j < rights.length; ) {
    const left = lefts[i];
    const right = rights[j];
    const isLeft = left !== undefined && (right === undefined || left[0] <= right[0]);
    const isRight = right !== undefined && (left === undefined || right[0] <= left[0]);
    const name = (isLeft ? left[0] : right?.[0]) as ByteString; // one of them is there
    yield { name, left: isLeft ? left[1] : undefined, right: isRight ? right[1] : undefined };
    if (isLeft) i++;
    if (isRight) j++;
  }
}

function isDevice(node: Node): node is Extract<Node, { readonly major: number }> {
  return node.type === "character" || node.type === "block";
}

export function sameXattrs(before: Pick<Node, "xattrs">, after: Pick<Node, "xattrs">): boolean {
  if (before.xattrs === after.xattrs) return true;
  if (before.xattrs.size !== after.xattrs.size) return false;
  for (const [name, value] of before.xattrs) {
    const other = after.xattrs.get(name);
    if (other === undefined || !equalBytes(value, other)) return false;
  }
  return true;
}

/** Stops at the first chunk that differs. */
export async function equalSources(a: Source, b: Source, options: ReadOptions = {}): Promise<boolean> {
  if (a === b) return true;
  if (a.size !== b.size) return false;
  for (let at = 0; at < a.size; at += CHUNK_SIZE) {
    options.signal?.throwIfAborted();
    const length = Math.min(CHUNK_SIZE, a.size - at);
    const [left, right] = [await a.read(at, length, options), await b.read(at, length, options)];
    if (!equalBytes(left, right)) return false;
  }
  return true;
}
