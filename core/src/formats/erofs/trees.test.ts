/** Random trees and a comparable form of a tree, for this format's tests and for those under test/oracle. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ByteString, byteString, fromUtf8, toHex } from "../../bytes/index.ts";
import { bytesSource, readAll } from "../../source/index.ts";
import {
  type Attributes,
  countNames,
  type Directory,
  directory,
  type Leaf,
  type Node,
  regularFile,
  symlink,
  walkTree,
} from "../../tree/index.ts";

/** Names with any byte but NUL and slash, some near the longest, some that sort before `.`. */
const name = fc
  .oneof(
    { weight: 8, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 12 }) },
    { weight: 1, arbitrary: fc.uint8Array({ minLength: 240, maxLength: 255 }) },
    { weight: 1, arbitrary: fc.constantFrom("!x", "+x", "-x", "...", ".x", "~", "é").map((text) => fromUtf8(text)) },
  )
  .map((bytes) => {
    const text = typeof bytes === "string" ? bytes : byteString(bytes);
    return text.replaceAll("\0", "0").replaceAll("/", "_") as ByteString;
  })
  .filter((text) => text !== "." && text !== "..");

/** Values that come again and again, so that some are shared, and values that fill blocks. */
const xattrs = fc
  .array(
    fc.tuple(
      fc.constantFrom(
        "user.a",
        "user.longer name é",
        "trusted.overlay.opaque",
        "security.capability",
        "security.selinux",
        `user.${"n".repeat(250)}`,
      ),
      fc.oneof(
        { weight: 4, arbitrary: fc.constantFrom(0, 1, 20, 44).map((size) => new Uint8Array(size).fill(7)) },
        { weight: 2, arbitrary: fc.uint8Array({ maxLength: 40 }) },
        { weight: 1, arbitrary: fc.constantFrom(3900, 4096, 9000).map((size) => new Uint8Array(size).fill(1)) },
      ),
    ),
    { maxLength: 4 },
  )
  .map((entries) => new Map(entries.map(([name, value]) => [fromUtf8(name), value] as const)));

const time = fc.oneof(
  fc.constantFrom(0n, 1_700_000_000_000_000_000n, 1_700_000_000_000_000_001n),
  fc.bigInt({ min: -5_000_000_000_000_000_000n, max: 9_000_000_000_000_000_000n }),
);
const id = fc.oneof(fc.constantFrom(0, 1000, 65535, 65536), fc.integer({ min: 0, max: 0xfffffffe }));

const attributes: fc.Arbitrary<Attributes> = fc.record({
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: id,
  gid: id,
  mtime: time,
  xattrs: fc.oneof(
    { weight: 3, arbitrary: fc.constant(new Map<ByteString, Uint8Array>()) },
    { weight: 1, arbitrary: xattrs },
  ),
});

/** Bytes that differ from place to place and file to file. */
export function patternBytes(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = (i * 31 + (i >> 8) * 17 + seed) & 0xff;
  return bytes;
}

const BOUNDARIES = [0, 1, 511, 512, 513, 4031, 4032, 4033, 4064, 4065, 4095, 4096, 4097, 8191, 8192, 8193, 12_289];

const content = fc
  .tuple(fc.oneof(fc.constantFrom(...BOUNDARIES), fc.integer({ min: 0, max: 20_000 })), fc.nat(255))
  .map(([size, seed]) => bytesSource(patternBytes(size, seed)));

const target = fc
  .oneof(
    { weight: 6, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 60 }) },
    {
      weight: 1,
      arbitrary: fc.constantFrom(2000, 4000, 4031, 4032, 4033, 4063, 4064, 4065, 4095).map((n) => patternBytes(n, 1)),
    },
  )
  .map((bytes) => byteString(bytes).replaceAll("\0", "x") as ByteString);

const leaf: fc.Arbitrary<Leaf> = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(attributes, content).map(([own, bytes]) => regularFile(own, bytes)) },
  { weight: 2, arbitrary: fc.tuple(attributes, target).map(([own, text]) => symlink(own, text)) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom("character" as const, "block" as const), attributes, fc.nat(4095), fc.nat(0xfffff))
      .map(([type, own, major, minor]) => ({ type, ...own, major, minor })),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.constantFrom("fifo" as const, "socket" as const), attributes)
      .map(([type, own]) => ({ type, ...own })),
  },
);

/** A tree with all types; some leaves have several names, in several directories. */
export const tree: fc.Arbitrary<Directory> = fc
  .tuple(
    fc.array(leaf, { maxLength: 12 }),
    // Each directory: where it hangs, what it is, and which leaves it names.
    fc.array(fc.tuple(fc.nat(), name, attributes, fc.array(fc.tuple(name, fc.nat()), { maxLength: 12 })), {
      minLength: 1,
      maxLength: 6,
    }),
  )
  .map(([leaves, plans]) => {
    const directories: Directory[] = [];
    for (const [at, own, attributes, names] of plans) {
      const made = directory({ ...attributes, xattrs: new Map(attributes.xattrs) });
      const parent = directories[at % Math.max(1, directories.length)];
      if (parent !== undefined) {
        if (parent.entries.has(own)) continue;
        parent.entries.set(own, made);
      }
      directories.push(made);
      for (const [name, index] of names) {
        const node = leaves[index % Math.max(1, leaves.length)];
        if (node !== undefined && !made.entries.has(name)) made.entries.set(name, node);
      }
    }
    return directories[0]!; // minLength is 1
  });

/** Everything about a tree as plain values: one record a name; `same` is the first name of the same object. */
export async function describeTree(root: Directory): Promise<Record<string, unknown>[]> {
  const first = new Map<Node, string>();
  const links = countNames(root);
  const contents = new Map<Node, string>(); // each is read once, however many names it has
  const records: Record<string, unknown>[] = [];
  for (const { path, node } of walkTree(root)) {
    if (!first.has(node)) first.set(node, path);
    const { type, mode, uid, gid, mtime } = node;
    if (node.type === "file" && !contents.has(node))
      contents.set(node, toHex(await readAll(node.content, 2 ** 30, path)));
    records.push({
      path,
      same: first.get(node),
      links: links.get(node),
      type,
      mode,
      uid,
      gid,
      mtime,
      xattrs: [...node.xattrs].map(([name, value]) => `${name}=${toHex(value)}`).sort(),
      content: contents.get(node),
      target: node.type === "symlink" ? node.target : undefined,
      device: node.type === "character" || node.type === "block" ? [node.major, node.minor] : undefined,
    });
  }
  return records;
}

test("the random trees have every type, hard links and xattrs among them", async () => {
  const seen = new Set<string>();
  for (const root of fc.sample(tree, { numRuns: 200, seed: 1 }))
    for (const { type, links, xattrs } of await describeTree(root)) {
      seen.add(String(type));
      if (Number(links) > 1) seen.add("hard link");
      if ((xattrs as string[]).length > 0) seen.add("xattr");
    }
  assert.deepEqual([...seen].sort(), [
    "block",
    "character",
    "directory",
    "fifo",
    "file",
    "hard link",
    "socket",
    "symlink",
    "xattr",
  ]);
});
