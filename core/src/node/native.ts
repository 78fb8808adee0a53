/**
 * The system calls that Node lacks, from the C library through koffi. Where koffi cannot be loaded, or on another
 * system than Linux, there is no port, and callers say what they could not do.
 */
import { type ByteString, byteString } from "../bytes/index.ts";
import { loadKoffi } from "./own-files.ts";

/** Paths are bytes; links are not followed. What sets something returns 0, or the errno of the failure. */
export interface NativeCalls {
  /**
   * All extended attributes that the caller may see, undefined where there are none; a number is the errno of the
   * failure. Where a file system has no such thing, there are none.
   */
  getXattrs(path: Uint8Array): Map<ByteString, Uint8Array> | undefined | number;
  setXattr(path: Uint8Array, name: Uint8Array, value: Uint8Array): number;
  removeXattr(path: Uint8Array, name: Uint8Array): number;
  /** @param mode with the type bits */
  makeNode(path: Uint8Array, mode: number, major: number, minor: number): number;
  /** Sets both times, nanoseconds since 1970. */
  setTime(path: Uint8Array, time: bigint): number;
  /** The same of an open file. */
  setTimeOf(descriptor: number, time: bigint): number;
}

/** Bytes of a value, and of all names of a file: Linux, XATTR_SIZE_MAX and XATTR_LIST_MAX. */
const MAX_XATTR_SIZE = 65536;
const ENODATA = 61;
const ENOTSUP = 95;
const AT_FDCWD = -100;
const AT_SYMLINK_NOFOLLOW = 0x100;
const TIMESPEC_SIZE = 16; // bytes: two 64-bit integers in the byte order of the machine

function zeroTerminated(bytes: Uint8Array): Uint8Array {
  const text = new Uint8Array(bytes.length + 1);
  text.set(bytes);
  return text;
}

function timespec(view: DataView, at: number, time: bigint): void {
  const seconds = time / 1_000_000_000n - (time % 1_000_000_000n < 0n ? 1n : 0n); // towards minus infinity
  view.setBigInt64(at, seconds, true);
  view.setBigInt64(at + 8, time - seconds * 1_000_000_000n, true);
}

/** glibc's `makedev`: 12 bits of the major and 8 of the minor low, the rest above. */
function deviceNumber(major: number, minor: number): bigint {
  const a = BigInt(major);
  const b = BigInt(minor);
  return ((a & 0xfffff000n) << 32n) | ((a & 0xfffn) << 8n) | ((b & 0xffffff00n) << 12n) | (b & 0xffn);
}

/** lseek(2). */
const SEEK_DATA = 3;
const ENXIO = 6;

/**
 * The first place from `offset` on where a file may hold something else than a hole; undefined where there is none. What
 * the file system does not tell is taken for data.
 */
export type SeekData = (descriptor: number, offset: number) => number | undefined;

/** Undefined where the machine has no such call. */
export function loadSeekData(): SeekData | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const koffi = loadKoffi();
    const lseek = koffi.load("libc.so.6").func("int64_t lseek(int descriptor, int64_t offset, int whence)");
    return (descriptor, offset) => {
      const found = Number(lseek(descriptor, offset, SEEK_DATA));
      if (found >= 0) return found;
      return koffi.errno() === ENXIO ? undefined : offset;
    };
  } catch {
    return undefined; // as below
  }
}

/** flock(2). */
const LOCK_EX = 2;
const LOCK_NB = 4;
const EWOULDBLOCK = 11;

/**
 * Takes the only lock on what is open under `descriptor`; false where somebody else has it. It goes with the descriptor,
 * however the process ends. What cannot be locked is taken for locked.
 */
export type TakeLock = (descriptor: number) => boolean;

/** Undefined where the machine has no such call. */
export function loadTakeLock(): TakeLock | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const koffi = loadKoffi();
    const flock = koffi.load("libc.so.6").func("int flock(int descriptor, int operation)");
    return (descriptor) => flock(descriptor, LOCK_EX | LOCK_NB) === 0 || koffi.errno() !== EWOULDBLOCK;
  } catch {
    return undefined; // as below
  }
}

/** renameat2(2). */
const RENAME_EXCHANGE = 2;

/** Lets two names of one file system change places, in one step; 0, or the errno of the failure. */
export type ExchangeNames = (one: Uint8Array, other: Uint8Array) => number;

/** Undefined where the machine has no such call. */
export function loadExchangeNames(): ExchangeNames | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const koffi = loadKoffi();
    const renameat2 = koffi
      .load("libc.so.6")
      .func("int renameat2(int from, const void *path, int to, const void *other, unsigned int flags)");
    return (one, other) =>
      renameat2(AT_FDCWD, zeroTerminated(one), AT_FDCWD, zeroTerminated(other), RENAME_EXCHANGE) === 0
        ? 0
        : koffi.errno();
  } catch {
    return undefined; // as below
  }
}

/** posix_fadvise(2). */
const POSIX_FADV_DONTNEED = 4;

/** Makes the kernel forget what it holds of a file or device that was flushed; true where it took the advice. */
export type DropCache = (descriptor: number) => boolean;

