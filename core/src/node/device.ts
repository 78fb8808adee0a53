/** Disks to write to: block devices, taken for ourselves alone, and files that are as large as the disk is to be. */
import { constants } from "node:fs";
import { type FileHandle, open, readlink, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { PolicyError, SinkError, UnsupportedError } from "../errors/index.ts";
import { SECTOR_SIZES, type SectorSize } from "../formats/gpt/index.ts";
import type { Device } from "../ops/update/index.ts";
import { listFolder, membersOf, readLine, useOf } from "./block-devices.ts";
import { writeFailure } from "./errors.ts";
import { deviceNumbers, handleSource, holesOf, sizeOf, writeAll } from "./files.ts";
import { loadDropCache, loadTakeLock } from "./native.ts";

export interface OpenedDevice extends Device {
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

export interface OpenDeviceOptions {
  /** Of a file; default 512. A block device says its own, and anything else is refused. */
  readonly sectorSize?: SectorSize | undefined;
  /** A disk that is in use, since this machine runs from it: who opens it says what of it is free. Default false. */
  readonly shared?: boolean | undefined;
  /** To look at it alone: closing a disk that was open for writing makes udev read its tables again. Default false. */
  readonly readOnly?: boolean | undefined;
}

/** Throws PolicyError `disk-in-use`, with who uses it, as far as that is to be seen. */
async function refuseUsed(path: string, folder: string): Promise<void> {
  const use = await useOf(await membersOf(folder));
  if (use !== undefined) throw new PolicyError("disk-in-use", `${path}: in use: ${use}`, { path });
}

/** A file that is the medium of a loop device is in use as that. */
async function refuseLooped(path: string): Promise<void> {
  const real = await realpath(path);
  for (const name of await listFolder("/sys/block")) {
    if (!name.startsWith("loop")) continue;
    if ((await readLine(`/sys/block/${name}/loop/backing_file`)) === real)
      throw new PolicyError("disk-in-use", `${path}: in use: attached as /dev/${name}`, { path });
  }
}

/** The directory of a whole disk in sysfs. Throws PolicyError `is-a-partition`. */
async function diskFolder(path: string, numbers: string): Promise<string> {
  const folder = join("/sys/dev/block", await readlink(`/sys/dev/block/${numbers}`));
  if ((await readLine(join(folder, "partition"))) !== undefined)
    throw new PolicyError("is-a-partition", `${path}: is a partition, not a disk`, { path });
  return folder;
}

async function sectorSizeOf(path: string, folder: string, asked: SectorSize | undefined): Promise<SectorSize> {
  const actual = Number(await readLine(join(folder, "queue/logical_block_size")));
  const known = SECTOR_SIZES.find((size) => size === actual);
  if (known === undefined)
    throw new UnsupportedError("sector-size", `${path}: has sectors of ${actual} bytes, 512 and 4096 are known`, {
      path,
    });
  if (asked !== undefined && asked !== known)
    throw new PolicyError("sector-size", `${path}: has sectors of ${known} bytes, not ${asked}`, { path });
  return known;
}

/**
 * Opens a disk for writing. A block device is opened exclusively unless it is `shared`, so that it is neither mounted nor taken
 * by another program while it is written; a file must have its size already.
 *
 * Throws PolicyError `disk-in-use`, `is-a-partition`, `sector-size`; UnsupportedError `sector-size`; SinkError for what
 * cannot be opened or is neither.
 */
export async function openDevice(
  path: string,
  { sectorSize, shared = false, readOnly = false }: OpenDeviceOptions = {},
): Promise<OpenedDevice> {
  let handle: FileHandle | undefined;
  try {
    const found = await stat(path);
    const numbers = deviceNumbers(found);
    let sector = sectorSize ?? 512;
    if (found.isBlockDevice()) {
      const folder = await diskFolder(path, numbers);
      if (!shared) await refuseUsed(path, folder);
      sector = await sectorSizeOf(path, folder, sectorSize);
    } else if (found.isFile()) await refuseLooped(path);
    else throw new SinkError("not-a-file", `${path}: is neither a disk nor a file`, { path });
    // O_EXCL without O_CREAT: of block devices, alone (open(2)); of files, nothing.
    const isAlone = found.isBlockDevice() && !shared;
    const flags =
      (readOnly ? constants.O_RDONLY : constants.O_RDWR) | constants.O_NONBLOCK | (isAlone ? constants.O_EXCL : 0);
    handle = await open(path, flags);
    const opened = await handle.stat();
    if (deviceNumbers(opened) !== numbers || opened.ino !== found.ino)
      throw new SinkError("busy", `${path}: was replaced while it was opened`, { path });
    // udev keeps away from a disk that is locked, and may itself have the lock for a moment; a file is ours alone by it.
    const isLocked = readOnly || (loadTakeLock()?.(handle.fd) ?? true);
    if (!isLocked && found.isFile())
      throw new PolicyError("disk-in-use", `${path}: in use: locked by another program`, { path });
    const size = await sizeOf(handle, path);
    return deviceOf(handle, path, size - (size % sector), sector, found.isFile());
  } catch (error) {
    await handle?.close();
    if ((error as NodeJS.ErrnoException).code === "EBUSY")
      throw new PolicyError("disk-in-use", `${path}: in use by another program`, { path, cause: error });
    throw writeFailure(path, error);
  }
}

function deviceOf(
  handle: FileHandle,
  path: string,
  size: number,
  sectorSize: SectorSize,
  isFile: boolean,
): OpenedDevice {
  const source = handleSource(handle, path, size);
  const dropCache = loadDropCache();
  const close = () => handle.close();
  return {
    name: path,
    sectorSize,
    size,
    read: (offset, length, options) => source.read(offset, length, options),
    readInto: (offset, target) => source.readInto?.(offset, target),
    ...(isFile ? holesOf(handle, size) : {}),
    async writeAt(offset, bytes) {
      if (offset < 0 || offset + bytes.length > size)
        throw new RangeError(`write of ${bytes.length} bytes at ${offset} is outside of ${path}`);
      try {
        await writeAll(handle, path, offset, bytes);
      } catch (error) {
        throw writeFailure(path, error);
      }
    },
    async flush() {
      try {
        await handle.sync();
      } catch (error) {
        throw writeFailure(path, error);
      }
    },
    dropCache: async () => dropCache?.(handle.fd) ?? false,
    close,
    [Symbol.asyncDispose]: close,
  };
}
