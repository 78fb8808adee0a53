// Our check and dump against fsck.erofs and dump.erofs: on images of mkfs.erofs as they are, and spoiled.
import assert from "node:assert/strict";
import { link, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, test } from "node:test";
import { crc32cRegister } from "../../core/src/bytes/index.ts";
import {
  checksummedSize,
  RawDirent,
  RawInodeCompact,
  RawInodeExtended,
  RawSuperblock,
  RawXattrEntry,
  RawXattrHeader,
  SUPERBLOCK_OFFSET,
} from "../../core/src/formats/erofs/format.ts";
import { RawClusterIndex, RawMapHeader } from "../../core/src/formats/erofs/format-compressed.ts";
import {
  checkErofs,
  dumpInode,
  dumpSpace,
  dumpSuperblock,
  openErofs,
  walkErofs,
} from "../../core/src/formats/erofs/index.ts";
import { mapHeaderStart } from "../../core/src/formats/erofs/map-header.ts";
import { loadNativeCalls } from "../../core/src/node/native.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { mutateBytes, type Placement, seededRandom } from "../support/mutate.ts";
import { type Oracle, requireOracle } from "../support/oracle.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";
/** Spoiled images of each kind; ASHLAR_FUZZ_CASES says another number. */
const MUTANTS = Number(process.env["ASHLAR_FUZZ_CASES"] ?? (isLong ? 2000 : 30));

/** Each with a kind of map of its own. */
const KINDS: readonly (readonly string[])[] = [
  [],
  ["-b1024", "-Eforce-inode-extended"],
  ["-zlz4"],
  ["-zlz4hc,9", "-C16384", "-Elegacy-compress"],
  ["-zzstd", "-C16384", "-Efragments"],
  ["-zdeflate", "-C16384", "-Eztailpacking"],
  ["-zzstd", "-C16384", "-E48bit"],
  ["-zlzma", "-C16384", "-Ededupe"],
  ["--chunksize=4096"],
  ["-zzstd", "-m4096:zstd"],
];

const text = (size: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: size }, (_, i) => 97 + (((i * i * seed) >> 9) % (5 + seed)));

async function writeTree(folder: string): Promise<string> {
  const tree = join(folder, "tree");
  await mkdir(join(tree, "dir/many"), { recursive: true });
  await writeFile(join(tree, "large"), text(200_000, 3));
  await writeFile(join(tree, "again"), text(200_000, 3));
  await writeFile(join(tree, "dir/middle"), text(9000, 5));
  await writeFile(join(tree, "dir/noise"), (await readFile(process.execPath)).subarray(40_000_000, 40_030_000));
  await writeFile(join(tree, "empty"), "");
  for (let i = 0; i < 60; i++) await writeFile(join(tree, `dir/many/${i}`), text(i * 40, i));
  // Where the folder's file system has xattrs: 36 names, so that a wrong hash of name filters would show.
  const native = loadNativeCalls();
  for (let i = 0; i < 12; i++)
    for (const name of ["a", `name ${i}`, `a name of more than sixteen bytes ${i}`])
      native?.setXattr(Buffer.from(join(tree, `dir/many/${i}`)), Buffer.from(`user.${name}`), text(i, 1));
  await symlink("dir/middle", join(tree, "link"));
  await link(join(tree, "large"), join(tree, "name"));
  return tree;
}

/** Where fields are that spoiling sets to their limits. */
async function placementsOf(bytes: Uint8Array): Promise<Placement[]> {
  const image = await openErofs(bytesSource(bytes));
  const placements: Placement[] = [{ struct: RawSuperblock, offset: SUPERBLOCK_OFFSET }];
  const add = (struct: Placement["struct"], offset: number): void => {
    if (offset + struct.size <= bytes.length) placements.push({ struct, offset });
  };
  for await (const { inode, isKnown, name } of walkErofs(image)) {
    if (isKnown || inode.isInMetabox || /^[1-5][0-9]$/.test(name)) continue;
    const xattrs = inode.position + inode.inodeSize;
    add(inode.isExtended ? RawInodeExtended : RawInodeCompact, inode.position);
    if (inode.xattrSize > 0) {
      add(RawXattrHeader, xattrs);
      add(RawXattrEntry, xattrs + RawXattrHeader.size);
    }
    if (inode.layout === "compressed-full" || inode.layout === "compressed-compact") {
      const header = mapHeaderStart(inode);
      add(RawMapHeader, header);
      for (let i = 1; i < 6; i++) add(RawClusterIndex, header + i * RawClusterIndex.size);
    }
    if (inode.type !== "directory") continue;
    for await (const { start, encoding } of image.extents(inode))
      if (encoding === "plain") for (let i = 0; i < 4; i++) add(RawDirent, start + i * RawDirent.size);
  }
  return placements;
}

