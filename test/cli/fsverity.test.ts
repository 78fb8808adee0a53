/** `ashlar fsverity verify` on files that are not the wanted ones. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ashlar, ashlarOk } from "../support/ashlar.ts";

let folder = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "ashlar-fsverity-"));
});
after(() => rm(folder, { recursive: true }));

test("a changed file fails with exit code 5, and the tree names the block", async () => {
  const path = join(folder, "file");
  const tree = join(folder, "tree");
  const bytes = new Uint8Array(50_000).map((_, i) => i >> 8);
  await writeFile(path, bytes);
  const digest = ashlarOk(["fsverity", "digest", "--compact", "--out-merkle-tree", tree, path]).stdout.trim();
  bytes[20_000] = 255;
  await writeFile(path, bytes);
  const plain = ashlar(["fsverity", "verify", digest, path]);
  assert.equal(plain.status, 5);
  assert.match(plain.stderr, /file: fs-verity digest is [0-9a-f]{64}, expected [0-9a-f]{64}\n$/);
  const named = ashlar(["fsverity", "verify", "--merkle-tree", tree, digest, path]);
  assert.equal(named.status, 5);
  assert.match(named.stderr, /block 4 at byte 16384 does not match/);
});

test("bad usage is refused and leaves nothing behind", async () => {
  const path = join(folder, "some");
  await writeFile(path, "text");
  const before = (await readdir(folder)).sort();
  for (const [args, status, pattern] of [
    [["digest", "--out-merkle-tree", join(folder, "t"), path, path], 6, /for one FILE/],
    [["digest", "--out-merkle-tree", path, path], 8, /exists already/],
    [["digest", "--block-size", "512", path], 2, /not a power of two/],
    [["digest", "--salt", "ab".repeat(33), path], 2, /not a salt/],
    [["digest", join(folder, "absent")], 7, /absent/],
    [["verify", "sha256:12", path], 3, /not a sha256 digest/],
    [["verify", "md5:00000000000000000000000000000000", path], 4, /md5/],
  ] as const) {
    const result = ashlar(["fsverity", ...args]);
    assert.equal(result.status, status, result.stderr);
    assert.match(result.stderr, pattern);
  }
  assert.deepEqual((await readdir(folder)).sort(), before);
  assert.equal(await readFile(path, "utf8"), "text");
});
