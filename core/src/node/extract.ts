/** Writes a tree into a directory, as faithfully as the caller's rights allow. */
import {
  chmodSync,
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fstatSync,
  ftruncateSync,
  futimesSync,
  lchownSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from "node:fs";
import { rm } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { type ByteString, bytesOf } from "../bytes/index.ts";
import { SinkError } from "../errors/index.ts";
import { type ErofsImage, type ErofsInode, nodeSteps } from "../formats/erofs/reader.ts";
import type { Note, Task } from "../ops/report.ts";
import { finishNow, type Steps, waitFor } from "../source/index.ts";
import {
  type Directory,
  type Node,
  type RegularFile,
  showPath,
  TYPE_BITS,
  type Visit,
  walkTree,
} from "../tree/index.ts";
import { writeFailure } from "./errors.ts";
import { dataRuns, makeDirectories } from "./files.ts";
import { loadNativeCalls, type NativeCalls } from "./native.ts";
import { omissions } from "./omissions.ts";
import { withoutOptimizer } from "./optimizer.ts";

export interface ExtractOptions {
  /** Whether owners and device nodes are to be restored: for root alone. */
  readonly privileged: boolean;
  /** Whether the process does nothing else and no content needs a decompressor in plain TypeScript; see `withoutOptimizer`. */
  readonly isShortWork?: boolean | undefined;
  /** Advanced by bytes of file content. */
  readonly task?: Task | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Extracted {
  /** Names written, the root not counted. */
  readonly entries: number;
  /** Bytes of file content. */
  readonly bytes: number;
  /** What could not be restored, one note a kind. */
  readonly notes: readonly Note[];
}

/** Bytes of a file that are in memory at a time. With 1 MiB more clusters lie across its ends, which are remembered: 0.04 s of 1.1 s. */
const BUFFER_SIZE = 4 * 1024 * 1024;

/** Milliseconds after which everything else in the program has its turn: most of this work never waits. */
const TURN = 50;

/**
 * Fills `directory`, which must be empty or missing. Directories get their modes and times when all is in them.
 * Throws SinkError `exists` for a directory with entries, and what writing throws; then the directory is as it was.
 */
export function extractTree(tree: Directory, directory: string, options: ExtractOptions): Promise<Extracted> {
  return extract(walkTree(tree), new Uint8Array(BUFFER_SIZE), directory, options);
}

/** The same with what is below the directory `from` of an image, of which nothing is kept. Throws what reading it throws too. */
export function extractImage(
  image: ErofsImage,
  from: ErofsInode,
  directory: string,
  options: ExtractOptions,
): Promise<Extracted> {
  return extract(nodeSteps(image, from), image.buffer(BUFFER_SIZE), directory, options);
}

/** A directory before its entries; promises are to be awaited before it goes on. */
type Visits = Iterable<(Pick<Visit, "path" | "node"> & { readonly nid?: number }) | Promise<unknown>>;

/** @param buffer one for all files */
async function extract(
  visits: Visits,
  buffer: Uint8Array,
  directory: string,
  options: ExtractOptions,
): Promise<Extracted> {
  const made = await makeEmpty(directory);
  const native = loadNativeCalls(); // before the optimizer is off, as long as compiled code that is kept is taken
  const fill = () => fillDirectory(visits, buffer, directory, native, options);
  try {
    return await (options.isShortWork === true ? withoutOptimizer(fill) : fill());
  } catch (error) {
    for (const name of readdirSync(directory, { encoding: "buffer" }))
      await rm(Buffer.concat([Buffer.from(`${directory}/`), name]), { recursive: true, force: true });
    if (made !== undefined) await rm(made, { recursive: true, force: true });
    throw error;
  }
}

/** Returns the first directory that had to be made. */
async function makeEmpty(directory: string): Promise<string | undefined> {
  try {
    const made = await makeDirectories(directory);
    if (readdirSync(directory).length === 0) return made;
  } catch (error) {
    throw writeFailure(directory, error);
  }
  throw new SinkError("exists", `${directory}: is not empty`, { path: directory });
}

/** A string where that says it, since Node takes those faster than the bytes that a path is. */
type Path = string | Buffer;

async function fillDirectory(
  visits: Visits,
  buffer: Uint8Array,
  directory: string,
  native: NativeCalls | undefined,
  options: ExtractOptions,
): Promise<Extracted> {
  const { privileged, signal, task } = options;
  const missing = omissions();
  const base = Buffer.from(`${directory}/`);
  const firstNames = new Map<Node | number, Path>(); // by inode number where there is one
  const directories: { readonly at: Path; readonly path: ByteString; readonly node: Directory }[] = [];
  const [uid, gid] = [process.geteuid?.(), process.getegid?.()];
  const umask = process.umask();
  const hasDefaultAcl = native === undefined || mayHaveDefaultAcl(native.getXattrs(Buffer.from(directory)));
  let givesOwner: boolean | undefined; // whether a new file belongs to whom it should, as the first one did
  let turned = performance.now();
  let entries = 0;
  let bytes = 0;

  for (const visit of visits) {
    if (visit instanceof Promise) {
      await visit;
      continue;
    }
    if (performance.now() - turned > TURN) await takeTurn();
    const { path, node } = visit;
    const at = path === "" ? directory : placeOf(path);
    try {
      if (path !== "") entries++;
      if (node.type === "directory") {
        if (path !== "") mkdirSync(at, 0o700); // its own mode might forbid us to write into it
        directories.push({ at, path, node });
        continue;
      }
      const key = visit.nid ?? node;
      const first = firstNames.get(key);
      if (first !== undefined) {
        linkSync(first, at);
        continue;
      }
      firstNames.set(key, at);
      if (node.type === "file") {
        const pending = finishNow(writeSteps(node, at, path));
        if (pending !== undefined) await pending;
        continue;
      }
      if (node.type === "symlink") symlinkSync(Buffer.from(node.target, "latin1"), at);
      else if (!makeSpecial(node, Buffer.from(at), native, options)) {
        missing.add("device nodes, fifos and sockets", path);
        firstNames.delete(key);
        continue;
      }
      restore(node, at, path);
    } catch (error) {
      throw writeFailure(showPath(path), error);
    }
  }
  for (const { at, path, node } of directories.reverse())
    try {
      restore(node, at, path);
    } catch (error) {
      throw writeFailure(showPath(path), error);
    }
  return { entries, bytes, notes: missing.notes() };

  function placeOf(path: ByteString): Path {
    return NOT_ASCII.test(path) ? Buffer.concat([base, bytesOf(path)]) : `${directory}/${path}`;
  }

  async function takeTurn(): Promise<void> {
    await setImmediate();
    signal?.throwIfAborted();
    turned = performance.now();
  }

  function isOwned(node: Node): boolean {
    return node.uid === uid && node.gid === gid;
  }

  /** Permission bits that are restored. With another owner set-id bits would lend the rights of whoever extracts to everybody who runs the program. */
  function modeOf(node: Node, path: ByteString): number {
    const kept = privileged || isOwned(node) || node.type === "directory" ? 0o7777 : 0o1777;
    if ((node.mode & ~kept) !== 0) missing.add("set-id bits", path);
    return node.mode & kept;
  }

  function setXattrs(node: Node, at: Path, path: ByteString): void {
    for (const [name, value] of node.xattrs)
      if (native === undefined || native.setXattr(Buffer.from(at), bytesOf(name), value) !== 0)
        missing.add("extended attributes", path);
  }

  /**
   * Owner first, since changing it clears set-id bits and capabilities; xattrs before a mode that may forbid them;
   * time last, since everything else changes it.
   */
  function restore(node: Node, at: Path, path: ByteString): void {
    if (privileged) lchownSync(at, node.uid, node.gid);
    else if (!isOwned(node)) missing.add("owners", path);
    setXattrs(node, at, path);
    if (node.type !== "symlink") chmodSync(at, modeOf(node, path));
    if (native !== undefined && native.setTime(Buffer.from(at), node.mtime) === 0) return;
    if (node.type !== "symlink") utimesSync(at, Number(node.mtime) / 1e9, Number(node.mtime) / 1e9);
    missing.add("exact times", path);
  }

  /**
   * Writes at once and not through the pool of threads, from one buffer and not from a fresh one for each piece: together
   * that is a third of the CPU seconds for a Debian of 14,000 files (measured). What opening the file has done already, the
   * usual owner and mode, is not done again.
   */
  function* writeSteps(node: RegularFile, at: Path, path: ByteString): Steps<never> {
    const mode = modeOf(node, path);
    const isDone = isOwned(node) && givesOwner !== false && !hasDefaultAcl && (mode & (umask | ~0o777)) === 0;
    const file = openSync(at, NEW_FILE, isDone ? mode : 0o600);
    try {
      yield* contentSteps(node, file);
      if (givesOwner === undefined && isOwned(node)) {
        const stat = fstatSync(file);
        givesOwner = stat.uid === uid && stat.gid === gid;
      }
      if (privileged && !(isOwned(node) && givesOwner === true)) fchownSync(file, node.uid, node.gid);
      else if (!privileged && !isOwned(node)) missing.add("owners", path);
      setXattrs(node, at, path);
      if (!isDone) fchmodSync(file, mode);
      if (native !== undefined && native.setTimeOf(file, node.mtime) === 0) return;
      futimesSync(file, Number(node.mtime) / 1e9, Number(node.mtime) / 1e9);
      missing.add("exact times", path);
    } finally {
      closeSync(file);
    }
  }

  function* contentSteps({ content }: RegularFile, file: number): Steps<never> {
    let end = 0; // of what is written
    for (let offset = 0; offset < content.size; offset += buffer.length) {
      if (offset > 0 && performance.now() - turned > TURN) yield takeTurn();
      const chunk = buffer.subarray(0, Math.min(buffer.length, content.size - offset));
      if (content.readInto === undefined) chunk.set(yield* waitFor(content.read(offset, chunk.length, { signal })));
      else {
        const pending = content.readInto(offset, chunk);
        if (pending !== undefined) yield pending;
      }
      for (const [start, stop] of dataRuns(offset, chunk)) {
        for (let from = start; from < stop; ) from += writeSync(file, chunk, from, stop - from, offset + from);
        end = offset + stop;
      }
      task?.advance(chunk.length);
    }
    if (end < content.size) ftruncateSync(file, content.size); // it ends with a hole
    bytes += content.size;
  }
}

const NOT_ASCII = /[\x80-\xff]/;

/** A name that is there, a link too, is an error. */
const NEW_FILE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL;

/** Such a list gives the entries of a directory other modes than those they are made with. */
function mayHaveDefaultAcl(xattrs: ReturnType<NativeCalls["getXattrs"]>): boolean {
  return typeof xattrs === "number" || xattrs?.has("system.posix_acl_default" as ByteString) === true;
}

function makeSpecial(
  node: Exclude<Node, Directory | RegularFile | { type: "symlink" }>,
  at: Buffer,
  native: NativeCalls | undefined,
  { privileged }: ExtractOptions,
): boolean {
  const isDevice = node.type === "character" || node.type === "block";
  if (native === undefined || (isDevice && !privileged)) return false;
  const { major, minor } = isDevice ? node : { major: 0, minor: 0 };
  return native.makeNode(at, TYPE_BITS[node.type] | 0o600, major, minor) === 0;
}
