/**
 * Overlayfs in memory: what the kernel shows of two layers, and the upper layer that shows a given tree. Of its features only
 * whiteouts and opaque directories: /etc is mounted with `index=off,metacopy=off,redirect_dir=off`.
 * Spec: Documentation/filesystems/overlayfs.rst; proved against the kernel by test/machine/etc-overlay.test.ts.
 */
import { type ByteString, bytesOf, equalBytes } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import {
  attributes,
  type Directory,
  deviceNode,
  directory,
  joinPath,
  NO_XATTRS,
  type Node,
  regularFile,
  showPath,
  symlink,
  type Xattrs,
} from "../../tree/index.ts";
import { equalSources, sameXattrs } from "../diff/compare.ts";

/** The kernel keeps its notes about a file under this name; they are no part of what it shows. */
const INTERNAL = "trusted.overlay.";
const OPAQUE = "trusted.overlay.opaque" as ByteString;
/** Where these are, what is shown lies elsewhere or is not all here. */
const FOREIGN = ["trusted.overlay.redirect", "trusted.overlay.metacopy"] as ByteString[];

export function isWhiteout(node: Node): boolean {
  return node.type === "character" && node.major === 0 && node.minor === 0;
}

export function whiteout(): Node {
  return deviceNode("character", attributes(0), 0, 0);
}

function isOpaque({ xattrs }: Directory): boolean {
  const value = xattrs.get(OPAQUE);
  return value !== undefined && equalBytes(value, bytesOf("y" as ByteString));
}

/** The attributes that the kernel shows. */
function shownXattrs(xattrs: Xattrs): Xattrs {
  let hasInternal = false;
  for (const name of xattrs.keys()) hasInternal ||= name.startsWith(INTERNAL);
  if (!hasInternal) return xattrs;
  const shown = new Map([...xattrs].filter(([name]) => !name.startsWith(INTERNAL)));
  return shown.size === 0 ? NO_XATTRS : shown;
}

/** A copy with other attributes, under which contents are shared. */
export function withAttributes(node: Node, values: Partial<Pick<Node, "mode" | "uid" | "gid" | "xattrs">>): Node {
  const all = { ...node, ...values };
  switch (node.type) {
    case "directory":
      return directory(all, node.entries);
    case "file":
      return regularFile(all, node.content);
    case "symlink":
      return symlink(all, node.target);
    case "character":
    case "block":
      return deviceNode(node.type, all, node.major, node.minor);
    default:
      return { ...all, type: node.type };
  }
}

/**
 * The tree that the kernel shows. Leaves of `lower` are in it as the same objects, and so are whole directories that no
 * upper one lies over: whoever compares the two has little to read. Throws UnsupportedError `overlay-feature`.
 */
export function overlayView(lower: Directory, upper: Directory): Directory {
  const shown = new Map<Node, Node>(); // files of the upper layer, so that names of one file stay names of one file

  function leafOf(node: Node): Node {
    const known = shown.get(node);
    if (known !== undefined) return known;
    const xattrs = shownXattrs(node.xattrs);
    const leaf = xattrs === node.xattrs ? node : withAttributes(node, { xattrs });
    shown.set(node, leaf);
    return leaf;
  }

  function assertOwn(node: Node, path: ByteString): void {
    const found = FOREIGN.find((name) => node.xattrs.has(name));
    if (found === undefined) return;
    const at = showPath(path);
    throw new UnsupportedError("overlay-feature", `${at}: was written by an overlay with other options: has ${found}`, {
      path: at,
    });
  }

  function merged(below: Directory | undefined, above: Directory, path: ByteString): Directory {
    assertOwn(above, path);
    const result = directory({ ...above, xattrs: shownXattrs(above.xattrs) });
    if (below !== undefined && !isOpaque(above))
      for (const [name, node] of below.entries) if (!isWhiteout(node)) result.entries.set(name, node);
    for (const [name, node] of above.entries) {
      const at = joinPath(path, name);
      const under = result.entries.get(name);
      if (isWhiteout(node)) result.entries.delete(name);
      else if (node.type === "directory")
        result.entries.set(name, merged(under?.type === "directory" ? under : undefined, node, at));
      else {
        assertOwn(node, at);
        result.entries.set(name, leafOf(node));
      }
    }
    return result;
  }
  return merged(lower, upper, "" as ByteString);
}

/** Type and what the node holds, without its attributes; of directories only that they are. */
export async function isSameThing(a: Node, b: Node, options?: ReadOptions): Promise<boolean> {
  if (a === b) return true;
  if (a.type === "file" && b.type === "file") return equalSources(a.content, b.content, options);
  if (a.type === "symlink" && b.type === "symlink") return a.target === b.target;
  if ((a.type === "character" || a.type === "block") && a.type === b.type)
    return a.major === b.major && a.minor === b.minor;
  return a.type === b.type;
}

/** Mode, owner and extended attributes. Times do not count: the kernel changes them when it copies a file up. */
export function isSameAttributes(a: Node, b: Node): boolean {
  return (
    a === b ||
    // A link has no mode of its own: some file systems say 0777, others what they were given.
    ((a.type === "symlink" || a.mode === b.mode) && a.uid === b.uid && a.gid === b.gid && sameXattrs(a, b))
  );
}

/** Also of everything below, where both are directories. */
export async function isSameNode(a: Node | undefined, b: Node | undefined, options?: ReadOptions): Promise<boolean> {
  if (a === b) return true;
  if (a === undefined || b === undefined || a.type !== b.type) return false;
  if (!isSameAttributes(a, b) || !(await isSameThing(a, b, options))) return false;
  if (a.type !== "directory" || b.type !== "directory") return true;
  if (a.entries.size !== b.entries.size) return false;
  for (const [name, node] of a.entries) if (!(await isSameNode(node, b.entries.get(name), options))) return false;
  return true;
}

/**
 * The smallest upper layer over `lower` that shows `wanted`: nothing of it hides what is the same in both, so that later
 * changes of `lower` come through.
 */
export async function upperFor(lower: Directory, wanted: Directory, options?: ReadOptions): Promise<Directory> {
  async function layer(below: Directory | undefined, above: Directory): Promise<Directory> {
    const result = directory(above);
    for (const [name, node] of above.entries) {
      options?.signal?.throwIfAborted();
      const under = below?.entries.get(name);
      if (node === under) continue;
      if (node.type === "directory") {
        const inner = under?.type === "directory" ? under : undefined;
        const part = await layer(inner, node);
        if (inner === undefined || part.entries.size > 0 || !isSameAttributes(inner, node))
          result.entries.set(name, part);
      } else if (under === undefined || !(await isSameNode(under, node, options))) result.entries.set(name, node);
    }
    for (const [name, node] of below?.entries ?? [])
      if (!above.entries.has(name) && !isWhiteout(node)) result.entries.set(name, whiteout());
    return result;
  }
  return layer(lower, wanted);
}
