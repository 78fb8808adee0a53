/**
 * An initrd as the kernel unpacks it: newc archives behind each other, each plain or compressed, zeros between them
 * (Linux, Documentation/driver-api/early-userspace/buffer-format.rst).
 */
import { byteString, concatBytes, showBytes } from "../../bytes/index.ts";
import { FormatError, isAshlarError, UnsupportedError } from "../../errors/index.ts";
import { type CpioEntry, cpioTree, parseCpio } from "../../formats/cpio/index.ts";
import type { Digest } from "../../hash/index.ts";
import { bytesSource, chunksOf, readAll, type Source } from "../../source/index.ts";
import { getNode, showPath, walkTree } from "../../tree/index.ts";
import type { Decompressors } from "../image/index.ts";
import { compressionOf } from "./locate.ts";
import { attempt, digestWhole, type InspectEnvironment, type Problem } from "./parts.ts";

/** Bytes, compressed and uncompressed. That of a general kernel with all firmware has some 600 MB. */
const MAX_SIZE = 1024 ** 3;
/** Archives behind each other. */
const MAX_PARTS = 64;
const MAX_BIGGEST = 10;

export interface InitrdPart {
  /** Bytes from the start of the input. */
  readonly offset: number;
  /** Bytes in the input. */
  readonly size: number;
  /** `none`, or the name of what it is compressed with. */
  readonly compression: string;
  /** Bytes. Null where it cannot be decompressed. */
  readonly uncompressedSize: number | null;
  /** Entries of its archives; null where it cannot be read. */
  readonly entries: number | null;
}

export interface InitrdReport {
  readonly kind: "initrd";
  readonly size: number;
  readonly digest: Digest | null;
  readonly parts: readonly InitrdPart[];
  /** Of all archives. */
  readonly entries: number;
  /** What is there once all are unpacked on top of each other. */
  readonly files: number;
  readonly contentBytes: number;
  readonly biggest: readonly { readonly path: string; readonly size: number }[];
  /** What `/init` is: a link's target, or the type; null where there is none. */
  readonly init: string | null;
  readonly problems: readonly Problem[];
}

export interface InspectInitrdOptions {
  /** Default: true. */
  readonly digest?: boolean;
  /** Names it in errors. */
  readonly what?: string;
}

export async function inspectInitrd(
  source: Source,
  { decompressors, hashes, signal }: InspectEnvironment,
  { digest = true, what = "initrd" }: InspectInitrdOptions = {},
): Promise<InitrdReport> {
  const problems: Problem[] = [];
  const parts: InitrdPart[] = [];
  const entries: CpioEntry[] = [];
  await attempt(problems, () =>
    readParts(source, { what, decompressors, signal, candidates: MAX_CANDIDATES }, parts, entries),
  );
  if (parts.length === 0 && problems[0] !== undefined) throw new FormatError(problems[0].code, problems[0].message);
  const tree = await attempt(problems, async () => cpioTree(entries));
  const files: { path: string; size: number }[] = [];
  let contentBytes = 0;
  if (tree !== undefined) {
    const seen = new Set<unknown>();
    for (const { path, node } of walkTree(tree)) {
      if (node.type !== "file" || seen.has(node)) continue;
      seen.add(node);
      contentBytes += node.content.size;
      files.push({ path: showPath(path), size: node.content.size });
    }
  }
  const init = tree === undefined ? undefined : getNode(tree, "init");
  return {
    kind: "initrd",
    size: source.size,
    digest: digest ? await digestWhole(source, hashes, signal) : null,
    parts,
    entries: entries.length,
    files: files.length,
    contentBytes,
    biggest: files.sort((a, b) => b.size - a.size || (a.path < b.path ? -1 : 1)).slice(0, MAX_BIGGEST),
    init: init === undefined ? null : init.type === "symlink" ? showBytes(init.target) : init.type,
    problems,
  };
}

interface Tools extends Pick<InspectEnvironment, "decompressors" | "signal"> {
  /** Names it in errors. */
  readonly what: string;
  /** Places that may still be tried as the start of an archive; counted down. */
  candidates: number;
}

