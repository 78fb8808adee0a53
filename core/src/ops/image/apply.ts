/**
 * A layer's changes put onto the tree of the layers below. First all whiteouts, which see only the layers below; then
 * the entries in their order, as if unpacked. So the place of a whiteout in the layer means nothing (layer.md).
 */
import { type ByteString, showBytes } from "../../bytes/index.ts";
import type { TarEntry } from "../../formats/tar/index.ts";
import { emptySource, piecewiseSource, type Source, sliceSource } from "../../source/index.ts";
import {
  type Attributes,
  attributes,
  type Directory,
  deviceNode,
  directory,
  getNode,
  type Leaf,
  MAX_DEPTH,
  MAX_SYMLINKS,
  type Node,
  regularFile,
  specialNode,
  splitPath,
  symlink,
  type Xattrs,
} from "../../tree/index.ts";
import { entryError, type LayerEntry } from "./entries.ts";
import type { LayerDiff } from "./layer.ts";

/**
 * Xattrs that describe the machine where the layer was made, not the file: overlayfs' own, host labels of SELinux, and
 * ACLs of NFS. umoci leaves out the same.
 */
export function isHostXattr(name: ByteString): boolean {
  return name.startsWith("trusted.overlay.") || name === "security.selinux" || name === "system.nfs4_acl";
}

/** Mode of a directory that no layer describes, where something below it is; its owner is 0:0, its mtime 0. */
const IMPLICIT_DIRECTORY_MODE = 0o755;

/**
 * Changes `root`. Errors: FormatError `dangling-hardlink`, `hardlink-to-directory`, `symlink-loop`, `link-escapes`,
 * `too-deep`.
 */
export function applyLayer(root: Directory, { entries, what, contents }: LayerDiff): void {
  const removed = applyWhiteouts(root, entries, what);
  for (const entry of entries) {
    if (entry.kind === "node") putEntry(root, entry, what, contents);
    else if (entry.kind === "link") putLink(root, entry, what, removed);
  }
}

/** Returns what was removed, by path: a hard link of the same layer may still mean it. */
function applyWhiteouts(root: Directory, entries: readonly LayerEntry[], what: string): Map<ByteString, Node> {
  const removed = new Map<ByteString, Node>();
  const whiteouts = entries.filter(({ kind }) => kind === "whiteout" || kind === "opaque");
  if (whiteouts.length === 0) return removed;
  // Where the layer puts something new in the place of a link, the whiteouts below mean the new directory, which has
  // nothing of the layers below, and not where the old link led.
  const replaced = new Set<ByteString>();
  for (const { kind, path, entry } of entries) if (kind === "node" && entry.type !== "symlink") replaced.add(path);
  for (const { kind, path, entry } of whiteouts) {
    const names = splitPath(path);
    const name = kind === "opaque" ? undefined : names.pop();
    const parent = walk(root, names, { entry, what, replaced });
    if (parent === undefined) continue;
    if (name === undefined) {
      removed.set(path, directory(parent, parent.entries));
      parent.entries.clear();
      continue;
    }
    const node = parent.entries.get(name);
    if (node === undefined) continue;
    removed.set(path, node);
    parent.entries.delete(name);
  }
  return removed;
}

function putEntry(root: Directory, { path, entry }: LayerEntry, what: string, contents: Source): void {
  const names = splitPath(path);
  const name = names.pop();
  const values = attributesOf(entry);
  if (name === undefined) {
    Object.assign(root, values);
    return;
  }
  const parent = walkOrMake(root, names, { entry, what });
  if (entry.type !== "directory") {
    parent.entries.set(name, makeLeaf(entry, values, contents));
    return;
  }
  const there = parent.entries.get(name);
  if (there?.type === "directory") Object.assign(there, values);
  else parent.entries.set(name, directory(values));
}

/** A link adds a name to what is there; it says nothing about owner, mode or time, and does not change them. */
function putLink(
  root: Directory,
  link: LayerEntry & { kind: "link" },
  what: string,
  removed: Map<ByteString, Node>,
): void {
  const { entry, path, target } = link;
  const names = splitPath(path);
  const name = names.pop();
  if (name === undefined) return; // the root is refused before
  const targetNames = splitPath(target);
  const targetName = targetNames.pop();
  const targetParent = walk(root, targetNames, { entry, what });
  const there = targetName === undefined ? root : targetParent?.entries.get(targetName);
  const node = there ?? findRemoved(removed, target);
  const shown = JSON.stringify(showBytes(entry.linkTarget).slice(0, 300));
  if (node === undefined)
    throw entryError("dangling-hardlink", entry, what, `hard link to ${shown}, which is not there`);
  if (node.type === "directory")
    throw entryError("hardlink-to-directory", entry, what, `hard link to ${shown}, which is a directory`);
  walkOrMake(root, names, { entry, what }).entries.set(name, node);
}

