// Our decompressors on every cluster that mkfs.erofs writes, found by dump.erofs.
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type CompressionAlgorithm, pureDecompressor } from "../../core/src/codecs/index.ts";
import { nativeDecompressor } from "../../core/src/node/index.ts";
import { requireOracle } from "../support/oracle.ts";

interface Cluster {
  readonly at: number; // bytes, in the file
  readonly size: number;
  readonly start: number; // bytes, in the image
  readonly stored: number;
}

/** The extents that `dump.erofs -e` prints. */
function parseExtents(text: string): Cluster[] {
  const row = /^\s*\d+:\s+(\d+)\.\.\s*\d+ \|\s*(\d+) :\s+(\d+)\.\.\s*\d+ \|\s*(\d+)/gm;
  return [...text.matchAll(row)].map((match) => {
    const [at = 0, size = 0, start = 0, stored = 0] = match.slice(1).map(Number);
    return { at, size, start, stored };
  });
}

const CASES: readonly (readonly [CompressionAlgorithm, readonly string[]])[] = [
  ["lz4", ["-zlz4", "-C4096"]],
  ["lz4", ["-zlz4hc,12", "-C65536"]],
  ["lz4", ["-zlz4", "-C16384", "-Elegacy-compress"]],
  ["microlzma", ["-zlzma", "-C4096"]],
  ["microlzma", ["-zlzma,9", "-C1048576"]],
  ["deflate", ["-zdeflate", "-C4096"]],
  ["deflate", ["-zdeflate,9", "-C65536"]],
  ["zstd", ["-zzstd", "-C4096"]],
  ["zstd", ["-zzstd,15", "-C65536"]],
  ["zstd", ["-zzstd", "-C65536", "-E48bit"]],
];

test("clusters of mkfs.erofs", async (t) => {
  const mkfs = requireOracle(t, "mkfs.erofs", { from: "tools" });
  const dump = requireOracle(t, "dump.erofs", { from: "tools" });
  if (mkfs === undefined || dump === undefined) return;
  const folder = await mkdtemp(join(tmpdir(), "ashlar-codecs-"));
  t.after(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, "tree"));
  // A program of some size: code, tables and text.
  const data = (await readFile(process.execPath)).subarray(30_000_000, 30_700_000);
  await writeFile(join(folder, "tree/file"), data);
  for (const [algorithm, options] of CASES)
    await t.test(options.join(" "), async () => {
      const path = join(folder, "image");
      await mkfs.ok([...options, "-T0", "--quiet", path, join(folder, "tree")]);
      const image = await readFile(path);
      const clusters = parseExtents((await dump.ok(["-e", "--path=/file", path])).stdout);
      assert.equal(
        clusters.reduce((sum, { size }) => sum + size, 0),
        data.length,
      );
      const placement = "zeros-before";
      let count = 0;
      for (const { at, size, start, stored } of clusters) {
        if (size <= stored) continue; // stored as it is
        count++;
        const input = image.subarray(start, start + stored);
        for (const decompressor of [pureDecompressor(), nativeDecompressor()]) {
          const output = new Uint8Array(size);
          decompressor.decompress(algorithm, input, output, { placement });
          assert.ok(Buffer.from(data.buffer, data.byteOffset + at, size).equals(output), `cluster at ${at}`);
          const part = new Uint8Array(size >> 1);
          decompressor.decompress(algorithm, input, part, { placement, isPartial: true });
          assert.ok(
            output.subarray(0, part.length).every((byte, i) => byte === part[i]),
            `part of cluster at ${at}`,
          );
        }
      }
      assert.ok(count > 0);
    });
});