/** So that not every spoiled superblock ends at its checksum. */
function repairChecksum(bytes: Uint8Array): void {
  if (bytes.length < SUPERBLOCK_OFFSET + RawSuperblock.size) return;
  const { blockBits } = RawSuperblock.view(bytes, SUPERBLOCK_OFFSET);
  const covered = bytes.slice(SUPERBLOCK_OFFSET, SUPERBLOCK_OFFSET + checksummedSize(2 ** (blockBits % 20)));
  const { offset, size } = RawSuperblock.fields.checksum;
  covered.fill(0, offset, offset + size);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint32(SUPERBLOCK_OFFSET + offset, crc32cRegister(covered, 0xffffffff), true);
}

const errorsOf = async (bytes: Uint8Array) =>
  (await checkErofs(bytesSource(bytes))).filter(({ severity }) => severity === "error");

/** The extents that `dump.erofs -e` prints. */
function parseExtents(output: string): (readonly number[])[] {
  const row = /^\s*\d+:\s+(\d+)\.\.\s*(\d+) \|\s*\d+ :\s+(\d+)\.\.\s*(\d+) \|/gm;
  return [...output.matchAll(row)].map((match) => match.slice(1).map(Number));
}

describe("images of mkfs.erofs", () => {
  let folder = "";
  let tree = "";
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "ashlar-erofs-check-"));
    tree = await writeTree(folder);
  });
  after(() => rm(folder, { recursive: true }));

  for (const [i, options] of KINDS.entries())
    test(options.join(" ") || "no options", async (t) => {
      const mkfs = requireOracle(t, "mkfs.erofs", { from: "tools" });
      const fsck = requireOracle(t, "fsck.erofs", { from: "tools" });
      const dump = requireOracle(t, "dump.erofs", { from: "tools" });
      if (mkfs === undefined || fsck === undefined || dump === undefined) return;
      const path = join(folder, `${i}.img`);
      await mkfs.ok([...options, "-T0", "-U00000000-0000-0000-0000-000000000001", "--quiet", path, tree]);
      const bytes = Uint8Array.from(await readFile(path));
      assert.deepEqual(await errorsOf(bytes), []);
      await sameDump(bytes, path, dump);
      const { wanted, missed } = await spoil(bytes, join(folder, "spoiled.img"), fsck, options.join(" "));
      assert.deepEqual(missed, []);
      assert.ok(wanted > 0, "fsck.erofs found nothing in any spoiled image");
    });
});

/** Superblock, and every extent of two files; and our own account adds up. */
async function sameDump(bytes: Uint8Array, path: string, dump: Oracle): Promise<void> {
  const image = await openErofs(bytesSource(bytes));
  const superblock = dumpSuperblock(image);
  const theirs = (await dump.ok(["-s", path])).stdout;
  const value = (name: string): string | undefined =>
    new RegExp(`^Filesystem ${name}:\\s+(\\S+)`, "m").exec(theirs)?.[1];
  assert.equal(superblock.blockSize, Number(value("blocksize")));
  assert.equal(superblock.blockCount, Number(value("blocks")));
  assert.equal(superblock.inodeCount, Number(value("inode count")));
  assert.equal(superblock.uuid, value("UUID"));
  for (const file of ["/large", "/dir/noise"]) {
    const inode = await image.lookup(file);
    assert.ok(inode);
    const { extents } = await dumpInode(image, inode, file);
    const output = (await dump.ok(["-e", `--path=${file}`, path])).stdout;
    // dump.erofs gives fragments no place and counts the last block of plain data as a whole.
    const ours = extents.map(({ at, size, space, start, storedSize }) =>
      space === "packed" ? [at, at + size, 0, 0] : [at, at + size, start, start + storedSize],
    );
    const isFlat = inode.layout === "flat-plain" || inode.layout === "flat-inline";
    const whole = (end: number): number => (inode.layout === "chunk-based" ? Math.ceil(end / 4096) * 4096 : end);
    const rounded = ours.map(([at = 0, to = 0, start = 0, end = 0]) => [at, whole(to), start, whole(end)]);
    if (!isFlat) assert.deepEqual(rounded, parseExtents(output), file);
  }
  const { space, problems } = await dumpSpace(image);
  assert.deepEqual(
    problems.filter(({ severity }) => severity === "error"),
    [],
  );
  assert.equal(
    space.reduce((sum, use) => sum + use.bytes, 0),
    bytes.length,
  );
}

/** Whatever fsck.erofs finds fault with, we do too. */
async function spoil(
  bytes: Uint8Array,
  path: string,
  fsck: Oracle,
  seed: string,
): Promise<{ readonly wanted: number; readonly missed: readonly string[] }> {
  let wanted = 0;
  let count = 0;
  const missed: string[] = [];
  for (const { what, bytes: spoiled } of mutateBytes(bytes, await placementsOf(bytes), seededRandom(seed))) {
    if (++count > MUTANTS) break;
    if (count % 4 !== 0) repairChecksum(spoiled);
    await writeFile(path, spoiled);
    const { status, stdout, stderr } = await fsck.run(["--extract", path], { timeout: 3000 });
    if (status === 0 || status === null) continue; // null: it crashed or did not end, which says nothing about the image
    wanted++;
    if ((await errorsOf(spoiled)).length === 0)
      missed.push(`case ${count} (${what}): ${(stderr || stdout).slice(0, 200)}`);
  }
  return { wanted, missed };
}
