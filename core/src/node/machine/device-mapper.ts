/**
 * The kernel's device-mapper tables, by its ioctl: what root hash it verifies is to be had from nobody else. Where the
 * native port is missing, dmsetup is asked. Spec: Linux, include/uapi/linux/dm-ioctl.h (struct dm_ioctl, dm_target_spec).
 */
import { execFile } from "node:child_process";
import { open } from "node:fs/promises";
import { promisify } from "node:util";
import { decodeUtf8, defineStruct, le, raw } from "../../bytes/index.ts";
import { SourceError, UnsupportedError } from "../../errors/index.ts";
import { readFailure } from "../errors.ts";
import { loadIoctl } from "../native.ts";

/** struct dm_ioctl */
const RawDmIoctl = /* @__PURE__ */ defineStruct("dm.ioctl", 312, {
  versionMajor: le.u32(0),
  versionMinor: le.u32(4),
  versionPatch: le.u32(8),
  dataSize: le.u32(12), // bytes of the whole buffer
  dataStart: le.u32(16), // bytes from the start of the buffer
  targetCount: le.u32(20),
  openCount: le.u32(24),
  flags: le.u32(28),
  eventNumber: le.u32(32),
  padding: le.u32(36),
  device: le.u64Bits(40), // minor in bits 0..7 and 20..31, major in bits 8..19
  name: raw(48, 128),
  uuid: raw(176, 129),
  data: raw(305, 7),
});

/** struct dm_target_spec; its parameters follow as text that ends with a zero */
const RawDmTarget = /* @__PURE__ */ defineStruct("dm.target", 40, {
  sectorStart: le.u64(0), // sectors of 512 bytes
  length: le.u64(8), // the same
  status: le.u32(16),
  next: le.u32(20),
  type: raw(24, 16),
});

/** _IOWR(0xfd, 12, struct dm_ioctl) */
const DM_TABLE_STATUS = 0xc138fd0c;
/** Parameters as they were given, instead of the state. */
const DM_STATUS_TABLE_FLAG = 1 << 4;
const DM_BUFFER_FULL_FLAG = 1 << 8;
/** Bytes; a verity table has about 300. */
const BUFFER_SIZE = 16 * 1024;
const CONTROL = "/dev/mapper/control";
/** Milliseconds that dmsetup may take. */
const DMSETUP_LIMIT = 10_000;

/** Up to the first zero. */
function cString(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decodeUtf8(end < 0 ? bytes : bytes.subarray(0, end));
}

export interface DmTarget {
  /** `verity` */
  readonly type: string;
  /** As the target's documentation describes them. */
  readonly parameters: string;
}

/** Of the only target of a device. @param numbers `MAJOR:MINOR` */
export async function readDmTarget(numbers: string, what: "table" | "status"): Promise<DmTarget> {
  const ioctl = loadIoctl();
  return ioctl === undefined ? askDmsetup(numbers, what) : askKernel(ioctl, numbers, what);
}

async function askKernel(
  ioctl: NonNullable<ReturnType<typeof loadIoctl>>,
  numbers: string,
  what: "table" | "status",
): Promise<DmTarget> {
  const [major = 0, minor = 0] = numbers.split(":").map(Number);
  const buffer = new Uint8Array(BUFFER_SIZE);
  buffer.set(
    RawDmIoctl.encode({
      versionMajor: 4,
      versionMinor: 0,
      versionPatch: 0,
      dataSize: BUFFER_SIZE,
      dataStart: RawDmIoctl.size,
      targetCount: 0,
      openCount: 0,
      flags: what === "table" ? DM_STATUS_TABLE_FLAG : 0,
      eventNumber: 0,
      padding: 0,
      device: BigInt((minor & 0xff) | (major << 8)) | (BigInt(minor & ~0xff) << 12n),
      name: new Uint8Array(128),
      uuid: new Uint8Array(129),
      data: new Uint8Array(7),
    }),
  );
  const control = await open(CONTROL, "r+").catch((error: unknown) => {
    throw readFailure(CONTROL, error);
  });
  try {
    const errno = ioctl(control.fd, DM_TABLE_STATUS, buffer);
    if (errno !== 0)
      throw new SourceError("no-dm-table", `device ${numbers}: the kernel has no table of it (errno ${errno})`);
  } finally {
    await control.close();
  }
  return parseDmAnswer(buffer, numbers);
}

/** What the kernel wrote into the buffer of DM_TABLE_STATUS. Throws UnsupportedError `dm-table`. */
export function parseDmAnswer(buffer: Uint8Array, numbers: string): DmTarget {
  const { flags, targetCount, dataStart } = RawDmIoctl.view(buffer);
  if ((flags & DM_BUFFER_FULL_FLAG) !== 0 || targetCount !== 1)
    throw new UnsupportedError("dm-table", `device ${numbers}: has ${targetCount} targets, one was expected`);
  const { type } = RawDmTarget.view(buffer, dataStart);
  return { type: cString(type), parameters: cString(buffer.subarray(dataStart + RawDmTarget.size)) };
}

async function askDmsetup(numbers: string, what: "table" | "status"): Promise<DmTarget> {
  const [major = "", minor = ""] = numbers.split(":");
  const asked = promisify(execFile)("dmsetup", [what, "-j", major, "-m", minor], { timeout: DMSETUP_LIMIT });
  const { stdout } = await asked.catch((error: unknown) => {
    throw new SourceError("no-dm-table", `device ${numbers}: neither the kernel nor dmsetup tells its table`, {
      cause: error,
    });
  });
  const [line = "", ...more] = stdout.trim().split("\n");
  if (more.length > 0)
    throw new UnsupportedError("dm-table", `device ${numbers}: has ${more.length + 1} targets, one was expected`);
  const [, , type = "", ...parameters] = line.split(" ");
  return { type, parameters: parameters.join(" ") };
}
