// Every form of a root on the kernels that it is declared for: Linux 6.1 of bookworm and 6.12 of trixie, in QEMU.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, readFileSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { test } from "node:test";
import { alignUp, type ByteString, bytesOf, fromUtf8 } from "../../core/src/bytes/index.ts";
import { openErofs, walkErofs } from "../../core/src/formats/erofs/index.ts";
import { readTarEntries } from "../../core/src/formats/tar/index.ts";
import { openFile } from "../../core/src/node/index.ts";
import type { Release } from "../../core/src/ops/release/index.ts";
import { chunksOf, type Source } from "../../core/src/source/index.ts";
import { attributes, type Directory, directory, putNode, walkTree } from "../../core/src/tree/index.ts";
import { ashlarOk } from "../support/ashlar.ts";
import { compressibleTree } from "../support/erofs-contents.ts";
import { folder } from "../support/erofs-images.ts";
import { randomTree } from "../support/erofs-random-trees.ts";
import { requireSystem } from "../support/oracle.ts";
import { tarOfTree, treeOfTar } from "../support/tar-tree.ts";
import { boot, buildDisk } from "./proof.ts";

/** Milliseconds; an emulated processor decompresses and hashes all of /usr. */
const READ_TIMEOUT = 900_000;

const isLong = process.env["ASHLAR_LONG"] === "true";

/** What `sha256sum` says of every file below /usr whose name is plain, in byte order of the paths, hashed itself. */
async function digestOfUsr(image: string): Promise<string> {
  await using source = await openFile(image);
  const opened = await openErofs(source);
  const lines: [string, string][] = [];
  for await (const { path, inode } of walkErofs(opened)) {
    if (!path.startsWith("usr/") || inode.type !== "file" || !/^[!-[\]-~]+$/.test(path)) continue;
    const hash = createHash("sha256");
    for await (const chunk of chunksOf(opened.content(inode))) hash.update(chunk);
    lines.push([path, `${hash.digest("hex")}  ${path}\n`]);
  }
  const hash = createHash("sha256");
  for (const [, line] of lines.sort(([a], [b]) => (a < b ? -1 : 1))) hash.update(line);
  return hash.digest("hex");
}

// sha256sum writes a backslash in a name in a way of its own.
const COMMAND = [
  "cd / && find usr -xdev -type f -print0",
  "LC_ALL=C grep -zvE '[^[:graph:]]|[\\\\]'",
  "LC_ALL=C sort -z",
  "LC_ALL=C xargs -0 sha256sum",
  "sha256sum",
  "cut -c1-64",
].join(" | ");

for (const [suite, flags, expected] of [
  ["bookworm", ["--compress", "auto"], "lz4hc,9"],
  ["bookworm", ["--compress", "lz4", "--cluster", "4096", "--tails", "inline"], "lz4"],
  ["trixie", ["--compress", "auto"], undefined], // by what its configuration says
  ["trixie", ["--compress", "lz4hc,9", "--cluster", "1M"], "lz4hc,9"],
] as const)
  test(`${suite} ${flags.join(" ")}: every file of /usr reads back`, {
    skip: isLong ? false : "slow: --long",
  }, async (t) => {
    const built = await buildDisk(t, suite, flags);
    const { options } = JSON.parse(readFileSync(join(built.folder, "ashlar-test_1.release.json"), "utf8")) as Release;
    const { compress } = options;
    t.diagnostic(`${compress}, ${built.release.kernelVersion}`);
    if (expected !== undefined) assert.equal(compress, expected);
    assert.ok(compress !== undefined);
    await using guest = await boot(t, built, "first boot");
    assert.equal(
      await guest.ok(COMMAND, READ_TIMEOUT),
      await digestOfUsr(join(built.folder, "ashlar-test_1.root.erofs")),
    );
    await guest.powerOff();
  });

