/** Files and block devices as sources, and files as sparse sinks. */
import { constants, readSync } from "node:fs";
import { type FileHandle, mkdir, open, readFile, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isZero } from "../bytes/index.ts";
import { SinkError, SourceError } from "../errors/index.ts";
import { assertRange, type RandomSink, type Source } from "../source/index.ts";
import { readFailure, writeFailure } from "./errors.ts";
import { newPartialName } from "./leftovers.ts";
import { loadSeekData } from "./native.ts";

/** A source that holds something open. */
export interface OpenSource extends Source {
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Reads of at most this many bytes are made synchronously: 3 µs from the page cache instead of 35 µs (measured). */
const SYNC_READ_LIMIT = 64 * 1024;

/** Bytes of holes that are worth knowing of. */
const MIN_HOLES = 64 * 1024 * 1024;

/** `major:minor` of a device node, as Linux writes it. */
export function deviceNumbers({ rdev }: { readonly rdev: number }): string {
  const major = ((rdev >> 8) & 0xfff) | 0; // Linux dev_t as Node reports it: 12-bit major in bits 8..19
  const minor = (rdev & 0xff) | ((rdev >> 12) & 0xfff00);
  return `${major}:${minor}`;
}

/** Bytes of a file or block device. Throws SourceError `not-a-file` for anything else. */
export async function sizeOf(handle: FileHandle, path: string): Promise<number> {
  const stat = await handle.stat();
  if (stat.isFile()) return stat.size;
  if (stat.isBlockDevice()) {
    const sectors = await readFile(`/sys/dev/block/${deviceNumbers(stat)}/size`, "latin1");
    return Number(sectors) * 512; // sysfs counts 512-byte sectors whatever the device has
  }
  throw new SourceError("not-a-file", `${path}: ${stat.isDirectory() ? "is a directory" : "is not a regular file"}`, {
    path,
  });
}

/** Reads exactly `length` bytes at `offset`; SourceError `truncated` where the file ends before. */
async function readExactly(handle: FileHandle, path: string, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  if (length <= SYNC_READ_LIMIT) fillNow(handle, path, offset, bytes);
  else await fillLater(handle, path, offset, bytes);
  return bytes;
}

async function fillLater(handle: FileHandle, path: string, offset: number, target: Uint8Array): Promise<void> {
  for (let done = 0; done < target.length; ) {
    const { bytesRead } = await handle.read(target, done, target.length - done, offset + done);
    if (bytesRead === 0) throw truncated(path, offset + done, target.length - done);
    done += bytesRead;
  }
}

function fillNow(handle: FileHandle, path: string, offset: number, target: Uint8Array): void {
  for (let done = 0; done < target.length; ) {
    const read = readSync(handle.fd, target, done, target.length - done, offset + done);
    if (read === 0) throw truncated(path, offset + done, target.length - done);
    done += read;
  }
}

function truncated(path: string, offset: number, missing: number): SourceError {
  return new SourceError("truncated", `${path}: ends at ${offset}, ${missing} more bytes were expected`, {
    path,
    offset,
  });
}

/**
 * For a file with holes: to read a gigabyte of them takes the kernel 0.5 to 2 s and fills its cache with zeros, more than to
 * hash them (measured). Loaded for such a file alone, since that takes a while too.
 */
export function holesOf(handle: FileHandle, size: number): Pick<Source, "dataFrom"> {
  const seek = loadSeekData();
  return seek === undefined ? {} : { dataFrom: (offset) => Math.min(size, seek(handle.fd, offset) ?? size) };
}

/** What an open file holds. Closing it closes the file. */
export function handleSource(
  handle: FileHandle,
  path: string,
  size: number,
  { readsAtOnce = false, ...holes }: Pick<Source, "dataFrom"> & { readonly readsAtOnce?: boolean } = {},
): OpenSource {
  const close = () => handle.close();
  return {
    size,
    ...holes,
    async read(offset, length, options) {
      assertRange(offset, length, size);
      options?.signal?.throwIfAborted();
      try {
        return await readExactly(handle, path, offset, length);
      } catch (error) {
        throw readFailure(path, error);
      }
    },
    readInto(offset, target) {
      assertRange(offset, target.length, size);
      if (readsAtOnce || target.length <= SYNC_READ_LIMIT) {
        try {
          fillNow(handle, path, offset, target);
        } catch (error) {
          throw readFailure(path, error);
        }
        return undefined;
      }
      return fillLater(handle, path, offset, target).catch((error: unknown) => {
        throw readFailure(path, error);
      });
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

export interface OpenFileOptions {
  /** Whether `path` itself may be a symbolic link; default true. */
  readonly followLink?: boolean;
  /** Whether `readInto` reads large amounts at once too, for who has nothing else to do meanwhile; default false. */
  readonly readsAtOnce?: boolean;
}

/** Opens a regular file or a block device for reading. Throws SourceError. */
export async function openFile(
  path: string,
  { followLink = true, readsAtOnce = false }: OpenFileOptions = {},
): Promise<OpenSource> {
  // Non-blocking, since opening a fifo would wait for a writer; files and disks do not care.
  const flags = constants.O_RDONLY | constants.O_NONBLOCK | (followLink ? 0 : constants.O_NOFOLLOW);
  let handle: FileHandle | undefined;
  try {
    handle = await open(path, flags);
    const size = await sizeOf(handle, path);
    const { blocks } = await handle.stat();
    const hasHoles = size >= MIN_HOLES && blocks * 512 < size - MIN_HOLES; // of a device: 0 blocks and 0 bytes
    return handleSource(handle, path, size, { ...(hasHoles ? holesOf(handle, size) : {}), readsAtOnce });
  } catch (error) {
    await handle?.close();
    throw readFailure(path, error);
  }
}

/**
 * Makes a directory and its missing parents; returns the first that had to be made. Not Node's own `recursive`, which
 * never ends below a directory such as /proc, where making fails with ENOENT (seen with Node 24.21).
 */
export async function makeDirectories(path: string): Promise<string | undefined> {
  try {
    await mkdir(path);
    return path;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const parent = dirname(path);
    if (code === "EEXIST") {
      if (await isDirectory(path)) return undefined;
      throw new SinkError("not-a-directory", `${path}: is not a directory`, { path, cause: error });
    }
    if (code !== "ENOENT" || parent === path) throw error;
    const made = (await isDirectory(parent)) ? path : await makeDirectories(parent);
    await mkdir(path).catch(async (again: unknown) => {
      if (!(await isDirectory(path))) throw again; // else somebody else was faster
    });
    return made;
  }
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

/** A file under construction: written anywhere, readable back, holes where zeros are. */
export interface OutputFile extends RandomSink {
  /** Fixes the length, in bytes. */
  setSize(size: number): Promise<void>;
  /** Reads what was written; valid until `close`. */
  source(size: number): Source;
  /** The same, at once: for what was written a moment ago and is still in memory. */
  fillNow(offset: number, target: Uint8Array): void;
  /** Flushes to the device. */
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Zeros are looked for in pieces of this many bytes, the block size of the usual file systems. */
const HOLE_SIZE = 4096;

/** The parts of `bytes` that hold something, as `[start, end)`; boundaries lie on multiples of HOLE_SIZE of the file. */
export function* dataRuns(offset: number, bytes: Uint8Array): Generator<readonly [start: number, end: number]> {
  let start = -1;
  let at = 0;
  while (at < bytes.length) {
    const next = Math.min(bytes.length, at + HOLE_SIZE - ((offset + at) % HOLE_SIZE));
    // Most blocks that hold something do so at their first byte, or in the middle.
    if (bytes[at] === 0 && bytes[(at + next) >> 1] === 0 && isZero(bytes.subarray(at, next))) {
      if (start >= 0) yield [start, at];
      start = -1;
    } else if (start < 0) start = at;
    at = next;
  }
  if (start >= 0) yield [start, bytes.length];
}

/** open(2): a file without a name. The value holds O_DIRECTORY, which differs between architectures. */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;
/** What kernels and file systems without O_TMPFILE say. */
const NO_TMPFILE = ["ENOTSUP", "EOPNOTSUPP", "EISDIR", "EINVAL", "ENOENT"];

/**
 * Makes a file in `directory` that has no name, so that no way of dying leaves it behind. Where the file system has no
 * such thing, a name is there for a moment, one that `removeLeftovers` knows.
 */
export async function createUnnamedFile(directory: string): Promise<OutputFile> {
  const path = join(directory, newPartialName());
  if (process.platform === "linux")
    try {
      const handle = await open(directory, O_TMPFILE | constants.O_RDWR | constants.O_EXCL, 0o600);
      return outputFile(handle, path);
    } catch (error) {
      if (!NO_TMPFILE.includes((error as NodeJS.ErrnoException).code ?? "")) throw writeFailure(path, error);
    }
  const file = await createFile(path);
  try {
    await unlink(path);
    return file;
  } catch (error) {
    await file.close().catch(() => undefined);
    throw writeFailure(path, error);
  }
}

/** Makes a file that must not exist yet. */
export async function createFile(path: string): Promise<OutputFile> {
  try {
    return outputFile(await open(path, "wx+"), path);
  } catch (error) {
    throw writeFailure(path, error);
  }
}

/** Opens a file that an earlier run has left, with what is in it. Zeros are written too, since they may stand over other bytes. */
export async function reopenFile(path: string): Promise<{ readonly file: OutputFile; readonly size: number }> {
  try {
    const handle = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
    return { file: outputFile(handle, path, { writesZeros: true }), size: (await handle.stat()).size };
  } catch (error) {
    throw writeFailure(path, error);
  }
}

/** Writes all of `bytes`. Throws SinkError `io-error` where the device takes no more, and what the system throws. */
export async function writeAll(handle: FileHandle, path: string, offset: number, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, at, bytes.length - at, offset + at);
    if (bytesWritten === 0) throw new SinkError("io-error", `${path}: the device takes no more bytes`, { path });
    at += bytesWritten;
  }
}

function* wholeRun(_offset: number, { length }: Uint8Array): Generator<readonly [start: number, end: number]> {
  if (length > 0) yield [0, length];
}

/** Every write skips whole blocks of zeros unless told otherwise, so each place is to be written once. */
function outputFile(handle: FileHandle, path: string, { writesZeros = false } = {}): OutputFile {
  const runsOf = writesZeros ? wholeRun : dataRuns;
  async function attempt<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      throw writeFailure(path, error);
    }
  }
  return {
    writeAt: (offset, bytes) =>
      attempt(async () => {
        for (const [start, end] of runsOf(offset, bytes))
          await writeAll(handle, path, offset + start, bytes.subarray(start, end));
      }),
    setSize: (size) => attempt(() => handle.truncate(size)),
    source: (size) => handleSource(handle, path, size),
    fillNow(offset, target) {
      try {
        fillNow(handle, path, offset, target);
      } catch (error) {
        throw readFailure(path, error);
      }
    },
    sync: () => attempt(() => handle.sync()),
    close: () => attempt(() => handle.close()),
  };
}
