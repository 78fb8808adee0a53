// Random trees of /etc over few names, so that three of them meet often.
import fc from "fast-check";

import { type ByteString, bytesOf } from "../../core/src/bytes/index.ts";
import { bytesSource, readAll } from "../../core/src/source/index.ts";
import {
  attributes,
  type Directory,
  directory,
  NO_XATTRS,
  type Node,
  regularFile,
  specialNode,
  symlink,
  walkTree,
  type Xattrs,
} from "../../core/src/tree/index.ts";

const NAMES = ["a", "b", "c", "d"] as ByteString[];

const xattrs: fc.Arbitrary<Xattrs> = fc.oneof(
  { weight: 4, arbitrary: fc.constant(NO_XATTRS) },
  fc
    .constantFrom("1", "2")
    .map((value) => new Map([["trusted.note" as ByteString, bytesOf(value as ByteString)]]) as Xattrs),
);

const values = fc
  .record({
    mode: fc.constantFrom(0o644, 0o600, 0o755),
    uid: fc.constantFrom(0, 7),
    gid: fc.constantFrom(0, 8),
    xattrs,
  })
  .map(({ mode, ...rest }) => attributes(mode, { ...rest, mtime: 1_700_000_000_000_000_000n }));

export const file = (text: string, mode = 0o644): Node =>
  regularFile(attributes(mode), bytesSource(bytesOf(text as ByteString)));

const leaf: fc.Arbitrary<Node> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc
      .tuple(values, fc.constantFrom("one\n", "two\n", "three\n", ""))
      .map(([all, text]) => regularFile(all, bytesSource(bytesOf(text as ByteString)))),
  },
  fc.tuple(values, fc.constantFrom("x", "../y")).map(([all, to]) => symlink({ ...all, mode: 0o777 }, to as ByteString)),
  values.map((all) => specialNode("fifo", all)),
);

function directories(depth: number): fc.Arbitrary<Directory> {
  const node: fc.Arbitrary<Node> = depth === 0 ? leaf : fc.oneof(leaf, directories(depth - 1));
  return fc
    .tuple(values, fc.dictionary(fc.constantFrom(...NAMES), node, { maxKeys: 4 }))
    .map(([all, entries]) => directory({ ...all, mode: 0o755 }, Object.entries(entries) as [ByteString, Node][]));
}

export const etcTree: fc.Arbitrary<Directory> = directories(2);

/** A tree, and others made of it by a few changes each, as machines and releases make them. */
export const relatedTrees = (count: number): fc.Arbitrary<Directory[]> =>
  fc
    .tuple(
      etcTree,
      fc.array(
        fc.array(
          fc.tuple(
            fc.array(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 3 }),
            fc.option(fc.oneof(leaf, directories(1))),
          ),
          { maxLength: 4 },
        ),
        { minLength: count, maxLength: count },
      ),
    )
    .map(([first, all]) => [first, ...all.map((changes) => changes.reduce(changed, first))]);

/** A copy in which something else, or nothing, is at a path; where the path is not there, the tree as it is. */
function changed(root: Directory, [path, node]: readonly [readonly ByteString[], Node | null]): Directory {
  const [name, ...rest] = path;
  if (name === undefined) return root;
  const copy = directory(root, root.entries);
  const inner = root.entries.get(name);
  if (rest.length > 0 && inner?.type === "directory") copy.entries.set(name, changed(inner, [rest, node]));
  else if (node === null) copy.entries.delete(name);
  else copy.entries.set(name, node);
  return copy;
}

/** Everything that counts of a tree, one line a name; times and links are none of it. */
export async function linesOf(root: Directory): Promise<string[]> {
  const lines: string[] = [];
  for (const { path, node } of walkTree(root)) {
    const mode = node.type === "symlink" ? "" : node.mode.toString(8);
    const notes = [...node.xattrs].map(([name, value]) => `${name}=${Buffer.from(value).toString("hex")}`).sort();
    const what =
      node.type === "file"
        ? Buffer.from(await readAll(node.content, 1 << 20, path)).toString("latin1")
        : node.type === "symlink"
          ? node.target
          : "";
    lines.push(`${path} ${node.type} ${mode} ${node.uid}:${node.gid} ${notes.join(" ")} ${JSON.stringify(what)}`);
  }
  return lines;
}
