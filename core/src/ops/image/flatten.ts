/** All layers of an image, verified and put on top of each other. */

import type { Hashes } from "../../hash/index.ts";
import type { ScratchSpace } from "../../source/index.ts";
import { attributes, type Directory, directory } from "../../tree/index.ts";
import { type Reporter, silentReporter } from "../report.ts";
import { applyLayer } from "./apply.ts";
import { type Budget, type Decompressors, readLayer } from "./layer.ts";
import type { Image } from "./open.ts";

export interface FlattenEnvironment {
  readonly hashes: Hashes;
  readonly scratch: ScratchSpace;
  readonly decompressors: Decompressors;
  readonly reporter?: Reporter | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface FlattenOptions {
  /** Bytes of all layers, uncompressed, and of all files with their holes. Default: {@link MAX_UNCOMPRESSED_BYTES}. */
  readonly maxUncompressedBytes?: number | undefined;
}

export const MAX_UNCOMPRESSED_BYTES = 64 * 1024 ** 3;
/** Tar entries of all layers. Each costs memory, while 512 zeros a header compress to nothing. */
export const MAX_ENTRIES = 4 * 1024 * 1024;

export interface FlatImage {
  readonly root: Directory;
  /** Tar entries of all layers. */
  readonly entryCount: number;
  /** Bytes of all layers, uncompressed. */
  readonly uncompressedSize: number;
  /** Frees the scratch space; no content can be read after that. */
  dispose(): Promise<void>;
}

/**
 * The tree of an image. Every blob was read to its end and had the promised size, digest and diffID. Content is read
 * from scratch space until `dispose`. Errors: those of `readLayer` and `applyLayer`; nothing is left behind then.
 */
export async function flatten(
  image: Image,
  environment: FlattenEnvironment,
  options: FlattenOptions = {},
): Promise<FlatImage> {
  const limit = options.maxUncompressedBytes ?? MAX_UNCOMPRESSED_BYTES;
  const budget: Budget = { uncompressedBytes: limit, contentBytes: limit, entries: MAX_ENTRIES };
  const root = directory(attributes(0o755));
  const scratches: { dispose(): Promise<void> }[] = [];
  async function dispose(): Promise<void> {
    for (const scratch of scratches.splice(0)) await scratch.dispose();
  }
  const total = image.layers.reduce((sum, { size }) => sum + size, 0);
  const task = (environment.reporter ?? silentReporter).start("read layers", total);
  try {
    for (const [index, layer] of image.layers.entries()) {
      const diff = await readLayer(image.store, layer, index + 1, environment, budget, {
        signal: environment.signal,
        onProgress: (bytes) => task.advance(bytes),
      });
      scratches.push(diff.uncompressed);
      applyLayer(root, diff);
    }
  } catch (error) {
    await dispose();
    throw error;
  } finally {
    task.end();
  }
  return {
    root,
    entryCount: MAX_ENTRIES - budget.entries,
    uncompressedSize: limit - budget.uncompressedBytes,
    dispose,
  };
}
