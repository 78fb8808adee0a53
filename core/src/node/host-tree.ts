/** A directory of the host as a tree: metadata at once, contents when they are asked for. */
import { spawnSync } from "node:child_process";
import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { type ByteString, byteString, oneLine, showBytes } from "../bytes/index.ts";
import { FormatError, SourceError } from "../errors/index.ts";
import type { HostTreeOptions } from "../ops/image/index.ts";
import { assertRange, emptySource, type Source } from "../source/index.ts";
import {
  type Attributes,
  type Directory,
  deviceNode,
  directory,
  type Leaf,
  MAX_DEPTH,
  NO_XATTRS,
  regularFile,
  specialNode,
  symlink,
  type Xattrs,
} from "../tree/index.ts";
import { readFailure } from "./errors.ts";
import { loadNativeCalls } from "./native.ts";

/**
 * Reads of at most this many bytes are made synchronously, opening and closing included: on files that are in memory that
 * takes a quarter of the CPU time of a handle and its promises (measured), and on a disk a few milliseconds.
 */
const SYNC_READ_LIMIT = 2 * 1024 * 1024;
/** After so many names, and so many contents, the event loop gets a turn, for progress and Ctrl-C. */
const NAMES_PER_TURN = 4096;
const READS_PER_TURN = 256;

/** Contents of a tree that were read so far. */
interface ReadCount {
  reads: number;
}

const OPEN_FLAGS = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

/** What a file was when the tree was read. */
interface Identity {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

type XattrReader = (place: Buffer, path: ByteString) => Xattrs;

/**
 * Reads a directory: types, modes, owners, times to the nanosecond, hard links, extended attributes, device nodes,
 * fifos and sockets. Other file systems mounted in it are part of it. Errors: SourceError `not-a-directory`,
 * `no-permission` and the like with the path; FormatError `too-deep`; SourceError `changed` when content is read.
 */
export async function readHostTree(path: string, { signal, onNote }: HostTreeOptions = {}): Promise<Directory> {
  const readXattrs = xattrReader(path, onNote);
  const links = new Map<string, Leaf>(); // by device and inode, for files with more names than one
  let names = 0;
  const count: ReadCount = { reads: 0 };

  async function readDirectory(place: Buffer, below: ByteString, stat: BigIntStats, depth: number): Promise<Directory> {
    if (depth >= MAX_DEPTH)
      throw new FormatError("too-deep", `${show(place)}: directories nest deeper than ${MAX_DEPTH}`);
    const result = directory(attributesOf(stat, readXattrs(place, below)));
    // In order, so that of several errors it is always the same that is thrown.
    for (const name of attempt(place, () => readdirSync(place, { encoding: "buffer" })).sort(Buffer.compare)) {
      if (++names % NAMES_PER_TURN === 0) {
        await new Promise((resolve) => setImmediate(resolve));
        signal?.throwIfAborted();
      }
      const at = Buffer.concat([place, SLASH, name]);
      const key = byteString(name);
      const path = (below === "" ? key : `${below}/${key}`) as ByteString;
      const entry = attempt(at, () => lstatSync(at, { bigint: true }));
      result.entries.set(
        key,
        entry.isDirectory() ? await readDirectory(at, path, entry, depth + 1) : readLeaf(at, path, entry),
      );
    }
    return result;
  }

  function readLeaf(place: Buffer, path: ByteString, stat: BigIntStats): Leaf {
    const id = stat.nlink > 1n ? `${stat.dev}:${stat.ino}` : undefined;
    const known = id === undefined ? undefined : links.get(id);
    if (known !== undefined) return known;
    const leaf = makeLeaf(place, stat, attributesOf(stat, readXattrs(place, path)), count);
    if (id !== undefined) links.set(id, leaf);
    return leaf;
  }

  const root = Buffer.from(path);
  const stat = attempt(root, () => lstatSync(`${path}/.`, { bigint: true })); // a link to the directory is followed
  if (!stat.isDirectory()) throw new SourceError("not-a-directory", `${path}: is not a directory`, { path });
  return readDirectory(root, "" as ByteString, stat, 0);
}

const SLASH = Buffer.from("/");

function show(place: Uint8Array): string {
  return showBytes(byteString(place));
}

function attempt<T>(place: Buffer, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw readFailure(show(place), error);
  }
}

function attributesOf(stat: BigIntStats, xattrs: Xattrs): Attributes {
  return {
    mode: Number(stat.mode & 0o7777n),
    uid: Number(stat.uid),
    gid: Number(stat.gid),
    mtime: stat.mtimeNs,
    xattrs,
  };
}

function makeLeaf(place: Buffer, stat: BigIntStats, values: Attributes, count: ReadCount): Leaf {
  if (stat.isFile()) return regularFile(values, stat.size === 0n ? emptySource : new HostFile(place, stat, count));
  if (stat.isSymbolicLink()) return symlink(values, byteString(attempt(place, () => readlinkSync(place, "buffer"))));
  if (stat.isFIFO() || stat.isSocket()) return specialNode(stat.isFIFO() ? "fifo" : "socket", values);
  // Linux dev_t as the C library has it: 12 bits of the major above 8 of the minor, the rest above that.
  const major = Number(((stat.rdev >> 8n) & 0xfffn) | ((stat.rdev >> 32n) & 0xfffff000n));
  const minor = Number((stat.rdev & 0xffn) | ((stat.rdev >> 12n) & 0xffffff00n));
  return deviceNode(stat.isCharacterDevice() ? "character" : "block", values, major, minor);
}

/**
 * A file that is opened for each read: millions of them cannot stay open. After each read it must be what it was when the
 * tree was read, so what comes out is what the file was at one moment.
 */
class HostFile implements Source {
  readonly size: number;
  readonly #place: Buffer;
  readonly #identity: Identity;
  readonly #count: ReadCount;

