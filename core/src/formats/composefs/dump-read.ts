/**
 * Reads the dump format: a line for each name, eleven fields and the xattrs, fields separated by one space.
 * Spec: composefs 1.0.8, man/composefs-dump.md.
 */
import { type ByteString, byteString, bytesOf, showBytes } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { chunksOf, type ReadOptions, type Source } from "../../source/index.ts";
import {
  type Attributes,
  type Directory,
  deviceNode,
  directory,
  type Leaf,
  NO_XATTRS,
  type Node,
  type NodeType,
  regularFile,
  specialNode,
  symlink,
  TYPE_BITS,
} from "../../tree/index.ts";
import { MAX_SYMLINK_SIZE } from "../erofs/format.ts";
import { ExternalContent, InlineContent } from "./content.ts";
import { MAX_INLINE_SIZE } from "./format.ts";
import type { Home, Homes } from "./survey.ts";

/** Bytes of one line: escaped, the longest path, content and xattrs that an image takes are below it. */
const MAX_LINE = 512 * 1024;
/** Hard links to hard links that are followed. */
const MAX_LINK_CHAIN = 40;

export interface Dump {
  readonly root: Directory;
  /** Where the inode of each file with several names stands, and the `st_nlink` that the dump tells. */
  readonly homes: Homes;
}

/** Throws FormatError `dump-…` with the line, UnsupportedError `inline-too-large`. */
export async function readDump(source: Source, options: ReadOptions = {}): Promise<Dump> {
  return readDumpStream(chunksOf(source, options));
}

/** As {@link readDump}, of bytes that come once. */
export async function readDumpStream(chunks: AsyncIterable<Uint8Array>): Promise<Dump> {
  const builder = new DumpBuilder();
  for await (const chunk of chunks) builder.push(chunk);
  return builder.finish();
}

/** As {@link readDump}, of bytes in memory. */
export function parseDump(bytes: Uint8Array): Dump {
  const builder = new DumpBuilder();
  builder.push(bytes);
  return builder.finish();
}

const TYPES = /* @__PURE__ */ new Map(
  (Object.entries(TYPE_BITS) as [NodeType, number][]).map(([type, bits]) => [bits, type] as const),
);

/** Fields of each line, in order; xattrs may follow. */
const [PATH, SIZE, MODE, LINKS, UID, GID, DEVICE, TIME, PAYLOAD, CONTENT, DIGEST] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10];
const FIELDS = 11;
const MAX_OCTAL_DIGITS = 10;
const ZERO = 0x30;
const AT = 0x40;
const DASH = 0x2d;

interface PendingLink {
  readonly line: number;
  readonly parent: Directory;
  readonly name: ByteString;
  readonly path: ByteString;
  readonly target: ByteString;
}

class DumpBuilder {
  private root: Directory | undefined;
  private readonly directories = new Map<string, Directory>();
  private readonly homes = new Map<Leaf, Home>();
  private readonly links = new Map<string, PendingLink>();
  /** Neighbours are often of one time, and in one directory. */
  private lastTime: readonly [text: string, time: bigint] = ["0.0", 0n];
  private lastParent: readonly [path: string, directory: Directory | undefined] = ["", undefined];
  private line = 0;
  private rest = "";
  /** The line in work, and where each of its first fields ends: an array of strings for each would be most of the work. */
  private text = "";
  private readonly ends = new Int32Array(FIELDS);
  /** Places for digests, by the characters that they have in hexadecimal. */
  private readonly digestBytes: Readonly<Record<number, Uint8Array>> = {
    64: new Uint8Array(32),
    128: new Uint8Array(64),
  };

  push(chunk: Uint8Array): void {
    const lines = (this.rest + byteString(chunk)).split("\n");
    this.rest = lines.pop()!; // a split has at least one piece
    if (this.rest.length > MAX_LINE) throw this.bad("dump-line", `has more than ${MAX_LINE} bytes`, this.line + 1);
    for (const line of lines) this.add(line);
  }

  finish(): Dump {
    if (this.rest !== "") this.add(this.rest); // the newline of the last line may be missing
    this.rest = "";
    if (this.root === undefined) throw new FormatError("dump-empty", "the dump has no line");
    for (const link of this.links.values()) this.resolve(link);
    return { root: this.root, homes: this.homes };
  }

