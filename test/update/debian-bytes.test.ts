// What updates of a real Debian fetch, everything counted: a changed line, and one small package. Long, since it builds three disks.
import assert from "node:assert/strict";
import { truncateSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  compressContent,
  createBlockHasher,
  createFile,
  decompressFrame,
  fileScratch,
  nodeHashes,
  openDevice,
} from "../../core/src/node/index.ts";
import { silentReporter } from "../../core/src/ops/index.ts";
import { pushReleases } from "../../core/src/ops/publish/index.ts";
import { artifactOf } from "../../core/src/ops/release/index.ts";
import { fileContent, installRelease, readSlots } from "../../core/src/ops/update/index.ts";
import { ashlarOk } from "../support/ashlar.ts";
import { debianLayout, LABELS } from "../support/debian.ts";
import { fatFiles } from "../support/fat-files.ts";
import { memoryRepository } from "../support/memory-repository.ts";
import { publishEnvironment } from "../support/releases.ts";
import { workFolder } from "../support/samples.ts";
import { type TarEntry, whiteout } from "../support/tar.ts";
import { countingRepository, measureUpdate, releaseIn, wholeDownload } from "../support/update-bytes.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";
const folder = workFolder({ after });

/** What makes up Debian's `less`; the first two releases are without it. */
const PACKAGE = ["less", "lessecho", "lessfile", "lesskey", "lesspipe"].map((name) => `usr/bin/${name}`);

/** Most bytes of an update, or most of the whole download. Issue: 64 kB for a line, 1 % for a small package. */
const STEPS: readonly { readonly layer: readonly TarEntry[]; readonly most: (whole: number) => number }[] = [
  { layer: [...PACKAGE.map(whiteout), { name: "etc/motd", content: "Welcome\n" }], most: () => 0 },
  { layer: [...PACKAGE.map(whiteout), { name: "etc/motd", content: "Welcome again\n" }], most: () => 64_000 },
  { layer: [{ name: "etc/motd", content: "Welcome again\n" }], most: (whole) => whole / 100 },
];

test("Debian 13: a changed line and one small package, everything counted", {
  skip: isLong ? false : "long: set ASHLAR_LONG=true",
}, async (t) => {
  await using blockHasher = createBlockHasher({ workers: 1 });
  const scratch = fileScratch(folder);
  const common = {
    hashes: nodeHashes,
    blockHasher,
    decompressFrame,
    compressContent,
    scratch,
    reporter: silentReporter,
  };
  const repository = memoryRepository();
  const releases = [];
  for (const [i, { layer }] of STEPS.entries()) {
    const labels = { ...LABELS, "org.opencontainers.image.version": `${i}` };
    const layout = await debianLayout("trixie", { labels, extraLayers: [layer] });
    const output = join(folder, `${i}`);
    const sizes = ["--esp-size", "256M", "--slot-size", "512M", "--var-size", "64M"];
    ashlarOk(["build", `oci:${layout}:latest`, "-o", output, "--quiet", "--timestamp", "1735689600", ...sizes]);
    const release = releaseIn(output);
    await pushReleases([release], repository, { tag: `${i}` }, { ...(await publishEnvironment()), scratch });
    releases.push(release);
  }
  const [first] = releases;
  assert.ok(first !== undefined);
  const disk = join(folder, "disk");
  await (await createFile(disk)).close();
  truncateSync(disk, artifactOf(first.release, "disk")!.size);
  const device = await openDevice(disk);
  await installRelease(fileContent(first, common), device, common);
  const counting = countingRepository(repository);
  const recipes = new Map<string, Uint8Array>();
  let running = first.release.rootHash;
  for (const [i, files] of releases.entries()) {
    if (i === 0) continue;
    const { esp } = await readSlots(device, "x86-64");
    const machine = { device, esp: await fatFiles(device, esp), architecture: "x86-64", running } as const;
    const { fetched, newBlocks } = await measureUpdate(counting, `${i}`, machine, recipes, common);
    const whole = await wholeDownload(files);
    t.diagnostic(`update ${i}: ${fetched} bytes of ${whole}, ${newBlocks} bytes of new blocks`);
    assert.ok(newBlocks > 0);
    assert.ok(fetched <= STEPS[i]!.most(whole), `update ${i} fetches ${fetched} bytes of ${whole}`);
    running = files.release.rootHash;
  }
  await device.close();
});
