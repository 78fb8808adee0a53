import assert from "node:assert/strict";
import { chmodSync, chownSync, lstatSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type ByteString, bytesOf } from "../bytes/index.ts";
import { bytesSource } from "../source/index.ts";
import { attributes, directory, regularFile } from "../tree/index.ts";
import { extractTree } from "./extract.ts";
import { loadNativeCalls } from "./native.ts";

const isRoot = process.getuid?.() === 0;
const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];

/** Files of the usual and of unusual modes and owners, in a directory. */
function sample(others: boolean) {
  const file = (mode: number, own = { uid, gid }) =>
    regularFile(
      { ...attributes(mode, own), mtime: 1_234_567_890_123_456_789n },
      bytesSource(new Uint8Array(5000).fill(mode)),
    );
  const files: [string, ReturnType<typeof file>][] = [0o644, 0o755, 0o666, 0o777, 0o000, 0o4755, 0o2755, 0o1644].map(
    (mode) => [`mode-${mode.toString(8)}`, file(mode)],
  );
  if (others) files.push(["other", file(0o6755, { uid: 1234, gid: 4321 })], ["group", file(0o640, { uid, gid: 42 })]);
  const below = directory(attributes(0o2775, { uid, gid }), files as [ByteString, ReturnType<typeof file>][]);
  return directory(attributes(0o755, { uid, gid }), [["below" as ByteString, below], ...below.entries]);
}

function assertRestored(tree: ReturnType<typeof sample>, at: string): void {
  for (const [name, node] of tree.entries) {
    const path = join(at, name);
    const stat = lstatSync(path, { bigint: true });
    const found = { mode: Number(stat.mode) & 0o7777, uid: Number(stat.uid), gid: Number(stat.gid) };
    assert.deepEqual(found, { mode: node.mode, uid: node.uid, gid: node.gid }, path);
    assert.equal(stat.mtimeNs, node.mtime, path);
    if (node.type === "directory") assertRestored(node, path);
  }
}

/** An access control list as Linux has it in an xattr: everything for the owner, nothing for anybody else. */
const STRICT_ACL = new Uint8Array([
  ...[2, 0, 0, 0],
  ...[1, 0, 7, 0, 255, 255, 255, 255],
  ...[4, 0, 0, 0, 255, 255, 255, 255],
  ...[32, 0, 0, 0, 255, 255, 255, 255],
]);

const PLACES: Readonly<Record<string, (target: string) => boolean>> = {
  "an ordinary directory": () => true,
  "a directory that gives its group to what is made in it": (target) => {
    if (!isRoot) return false;
    chownSync(target, 0, 4242);
    chmodSync(target, 0o2755);
    return true;
  },
  "a directory with a default access control list": (target) =>
    loadNativeCalls()?.setXattr(
      bytesOf(target as ByteString),
      bytesOf("system.posix_acl_default" as ByteString),
      STRICT_ACL,
    ) === 0,
};

for (const [place, prepare] of Object.entries(PLACES))
  test(`owners, modes and times are the image's in ${place}`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "ashlar-extract-"));
    const umask = process.umask(0o022);
    try {
      const target = join(folder, "target");
      mkdirSync(target);
      if (!prepare(target)) return t.skip("not possible here");
      const tree = sample(isRoot);
      const { notes } = await extractTree(tree, target, { privileged: isRoot });
      assert.deepEqual(notes, []);
      assertRestored(tree, target);
    } finally {
      process.umask(umask);
      rmSync(folder, { recursive: true, force: true });
    }
  });
