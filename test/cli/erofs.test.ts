// `ashlar fsck` and `ashlar dump` as people use them.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fromUtf8 } from "../../core/src/bytes/index.ts";
import { inlineClusterEncoder } from "../../core/src/codecs/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { attributes, directory, regularFile } from "../../core/src/tree/index.ts";
import { ashlar, ashlarOk } from "../support/ashlar.ts";
import { writeImage } from "../support/erofs-images.ts";
import { workFolder } from "../support/samples.ts";

const CONTENT = new TextEncoder().encode("An ashlar is a squared stone, checked before it is laid. ".repeat(3000));

/** One compressed file and one that is not. */
async function sampleImage(folder: string): Promise<string> {
  const path = join(folder, "image.erofs");
  const root = directory(attributes(0o755), [
    [fromUtf8("noise"), regularFile(attributes(0o644), bytesSource(Uint8Array.of(1, 2, 3)))],
    [fromUtf8("text"), regularFile(attributes(0o640), bytesSource(CONTENT))],
  ]);
  const compression = { encoder: inlineClusterEncoder(), algorithm: "lz4", level: 1, clusterSize: 4096 } as const;
  await writeImage(root, path, { compression });
  return path;
}

test("a sound image: nothing is wrong, and its files come out", async (t) => {
  const folder = workFolder(t);
  const path = await sampleImage(folder);
  assert.equal(ashlarOk(["fsck", path]).stdout, `${path}: nothing is wrong\n`);
  const target = join(folder, "tree");
  const result = JSON.parse(ashlarOk(["fsck", "--json", "--extract", target, path]).stdout);
  assert.equal(result.schema, "ashlar.fsck/v1");
  assert.equal(result.ok, true);
  assert.deepEqual(result.findings, []);
  assert.equal(result.extracted.entries, 2);
  assert.deepEqual(await readFile(join(target, "text")), Buffer.from(CONTENT));
});

test("a broken image: every error with its place, exit code 3, nothing extracted", async (t) => {
  const folder = workFolder(t);
  const path = await sampleImage(folder);
  const bytes = await readFile(path);
  const dumped = JSON.parse(ashlarOk(["dump", "--json", "--path", "/text", path]).stdout);
  const { start, storedSize } = dumped.inodes[0].extents[0];
  bytes.fill(0xff, start + storedSize - 20, start + storedSize);
  bytes[4000] = 1; // behind the superblock, covered by its checksum
  await writeFile(path, bytes);
  const plain = ashlar(["fsck", path]);
  assert.equal(plain.status, 3);
  assert.match(
    plain.stdout,
    /^error: the checksum of the superblock does not match, at byte 1024 \[superblock-checksum\]$/m,
  );
  assert.match(plain.stdout, /^error: \/text: .* at byte \d+ \[bad-compression\]$/m);
  assert.match(plain.stdout, /^warning: .* \[padding\]$/m);
  assert.match(plain.stdout, /: 2 errors, 1 warning\n$/);
  const target = join(folder, "tree");
  const extracting = ashlar(["fsck", "--extract", target, path]);
  assert.equal(extracting.status, 3);
  assert.match(extracting.stdout, /nothing is extracted/);
  assert.match(extracting.stdout, /\/text: .*\[bad-compression\]/);
  assert.ok(!existsSync(target));
  // Everything else refuses it for its checksum.
  assert.equal(ashlar(["dump", path]).status, 5);
  assert.equal(ashlar(["extract", path, target]).status, 5);
});

test("data that only extraction meets is found in the whole image", async (t) => {
  const folder = workFolder(t);
  const path = await sampleImage(folder);
  const bytes = await readFile(path);
  const dumped = JSON.parse(ashlarOk(["dump", "--json", "--path", "/text", path]).stdout);
  const { start, storedSize } = dumped.inodes[0].extents[0];
  bytes.fill(0xff, start + storedSize - 20, start + storedSize);
  await writeFile(path, bytes);
  assert.equal(ashlarOk(["fsck", "--metadata", path]).stdout, `${path}: nothing is wrong\n`);
  const target = join(folder, "tree");
  const result = ashlar(["fsck", "--json", "--extract", target, path]);
  assert.equal(result.status, 3);
  const { findings, extracted, ok } = JSON.parse(result.stdout);
  assert.equal(ok, false);
  assert.equal(extracted, null);
  assert.deepEqual(
    findings.map(({ severity, code, path: where }: { severity: string; code: string; path: string }) => [
      severity,
      code,
      where,
    ]),
    [["error", "bad-compression", "/text"]],
  );
  assert.ok(!existsSync(target));
});

test("dump: superblock, inodes, and every byte", async (t) => {
  const path = await sampleImage(workFolder(t));
  const { size } = bytesSource(await readFile(path));
  const shown = ashlarOk(["dump", path]).stdout;
  assert.match(shown, /^ {2}algorithms +lz4$/m);
  assert.match(shown, new RegExp(`^ {2}the image +${size}$`, "m"));
  const one = ashlarOk(["dump", "--path", "/text", path]).stdout;
  assert.match(
    one,
    /^\/text: inode \d+, file, mode 0640, owner 0:0, 1 link\n {2}compressed-compact, 171000 bytes in \d+,/,
  );
  assert.match(one, /^ {2}0\.\.\d+ +lz4 +\d+\.\.\d+$/m);
  const whole = JSON.parse(ashlarOk(["dump", "--json", "--bytes", "--inodes", path]).stdout);
  assert.equal(whole.schema, "ashlar.dump/v1");
  assert.deepEqual(
    whole.inodes.map((inode: { path: string }) => inode.path),
    ["/", "/noise", "/text"],
  );
  const sum = (list: readonly { size?: number; bytes?: number }[]) =>
    list.reduce((total, { size: run, bytes }) => total + (run ?? bytes ?? 0), 0);
  assert.equal(sum(whole.bytes), size);
  assert.equal(sum(whole.space), size);
  assert.equal(whole.bytes.find((run: { kind: string }) => run.kind === "compressed data").owner, "/text");
});

test("bad usage and what is no image", async (t) => {
  const folder = workFolder(t);
  const path = await sampleImage(folder);
  const other = join(folder, "other");
  await writeFile(other, "no image");
  for (const [args, status, pattern] of [
    [["fsck", other], 3, /neither an EROFS image nor a disk/],
    [["fsck", join(folder, "absent")], 7, /absent/],
    [["fsck", "--extract", folder, path], 8, /not empty/],
    [["dump", "--path", "/nothing", path], 7, /no such file/],
    [["dump", "--nid", "x", path], 2, /not an inode number/],
    [["dump", "--nid", "99999999", path], 3, /lies outside the image/],
    [["fsck", "--device", other, path], 3, /0 further devices, 1 were given/],
  ] as const) {
    const result = ashlar(args);
    assert.equal(result.status, status, `${args.join(" ")}: ${result.stdout}${result.stderr}`);
    assert.match(result.stdout + result.stderr, pattern);
  }
});
