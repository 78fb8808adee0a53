// One image for any number of workers and, in the long tier, for another Node: "Shows 6" of the EROFS issue.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fromUtf8, toHex } from "../../core/src/bytes/index.ts";
import { type ClusterEncoder, inlineClusterEncoder } from "../../core/src/codecs/index.ts";
import { writeErofs } from "../../core/src/formats/erofs/index.ts";
import { createClusterEncoder, nodeHashes } from "../../core/src/node/index.ts";
import { loadFrameMaker } from "../../core/src/node/zstd-frame-maker.ts";
import { memorySink } from "../../core/src/source/index.ts";
import { attributes, type Directory, directory, putNode } from "../../core/src/tree/index.ts";
import { folder } from "../support/erofs-images.ts";
import { randomTree } from "../support/erofs-random-trees.ts";
import { WRITER_SETS, writerOptions } from "../support/erofs-writers.ts";
import { requirePeer } from "../support/oracle.ts";
import { REPOSITORY } from "../support/roots.ts";
import { digests } from "../support/samples.ts";
import { tarOfTree } from "../support/tar-tree.ts";

const WORKERS = [1, 2, 3, 8];

function sample(): Directory {
  const root = directory(attributes(0o755));
  for (let i = 0; i < 8; i++) putNode(root, fromUtf8(`tree ${i}`), randomTree(`workers ${i}`));
  return root;
}

test("one image for any number of workers, with every set of options", async () => {
  const root = sample();
  const found = new Map<string, Set<string>>();
  async function write(encoder: ClusterEncoder): Promise<void> {
    for (const set of WRITER_SETS) {
      if (set.compression === undefined) continue; // there is nothing that workers would do
      const sink = memorySink();
      const { size } = await writeErofs(root, sink, { hashes: nodeHashes, ...writerOptions(set, encoder) });
      sink.setSize(size);
      const key = JSON.stringify(set);
      const digest = toHex(nodeHashes.hash("sha256", sink.bytes()));
      found.set(key, (found.get(key) ?? new Set()).add(digest));
    }
  }
  await write(inlineClusterEncoder(loadFrameMaker));
  for (const workers of WORKERS) {
    await using encoder = createClusterEncoder({ workers });
    await write(encoder);
  }
  for (const [key, digests] of found) assert.equal(digests.size, 1, key);
  assert.ok(found.size >= 10);
});

const FORMS: readonly (readonly string[])[] = [
  ["--compress", "none"],
  ["--compress", "none", "--tails", "inline"],
  ["--chunksize", "4096"],
  ["--chunksize", "64K", "--tails", "inline"],
  ["--compress", "lz4"],
  ["--compress", "lz4", "--cluster", "64K"],
  ["--compress", "lz4hc,9", "--cluster", "8K"],
  ["--compress", "zstd,3", "--cluster", "64K"],
  ["--compress", "zstd,3", "--cluster", "64K", "--target-kernel", "6.18"], // packed in bytes
  ["--compress", "lz4", "--tails", "ztailpacking"],
  ["--compress", "zstd,3", "--cluster", "64K", "--tails", "ztailpacking"],
  ["--compress", "lz4hc,9", "--cluster", "64K", "--tails", "fragments"],
  ["--compress", "zstd,3", "--tails", "fragments", "--target-kernel", "6.18"],
];

test("eight builds with 1, 2, 3 and 8 workers, this Node and a newer one: one digest", async (t) => {
  if (process.env["ASHLAR_LONG"] !== "true") return t.skip("only in the long tier");
  const newer = requirePeer(t, "newer-node");
  if (newer === undefined) return;
  const { stdout } = await newer.ok(["-p", "process.versions.node"]);
  const [other, ours] = [stdout, process.versions.node].map((version) => Number.parseInt(version, 10));
  assert.ok(other! > ours!, `${stdout} is newer than ${process.versions.node}`);
  const work = await folder(t);
  writeFileSync(join(work, "x.tar"), await tarOfTree(sample()));
  for (const flags of FORMS) {
    const found = new Set<string>();
    for (const program of [process.execPath, newer.path])
      for (const workers of WORKERS) {
        const out = join(work, "out");
        const args = ["seal", `tar:${join(work, "x.tar")}`, "-o", out, "--overwrite", "--quiet", "--name", "x"];
        const { status, stderr }: { status: number | null; stderr: string } = spawnSync(
          program,
          [join(REPOSITORY, "cli/src/main.ts"), ...args, ...flags, "--workers", `${workers}`],
          { encoding: "utf8" },
        );
        assert.equal(status, 0, stderr);
        found.add(JSON.stringify(digests(out)));
      }
    assert.equal(found.size, 1, flags.join(" "));
  }
});