/** Undefined where the machine has no such call. */
export function loadDropCache(): DropCache | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const koffi = loadKoffi();
    const advise = koffi
      .load("libc.so.6")
      .func("int posix_fadvise(int descriptor, int64_t offset, int64_t length, int advice)");
    return (descriptor) => advise(descriptor, 0, 0, POSIX_FADV_DONTNEED) === 0;
  } catch {
    return undefined; // as below
  }
}

/** ioctl(2) with a buffer that the kernel reads and writes; 0, or the errno of the failure. */
export type Ioctl = (descriptor: number, request: number, buffer: Uint8Array) => number;

/** Undefined where the machine has no such call. */
export function loadIoctl(): Ioctl | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const koffi = loadKoffi();
    const ioctl = koffi
      .load("libc.so.6")
      .func("int ioctl(int descriptor, unsigned long request, _Inout_ void *buffer)");
    return (descriptor, request, buffer) => (ioctl(descriptor, request, buffer) >= 0 ? 0 : koffi.errno());
  } catch {
    return undefined; // as below
  }
}

/** Writes out all of the file system that `descriptor` is in (syncfs(2)); 0, or the errno of the failure. */
export type SyncFileSystem = (descriptor: number) => number;

/** Undefined where the machine has no such call. */
export function loadSyncFileSystem(): SyncFileSystem | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const koffi = loadKoffi();
    const syncfs = koffi.load("libc.so.6").func("int syncfs(int descriptor)");
    return (descriptor) => (syncfs(descriptor) === 0 ? 0 : koffi.errno());
  } catch {
    return undefined; // as below
  }
}

/**
 * `ZSTD_decompressDCtx` of the zstd that Node's own program holds and lets others find, as its C++ addons need it: the
 * library is the one behind node:zlib. True where `output` was filled, all of it. Undefined where it cannot be found.
 */
export function loadNativeZstd(): ((frame: Uint8Array, output: Uint8Array) => boolean) | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const program = loadKoffi().load(null);
    const decompress = program.func(
      "size_t ZSTD_decompressDCtx(void *context, void *output, size_t capacity, const void *frame, size_t size)",
    );
    const context = program.func("void *ZSTD_createDCtx()")() as unknown;
    if (context === null) return undefined;
    // A failure is a number that no output has as its size.
    return (frame, output) => decompress(context, output, output.length, frame, frame.length) === output.length;
  } catch {
    return undefined; // as below
  }
}

/** Loads the port; undefined where the machine has none. */
export function loadNativeCalls(): NativeCalls | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const koffi = loadKoffi();
    const libc = koffi.load("libc.so.6");
    const lsetxattr = libc.func(
      "int lsetxattr(const void *path, const void *name, const void *value, size_t size, int flags)",
    );
    const llistxattr = libc.func("int64_t llistxattr(const void *path, _Out_ void *list, size_t size)");
    const lgetxattr = libc.func(
      "int64_t lgetxattr(const void *path, const void *name, _Out_ void *value, size_t size)",
    );
    const lremovexattr = libc.func("int lremovexattr(const void *path, const void *name)");
    const buffer = new Uint8Array(MAX_XATTR_SIZE);
    const getXattrs: NativeCalls["getXattrs"] = (path) => {
      const at = zeroTerminated(path);
      const size = Number(llistxattr(at, buffer, buffer.length));
      if (size === 0) return undefined;
      if (size < 0) return koffi.errno() === ENOTSUP ? undefined : koffi.errno();
      const names = buffer.slice(0, size);
      const xattrs = new Map<ByteString, Uint8Array>();
      for (let start = 0; start < size; ) {
        const end = names.indexOf(0, start) + 1 || size;
        const name = names.subarray(start, end);
        start = end;
        const length = Number(lgetxattr(at, name, buffer, buffer.length));
        if (length >= 0) xattrs.set(byteString(name.subarray(0, name.length - 1)), buffer.slice(0, length));
        else if (koffi.errno() !== ENODATA) return koffi.errno(); // else removed since it was listed
      }
      return xattrs;
    };
    const mknod = libc.func("int mknod(const void *path, unsigned int mode, uint64_t device)");
    const utimensat = libc.func("int utimensat(int directory, const void *path, const void *times, int flags)");
    const futimens = libc.func("int futimens(int descriptor, const void *times)");
    const times = new Uint8Array(2 * TIMESPEC_SIZE);
    const timesView = new DataView(times.buffer);
    const bothTimes = (time: bigint): Uint8Array => {
      timespec(timesView, 0, time);
      timespec(timesView, TIMESPEC_SIZE, time);
      return times;
    };
    const outcome = (result: number): number => (result === 0 ? 0 : koffi.errno());
    return {
      getXattrs,
      setXattr: (path, name, value) =>
        outcome(lsetxattr(zeroTerminated(path), zeroTerminated(name), value, value.length, 0)),
      removeXattr: (path, name) => outcome(lremovexattr(zeroTerminated(path), zeroTerminated(name))),
      makeNode: (path, mode, major, minor) => outcome(mknod(zeroTerminated(path), mode, deviceNumber(major, minor))),
      setTime: (path, time) => outcome(utimensat(AT_FDCWD, zeroTerminated(path), bothTimes(time), AT_SYMLINK_NOFOLLOW)),
      setTimeOf: (descriptor, time) => outcome(futimens(descriptor, bothTimes(time))),
    };
  } catch {
    return undefined; // no koffi for this machine, or a C library of another name (musl)
  }
}
