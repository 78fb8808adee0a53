// Our EROFS writer beside mkfs.erofs, on the same tar with the same settings, one after the other in one run: size, CPU
// seconds of the process with all its threads, wall time, peak memory. Prints the table of docs/performance.md.
//
//   node bench/erofs.ts                      all settings; needs scripts/fetch-roots tools trixie
//   ASHLAR_BENCH_TAR=FILE node bench/erofs.ts   another tar; ASHLAR_BENCH_ROUNDS=N other than 3 rounds
//   node bench/erofs.ts lz4hc                those whose name has lz4hc in it
//   node bench/erofs.ts TAR IMAGE METHOD CLUSTER KERNEL WORKERS      one image, nothing else: what is measured
import { statSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { encodeUtf8 } from "../core/src/bytes/index.ts";
import { writeErofs } from "../core/src/formats/erofs/index.ts";
import { createClusterEncoder, nodeHashes, openFile } from "../core/src/node/index.ts";
import { chooseCompression, writerCompression } from "../core/src/ops/seal/compression.ts";
import { targetKernel } from "../core/src/ops/seal/target-kernel.ts";
import { clampTimes } from "../core/src/ops/seal/times.ts";
import { findRoot, IN_TOOLS, REPOSITORY } from "../test/support/roots.ts";
import { treeOfTar } from "../test/support/tar-tree.ts";
import { benchFolder } from "./compare.ts";
import { type Cost, measure } from "./measure.ts";

interface Setting {
  /** As `--compress` and `--cluster` say it. */
  readonly method: string;
  readonly cluster: number | undefined;
  /** Chooses how zstd is packed. */
  readonly kernel: string;
  readonly mkfs: readonly string[];
}

const K = 1024;
const SETTINGS: readonly Setting[] = [
  { method: "none", cluster: undefined, kernel: "6.12", mkfs: [] },
  { method: "lz4", cluster: 4 * K, kernel: "6.12", mkfs: ["-zlz4"] },
  { method: "lz4", cluster: 64 * K, kernel: "6.12", mkfs: ["-zlz4", "-C65536"] },
  { method: "lz4hc,9", cluster: 4 * K, kernel: "6.12", mkfs: ["-zlz4hc,9"] },
  { method: "lz4hc,9", cluster: 64 * K, kernel: "6.12", mkfs: ["-zlz4hc,9", "-C65536"] },
  { method: "zstd,3", cluster: 4 * K, kernel: "6.12", mkfs: ["-zzstd,3"] },
  { method: "zstd,3", cluster: 64 * K, kernel: "6.12", mkfs: ["-zzstd,3", "-C65536"] },
  { method: "zstd,3", cluster: 64 * K, kernel: "6.18", mkfs: ["-zzstd,3", "-C65536", "-E48bit"] },
];

/** What is measured of us: from the tar to the image, as mkfs.erofs does it; a UUID is given, so nothing is hashed for it. */
async function writeOne([tar, image, method, cluster, kernel, workers]: readonly string[]): Promise<void> {
  await using source = await openFile(tar!);
  const root = await treeOfTar(source);
  clampTimes(root, 0n);
  const given = cluster === "undefined" ? undefined : Number(cluster);
  const compression = await chooseCompression({ compress: method, cluster: given }, 4096, () =>
    targetKernel(root, kernel),
  );
  await using clusterEncoder = createClusterEncoder({ workers: Number(workers) });
  await using file = await open(image!, "w");
  await writeErofs(
    root,
    { writeAt: async (at, bytes) => void (await file.write(bytes, 0, bytes.length, at)) },
    {
      tails: "inline",
      uuid: encodeUtf8("not of any worth"),
      hashes: nodeHashes,
      compression: writerCompression(compression, { clusterEncoder }),
    },
  );
}

const WORKERS = 2;
const ROUNDS = Math.max(Number(process.env["ASHLAR_BENCH_ROUNDS"] ?? 3), 1);

interface Command {
  readonly command: string;
  readonly args: readonly string[];
}

interface Measured extends Cost {
  /** Bytes. */
  readonly size: number;
}

/** For each command its cheapest round; they take turns. Memory is sampled in a round of its own. */
async function best(commands: readonly Command[], image: string): Promise<Measured[]> {
  const costs: Measured[] = [];
  for (let round = 0; round <= ROUNDS; round++)
    for (const [index, { command, args }] of commands.entries()) {
      await rm(image, { force: true });
      const run = { ...(await measure(command, args, { samplesMemory: round === 0 })), size: statSync(image).size };
      const { peakMemory } = round === 0 ? run : costs[index]!; // the first round made one
      if (round <= 1 || run.cpu < costs[index]!.cpu) costs[index] = { ...run, peakMemory };
    }
  return costs;
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

async function compareAll(filter: string): Promise<void> {
  const tar = process.env["ASHLAR_BENCH_TAR"] ?? findRoot("trixie");
  if (tar === undefined) throw new Error("no trixie root; run scripts/fetch-roots trixie");
  const image = join(benchFolder(), "image");
  console.log(
    "| setting | size, MB: mkfs.erofs | ours | | CPU s: mkfs.erofs | ours | | wall s: mkfs.erofs | ours | memory MB |",
  );
  console.log("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
  for (const { method, cluster, kernel, mkfs } of SETTINGS) {
    const name = `${method}${cluster === undefined ? "" : ` ${cluster / K}K`}${kernel === "6.18" ? " 48bit" : ""}`;
    if (!name.includes(filter)) continue;
    const fixed = ["-T0", "-U00000000-0000-0000-0000-000000000000", "--quiet", `--workers=${WORKERS}`];
    const own = [import.meta.filename, tar, image, method, String(cluster), kernel, String(WORKERS)];
    const [theirs, ours] = (await best(
      [
        { command: IN_TOOLS, args: ["mkfs.erofs", ...fixed, ...mkfs, "--tar=f", image, tar] },
        { command: process.execPath, args: own },
      ],
      image,
    )) as [Measured, Measured];
    const ratio = (a: number, b: number): string => `${(a / b).toFixed(2)}×`;
    const cells = [
      name,
      megabytes(theirs.size),
      megabytes(ours.size),
      `${((ours.size / theirs.size - 1) * 100).toFixed(1)} %`,
      theirs.cpu.toFixed(2),
      ours.cpu.toFixed(2),
      ratio(ours.cpu, theirs.cpu),
      theirs.wall.toFixed(1),
      ours.wall.toFixed(1),
      megabytes(ours.peakMemory ?? 0),
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
}

// As ./ashlar does it (scripts/bootstrap), for our threads too.
process.env["NODE_COMPILE_CACHE"] ??= join(REPOSITORY, "node_modules/.cache/compile");
const given = process.argv.slice(2);
if (given.length === 6) await writeOne(given);
else await compareAll(given[0] ?? "");
