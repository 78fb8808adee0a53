/** What updates fetch: releases as `ashlar build` wrote them, a repository that counts, and a whole download to compare with. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createZstdCompress, constants as zlib } from "node:zlib";
import type { Repository } from "../../core/src/formats/oci/index.ts";
import { openFile } from "../../core/src/node/index.ts";
import { openStoredRelease, type ReleaseFiles } from "../../core/src/ops/publish/index.ts";
import { artifactOf, parseRelease } from "../../core/src/ops/release/index.ts";
import { type ContentEnvironment, type Machine, stageRelease, storedContent } from "../../core/src/ops/update/index.ts";
import { passingChunksOf, type ScratchSpace } from "../../core/src/source/index.ts";

/** The one release in a directory. */
export function releaseIn(directory: string): ReleaseFiles {
  const name = readdirSync(directory).find((file) => file.endsWith(".release.json"))!;
  const bytes = readFileSync(join(directory, name));
  return { name, release: parseRelease(bytes, name), bytes, open: (file) => openFile(join(directory, file)) };
}

export interface CountingRepository {
  readonly repository: Repository;
  readonly read: { bytes: number };
}

/** Counts what is read of a repository. */
export function countingRepository(repository: Repository): CountingRepository {
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
export async function wholeDownload(files: ReleaseFiles): Promise<number> {
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

export interface MeasuredUpdate {
  /** Bytes that came from the repository: documents, digests and frames of the root, parts of the UKI. */
  readonly fetched: number;
  /** Bytes of them that are frames of the root, or layers of the UKI. */
  readonly content: number;
  /** Bytes of the root that no slot had. */
  readonly newBlocks: number;
}

/** Stages what `tag` leads to, and confirms it, so that it runs next. Recipes are remembered as the agent does. */
export async function measureUpdate(
  { repository, read }: CountingRepository,
  tag: string,
  machine: Machine,
  recipes: Map<string, Uint8Array>,
  environment: ContentEnvironment & { readonly scratch: ScratchSpace },
): Promise<MeasuredUpdate> {
  read.bytes = 0;
  const stored = await openStoredRelease(repository, await repository.resolve({ tag }), environment);
  try {
    const staged = await stageRelease(storedContent(stored, environment), machine, environment, { recipes });
    if (staged.recipe !== undefined) recipes.set(staged.rootHash, staged.recipe);
    for (const { name } of await machine.esp.list("EFI/Linux")) {
      const confirmed = name.replace(/\+3\.efi$/, ".efi");
      if (confirmed !== name) await machine.esp.rename(`EFI/Linux/${name}`, `EFI/Linux/${confirmed}`);
    }
    return { fetched: read.bytes, content: staged.fetched, newBlocks: staged.blocks.fetched };
  } finally {
    await stored.close();
  }
}
