/** Why two digests differ: the first differing attribute of the first differing path, and how many more there are. */
import { type ByteString, byteString, bytesOf, showBytes, toHex } from "../../bytes/index.ts";
import { ExternalContent, InlineContent, sizeOf, splitTime } from "../../formats/composefs/index.ts";
import { type Leaf, type Node, showPath, walkTree } from "../../tree/index.ts";
import type { StoredTree } from "./subject.ts";

export interface FirstDifference {
  readonly path: string;
  /** Such as `mode`, `mtime`, `xattr security.selinux`; `existence` where one side lacks the path. */
  readonly attribute: string;
  readonly a: string;
  readonly b: string;
}

export interface ComposefsDiff {
  readonly same: boolean;
  readonly first?: FirstDifference | undefined;
  /** Paths that are on one side only. */
  readonly onlyA: number;
  readonly onlyB: number;
  /** Paths on both sides that differ. */
  readonly changed: number;
  /** Paths that are compared: all there are. */
  readonly paths: number;
  /** How many paths differ in an attribute, by attribute; xattrs by name. */
  readonly attributes: Readonly<Record<string, number>>;
}

/** What stands under a path, with what only the whole tree knows. */
interface Place {
  readonly node: Node;
  readonly links: number;
  /** First path of the same inode; undefined where this is it. */
  readonly sameAs: string | undefined;
}

function placesOf({ root, homes }: StoredTree): Map<string, Place> {
  const first = new Map<Node, string>();
  const counts = new Map<Node, number>();
  for (const { node, path } of walkTree(root)) {
    if (node.type === "directory") continue;
    if (!first.has(node)) first.set(node, path);
    counts.set(node, (counts.get(node) ?? 0) + 1);
  }
  const places = new Map<string, Place>();
  for (const { node, path } of walkTree(root)) {
    const sameAs = first.get(node);
    const links = node.type === "directory" ? 0 : (homes?.get(node)?.links ?? counts.get(node) ?? 1);
    places.set(path, { node, links, sameAs: sameAs === path ? undefined : sameAs });
  }
  return places;
}

/** Canonical path order: by components, as the trees are walked. */
function inPathOrder(a: string, b: string): number {
  const x = a.replaceAll("/", "\0");
  const y = b.replaceAll("/", "\0");
  return x < y ? -1 : x > y ? 1 : 0;
}

function timeText(mtime: bigint): string {
  const { seconds, nanoseconds } = splitTime(mtime);
  return `${seconds}.${String(nanoseconds).padStart(9, "0")}`;
}

const hex = (bytes: ByteString | undefined): string => (bytes === undefined ? "none" : toHex(bytesOf(bytes)));

/** Attributes in the order in which they are compared, as text. */
function* attributesOf({ node, links, sameAs }: Place): Generator<readonly [name: string, value: string]> {
  yield ["type", node.type];
  yield ["mode", `0${node.mode.toString(8).padStart(3, "0")}`];
  yield ["uid", String(node.uid)];
  yield ["gid", String(node.gid)];
  yield ["mtime", timeText(node.mtime)];
  if (node.type !== "directory") {
    yield ["links", String(links)];
    yield ["hard link to", sameAs === undefined ? "nothing" : showPath(sameAs as Parameters<typeof showPath>[0])];
    yield ["size", String(sizeOf(node as Leaf))];
  }
  if (node.type === "symlink") yield ["target", showBytes(node.target)];
  if (node.type === "character" || node.type === "block") yield ["device", `${node.major}:${node.minor}`];
  if (node.type === "file") {
    const { content } = node;
    yield ["content", content instanceof InlineContent ? `inline ${showBytes(byteString(content.bytes))}` : "external"];
    yield ["digest", content instanceof ExternalContent ? hex(content.digest) : "none"];
    const payload = content instanceof ExternalContent ? content.payload : undefined;
    yield ["payload", payload === undefined ? "none" : showBytes(payload)];
  }
  for (const name of [...node.xattrs.keys()].sort())
    yield [`xattr ${showBytes(name)}`, showBytes(byteString(node.xattrs.get(name)!))]; // a key of the map
}

/** The attributes in which two places differ. */
function differences(a: Place, b: Place): FirstDifference[] {
  const left = new Map(attributesOf(a));
  const right = new Map(attributesOf(b));
  const names = new Set([...left.keys(), ...right.keys()]);
  const found: FirstDifference[] = [];
  for (const attribute of names) {
    const x = left.get(attribute) ?? "none";
    const y = right.get(attribute) ?? "none";
    if (x !== y) found.push({ path: "", attribute, a: x, b: y });
  }
  return found;
}

/** Compares trees whose contents are stored. */
export function diffStored(a: StoredTree, b: StoredTree): ComposefsDiff {
  const left = placesOf(a);
  const right = placesOf(b);
  const paths = [...new Set([...left.keys(), ...right.keys()])].sort(inPathOrder);
  const attributes: Record<string, number> = {};
  let first: FirstDifference | undefined;
  let onlyA = 0;
  let onlyB = 0;
  let changed = 0;
  for (const path of paths) {
    const x = left.get(path);
    const y = right.get(path);
    const shown = showPath(path as Parameters<typeof showPath>[0]);
    if (x === undefined || y === undefined) {
      if (x === undefined) onlyB++;
      else onlyA++;
      first ??= { path: shown, attribute: "existence", a: presence(x), b: presence(y) };
      continue;
    }
    const found = differences(x, y);
    if (found.length === 0) continue;
    changed++;
    first ??= { ...found[0]!, path: shown }; // not empty
    for (const { attribute } of found) attributes[attribute] = (attributes[attribute] ?? 0) + 1;
  }
  return { same: first === undefined, first, onlyA, onlyB, changed, paths: paths.length, attributes };
}

function presence(place: Place | undefined): string {
  return place === undefined ? "missing" : `a ${place.node.type}`;
}
