// Thousands of random trees: what our writer writes is read by the kernel and by us as it was, with every set of options,
// and what mkfs.erofs writes is read by us as by the kernel. ASHLAR_LONG=true runs far more; ASHLAR_SEED draws others. A
// tree is told by its seed.
import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fromUtf8 } from "../../core/src/bytes/index.ts";
import type { ClusterEncoder } from "../../core/src/codecs/index.ts";
import { checkErofs, openErofs, readTree, writeErofs } from "../../core/src/formats/erofs/index.ts";
import { describeTree } from "../../core/src/formats/erofs/trees.test.ts";
import { createClusterEncoder, nativeDecompressor, nodeHashes } from "../../core/src/node/index.ts";
import { bytesSource, memorySink } from "../../core/src/source/index.ts";
import { attributes, type Directory, directory, putNode } from "../../core/src/tree/index.ts";
import {
  assertSame,
  expected,
  fileSource,
  folder,
  requireMount,
  type Seen,
  seenByKernel,
  withMount,
  writeImage,
} from "../support/erofs-images.ts";
import { randomTree } from "../support/erofs-random-trees.ts";
import { WRITER_SETS, writerOptions } from "../support/erofs-writers.ts";
import { requireOracle } from "../support/oracle.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";
const SEED = process.env["ASHLAR_SEED"] ?? "1";
/** Trees for each of our sets, read by us and by the kernel; trees for each set of mkfs.erofs. */
const TREES = Number(process.env["ASHLAR_RUNS"] ?? (isLong ? 100 : 8));
const MKFS_TREES = isLong ? 60 : 8;
/** Trees of one image. */
const GROUP = 30;

const decompressor = nativeDecompressor();
let encoder: ClusterEncoder & AsyncDisposable;
before(() => {
  encoder = createClusterEncoder({ workers: 2 });
});
after(() => encoder[Symbol.asyncDispose]());

/** Runs `body` and puts into what it throws which tree it was. */
async function named(what: string, body: () => Promise<void>): Promise<void> {
  try {
    await body();
  } catch (error) {
    throw new Error(`${what}: ${(error as Error).message}`, { cause: error });
  }
}

for (const [index, set] of WRITER_SETS.entries()) {
  const shown = JSON.stringify(set);
  test(`random trees, written and read by us: ${shown}`, async (t) => {
    for (let i = 0; i < TREES; i++) {
      const seed = `${SEED} ours ${index} ${i}`;
      await named(`tree ${JSON.stringify(seed)}`, async () => {
        const root = randomTree(seed);
        const sink = memorySink();
        const { size } = await writeErofs(root, sink, { hashes: nodeHashes, ...writerOptions(set, encoder) });
        sink.setSize(size);
        const source = bytesSource(sink.bytes());
        assert.deepEqual(await checkErofs(source, { decompressor }), []);
        assert.deepEqual(
          await describeTree(await readTree(await openErofs(source, { decompressor }))),
          await describeTree(root),
        );
      });
    }
    t.diagnostic(`${TREES} trees`);
  });

  test(`random trees, written by us and read by the kernel: ${shown}`, async (t) => {
    const tools = requireMount(t);
    if (tools === undefined) return;
    const path = join(await folder(t), "image");
    for (let from = 0; from < TREES; from += GROUP) {
      const root = groupOf(`${SEED} kernel ${index}`, from, Math.min(from + GROUP, TREES));
      await writeImage(root, path, writerOptions(set, encoder));
      const fsck = requireOracle(t, "fsck.erofs", { from: "tools" });
      await fsck?.ok(["--extract", path]); // decodes all data, writes nothing
      const seen = await withMount(tools, path, (at) => seenByKernel(tools.python, at));
      assertSame(seen, await expected(root), shown); // the path begins with the tree's seed
    }
    t.diagnostic(`${TREES} trees`);
  });
}

/** Random trees side by side, each in a directory named by its seed. */
function groupOf(seed: string, from: number, to: number, maxName?: number): Directory {
  const root = directory(attributes(0o755));
  for (let i = from; i < to; i++)
    putNode(
      root,
      fromUtf8(`${seed} ${i}`),
      randomTree(`${seed} ${i}`, { forMount: true, ...(maxName && { maxName }) }),
    );
  return root;
}

/** One of each kind; the matrix of all options is erofs-matrix.test.ts. */
const MKFS_SETS: readonly string[] = [
  "",
  "-b512",
  "--chunksize=4096",
  "-E48bit -x1",
  "-zlz4",
  "-zlz4hc -C65536 -Eztailpacking",
  "-zlz4 -Efragments,dedupe",
  "-zlz4 -C16384 -Elegacy-compress",
  "-zlzma,1 -C65536",
  "-zdeflate,1 -C32768",
  "-zzstd,1 -C65536",
  "-zzstd,1 -C65536 -E48bit",
  "-zzstd,1 -m4096:zstd",
];

test("random trees, written by mkfs.erofs and read by us and by the kernel", async (t) => {
  const tools = requireMount(t);
  const mkfs = requireOracle(t, "mkfs.erofs", { from: "tools" });
  if (tools === undefined || mkfs === undefined) return;
  const work = await folder(t);
  for (let from = 0; from < MKFS_TREES; from += GROUP) {
    const root = groupOf(`${SEED} mkfs`, from, Math.min(from + GROUP, MKFS_TREES), 250);
    const ours = join(work, `ours-${from}`);
    await writeImage(root, ours, {});
    await withMount(tools, ours, async (input) => {
      for (const [index, options] of MKFS_SETS.entries()) {
        const theirs = join(work, `theirs-${from}-${index}`);
        await mkfs.ok(["-d1", ...options.split(" ").filter((option) => option !== ""), theirs, input]);
        const shown = `mkfs.erofs ${options}`;
        await using source = await fileSource(theirs);
        const read = await expected(await readTree(await openErofs(source, { decompressor })));
        // Linux 6.18 misses some xattrs of inodes in a metabox that fsck.erofs and we find: there the tree itself counts,
        // but for its times, of which mkfs.erofs 1.9.4 keeps 32 bits in this layout.
        const timeless = (seen: readonly Seen[]) => seen.map((one) => ({ ...one, mtime: "" }));
        if (options.includes("-m4096")) assertSame(timeless(read), timeless(await expected(root)), shown);
        else assertSame(await withMount(tools, theirs, (at) => seenByKernel(tools.python, at)), read, shown);
        await rm(theirs);
      }
    });
  }
  t.diagnostic(`${MKFS_TREES} trees, ${MKFS_SETS.length} sets`);
});