  private bad(code: string, what: string, line = this.line): FormatError {
    return new FormatError(code, `line ${line} of the dump ${what}`, { offset: line });
  }

  private add(line: string): void {
    this.line++;
    if (line.length > MAX_LINE) throw this.bad("dump-line", `has more than ${MAX_LINE} bytes`);
    this.text = line;
    const count = this.findFields();
    if (count < FIELDS) throw this.bad("dump-line", `has ${count} fields, ${FIELDS} are needed`);
    const path = this.unescape(this.field(PATH));
    const isLink = line.charCodeAt(this.start(MODE)) === AT;
    const mode = this.octal(MODE, isLink ? 1 : 0);
    const type = TYPES.get(mode & 0o170000);
    if (type === undefined || mode > 0o177777) throw this.bad("dump-mode", `has mode 0o${mode.toString(8)}`);
    if (path === "/") {
      if (type !== "directory" || isLink) throw this.bad("dump-root", "gives a root that is no directory");
      if (this.root !== undefined) throw this.bad("dump-duplicate", "gives a second root");
      this.root = this.node(type, mode, path) as Directory;
      this.directories.set("", this.root);
      return;
    }
    const slash = path.lastIndexOf("/");
    const name = path.slice(slash + 1) as ByteString;
    if (!path.startsWith("/") || name === "" || name === "." || name === ".." || path.includes("\0"))
      throw this.bad("dump-path", `has ${showBytes(path)}, which is no path of an image`);
    const parent = this.parentAt(path.slice(0, slash));
    if (parent === undefined)
      throw this.bad("dump-parent", `has ${showBytes(path)}, whose directory did not come before it`);
    if (parent.entries.has(name) || (this.links.size > 0 && this.links.has(path)))
      throw this.bad("dump-duplicate", `gives ${showBytes(path)} again`);
    if (isLink) {
      const target = this.optional(PAYLOAD);
      if (type === "directory" || target === undefined)
        throw this.bad(
          "dump-link",
          `makes ${showBytes(path)} a hard link ${target === undefined ? "to nothing" : "of a directory"}`,
        );
      this.links.set(path, { line: this.line, parent, name, path, target });
      return;
    }
    const node = this.node(type, mode, path);
    parent.entries.set(name, node);
    if (node.type === "directory") this.directories.set(path, node);
    else {
      const links = this.integer(LINKS, 0xffffffff);
      if (links !== 1) this.homes.set(node, { parent, name, links });
    }
  }

  /** Where the first fields end; returns how many there are, at most {@link FIELDS}. */
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

  private parentAt(path: string): Directory | undefined {
    if (this.lastParent[0] !== path || this.lastParent[1] === undefined)
      this.lastParent = [path, this.directories.get(path)];
    return this.lastParent[1];
  }

  private node(type: NodeType, mode: number, path: ByteString): Node {
    const own: Attributes = {
      mode: mode & 0o7777,
      uid: this.integer(UID, 0xffffffff),
      gid: this.integer(GID, 0xffffffff),
      mtime: this.time(),
      xattrs: this.end(FIELDS - 1) < this.text.length ? this.xattrs(path) : NO_XATTRS,
    };
    const size = this.integer(SIZE, Number.MAX_SAFE_INTEGER);
    const device = this.integer(DEVICE, 0xffffffff);
    const payload = this.optional(PAYLOAD);
    const content = this.optional(CONTENT);
    const digest = this.digest(path);
    if (payload?.includes("\0")) throw this.bad("dump-payload", `has a NUL in the payload of ${showBytes(path)}`);
    if (type !== "file" && ((content ?? "") !== "" || digest !== undefined))
      throw this.bad("dump-content", `gives content to ${showBytes(path)}, which is no file but a ${type}`);
    switch (type) {
      case "file":
        return regularFile(own, this.content(size, content, digest, payload, path));
      case "directory":
        return directory(own);
      case "symlink":
        if (payload === undefined || payload === "" || payload.length > MAX_SYMLINK_SIZE)
          throw this.bad("dump-link-target", `gives ${showBytes(path)} a target of ${payload?.length ?? 0} bytes`);
        return symlink(own, payload);
      case "character":
      case "block":
        // dev_t as Linux packs it into 32 bits: 8 low bits of the minor, 12 of the major, 12 high bits of the minor
        return deviceNode(type, own, (device >>> 8) & 0xfff, (device & 0xff) | ((device >>> 12) & 0xfff00));
      default:
        return specialNode(type, own);
    }
  }

