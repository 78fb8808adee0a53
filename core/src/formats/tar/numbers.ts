/** Numbers in tar headers: octal text, base-256, PAX decimals and times. `undefined` stands for what is none of them. */
import { BLOCK_SIZE, RawHeader } from "./format.ts";

const SPACE = 0x20;
const CHKSUM_START = RawHeader.fields.chksum.offset;
const CHKSUM_END = CHKSUM_START + RawHeader.fields.chksum.size;

/**
 * A numeric header field. Octal digits between spaces and NULs (POSIX; an empty field is 0), or, where the first
 * bit is set, a big-endian two's complement number in the remaining bits (GNU base-256). Past ±2^53: undefined.
 */
export function parseNumber(field: Uint8Array): number | undefined {
  const first = field[0] ?? 0;
  return first & 0x80 ? parseBase256(field) : parseOctal(field);
}

function parseOctal(field: Uint8Array): number | undefined {
  let at = 0;
  while (at < field.length && (field[at] === SPACE || field[at] === 0)) at++;
  let value = 0;
  for (; at < field.length; at++) {
    const digit = field[at]! - 0x30; // at < length
    if (digit < 0 || digit > 7) break;
    value = value * 8 + digit;
  }
  if (at < field.length && field[at] === 0) return value; // a NUL ends the number whatever follows
  for (; at < field.length; at++) if (field[at] !== SPACE && field[at] !== 0) return undefined;
  return value;
}

function parseBase256(field: Uint8Array): number | undefined {
  const first = field[0]!; // the caller has seen it
  let value = first & 0x40 ? (first & 0x7f) - 0x80 : first & 0x3f;
  for (let i = 1; i < field.length; i++) {
    value = value * 256 + field[i]!; // i < length
    if (!Number.isSafeInteger(value)) return undefined;
  }
  return value;
}

/** Octal digits with a closing NUL; base-256 where they do not fit. Throws RangeError where that does not either. */
export function encodeNumber(value: number, size: number): Uint8Array {
  if (!Number.isSafeInteger(value)) throw new RangeError(`tar field: ${value} is no integer`);
  const field = new Uint8Array(size);
  if (value >= 0 && value < 8 ** (size - 1)) {
    const text = value.toString(8).padStart(size - 1, "0");
    for (let i = 0; i < text.length; i++) field[i] = text.charCodeAt(i);
    return field;
  }
  if (value >= 2 ** (8 * size - 2) || value < -(2 ** (8 * size - 2)))
    throw new RangeError(`tar field: ${value} does not fit ${size} bytes`);
  let rest = value;
  for (let i = size - 1; i >= 0; i--) {
    const byte = ((rest % 256) + 256) % 256;
    field[i] = byte;
    rest = (rest - byte) / 256;
  }
  field[0] = field[0]! | 0x80; // size >= 8
  return field;
}

export interface Checksums {
  readonly unsigned: number;
  /** As some old writers summed: bytes from -128 to 127. */
  readonly signed: number;
}

/** Sums of a header block, its `chksum` field taken as spaces. */
export function headerChecksums(block: Uint8Array): Checksums {
  let unsigned = (CHKSUM_END - CHKSUM_START) * SPACE;
  let high = 0;
  for (let i = 0; i < CHKSUM_START; i++) {
    const byte = block[i]!; // a block has 512 bytes
    unsigned += byte;
    high += byte >> 7;
  }
  for (let i = CHKSUM_END; i < BLOCK_SIZE; i++) {
    const byte = block[i]!;
    unsigned += byte;
    high += byte >> 7;
  }
  return { unsigned, signed: unsigned - 256 * high };
}

/** A PAX decimal that is not negative and not past 2^53. */
export function parsePaxNumber(text: string): number | undefined {
  if (!/^[0-9]{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** A PAX time in nanoseconds. Digits past the ninth are cut off, so it moves towards zero, as Go's reader does. */
export function parsePaxTime(text: string): bigint | undefined {
  const match = /^(-?)([0-9]{1,16})(?:\.([0-9]*))?$/.exec(text);
  if (match === null) return undefined;
  const [, sign, seconds, fraction = ""] = match as unknown as [string, string, string, string | undefined];
  const value = BigInt(seconds) * 1_000_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, "0"));
  return sign === "-" ? -value : value;
}

/** The shortest text that {@link parsePaxTime} reads back. */
export function formatPaxTime(nanoseconds: bigint): string {
  const magnitude = nanoseconds < 0n ? -nanoseconds : nanoseconds;
  const fraction = (magnitude % 1_000_000_000n).toString().padStart(9, "0").replace(/0+$/, "");
  const seconds = `${nanoseconds < 0n ? "-" : ""}${magnitude / 1_000_000_000n}`;
  return fraction === "" ? seconds : `${seconds}.${fraction}`;
}