function findRemoved(removed: Map<ByteString, Node>, path: ByteString): Node | undefined {
  if (removed.size === 0) return undefined;
  for (let end = path.length; end >= 0; end = path.lastIndexOf("/", end - 1)) {
    const top = removed.get(path.slice(0, end) as ByteString);
    const rest = path.slice(end);
    const node =
      top === undefined ? undefined : rest === "" ? top : top.type === "directory" ? getNode(top, rest) : undefined;
    if (node !== undefined) return node;
    if (end === 0) break;
  }
  return undefined;
}

interface WalkContext {
  readonly entry: TarEntry;
  readonly what: string;
  /** Paths whose symbolic link is not to be followed. */
  readonly replaced?: ReadonlySet<ByteString>;
}

/** The directory at `names`, through symbolic links, if there is one. */
function walk(root: Directory, names: readonly ByteString[], context: WalkContext): Directory | undefined {
  return follow(root, names, context, undefined);
}

/** The same; what is missing is made, and what is no directory makes room. */
function walkOrMake(root: Directory, names: readonly ByteString[], context: WalkContext): Directory {
  const make = () => directory(attributes(IMPLICIT_DIRECTORY_MODE));
  return follow(root, names, context, make) ?? root; // with `make` there always is one
}

/** Links are followed as with `root` as `/`, but one that leads above the root is an error rather than clamped. */
function follow(
  root: Directory,
  names: readonly ByteString[],
  { entry, what, replaced }: WalkContext,
  make: (() => Directory) | undefined,
): Directory | undefined {
  const pending = names.toReversed(); // next name last
  // A directory that is made gets its name only at the end: `missing/..` in a link's target must leave nothing behind.
  let trail: { readonly directory: Directory; readonly made?: ByteString }[] = [{ directory: root }];
  let links = 0;
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (name === "..") {
      if (trail.length === 1)
        throw entryError("link-escapes", entry, what, "a symbolic link in its path leads out of the root");
      trail.pop();
      continue;
    }
    const node = trail.at(-1)!.directory.entries.get(name); // the trail always has the root
    if (node?.type === "symlink") {
      if (links === 0 && replaced?.has(names.slice(0, names.length - pending.length).join("/") as ByteString))
        return undefined;
      if (++links > MAX_SYMLINKS)
        throw entryError("symlink-loop", entry, what, `more than ${MAX_SYMLINKS} symbolic links in its path`);
      if (node.target.startsWith("/")) trail = [{ directory: root }];
      pending.push(...splitPath(node.target).reverse());
    } else if (node?.type === "directory") trail.push({ directory: node });
    else if (make !== undefined) trail.push({ directory: make(), made: name });
    else return undefined;
  }
  if (trail.length >= MAX_DEPTH) throw entryError("too-deep", entry, what, `directories nest deeper than ${MAX_DEPTH}`);
  let parent = root;
  for (const { directory, made } of trail) {
    if (made !== undefined) parent.entries.set(made, directory);
    parent = directory;
  }
  return parent;
}

function attributesOf({ mode, uid, gid, mtime, xattrs, type }: TarEntry): Attributes {
  // Linux gives every symbolic link the mode 0777.
  return { mode: type === "symlink" ? 0o777 : mode, uid, gid, mtime, xattrs: withoutHostXattrs(xattrs) };
}

/** Without those of {@link isHostXattr}. */
export function withoutHostXattrs(xattrs: Xattrs): Xattrs {
  if (xattrs.size === 0) return xattrs;
  return [...xattrs.keys()].some(isHostXattr) ? new Map([...xattrs].filter(([name]) => !isHostXattr(name))) : xattrs;
}

function makeLeaf(entry: TarEntry, values: Attributes, contents: Source): Leaf {
  switch (entry.type) {
    case "file":
      return regularFile(values, contentOf(entry, contents));
    case "symlink":
      return symlink(values, entry.linkTarget);
    case "character":
    case "block":
      return deviceNode(entry.type, values, entry.devMajor, entry.devMinor);
    case "fifo":
      return specialNode("fifo", values);
    case "directory":
    case "hardlink":
      throw new TypeError(`not a leaf: ${entry.type}`);
  }
}

function contentOf({ size, storedSize, contentOffset, segments }: TarEntry, contents: Source): Source {
  if (size === 0) return emptySource;
  if (segments === undefined) return sliceSource(contents, contentOffset, storedSize);
  let stored = contentOffset;
  const pieces = segments.map((segment) => {
    const source = sliceSource(contents, stored, segment.size);
    stored += segment.size;
    return { at: segment.offset, source };
  });
  return piecewiseSource(size, pieces);
}
