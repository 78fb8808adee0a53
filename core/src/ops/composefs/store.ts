/** Contents of a tree as a composefs image knows them: measured, small ones kept. */
import { byteString, toHex } from "../../bytes/index.ts";
import { ExternalContent, INLINE_LIMIT, InlineContent, objectPath } from "../../formats/composefs/index.ts";
import { createMeasurer, defaultFsverity, SMALL_SOURCE } from "../../formats/fsverity/index.ts";
import type { BlockHasher, HashAlgorithm, Hashes } from "../../hash/index.ts";
import type { Source } from "../../source/index.ts";
import { type Directory, type RegularFile, walkTree } from "../../tree/index.ts";
import { type Reporter, silentReporter } from "../report.ts";

export interface StoreEnvironment {
  readonly hashes: Hashes;
  readonly blockHasher?: BlockHasher | undefined;
  readonly reporter?: Reporter | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Bytes of large files. Below, the start of a thread and its messages take longer than what it hashes meanwhile: 622 MB took
 * 0.13 s more of wall time and a tenth more of CPU time with one (measured).
 */
const WORTH_WORKERS = 1024 * 1024 * 1024;

/** The contents of all files, to store them more than once. */
export function contentsOf(root: Directory): Map<RegularFile, Source> {
  const contents = new Map<RegularFile, Source>();
  for (const { node } of walkTree(root)) if (node.type === "file") contents.set(node, node.content);
  return contents;
}

/**
 * Replaces the content of every file: up to 64 bytes stand in the image, the rest is named by its fs-verity digest and
 * found under it. Changes the files. Throws what the sources throw.
 */
export async function storeContents(
  contents: ReadonlyMap<RegularFile, Source>,
  algorithm: HashAlgorithm,
  { hashes, blockHasher, reporter = silentReporter, signal }: StoreEnvironment,
): Promise<void> {
  let total = 0;
  let shared = 0;
  for (const { size } of contents.values()) {
    total += size;
    if (size > SMALL_SOURCE) shared += size;
  }
  const task = reporter.start("measure the files", total);
  const measure = createMeasurer(defaultFsverity(algorithm), {
    hashes,
    blockHasher: shared < WORTH_WORKERS ? undefined : blockHasher,
    signal,
    onProgress: task.advance,
  });
  for (const [file, content] of contents) {
    if (content.size <= INLINE_LIMIT) {
      file.content = new InlineContent((await content.read(0, content.size, { signal })).slice());
      task.advance(content.size);
      continue;
    }
    const digest = await measure(content);
    file.content = new ExternalContent(content.size, byteString(digest), objectPath(toHex(digest)));
  }
  task.end();
}
