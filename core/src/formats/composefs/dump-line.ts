/** One line of the dump format: its fields and what they say. Spec: composefs 1.0.8, man/composefs-dump.md. */
import { type ByteString, byteString, bytesOf, showBytes } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";

/** Bytes of one line: escaped, the longest path, content and xattrs that an image takes are below it. */
export const MAX_LINE = 512 * 1024;

/** Fields of each line, in order; xattrs may follow. */
export const [PATH, SIZE, MODE, LINKS, UID, GID, DEVICE, TIME, PAYLOAD, CONTENT, DIGEST] = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10,
] as const;
const FIELDS = 11;
const MAX_OCTAL_DIGITS = 10;
const ZERO = 0x30;
const AT = 0x40;
const DASH = 0x2d;
const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\", n: "\n", r: "\r", t: "\t" };

/** A place for one line after the other: an array of strings for each would be most of the work. */
export class DumpLine {
  /** Of the line in work, from 1. */
  number = 0;
  private text = "";
  /** Where each of the first fields ends. */
  private readonly ends = new Int32Array(FIELDS);
  /** Neighbours are often of one time. */
  private lastTime: readonly [text: string, time: bigint] = ["0.0", 0n];
  /** Places for digests, by the characters that they have in hexadecimal. */
  private readonly digestBytes: Readonly<Record<number, Uint8Array>> = {
    64: new Uint8Array(32),
    128: new Uint8Array(64),
  };

  /** Goes to the next line. Throws FormatError `dump-line`. */
  next(text: string): void {
    this.number++;
    if (text.length > MAX_LINE) throw this.bad("dump-line", `has more than ${MAX_LINE} bytes`);
    this.text = text;
    const count = this.findFields();
    if (count < FIELDS) throw this.bad("dump-line", `has ${count} fields, ${FIELDS} are needed`);
  }

  bad(code: string, what: string, line = this.number): FormatError {
    return new FormatError(code, `line ${line} of the dump ${what}`, { offset: line });
  }

  /** The name, from the root. */
  path(): ByteString {
    return this.unescape(this.field(PATH));
  }

  get isLink(): boolean {
    return this.text.charCodeAt(this.start(MODE)) === AT;
  }

  /** Type and permissions, as `st_mode`. */
  mode(): number {
    return this.octal(MODE, this.isLink ? 1 : 0);
  }

  /** @returns how many of the first fields there are */
  private findFields(): number {
    const { text, ends } = this;
    for (let field = 0, at = 0; field < FIELDS; field++) {
      const end = text.indexOf(" ", at);
      if (end < 0) {
        ends[field] = text.length;
        return field + 1;
      }
      ends[field] = end;
      at = end + 1;
    }
    return FIELDS;
  }

  private start(field: number): number {
    return field === 0 ? 0 : this.ends[field - 1]! + 1; // below FIELDS
  }

  private end(field: number): number {
    return this.ends[field]!; // below FIELDS
  }

  private field(field: number): string {
    return this.text.slice(this.start(field), this.end(field));
  }

  get hasXattrs(): boolean {
    return this.end(DIGEST) < this.text.length;
  }

  xattrs(path: ByteString): Map<ByteString, Uint8Array> {
    const xattrs = new Map<ByteString, Uint8Array>();
    for (const field of this.text.slice(this.end(DIGEST) + 1).split(" ")) {
      const equal = field.indexOf("=");
      const name = this.unescape(field.slice(0, Math.max(equal, 0)));
      if (equal < 0 || name === "" || name.includes("\0"))
        throw this.bad(
          "dump-xattr",
          `has a bad xattr of ${showBytes(path)}: ${showBytes(field.slice(0, 80) as ByteString)}`,
        );
      xattrs.set(name, bytesOf(this.unescape(field.slice(equal + 1)))); // the last of a name counts
    }
    return xattrs;
  }

  digest(path: ByteString): ByteString | undefined {
    const text = this.optional(DIGEST);
    if (text === undefined) return undefined;
    const bytes = this.digestBytes[text.length];
    if (bytes === undefined || !decodeHex(text, bytes))
      throw this.bad("dump-digest", `has no SHA-256 or SHA-512 digest for ${showBytes(path)}`);
    return byteString(bytes);
  }

  /** A decimal number from 0 to `limit`. */
  integer(field: number, limit: number): number {
    const start = this.start(field);
    const end = this.end(field);
    let value = 0;
    for (let at = start; at < end; at++) {
      const digit = this.text.charCodeAt(at) - ZERO;
      value = digit >= 0 && digit <= 9 ? value * 10 + digit : Number.POSITIVE_INFINITY;
    }
    if (start === end || value > limit)
      throw this.bad("dump-number", `has a bad number: ${shorten(this.field(field))}`);
    return value;
  }

  /** @param skip characters in front of the number */
  private octal(field: number, skip: number): number {
    const start = this.start(field) + skip;
    const end = this.end(field);
    let value = end > start && end - start <= MAX_OCTAL_DIGITS ? 0 : Number.POSITIVE_INFINITY;
    for (let at = start; at < end; at++) {
      const digit = this.text.charCodeAt(at) - ZERO;
      value = digit >= 0 && digit <= 7 ? value * 8 + digit : Number.POSITIVE_INFINITY;
    }
    if (!Number.isFinite(value)) throw this.bad("dump-mode", `has a bad mode: ${shorten(this.text.slice(start, end))}`);
    return value;
  }

  /** Seconds, a dot, nanoseconds without leading zeros; in nanoseconds. */
  time(): bigint {
    const [last] = this.lastTime;
    const start = this.start(TIME);
    if (this.end(TIME) - start === last.length && this.text.startsWith(last, start)) return this.lastTime[1];
    const field = this.field(TIME);
    const dot = field.indexOf(".");
    const seconds = field.slice(0, dot);
    const nanoseconds = field.slice(dot + 1);
    if (dot < 0 || !/^-?[0-9]{1,19}$/.test(seconds) || !/^[0-9]{1,9}$/.test(nanoseconds))
      throw this.bad("dump-time", `has a bad time: ${shorten(field)}`);
    this.lastTime = [field, BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds)];
    return this.lastTime[1];
  }

  /** Undefined where a dash stands for nothing. */
  optional(field: number): ByteString | undefined {
    const start = this.start(field);
    if (this.end(field) - start === 1 && this.text.charCodeAt(start) === DASH) return undefined;
    return this.unescape(this.field(field));
  }

  unescape(field: string): ByteString {
    if (!field.includes("\\")) return field as ByteString;
    return field.replaceAll(/\\(x[0-9a-fA-F]{2}|.|$)/gs, (_, sequence: string) => {
      if (sequence.length === 3) return String.fromCharCode(Number.parseInt(sequence.slice(1), 16));
      const plain = ESCAPES[sequence];
      if (plain === undefined) throw this.bad("dump-escape", `has a bad escape: ${shorten(`\\${sequence}`)}`);
      return plain;
    }) as ByteString;
  }
}

/** Lower-case hexadecimal of just the size of `bytes`; false for anything else. */
function decodeHex(text: string, bytes: Uint8Array): boolean {
  let bad = 0; // below zero from the first bad digit on
  for (let i = 0; i < bytes.length; i++) {
    const high = hexDigit(text.charCodeAt(2 * i));
    const low = hexDigit(text.charCodeAt(2 * i + 1));
    bad |= high | low;
    bytes[i] = (high << 4) | low;
  }
  return bad >= 0;
}

function hexDigit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  return code >= 0x61 && code <= 0x66 ? code - 0x57 : -1;
}

function shorten(field: string): string {
  return showBytes(field.slice(0, 80) as ByteString);
}
