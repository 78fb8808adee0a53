/** Values of flags. Each throws an Error whose message stricli shows with the flag's name. */
import { fromHex } from "@ashlar/core/bytes";

const SIZE = /^(\d+)([KMGT]?)(i?B)?$/i;
const FACTORS: Readonly<Record<string, number>> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };

/** `512M`, `2G`, `1048576`: bytes, binary units, as systemd-repart and truncate take them. */
export function parseSize(text: string): number {
  const match = SIZE.exec(text.trim());
  if (match === null) throw new Error(`not a size: ${text} (write 512M or 2G)`);
  const size = Number(match[1]) * FACTORS[match[2]!.toUpperCase()]!; // the pattern admits only these letters
  if (!Number.isSafeInteger(size)) throw new Error(`size is too large: ${text}`);
  return size;
}

/** Seconds since 1970 (`1700000000`, `@1700000000`) or RFC 3339 (`2026-01-01T00:00:00Z`) → nanoseconds. */
export function parseTimestamp(text: string): bigint {
  const seconds = /^@?(-?\d{1,12})$/.exec(text.trim());
  if (seconds !== null) return BigInt(seconds[1]!) * 1_000_000_000n; // the group always takes part
  // Without a zone the meaning would depend on the machine.
  if (
    !/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/.test(text.trim()) ||
    Number.isNaN(Date.parse(text))
  )
    throw new Error(`not a time: ${text} (write seconds since 1970 or 2026-01-01T00:00:00Z)`);
  return BigInt(Date.parse(text)) * 1_000_000n;
}

export function parseWorkers(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 64) throw new Error(`not a worker count from 1 to 64: ${text}`);
  return count;
}

export function parseRetryTimes(text: string): number {
  const count = Number(text);
  if (text.trim() === "" || !Number.isInteger(count) || count < 0 || count > 100)
    throw new Error(`not a number of attempts from 0 to 100: ${text}`);
  return count;
}

/** Seconds. */
export function parseRootTimeout(text: string): number {
  const seconds = Number(text);
  if (!/^\d+$/.test(text) || seconds < 10 || seconds > 3600) throw new Error(`not 10 to 3600 seconds: ${text}`);
  return seconds;
}

export function parseNid(text: string): number {
  const nid = Number(text);
  if (!/^[0-9]+$/.test(text) || !Number.isSafeInteger(nid)) throw new Error(`not an inode number: ${text}`);
  return nid;
}

/** Hexadecimal, or `-` for an empty salt, as veritysetup takes it. */
export function parseSalt(text: string): string {
  if (text === "-") return "";
  if (!/^([0-9a-fA-F]{2}){1,256}$/.test(text)) throw new Error(`not a salt of 1 to 256 bytes in hexadecimal: ${text}`);
  return text.toLowerCase();
}

/** As `fsverity digest --salt` takes it. */
export function parseFsveritySalt(text: string): Uint8Array {
  if (!/^([0-9a-fA-F]{2}){0,32}$/.test(text)) throw new Error(`not a salt of up to 32 bytes in hexadecimal: ${text}`);
  return fromHex(text.toLowerCase());
}

export function parseFsverityBlockSize(text: string): number {
  const size = Number(text);
  if (![1024, 2048, 4096, 8192, 16384, 32768, 65536].includes(size))
    throw new Error(`not a power of two from 1024 to 65536: ${text}`);
  return size;
}

export function parseCompression(text: string): string {
  if (!/^(none|auto|lz4|(lz4hc|zstd)(,\d{1,2})?)$/.test(text))
    throw new Error(`compression is none, auto, lz4, lz4hc[,LEVEL] or zstd[,LEVEL], not ${text}`);
  return text;
}

export function parseKernel(text: string): string {
  if (!/^(auto|\d{1,3}\.\d{1,3}([.+-].*)?)$/.test(text))
    throw new Error(`kernel is auto or a version such as 6.1, not ${text}`);
  return text;
}

