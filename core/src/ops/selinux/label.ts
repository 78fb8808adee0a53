/** Labels every file of a system as its own policy wants it, or takes labels away where there is no policy. */
import { type ByteString, bytesOf } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { compileContexts, type FileContexts, type Substitution } from "../../formats/selinux/index.ts";
import {
  type Directory,
  type Leaf,
  MAX_DEPTH,
  NO_XATTRS,
  type Node,
  sortedEntries,
  walkTree,
} from "../../tree/index.ts";
import type { SystemPolicy } from "./policy-files.ts";

const SELINUX = "security.selinux" as ByteString;

export interface Labelled {
  /** Files and directories that have a label now. */
  readonly labels: number;
  /** Paths of hard links that the policy wants under another label than their file has. */
  readonly conflicts: readonly ByteString[];
}

function setLabel(node: Node, label: Uint8Array | undefined): void {
  const xattrs = new Map(node.xattrs);
  if (label === undefined) xattrs.delete(SELINUX);
  else xattrs.set(SELINUX, label);
  node.xattrs = xattrs.size === 0 ? NO_XATTRS : xattrs;
}

/** Takes all labels away; returns how many there were. Changes `root`. */
export function stripLabels(root: Directory): number {
  let count = 0;
  for (const { node } of walkTree(root)) {
    if (!node.xattrs.has(SELINUX)) continue;
    setLabel(node, undefined);
    count++;
  }
  return count;
}

/** One object for all files of a label, so that a million files do not cost a million of them. */
function labelMaker(suffix: string): (context: ByteString | undefined) => Uint8Array | undefined {
  const known = new Map<ByteString, Uint8Array>();
  return (context) => {
    if (context === undefined) return undefined;
    let label = known.get(context);
    if (label === undefined) {
      label = bytesOf((context + suffix) as ByteString);
      known.set(context, label);
    }
    return label;
  };
}

/**
 * As `setfiles` does: values end in a NUL, and a file with several names has the label of the first in canonical order.
 * Changes `root`.
 */
export function labelSystem(root: Directory, { files }: SystemPolicy): Labelled {
  const contexts = compileContexts(files, "libselinux");
  const toLabel = labelMaker("\0");
  const seen = new Map<Node, ByteString | undefined>();
  const conflicts: ByteString[] = [];
  let labels = 0;
  for (const { path, node } of walkTree(root)) {
    const context = contexts.lookup(`/${path}` as ByteString, node.type);
    if (seen.has(node)) {
      if (seen.get(node) !== context) conflicts.push(path);
      continue;
    }
    if (node.type !== "directory") seen.set(node, context);
    setLabel(node, toLabel(context));
    if (context !== undefined) labels++;
  }
  return { labels, conflicts };
}

/**
 * As composefs-rs does (`selabel`, 0fbc853), on which bootc's digests rest: values without a NUL; substitutions count
 * where a path is one of them exactly, and lead all that is below it along; a hard link that another label is wanted for
 * becomes a file of its own. Changes `root`.
 */
export function labelForComposefs(root: Directory, { files }: SystemPolicy): void {
  const contexts = compileContexts(files, "composefs-rs");
  const aliases = new Map<ByteString, ByteString>();
  const add = ({ from, to }: Substitution): unknown => aliases.set(from, to);
  files.subs.forEach(add);
  files.subsDist.forEach(add); // these win
  const toLabel = labelMaker("");
  const seen = new Map<Leaf, ByteString | undefined>();
  setLabel(root, toLabel(contexts.lookup("/" as ByteString, "directory")));
  labelEntries(root, "" as ByteString, 0);

  /** In canonical order, since it decides which name of a hard link keeps the file. */
  function labelEntries(parent: Directory, path: ByteString, depth: number): void {
    if (depth > MAX_DEPTH) throw new FormatError("too-deep", `directories nest deeper than ${MAX_DEPTH}`);
    for (const [name, child] of sortedEntries(parent)) {
      const absolute = `${path}/${name}` as ByteString;
      const effective = aliases.get(absolute) ?? absolute;
      if (child.type === "directory") {
        setLabel(child, toLabel(contexts.lookup(effective, "directory")));
        labelEntries(child, effective, depth + 1);
      } else labelLeaf(parent, name, child, contexts, effective);
    }
  }

  function labelLeaf(parent: Directory, name: ByteString, leaf: Leaf, policy: FileContexts, path: ByteString): void {
    const context = policy.lookup(path, leaf.type);
    let target = leaf;
    if (seen.has(leaf) && seen.get(leaf) !== context) {
      target = { ...leaf };
      parent.entries.set(name, target);
    }
    if (!seen.has(target)) seen.set(target, context);
    setLabel(target, toLabel(context));
  }
}
