import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeUtf8, toHex } from "../../bytes/index.ts";
import type { HashAlgorithm } from "../../hash/index.ts";
import { nodeHashes } from "../../node/hashes.ts";
import { bytesSource } from "../../source/index.ts";
import { attributes, type Directory, directory } from "../../tree/index.ts";
import { dumpLines, type FormatVersion, openComposefs, parseDump, readComposefsTree, writeComposefs } from "./index.ts";

const write = (
  root: Directory,
  version: FormatVersion | { min: 0 | 1; max: 0 | 1 },
  algorithm: HashAlgorithm = "sha256",
) => writeComposefs(root, { version, algorithm, hashes: nodeHashes });
const dump = (...lines: string[]) => parseDump(encodeUtf8(lines.map((line) => `${line}\n`).join("")));

const ROOT = "/ 0 40755 2 0 0 0 0.0 - - -";

test("pinned: the empty image of each version", () => {
  // The same as in the tests of composefs (C) 1.0.8 and of composefs-rs 0fbc853.
  const digests = ([0, 1, 2] as const).map((version) => toHex(write(directory(attributes(0o755)), version).digest));
  assert.deepEqual(digests, [
    "8f589e8f57ecb88823736b0d857ddca1e1068a23e264fad164b28f7038eb3682",
    "14a26c957c84f6eb774b91205476adc13196c7c33b9dd97d08d43725ecb90b63",
    "086b702a519b57d6ef5aea6f8b3f2be24355cd1fb835cd80fb4e3d388b24d5a5",
  ]);
});

test("mkcomposefs' rule: version 0 becomes 1 where there are whiteouts", () => {
  const plain = () => dump(ROOT).root;
  const whiteout = () => dump(ROOT, "/gone 0 20000 1 0 0 0 0.0 - - -").root;
  assert.equal(write(plain(), { min: 0, max: 1 }).version, 0);
  assert.equal(write(whiteout(), { min: 0, max: 1 }).version, 1);
  assert.equal(write(whiteout(), { min: 0, max: 0 }).version, 0);
  assert.equal(write(plain(), { min: 1, max: 1 }).version, 1);
});

test("whiteouts come back, and what marks them does not", async () => {
  const { root } = dump(ROOT, "/d 0 40755 2 0 0 0 0.0 - - -", "/d/gone 0 20000 1 0 0 0 0.0 - - - user.a=b");
  const { bytes } = write(root, 1);
  const back = await readComposefsTree(await openComposefs(bytesSource(bytes)));
  const lines = [...dumpLines(back.root)];
  assert.equal(lines[2], "/d/gone 0 20000 1 0 0 0 0.0 - - - user.a=b\n");
  assert.equal(toHex(write(back.root, 1).bytes), toHex(bytes));
});

test("a dump tells where the inode of a hard link stands, and its number of links", () => {
  const { root, homes } = dump(ROOT, "/a 0 @100644 7 0 0 0 0.0 /b - -", "/b 5 100644 7 1 2 0 3.4 x/y - -");
  const lines = [...dumpLines(root, { homes })].map((line) => line.trimEnd());
  assert.deepEqual(lines.slice(1), ["/a 5 @100644 7 1 2 0 3.4 /b - -", "/b 5 100644 7 1 2 0 3.4 x/y - -"]);
  assert.notDeepEqual(
    writeComposefs(root, { version: 1, homes, algorithm: "sha256", hashes: nodeHashes }).bytes,
    write(root, 1).bytes,
  );
});

const file = (path: string, rest = "0 100644 1 0 0 0 0.0 - - -") => `${path} ${rest}`;