/** Where contents stand in each; the guest's own kernel decides what is allowed. */
const FORMS: readonly string[] = [
  "--tails inline",
  "--chunksize 4096",
  "--chunksize 64K --tails inline",
  "--compress lz4 --tails ztailpacking",
  "--compress lz4hc,4 --cluster 64K --tails ztailpacking",
  "--compress lz4hc,4 --tails fragments",
  "--compress lz4hc,4 --cluster 64K --tails fragments",
];

const ZSTD_FORMS: readonly string[] = [
  "--compress zstd,1 --cluster 4096 --tails ztailpacking",
  "--compress zstd,1 --cluster 64K --tails ztailpacking",
  "--compress zstd,1 --cluster 64K --tails fragments",
];

/** Random trees in the odd part. */
const ODD_TREES = 60;

/** Files with every size, holes and ends that a form can go wrong at. */
function oddTree(): Directory {
  const root = directory(attributes(0o755));
  putNode(root, fromUtf8("odd"), compressibleTree(1, { large: [(4 << 20) + 1] }));
  for (let i = 0; i < ODD_TREES; i++)
    putNode(root, fromUtf8(`odd/random-${i}`), randomTree(`boot ${i}`, { forMount: true }));
  return root;
}

/** The archive `tar` without its end, and the odd files behind it. */
async function addOddFiles(tar: string, source: Source, path: string): Promise<void> {
  let end = 0;
  for await (const { contentOffset, storedSize } of readTarEntries(source))
    end = contentOffset + alignUp(storedSize, 512);
  await pipeline(createReadStream(tar, { end: end - 1 }), createWriteStream(path));
  await pipeline([await tarOfTree(oddTree())], createWriteStream(path, { flags: "a" }));
}

/** Digests of all files and their paths, as `LIST` prints them. */
async function listTree(root: Directory): Promise<string> {
  const lines: [ByteString, string][] = [];
  for (const { path, node } of walkTree(root)) {
    if (node.type !== "file") continue;
    const hash = createHash("blake2b512");
    for await (const chunk of chunksOf(node.content)) hash.update(chunk);
    lines.push([path, hash.digest("hex")]);
  }
  const hash = createHash("blake2b512");
  for (const [path, digest] of lines.sort(([a], [b]) => (a < b ? -1 : 1)))
    hash.update(`${digest}  ./`).update(bytesOf(path)).update("\0");
  return hash.digest("hex");
}

const LIST = "find . -type f -print0 | LC_ALL=C sort -z | xargs -0 b2sum -z | b2sum | cut -d ' ' -f 1";

for (const [suite, system, forms] of [
  ["bookworm", "--chunksize 4096", FORMS],
  ["trixie", "--compress lz4hc,4 --cluster 64K --tails fragments", [...FORMS, ...ZSTD_FORMS]],
] as const)
  test(`${suite}, booted from ${system}: images of every other form read back`, {
    skip: isLong ? false : "slow: --long",
  }, async (t) => {
    const tar = requireSystem(t, suite);
    if (tar === undefined) return;
    const work = await folder(t);
    await using source = await openFile(tar);
    const input = join(work, "input.tar");
    await addOddFiles(tar, source, input);
    await using whole = await openFile(input);
    const expected = await listTree(await treeOfTar(whole));
    const seal = (flags: string, i: number): string => {
      const out = join(work, `${i}`);
      ashlarOk(["seal", `tar:${input}`, "-o", out, "--name", "x", "--quiet", ...flags.split(" ")]);
      return join(out, "x.root.erofs");
    };
    const built = await buildDisk(t, suite, system.split(" "));
    await using guest = await boot(t, built, "boot", forms.map(seal));
    for (const [i, flags] of forms.entries())
      await t.test(flags, async () => {
        const device = `/dev/disk/by-id/virtio-ashlar${i + 1}`;
        await guest.ok(`mkdir -p /run/image && mount -t erofs -o ro ${device} /run/image`, READ_TIMEOUT);
        assert.equal(await guest.ok(`cd /run/image && ${LIST}`, READ_TIMEOUT), expected);
        await guest.ok("umount /run/image");
      });
    await guest.powerOff();
  });