  private content(
    size: number,
    inline: ByteString | undefined,
    digest: ByteString | undefined,
    payload: ByteString | undefined,
    path: ByteString,
  ): InlineContent | ExternalContent {
    if (inline === undefined)
      return size === 0 ? new InlineContent(new Uint8Array(0)) : new ExternalContent(size, digest, payload);
    if (inline.length !== size)
      throw this.bad(
        "dump-content",
        `gives ${showBytes(path)} ${inline.length} bytes of content and a size of ${size}`,
      );
    if (size > MAX_INLINE_SIZE)
      throw new UnsupportedError(
        "inline-too-large",
        `${showBytes(path)}: ${size} bytes of content cannot stand in an image, at most ${MAX_INLINE_SIZE} can`,
        {
          path: showBytes(path),
          expected: MAX_INLINE_SIZE,
          actual: size,
        },
      );
    return new InlineContent(bytesOf(inline));
  }

  private xattrs(path: ByteString): Map<ByteString, Uint8Array> {
    const xattrs = new Map<ByteString, Uint8Array>();
    for (const field of this.text.slice(this.end(FIELDS - 1) + 1).split(" ")) {
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

  private digest(path: ByteString): ByteString | undefined {
    const text = this.optional(DIGEST);
    if (text === undefined) return undefined;
    const bytes = this.digestBytes[text.length];
    if (bytes === undefined || !decodeHex(text, bytes))
      throw this.bad("dump-digest", `has no SHA-256 or SHA-512 digest for ${showBytes(path)}`);
    return byteString(bytes);
  }

  private integer(field: number, limit: number): number {
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

  /** Seconds, a dot, nanoseconds without leading zeros. */
  private time(): bigint {
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

  private optional(field: number): ByteString | undefined {
    const start = this.start(field);
    if (this.end(field) - start === 1 && this.text.charCodeAt(start) === DASH) return undefined;
    return this.unescape(this.field(field));
  }

  private unescape(field: string): ByteString {
    if (!field.includes("\\")) return field as ByteString;
    return field.replaceAll(/\\(x[0-9a-fA-F]{2}|.|$)/gs, (_, sequence: string) => {
      if (sequence.length === 3) return String.fromCharCode(Number.parseInt(sequence.slice(1), 16));
      const plain = ESCAPES[sequence];
      if (plain === undefined) throw this.bad("dump-escape", `has a bad escape: ${shorten(`\\${sequence}`)}`);
      return plain;
    }) as ByteString;
  }

  /** Hard links are resolved when all names are known; a target may be a hard link itself. */
  private resolve(link: PendingLink): void {
    let { target } = link;
    for (let steps = 0; ; steps++) {
      const next = this.links.get(target);
      if (next === undefined) break;
      if (steps === MAX_LINK_CHAIN || next === link)
        throw this.bad("dump-link", `makes ${showBytes(link.path)} a hard link to itself`, link.line);
      target = next.target;
    }
    const slash = target.lastIndexOf("/");
    const parent = this.directories.get(target.slice(0, Math.max(slash, 0)));
    const name = target.slice(slash + 1) as ByteString;
    const node = parent?.entries.get(name);
    if (parent === undefined || node === undefined)
      throw this.bad("dump-link", `makes ${showBytes(link.path)} a hard link to nothing`, link.line);
    if (node.type === "directory")
      throw this.bad("dump-link", `makes ${showBytes(link.path)} a hard link to a directory`, link.line);
    if (!this.homes.has(node)) this.homes.set(node, { parent, name, links: 1 }); // what its line says
    link.parent.entries.set(link.name, node);
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

const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\", n: "\n", r: "\r", t: "\t" };

function shorten(field: string): string {
  return showBytes(field.slice(0, 80) as ByteString);
}