  constructor(place: Buffer, { dev, ino, size, mtimeNs, ctimeNs }: BigIntStats, count: ReadCount) {
    this.size = Number(size);
    this.#place = place;
    this.#identity = { dev, ino, size, mtimeNs, ctimeNs };
    this.#count = count;
  }

  async read(offset: number, length: number, options?: { readonly signal?: AbortSignal | undefined }) {
    assertRange(offset, length, this.size);
    options?.signal?.throwIfAborted();
    const bytes = new Uint8Array(length);
    const filled = this.readInto(offset, bytes);
    if (filled !== undefined) await filled;
    return bytes;
  }

  readInto(offset: number, target: Uint8Array): Promise<void> | undefined {
    assertRange(offset, target.length, this.size);
    if (target.length > SYNC_READ_LIMIT)
      return this.#fillLater(offset, target).catch((error: unknown) => {
        throw readFailure(show(this.#place), error);
      });
    try {
      this.#fillNow(offset, target);
      return ++this.#count.reads % READS_PER_TURN === 0 ? new Promise((resolve) => setImmediate(resolve)) : undefined;
    } catch (error) {
      throw readFailure(show(this.#place), error);
    }
  }

  #fillNow(offset: number, target: Uint8Array): void {
    const descriptor = openSync(this.#place, OPEN_FLAGS);
    try {
      for (let done = 0; done < target.length; )
        done += this.#some(readSync(descriptor, target, done, target.length - done, offset + done));
      this.#check(fstatSync(descriptor, { bigint: true }));
    } catch (error) {
      this.#check(fstatSync(descriptor, { bigint: true })); // another kind of file cannot be read in this way
      throw error;
    } finally {
      closeSync(descriptor);
    }
  }

  async #fillLater(offset: number, target: Uint8Array): Promise<void> {
    const handle: FileHandle = await open(this.#place, OPEN_FLAGS);
    try {
      for (let done = 0; done < target.length; )
        done += this.#some((await handle.read(target, done, target.length - done, offset + done)).bytesRead);
      this.#check(await handle.stat({ bigint: true }));
    } catch (error) {
      this.#check(await handle.stat({ bigint: true }));
      throw error;
    } finally {
      await handle.close();
    }
  }

  #some(bytesRead: number): number {
    if (bytesRead === 0) throw this.#changed();
    return bytesRead;
  }

  #check(now: BigIntStats): void {
    const { dev, ino, size, mtimeNs, ctimeNs } = this.#identity;
    if (now.dev !== dev || now.ino !== ino || now.size !== size || now.mtimeNs !== mtimeNs || now.ctimeNs !== ctimeNs)
      throw this.#changed();
  }

  #changed(): SourceError {
    const path = show(this.#place);
    return new SourceError("changed", `${path}: changed while it was read`, { path });
  }
}

/** Through the C library, else getfattr; else a note says that there are none. */
function xattrReader(root: string, onNote: HostTreeOptions["onNote"]): XattrReader {
  const native = loadNativeCalls();
  if (native !== undefined)
    return (place) => {
      const found = native.getXattrs(place);
      if (typeof found === "number") throw xattrFailure(show(place), found);
      return found ?? NO_XATTRS;
    };
  const all = runGetfattr(root);
  if (all === undefined) onNote?.("xattrs-not-read", `${root}: extended attributes were not read: no getfattr here`);
  return (_, path) => all?.get(path) ?? NO_XATTRS;
}

const EPERM = 1;
const EACCES = 13;

/** Whoever may not read a file may not read its `user.` attributes either. */
function xattrFailure(path: string, errno: number): SourceError {
  return errno === EACCES || errno === EPERM
    ? new SourceError("no-permission", `${path}: permission denied`, { path })
    : new SourceError("io-error", `${path}: extended attributes cannot be read (errno ${errno})`, { path });
}

/** Bytes of getfattr's output. */
const MAX_GETFATTR_OUTPUT = 1024 * 1024 * 1024;

/**
 * Path below `root` → xattrs, for all that have any; undefined where there is no getfattr. Throws SourceError
 * `xattrs-not-read` with what it complains of, since attributes left out would go unnoticed.
 */
export function runGetfattr(root: string): Map<ByteString, Xattrs> | undefined {
  const { stdout, stderr, status, error } = spawnSync(
    "getfattr",
    ["--recursive", "--physical", "--no-dereference", "--dump", "--match=-", "--encoding=hex", "."],
    { cwd: root, encoding: "latin1", maxBuffer: MAX_GETFATTR_OUTPUT, stdio: ["ignore", "pipe", "pipe"] },
  );
  if (error !== undefined) return undefined;
  if (status !== 0)
    throw new SourceError("xattrs-not-read", `${root}: ${oneLine(stderr.split("\n", 1)[0] ?? "getfattr failed")}`, {
      path: root,
    });
  const all = new Map<ByteString, Xattrs>();
  for (const block of stdout.split("\n\n")) {
    const [head, ...lines] = block.split("\n").filter((line) => line !== "");
    if (head === undefined) continue;
    const path = unquote(head.replace(/^# file: (\.\/)?/, ""));
    const xattrs = new Map<ByteString, Uint8Array>();
    for (const line of lines) {
      const at = line.indexOf("=");
      if (at < 0) xattrs.set(unquote(line), new Uint8Array(0));
      else xattrs.set(unquote(line.slice(0, at)), new Uint8Array(Buffer.from(line.slice(at + 3), "hex"))); // after 0x
    }
    all.set((path === "." ? "" : path) as ByteString, xattrs);
  }
  return all;
}

/** getfattr writes a backslash and three octal digits for what would break a line. */
function unquote(text: string): ByteString {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  ) as ByteString;
}
