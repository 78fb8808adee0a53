/** What the parts of an inspection share: digests within a budget, and problems that are told instead of thrown. */
import { decodeUtf8, trimEndOf } from "../../bytes/index.ts";
import { isAshlarError, UnsupportedError } from "../../errors/index.ts";
import { type Digest, formatDigest, type Hashes } from "../../hash/index.ts";
import { chunksOf, readAll, type Source } from "../../source/index.ts";
import { parseOsRelease } from "../build/os-release.ts";
import type { Environment } from "../environment.ts";
import type { Decompressors } from "../image/index.ts";

export interface InspectEnvironment extends Pick<Environment, "hashes" | "blockHasher" | "reporter" | "signal"> {
  readonly decompressors: Decompressors;
}

/** Something that could not be read. What could be is described all the same. */
export interface Problem {
  readonly code: string;
  readonly message: string;
}

/** The value, or undefined and a problem for one of our errors. `message` of a problem says what it is about. */
export async function attempt<T>(problems: Problem[], action: () => Promise<T>): Promise<T | undefined> {
  try {
    return await action();
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    problems.push({ code: error.code, message: error.message });
    return undefined;
  }
}

/**
 * Bytes that one inspection hashes at most, beyond twice its input: sections and files may overlap in a hostile image,
 * and so be many times as large together as the image itself.
 */
const HASH_ALLOWANCE = 1024 ** 3;

export interface Digester {
  /** Throws UnsupportedError `too-large` when the budget is used up. */
  digest(source: Source): Promise<Digest>;
}

export function digester(size: number, { hashes, signal }: Pick<InspectEnvironment, "hashes" | "signal">): Digester {
  let budget = 2 * size + HASH_ALLOWANCE;
  return {
    async digest(source) {
      budget -= source.size;
      if (budget < 0)
        throw new UnsupportedError("too-large", "the parts together are many times as large as the whole: not hashed");
      const hasher = hashes.create("sha256");
      for await (const chunk of chunksOf(source, { signal })) hasher.update(chunk);
      return formatDigest("sha256", hasher.digest());
    },
  };
}

export async function digestWhole(source: Source, hashes: Hashes, signal: AbortSignal | undefined): Promise<Digest> {
  const hasher = hashes.create("sha256");
  for await (const chunk of chunksOf(source, { signal })) hasher.update(chunk);
  return formatDigest("sha256", hasher.digest());
}

/** Bytes of a section or file that is shown as text. */
export const MAX_TEXT = 64 * 1024;

/** Text that something holds, NULs at the end left out. */
export async function textOf(source: Source, what: string): Promise<string> {
  return trimEndOf(decodeUtf8(await readAll(source, MAX_TEXT, what)), "\0\n");
}

/** What os-release(5) says of a system, as far as people ask for it. */
export interface SystemName {
  readonly prettyName: string | null;
  readonly id: string | null;
  readonly versionId: string | null;
  readonly imageId: string | null;
  readonly imageVersion: string | null;
}

export function systemName(osRelease: Uint8Array): SystemName {
  const values = parseOsRelease(osRelease);
  const name = (key: string): string | null => values.get(key) ?? null;
  return {
    prettyName: name("PRETTY_NAME") ?? name("NAME"),
    id: name("ID"),
    versionId: name("VERSION_ID"),
    imageId: name("IMAGE_ID"),
    imageVersion: name("IMAGE_VERSION"),
  };
}
