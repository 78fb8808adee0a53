// What updates of real systems fetch, everything counted: manifest, release, recipe, frames, kernel and initrd. Releases are as
// `ashlar build` writes them, in the order in which they are installed; the first is what the machine has.
//
//   node bench/update-bytes.ts out/1 out/2 out/3
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createZstdCompress, constants as zlib } from "node:zlib";
import type { Repository } from "../core/src/formats/oci/index.ts";
import {
  createBlockHasher,
  createFile,
  createFrameCompressor,
  decompressFrame,
  fileScratch,
  nodeCompressors,
  nodeHashes,
  openDevice,
  openFile,
} from "../core/src/node/index.ts";
import { openLocation } from "../core/src/node/registry/index.ts";
import { silentReporter } from "../core/src/ops/index.ts";
import { openStoredRelease, pushReleases, type ReleaseFiles } from "../core/src/ops/publish/index.ts";
import { artifactOf, parseRelease } from "../core/src/ops/release/index.ts";
import { fileContent, installRelease, readSlots, stageRelease, storedContent } from "../core/src/ops/update/index.ts";
import { passingChunksOf } from "../core/src/source/index.ts";
import { fatFiles } from "../test/support/fat-files.ts";

function releaseIn(directory: string): ReleaseFiles {
  const name = readdirSync(directory).find((file) => file.endsWith(".release.json"))!;
  const bytes = readFileSync(join(directory, name));
  return { name, release: parseRelease(bytes, name), bytes, open: (file) => openFile(join(directory, file)) };
}

/** Counts what is read of a repository. */
function counting(repository: Repository): { readonly repository: Repository; readonly read: { bytes: number } } {
  const read = { bytes: 0 };
  return {
    read,
    repository: {
      ...repository,
      async open(descriptor, options) {
        const stream = await repository.open(descriptor, options);
        return {
          ...stream,
          async *chunks(...rest) {
            for await (const chunk of stream.chunks(...rest)) {
              read.bytes += chunk.length;
              yield chunk;
            }
          },
          close: () => stream.close(),
        };
      },
      async openBlob(descriptor, options) {
        const blob = await repository.openBlob(descriptor, options);
        return {
          size: blob.size,
          async read(offset, length, more) {
            read.bytes += length;
            return blob.read(offset, length, more);
          },
          close: () => blob.close(),
        };
      },
    },
  };
}

/** Bytes of the root and the UKI as zstd -9: what a whole download would be. */
async function fullSize(files: ReleaseFiles): Promise<number> {
  let size = 0;
  for (const role of ["root", "uki"] as const) {
    const source = await files.open(artifactOf(files.release, role)!.name);
    const compress = createZstdCompress({ params: { [zlib.ZSTD_c_compressionLevel]: 9 } });
    compress.on("data", (chunk: Buffer) => {
      size += chunk.length;
    });
    const ended = new Promise((resolve) => compress.on("end", resolve));
    for await (const chunk of passingChunksOf(source))
      await new Promise((resolve) => compress.write(Buffer.from(chunk), resolve));
    compress.end();
    await ended;
    await source.close();
  }
  return size;
}

const releases = process.argv.slice(2).map(releaseIn);
const folder = mkdtempSync(join(process.env["ASHLAR_BENCH_DIR"] ?? tmpdir(), "ashlar-bytes-"));
const blockHasher = createBlockHasher({ workers: 1 });
const scratch = fileScratch(folder);
const common = { hashes: nodeHashes, blockHasher, decompressFrame, scratch, reporter: silentReporter };
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
  const { repository, read } = counting(layout.repository);
  const recipes = new Map<string, Uint8Array>();
  let running = first.release.rootHash;
  console.log(
    "| to | full MB | fetched kB | % | blocks fetched | kernel and initrd kB |\n| --- | --: | --: | --: | --: | --: |",
  );
  for (const [i, files] of releases.entries()) {
    if (i === 0) continue;
    read.bytes = 0;
    const stored = await openStoredRelease(repository, await repository.resolve({ tag: `${i}` }), common);
    const { esp } = await readSlots(device, "x86-64");
    const machine = { device, esp: await fatFiles(device, esp), architecture: "x86-64", running } as const;
    const { blocks, recipe } = await stageRelease(storedContent(stored, common), machine, common, { recipes });
    if (recipe !== undefined) recipes.set(files.release.rootHash, recipe);
    const sections = stored.manifest.sections.reduce((sum, { size }) => sum + size, 0);
    await stored.close();
    const full = await fullSize(files);
    const { rootHash } = files.release;
    const cells = [files.name.replace(".release.json", ""), (full / 1e6).toFixed(1), (read.bytes / 1e3).toFixed(0)];
    console.log(
      `| ${[...cells, ((read.bytes / full) * 100).toFixed(2), blocks.fetched / 4096, (sections / 1e3).toFixed(0)].join(" | ")} |`,
    );
    running = rootHash;
    for (const { name } of await machine.esp.list("EFI/Linux")) {
      const confirmed = name.replace(/\+3\.efi$/, ".efi");
      if (confirmed !== name) await machine.esp.rename(`EFI/Linux/${name}`, `EFI/Linux/${confirmed}`);
    }
    await device.flush();
  }
  await device.close();
  await layout.close();
} finally {
  await blockHasher[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
}