async function readParts(source: Source, tools: Tools, parts: InitrdPart[], entries: CpioEntry[]): Promise<void> {
  const bytes = await readAll(source, MAX_SIZE, tools.what);
  let budget = MAX_SIZE;
  let archives = 0;
  function add(found: readonly CpioEntry[]): void {
    // Archives are numbered through, so that hard links of one do not reach into another.
    for (const entry of found) entries.push({ ...entry, archive: entry.archive + archives });
    archives = (entries.at(-1)?.archive ?? archives - 1) + 1;
  }
  for (let at = 0; ; ) {
    while (at < bytes.length && bytes[at] === 0) at++;
    if (at >= bytes.length) return;
    if (parts.length === MAX_PARTS)
      throw new UnsupportedError("cpio-parts", `${tools.what}: more than ${MAX_PARTS} archives behind each other`);
    const rest = bytes.subarray(at);
    if (isPlain(rest)) {
      const { entries: found, end } = parseCpio(rest);
      add(found);
      parts.push({ offset: at, size: end, compression: "none", uncompressedSize: end, entries: found.length });
      at += end;
      continue;
    }
    const compression = compressionOf(rest);
    if (compression === undefined)
      throw new FormatError("bad-magic", `${tools.what}: neither an archive nor compressed at ${at}`, { offset: at });
    if (compression !== "gzip" && compression !== "zstd") {
      // Where it ends cannot be known without decompressing it.
      parts.push({ offset: at, size: rest.length, compression, uncompressedSize: null, entries: null });
      throw new UnsupportedError("compression", `${tools.what}: ${compression} at ${at} is not implemented`, {
        offset: at,
      });
    }
    const { output, used } = await decompress(rest, compression, budget, tools);
    budget -= output.length;
    const part = { offset: at, size: used, compression, uncompressedSize: output.length };
    let found: readonly CpioEntry[];
    try {
      found = parseCpio(output).entries;
    } catch (error) {
      if (isAshlarError(error) && error.code === "bad-magic" && parts.length === 0)
        throw new FormatError("not-an-initrd", `${tools.what}: ${compression} of something that is no cpio archive`);
      throw error;
    }
    add(found);
    parts.push({ ...part, entries: found.length });
    at += used;
  }
}

/** Places of one input that are tried as the start of an archive. Their magics are long, so that a false one is rare. */
const MAX_CANDIDATES = 32;

/** @returns `used` bytes of the input, up to where something else follows */
async function decompress(
  bytes: Uint8Array,
  compression: "gzip" | "zstd",
  limit: number,
  tools: Tools,
): Promise<{ readonly output: Uint8Array; readonly used: number }> {
  let failure: unknown;
  const attemptUpTo = async (end: number) => {
    const output = await decompressAll(bytesSource(bytes.subarray(0, end)), compression, limit, tools);
    return { output, used: end };
  };
  try {
    return await attemptUpTo(bytes.length);
  } catch (error) {
    if (!isAshlarError(error) || error.kind !== "FormatError") throw error;
    failure = error;
  }
  // Another archive may follow, which decompressors refuse. Some say where it begins; else its magic is looked for.
  const { offset } = (failure as { details: { offset?: number } }).details;
  const ends = offset !== undefined && offset > 0 && offset < bytes.length ? [offset] : archiveStarts(bytes, tools);
  for (const end of ends) {
    try {
      return await attemptUpTo(end);
    } catch (error) {
      if (!isAshlarError(error) || error.kind !== "FormatError") throw error;
    }
  }
  throw failure;
}

/** Where a plain, zstd- or xz-compressed archive may begin behind the first one. */
function* archiveStarts(bytes: Uint8Array, tools: Tools): Generator<number> {
  for (let at = 1; at < bytes.length && tools.candidates > 0; at++) {
    const first = bytes[at];
    if (first !== 0x30 && first !== 0x28 && first !== 0xfd) continue;
    const rest = bytes.subarray(at, at + 8);
    const name = compressionOf(rest);
    if (!isPlain(rest) && name !== "zstd" && name !== "xz") continue;
    tools.candidates--;
    yield at;
  }
}

function isPlain(bytes: Uint8Array): boolean {
  return byteString(bytes.subarray(0, 5)) === "07070";
}

async function decompressAll(
  source: Source,
  compression: "gzip" | "zstd",
  limit: number,
  tools: Tools,
): Promise<Uint8Array> {
  const { decompressors, signal } = tools;
  const open: Decompressors[keyof Decompressors] = compression === "gzip" ? decompressors.gunzip : decompressors.unzstd;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of open(chunksOf(source, { signal }), tools.what)) {
    size += chunk.length;
    if (size > limit)
      throw new UnsupportedError("too-large", `${tools.what}: unpacks to more than ${MAX_SIZE} bytes`, {
        expected: MAX_SIZE,
      });
    chunks.push(new Uint8Array(chunk)); // a true copy: the lender frees its own, and a Buffer's slice is a view
  }
  return concatBytes(...chunks);
}
