/** PAX extended headers: `LENGTH KEY=VALUE\n`, the length counting the whole record. POSIX.1-2017, pax, "Extended Header". */
import { type ByteString, byteString, bytesOf, concatBytes, encodeUtf8 } from "../../bytes/index.ts";
import { NO_XATTRS, type Xattrs } from "../../tree/index.ts";
import { MAX_XATTR_NAME, MAX_XATTR_VALUE } from "./format.ts";

export interface PaxRecord {
  readonly key: ByteString;
  /** A view of the header; may hold NUL, newline and bytes that are not UTF-8. */
  readonly value: Uint8Array;
}

const SPACE = 0x20;
const NEWLINE = 0x0a;
const EQUALS = 0x3d;
const MAX_LENGTH_DIGITS = 9;

/** The records in order, or a sentence that says what is wrong and the byte where. */
export function parsePax(bytes: Uint8Array): PaxRecord[] | { readonly problem: string; readonly offset: number } {
  const records: PaxRecord[] = [];
  let at = 0;
  while (at < bytes.length) {
    let length = 0;
    let digits = at;
    for (; digits < bytes.length && digits - at <= MAX_LENGTH_DIGITS; digits++) {
      const digit = bytes[digits]! - 0x30; // digits < length
      if (digit < 0 || digit > 9) break;
      length = length * 10 + digit;
    }
    if (digits === at || bytes[digits] !== SPACE)
      return { problem: "a record does not start with its length", offset: at };
    const end = at + length;
    if (end > bytes.length) return { problem: `a record of ${length} bytes passes the end`, offset: at };
    const equals = bytes.indexOf(EQUALS, digits + 1);
    if (equals < 0 || equals >= end - 1 || equals === digits + 1) return { problem: "a record has no key", offset: at };
    if (bytes[end - 1] !== NEWLINE) return { problem: "a record does not end with a newline", offset: at };
    const key = byteString(bytes.subarray(digits + 1, equals));
    if (key.includes("\0")) return { problem: "a key holds NUL", offset: at };
    records.push({ key, value: bytes.subarray(equals + 1, end - 1) });
    at = end;
  }
  return records;
}

/** One record; the length counts its own digits. */
export function encodePaxRecord(key: ByteString, value: Uint8Array): Uint8Array {
  const rest = 1 + key.length + 1 + value.length + 1; // space, key, =, value, newline
  let length = rest + String(rest).length;
  if (rest + String(length).length > length) length++;
  return concatBytes(encodeUtf8(`${length} `), bytesOf(key), Uint8Array.of(EQUALS), value, Uint8Array.of(NEWLINE));
}

const SCHILY = "SCHILY.xattr.";
const LIBARCHIVE = "LIBARCHIVE.xattr.";

/**
 * The xattrs among `records`, values copied. SCHILY's raw bytes win over LIBARCHIVE's base64 of the same name.
 * An empty value is an xattr without bytes, as GNU tar writes and restores it. A string says what is wrong.
 */
export function paxXattrs(records: readonly PaxRecord[]): Xattrs | string {
  if (records.length === 0) return NO_XATTRS;
  const xattrs = new Map<ByteString, Uint8Array>();
  const fromSchily = new Set<ByteString>();
  for (const { key, value } of records) {
    let name: ByteString;
    let bytes: Uint8Array | undefined;
    if (key.startsWith(SCHILY)) {
      name = key.slice(SCHILY.length) as ByteString;
      bytes = new Uint8Array(value); // a copy; `slice` of a Buffer is none
      fromSchily.add(name);
    } else if (key.startsWith(LIBARCHIVE)) {
      name = key
        .slice(LIBARCHIVE.length)
        .replace(/%[0-9a-fA-F]{2}/g, (escaped) =>
          String.fromCharCode(Number.parseInt(escaped.slice(1), 16)),
        ) as ByteString;
      bytes = decodeBase64(value);
      if (bytes === undefined) return `xattr ${JSON.stringify(name.slice(0, 80))} is not base64`;
      if (fromSchily.has(name)) continue;
    } else continue;
    if (name === "" || name.length > MAX_XATTR_NAME || name.includes("\0"))
      return `xattr name of ${name.length} bytes is not allowed`;
    if (bytes.length > MAX_XATTR_VALUE)
      return `xattr ${JSON.stringify(name)} has ${bytes.length} bytes, more than ${MAX_XATTR_VALUE}`;
    xattrs.set(name, bytes);
  }
  return xattrs;
}

/** Padding is optional, since libarchive leaves it out. */
function decodeBase64(text: Uint8Array): Uint8Array | undefined {
  let end = text.length;
  while (end > 0 && text[end - 1] === EQUALS) end--;
  if (end % 4 === 1) return undefined;
  const bytes = new Uint8Array(Math.floor((end * 3) / 4));
  let bits = 0;
  let count = 0;
  let out = 0;
  for (let i = 0; i < end; i++) {
    const digit = base64Digit(text[i]!); // i < end <= length
    if (digit < 0) return undefined;
    bits = ((bits << 6) | digit) & 0xffff;
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes[out++] = (bits >> count) & 0xff;
    }
  }
  return bytes;
}

function base64Digit(code: number): number {
  if (code >= 0x41 && code <= 0x5a) return code - 0x41;
  if (code >= 0x61 && code <= 0x7a) return code - 0x61 + 26;
  if (code >= 0x30 && code <= 0x39) return code - 0x30 + 52;
  if (code === 0x2b) return 62;
  return code === 0x2f ? 63 : -1;
}
