// What updates of real systems fetch, everything counted: manifest, release, recipe, frames, kernel and initrd. Releases are as
// `ashlar build` writes them, in the order in which they are installed; the first is what the machine has.
//
//   node bench/update-bytes.ts out/1 out/2 out/3
import { mkdtempSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import {
  compressContent,
  createBlockHasher,
  createFile,
  createFrameCompressor,
  decompressFrame,
  fileScratch,
  nodeCompressors,
  nodeHashes,
  openDevice,
} from "../core/src/node/index.ts";
import { openLocation } from "../core/src/node/registry/index.ts";
import { silentReporter } from "../core/src/ops/index.ts";
import { pushReleases, type ReleaseFiles } from "../core/src/ops/publish/index.ts";
import { artifactOf } from "../core/src/ops/release/index.ts";
import { fileContent, installRelease, readSlots } from "../core/src/ops/update/index.ts";
import { fatFiles } from "../test/support/fat-files.ts";
import { countingRepository, measureUpdate, releaseIn, wholeDownload } from "../test/support/update-bytes.ts";

const releases = process.argv.slice(2).map(releaseIn);
const folder = mkdtempSync(join(process.env["ASHLAR_BENCH_DIR"] ?? tmpdir(), "ashlar-bytes-"));
const blockHasher = createBlockHasher({ workers: 1 });
const scratch = fileScratch(folder);
const common = { hashes: nodeHashes, blockHasher, decompressFrame, compressContent, scratch, reporter: silentReporter };
try {
  const path = join(folder, "layout");
  const layout = await openLocation({ transport: "oci", path, tag: undefined, digest: undefined }, undefined, {
    write: true,
  });
  const frameCompressor = await createFrameCompressor({ workers: 1 });
  const environment = { ...common, compressors: nodeCompressors, frameCompressor };
  for (const [i, files] of releases.entries())
    await pushReleases([files], layout.repository, { tag: `${i}` }, environment);

  const [first] = releases as [ReleaseFiles];
  const disk = join(folder, "disk");
  await (await createFile(disk)).close();
  truncateSync(disk, artifactOf(first.release, "disk")!.size);
  const device = await openDevice(disk);
  await installRelease(fileContent(first, common), device, common);
  const counting = countingRepository(layout.repository);
  const recipes = new Map<string, Uint8Array>();
  let running = first.release.rootHash;
  console.log(
    "| to | whole MB | fetched kB | % | root and UKI kB | new blocks kB |\n| --- | --: | --: | --: | --: | --: |",
  );
  for (const [i, files] of releases.entries()) {
    if (i === 0) continue;
    const { esp } = await readSlots(device, "x86-64");
    const machine = { device, esp: await fatFiles(device, esp), architecture: "x86-64", running } as const;
    const { fetched, content, newBlocks } = await measureUpdate(counting, `${i}`, machine, recipes, common);
    const whole = await wholeDownload(files);
    const kilobytes = (bytes: number) => (bytes / 1e3).toFixed(0);
    const cells = [
      files.name.replace(".release.json", ""),
      (whole / 1e6).toFixed(1),
      kilobytes(fetched),
      ((fetched / whole) * 100).toFixed(2),
      kilobytes(content),
      kilobytes(newBlocks),
    ];
    console.log(`| ${cells.join(" | ")} |`);
    running = files.release.rootHash;
    await device.flush();
  }
  await device.close();
  await layout.close();
} finally {
  await blockHasher[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
}
