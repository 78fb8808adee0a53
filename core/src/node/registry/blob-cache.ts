/** The blob cache of this user: `$XDG_CACHE_HOME/ashlar/blobs/ALGORITHM/HEX`. */
import { readdir, rm, stat, statfs, utimes } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import type { ClosableSource, Descriptor } from "../../formats/oci/index.ts";
import { type Digest, digestAlgorithm, formatDigest } from "../../hash/index.ts";
import type { BlobCache } from "../../ops/registry/index.ts";
import { passingChunksOf, type ReadOptions } from "../../source/index.ts";
import { openFile } from "../files.ts";
import { nodeHashes } from "../hashes.ts";
import { removeLeftovers } from "../leftovers.ts";
import { createPendingFile } from "./pending-file.ts";

/** Bytes that all blobs may have together, … */
const MAX_CACHE_SIZE = 16 * 1024 ** 3;
/** … and the part of the file system. */
const MAX_PART = 0.1;

export function cacheDirectory(environment: NodeJS.ProcessEnv): string {
  const cache = environment["XDG_CACHE_HOME"] || join(environment["HOME"] || homedir(), ".cache");
  return join(cache, "ashlar/blobs");
}

export interface BlobCacheOptions {
  /** Bytes that all blobs may have together. Default: 16 GiB, or a tenth of the file system where that is less. */
  readonly maxSize?: number | undefined;
}

/** Blobs that were not used for longest go first. The directory is made when something is stored. */
export function openBlobCache(directory: string, options: BlobCacheOptions = {}): BlobCache {
  const pathOf = (digest: Digest): string => join(directory, digest.replace(":", "/"));
  let limit: Promise<number> | undefined;
  const maxSize = (): Promise<number> => {
    limit ??= options.maxSize === undefined ? defaultLimit(directory) : Promise.resolve(options.maxSize);
    return limit;
  };
  return {
    async open(descriptor, readOptions) {
      const path = pathOf(descriptor.digest);
      const source = await openFile(path, { followLink: false }).catch(() => undefined);
      if (source === undefined) return undefined;
      try {
        if (await isWhole(source, descriptor, readOptions)) {
          const now = new Date();
          await utimes(path, now, now).catch(() => undefined); // the mark of its last use
          return source;
        }
      } catch (error) {
        await source.close();
        throw error;
      }
      await source.close();
      await rm(path, { force: true }).catch(() => undefined);
      return undefined;
    },
    async create(digest, size) {
      if (size > (await maxSize())) return undefined;
      const path = pathOf(digest);
      await removeLeftovers(dirname(path)).catch(() => undefined); // it need not be there yet
      const pending = await createPendingFile(path, { mode: 0o600, folderMode: 0o700, flush: false });
      return {
        ...pending,
        async publish() {
          await pending.publish();
          await evict(directory, await maxSize(), path);
        },
      };
    },
  };
}

async function isWhole(source: ClosableSource, { digest, size }: Descriptor, options?: ReadOptions): Promise<boolean> {
  if (source.size !== size) return false;
  const algorithm = digestAlgorithm(digest);
  const hash = nodeHashes.create(algorithm);
  for await (const chunk of passingChunksOf(source, options)) hash.update(chunk);
  return formatDigest(algorithm, hash.digest()) === digest;
}

async function defaultLimit(directory: string): Promise<number> {
  for (let at = directory; ; at = dirname(at)) {
    const found = await statfs(at).catch(() => undefined);
    if (found !== undefined) return Math.min(MAX_CACHE_SIZE, found.blocks * found.bsize * MAX_PART);
    if (dirname(at) === at) return MAX_CACHE_SIZE;
  }
}

/** Removes blobs until the rest fits. Others may do the same at the same time. @param newest is kept */
async function evict(directory: string, limit: number, newest: string): Promise<void> {
  const blobs: { path: string; size: number; used: number }[] = [];
  let total = 0;
  for (const name of await readdir(directory, { recursive: true })) {
    const path = join(directory, name);
    const found = await stat(path).catch(() => undefined);
    if (!found?.isFile() || name.includes(".ashlar-")) continue;
    blobs.push({ path, size: found.size, used: found.mtimeMs });
    total += found.size;
  }
  blobs.sort((a, b) => a.used - b.used);
  for (const { path, size } of blobs) {
    if (total <= limit) return;
    if (path === newest) continue;
    await rm(path, { force: true }).catch(() => undefined);
    total -= size;
  }
}
