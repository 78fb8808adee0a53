/** All layers of an image, verified and put on top of each other. */

import { IntegrityError } from "../../errors/index.ts";
import type { Hashes } from "../../hash/index.ts";
import type { ScratchSpace } from "../../source/index.ts";
import { attributes, type Directory, directory } from "../../tree/index.ts";
import { type Reporter, silentReporter } from "../report.ts";
import { applyLayer } from "./apply.ts";
import {
  type Allowance,
  type ContentStore,
  type Decompressors,
  type LayerDiff,
  readLayer,
  tooLarge,
  type Usage,
} from "./layer.ts";
import type { Image } from "./open.ts";

/** @param labels of the image */
export type OpenContentStore = (labels: Readonly<Record<string, string>>) => Promise<ContentStore | undefined>;

export interface FlattenEnvironment {
  readonly hashes: Hashes;
  readonly scratch: ScratchSpace;
  readonly decompressors: Decompressors;
  /** For the contents of an image that has one layer. Without it, or where it gives none, they go to scratch space. */
  readonly openStore?: OpenContentStore | undefined;
  readonly reporter?: Reporter | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface FlattenOptions {
  /** Bytes of all layers, uncompressed, and of all files with their holes. Default: {@link MAX_UNCOMPRESSED_BYTES}. */
  readonly maxUncompressedBytes?: number | undefined;
  /** Layers that are read at once. The result does not depend on it. Default: {@link CONCURRENT_LAYERS}. */
  readonly concurrency?: number | undefined;
}

export const MAX_UNCOMPRESSED_BYTES = 64 * 1024 ** 3;
/** Tar entries of all layers. Each costs memory, while 512 zeros a header compress to nothing. */
export const MAX_ENTRIES = 4 * 1024 * 1024;
/** Each costs some 10 MB of buffers while it is read. */
export const CONCURRENT_LAYERS = 3;

export interface FlatImage {
  readonly root: Directory;
  /** Tar entries of all layers. */
  readonly entryCount: number;
  /** Bytes of all layers, uncompressed. */
  readonly uncompressedSize: number;
  /** Frees the scratch space; no content can be read after that. */
  dispose(): Promise<void>;
}

/** A layer that is being read ahead of its turn. */
interface Reading {
  readonly used: Usage;
  readonly outcome: Promise<{ readonly diff: LayerDiff } | { readonly error: unknown }>;
  /** Called when all layers below are read and `remaining` is what they left. */
  giveTurn(): void;
}

/**
 * The tree of an image. Every blob was read to its end and had the promised size, digest and diffID. Content is read
 * from scratch space until `dispose`. Errors: those of `readLayer` and `applyLayer`, of the lowest layer that has any;
 * nothing is left behind then.
 */
export async function flatten(
  image: Image,
  environment: FlattenEnvironment,
  options: FlattenOptions = {},
): Promise<FlatImage> {
  const limit = options.maxUncompressedBytes ?? MAX_UNCOMPRESSED_BYTES;
  const remaining: Usage = { uncompressedBytes: limit, contentBytes: limit, entries: MAX_ENTRIES };
  const concurrency = Math.max(1, options.concurrency ?? CONCURRENT_LAYERS);
  const root = directory(attributes(0o755));
  const scratches: { dispose(): Promise<void> }[] = [];
  async function dispose(): Promise<void> {
    for (const scratch of scratches.splice(0)) await scratch.dispose();
  }
  const store = image.layers.length === 1 ? await environment.openStore?.(image.config.labels) : undefined;
  const total = image.layers.reduce((sum, { size }) => sum + size, 0);
  const task = (environment.reporter ?? silentReporter).start("read layers", total);
  const others = new AbortController();
  const signal =
    environment.signal === undefined ? others.signal : AbortSignal.any([environment.signal, others.signal]);
  const readings: Reading[] = [];
  let active = 0;
  /** Before its turn a layer may use this much; so all of them together stay within what remains. */
  const share = (left: number): number => left / (2 * concurrency);

  function startNext(): void {
    const index = readings.length;
    const layer = image.layers[index];
    if (layer === undefined || active >= concurrency) return;
    active++;
    const used: Usage = { uncompressedBytes: 0, contentBytes: 0, entries: 0 };
    let hasTurn = false;
    let giveTurn = (): void => {};
    const turn = new Promise<void>((resolve) => {
      giveTurn = () => {
        hasTurn = true;
        resolve();
      };
    });
    const allowance: Allowance = {
      used,
      admit() {
        if (!hasTurn && !passes(used, remaining, share)) return undefined;
        if (hasTurn && !passes(used, remaining)) return undefined;
        return turn.then(() => {
          signal.throwIfAborted();
          if (passes(used, remaining)) throw tooLargeTogether(index, limit);
        });
      },
    };
    const read = readLayer(image.store, layer, index + 1, environment, allowance, {
      signal,
      onProgress: (bytes) => task.advance(bytes),
      store,
    });
    const outcome = read.then(
      (diff) => {
        scratches.push(diff.contents);
        return { diff };
      },
      (error: unknown) => ({ error }),
    );
    readings.push({ used, outcome, giveTurn });
    outcome.then(() => {
      active--;
      if (!others.signal.aborted) startNext();
    });
    startNext();
  }

  const used: Usage = { uncompressedBytes: 0, contentBytes: 0, entries: 0 };
  try {
    for (const index of image.layers.keys()) {
      if (readings.length === index) startNext();
      const reading = readings[index]!; // started here, if not before
      reading.giveTurn();
      const outcome = await reading.outcome;
      // Read ahead of its turn, it may have passed what the layers below left, and then met another error.
      if (passes(reading.used, remaining) && !("error" in outcome && isBrokenBlob(outcome.error)))
        throw tooLargeTogether(index, limit);
      if ("error" in outcome) throw outcome.error;
      for (const key of ["uncompressedBytes", "contentBytes", "entries"] as const) {
        remaining[key] -= reading.used[key];
        used[key] += reading.used[key];
      }
      applyLayer(root, outcome.diff);
      readings[index] = APPLIED; // lets go of the list
    }
  } catch (error) {
    others.abort(error);
    for (const { giveTurn } of readings) giveTurn();
    await Promise.all(readings.map(({ outcome }) => outcome));
    await dispose();
    throw error;
  } finally {
    task.end();
  }
  return { root, entryCount: used.entries, uncompressedSize: used.uncompressedBytes, dispose };
}

const APPLIED: Reading = {
  used: { uncompressedBytes: 0, contentBytes: 0, entries: 0 },
  outcome: Promise.resolve({ error: undefined }),
  giveTurn() {},
};

function passes(used: Usage, left: Usage, part = (amount: number): number => amount): boolean {
  return (
    used.uncompressedBytes > part(left.uncompressedBytes) ||
    used.contentBytes > part(left.contentBytes) ||
    used.entries > part(left.entries)
  );
}

/** What is said of a blob before anything that its content would say. */
function isBrokenBlob(error: unknown): boolean {
  return error instanceof IntegrityError && error.code !== "diff-id-mismatch";
}

function tooLargeTogether(index: number, limit: number) {
  const bounds = `${limit} uncompressed bytes, ${limit} bytes of files and ${MAX_ENTRIES} entries`;
  return tooLarge(`layer ${index + 1}`, `the layers up to this one pass a limit: ${bounds} together`, limit);
}