for (const [what, lines, pattern] of [
  ["nothing", [], /no line/],
  ["no root", [file("/a")], /line 1 .*directory did not come before/],
  ["a root that is a file", [file("/")], /root that is no directory/],
  ["two roots", [ROOT, ROOT], /second root/],
  ["a missing parent", [ROOT, file("/a/b")], /line 2 .*\/a\/b, whose directory did not come before it/],
  ["a parent that is a file", [ROOT, file("/a"), file("/a/b")], /directory did not come before/],
  ["a name twice", [ROOT, file("/a"), file("/a")], /gives \/a again/],
  ["a link over a name", [ROOT, file("/a"), file("/a", "0 @100644 1 0 0 0 0.0 /a - -")], /gives \/a again/],
  ["a dot", [ROOT, file("/.")], /no path of an image/],
  ["two dots", [ROOT, file("/..")], /no path of an image/],
  ["no name", [ROOT, file("//")], /no path of an image/],
  ["a NUL in a name", [ROOT, file("/a\\x00b")], /no path of an image/],
  ["a relative path", [ROOT, file("a")], /no path of an image/],
  ["few fields", [ROOT, "/a 0 100644 1 0 0 0 0.0 - -"], /has 10 fields/],
  ["no type", [ROOT, file("/a", "0 644 1 0 0 0 0.0 - - -")], /mode 0o644/],
  ["a bad mode", [ROOT, file("/a", "0 9 1 0 0 0 0.0 - - -")], /bad mode: 9/],
  ["a bad number", [ROOT, file("/a", "0 100644 1 -1 0 0 0.0 - - -")], /bad number: -1/],
  ["a big number", [ROOT, file("/a", "0 100644 1 4294967296 0 0 0.0 - - -")], /bad number/],
  ["a bad time", [ROOT, file("/a", "0 100644 1 0 0 0 5 - - -")], /bad time: 5/],
  ["a bad digest", [ROOT, file("/a", "9 100644 1 0 0 0 0.0 - - abcd")], /no SHA-256 or SHA-512 digest/],
  ["a bad escape", [ROOT, file("/a\\q")], /bad escape: \\\\q/],
  ["half an escape", [ROOT, file("/a\\x1")], /bad escape/],
  ["an escape cut off", [ROOT, file("/a\\")], /bad escape/],
  ["an xattr without a value", [ROOT, `${file("/a")} user.x`], /bad xattr of \/a: user.x/],
  ["an xattr without a name", [ROOT, `${file("/a")} =x`], /bad xattr/],
  ["content of another size", [ROOT, file("/a", "4 100644 1 0 0 0 0.0 - abc -")], /3 bytes of content and a size of 4/],
  ["a device with content", [ROOT, file("/a", "3 20644 1 0 0 5 0.0 - abc -")], /which is no file but a character/],
  ["a link without a target", [ROOT, file("/a", "0 120777 1 0 0 0 0.0 - - -")], /target of 0 bytes/],
  ["a huge file", [ROOT, file("/a", "9007199254740993 100644 1 0 0 0 0.0 - - -")], /bad number/],
  ["a long link", [ROOT, file("/a", `0 120777 1 0 0 0 0.0 ${"x".repeat(4096)} - -`)], /target of 4096 bytes/],
  ["a hard link to nothing", [ROOT, file("/a", "0 @100644 1 0 0 0 0.0 /b - -")], /hard link to nothing/],
  ["a hard link without target", [ROOT, file("/a", "0 @100644 1 0 0 0 0.0 - - -")], /hard link to nothing/],
  [
    "a hard link to a directory",
    [ROOT, file("/a", "0 @100644 1 0 0 0 0.0 / - -")],
    /hard link to (a directory|nothing)/,
  ],
  [
    "a hard link to a directory below",
    [ROOT, "/d 0 40755 2 0 0 0 0.0 - - -", file("/a", "0 @100644 1 0 0 0 0.0 /d - -")],
    /hard link to a directory/,
  ],
  ["a hard link of a directory", [ROOT, file("/a", "0 @40755 1 0 0 0 0.0 /b - -")], /hard link of a directory/],
  ["a hard link to itself", [ROOT, file("/a", "0 @100644 1 0 0 0 0.0 /a - -")], /hard link to itself/],
  [
    "hard links in a circle",
    [ROOT, file("/a", "0 @100644 1 0 0 0 0.0 /b - -"), file("/b", "0 @100644 1 0 0 0 0.0 /a - -")],
    /hard link to itself/,
  ],
] as const)
  test(`a dump with ${what} is refused`, () => {
    assert.throws(() => dump(...lines), { kind: "FormatError", message: pattern });
  });

for (const [what, line, code] of [
  ["a long name", file(`/${"n".repeat(256)}`), "name-too-long"],
  ["a long xattr name", `${file("/a")} user.${"n".repeat(251)}=`, "xattr-name"],
  ["a large xattr", `${file("/a")} user.a=${"n".repeat(65_536)}`, "xattr-value"],
  ["many xattrs", `${file("/a")} user.a=${"n".repeat(20_000)} user.b=${"n".repeat(20_000)}`, "xattr-total"],
] as const)
  test(`a tree with ${what} is refused`, () => {
    assert.throws(() => write(dump(ROOT, line).root, 1), { kind: "UnsupportedError", code });
  });

test("content that cannot stand in an image is refused", () => {
  const line = file("/a", `5001 100644 1 0 0 0 0.0 - ${"c".repeat(5001)} -`);
  assert.throws(() => dump(ROOT, line), { kind: "UnsupportedError", code: "inline-too-large" });
});

test("a second name of a whiteout is refused", () => {
  const { root } = dump(ROOT, file("/a", "0 20000 1 0 0 0 0.0 - - -"), file("/b", "0 @20000 1 0 0 0 0.0 /a - -"));
  assert.throws(() => write(root, 1), { kind: "FormatError", code: "whiteout-linked" });
});

test("images that are cut, longer, or of an unknown version are refused", async () => {
  const { bytes } = write(dump(ROOT, file("/a", "9 100644 1 0 0 0 0.0 x - -")).root, 1);
  const open = (changed: Uint8Array) => openComposefs(bytesSource(changed));
  await assert.rejects(open(bytes.subarray(0, 500)), { kind: "FormatError", code: "truncated" });
  await assert.rejects(open(bytes.subarray(0, 4096)), { kind: "FormatError", code: "truncated" });
  await assert.rejects(open(new Uint8Array([...bytes, 0])), { kind: "FormatError", code: "trailing-bytes" });
  for (const [at, value, kind] of [
    [0, 0, "FormatError"],
    [4, 2, "UnsupportedError"],
    [12, 3, "UnsupportedError"],
  ] as const) {
    const changed = bytes.slice();
    changed[at] = value;
    await assert.rejects(open(changed), { kind });
  }
});

test("what is sent to the store must have nothing in the image", async () => {
  const { bytes } = write(dump(ROOT, file("/a", "9 100644 1 0 0 0 0.0 x - -")).root, 1);
  // The only chunk address: four bytes of 0xff in the image.
  const at = Buffer.from(bytes).indexOf(Buffer.from([0xff, 0xff, 0xff, 0xff]));
  const changed = bytes.slice();
  changed.fill(0, at, at + 4);
  await assert.rejects(readComposefsTree(await openComposefs(bytesSource(changed))), { code: "composefs-chunks" });
});