export function parseClusterSize(text: string): number {
  const size = parseSize(text);
  if (size % 4096 !== 0 || size < 4096 || size > 1024 * 1024)
    throw new Error(`cluster size is a multiple of 4096 up to 1M, not ${text}`);
  return size;
}

export function parseChunkSize(text: string): number {
  const size = parseSize(text);
  if (size < 4096 || size > 1024 * 1024 || !Number.isInteger(Math.log2(size)))
    throw new Error(`chunk size is a power of two from 4096 to 1M, not ${text}`);
  return size;
}

export function parseSectorSize(text: string): 512 | 4096 {
  if (text === "512") return 512;
  if (text === "4096") return 4096;
  throw new Error(`sector size is 512 or 4096, not ${text}`);
}

/** A stem becomes the start of file names in the output directory, so it must not lead anywhere else. */
export function parseStem(text: string): string {
  if (!/^[A-Za-z0-9_][A-Za-z0-9._~^+@-]{0,199}$/.test(text))
    throw new Error(`not a file name of letters, digits and ._~^+@- that begins with a letter or digit: ${text}`);
  return text;
}

/** What no boot loader could pass on; whose argument it is to set is told when the command line is made. */
export function parseKernelArgument(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (text === "" || /[\x00-\x1f\x7f]/.test(text))
    throw new Error(`kernel argument ${JSON.stringify(text)} is empty or has control characters`);
  return text;
}

export function parsePath(text: string): string {
  if (text === "") throw new Error("a path has at least one character");
  return text;
}

/** As ops/image takes it; checked here too, since a flag that cannot be right is wrong usage. */
export function parsePlatformName(text: string): string {
  if (!/^[^/\s]+(\/[^/\s]+){1,2}$/.test(text))
    throw new Error(`not a platform: ${text} (write linux/amd64 or linux/arm64)`);
  return text;
}

export const parseText = (text: string): string => text;

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86400, w: 7 * 86400 };

/** `12h`, `7d`, `26w` → seconds. */
export function parseDuration(text: string): number {
  const match = /^([1-9][0-9]{0,8})([smhdw])$/.exec(text);
  if (match === null) throw new Error(`not a duration such as 12h, 7d or 26w: ${text}`);
  const seconds = Number(match[1]) * SECONDS[match[2]!]!; // the pattern admits only these letters
  if (seconds > MAX_DURATION) throw new Error(`longer than 100 years: ${text}`);
  return seconds;
}

const MAX_DURATION = 100 * 365 * 86400;

export function parseThreshold(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1 || count > 64) throw new Error(`not a threshold from 1 to 64: ${text}`);
  return count;
}

export function parseEpoch(text: string): number {
  if (!/^[0-9]{1,15}$/.test(text)) throw new Error(`not an epoch: ${text}`);
  return Number(text);
}

/** `5%,50%@2026-12-01T00:00:00Z` → steps in parts of 10 000. */
export function parseRollout(text: string): { parts: number; from?: string }[] {
  return text.split(",").map((step, index) => {
    const match = /^([0-9]{1,3}(?:\.[0-9]{1,2})?)%(?:@(.*))?$/.exec(step.trim());
    const percent = Number(match?.[1]);
    if (match === null || percent > 100) throw new Error(`not a share such as 5% or 50%@2026-12-01T00:00:00Z: ${step}`);
    const parts = Math.round(percent * 100);
    if (match[2] === undefined && index > 0) throw new Error(`all steps but the first need a time: ${step}`);
    if (match[2] === undefined) return { parts };
    const time = Number(parseTimestamp(match[2]) / 1_000_000n);
    return { parts, from: `${new Date(time).toISOString().slice(0, 19)}Z` };
  });
}

export function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > 86_400)
    throw new Error(`not seconds from 1 to 86400: ${text}`);
  return seconds;
}
