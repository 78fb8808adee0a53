/**
 * Reads the dump format: a line for each name, eleven fields and the xattrs, fields separated by one space.
 * Spec: composefs 1.0.8, man/composefs-dump.md.
 */
import { type ByteString, byteString, bytesOf, fromHex, showBytes } from "../../bytes/index.ts";
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
  /** Neighbours are often of one time. */
  private lastTime: readonly [text: string, time: bigint] = ["0.0", 0n];
  private line = 0;
  private rest = "";

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
    const fields = line.split(" ");
    if (fields.length < 11) throw this.bad("dump-line", `has ${fields.length} fields, 11 are needed`);
    const path = this.unescape(fields[0]!); // there are 11
    const modeField = fields[2]!;
    const isLink = modeField.startsWith("@");
    const mode = this.octal(isLink ? modeField.slice(1) : modeField);
    const type = TYPES.get(mode & 0o170000);
    if (type === undefined || mode > 0o177777) throw this.bad("dump-mode", `has mode 0o${mode.toString(8)}`);
    if (path === "/") {
      if (type !== "directory" || isLink) throw this.bad("dump-root", "gives a root that is no directory");
      if (this.root !== undefined) throw this.bad("dump-duplicate", "gives a second root");
      this.root = this.node(type, mode, fields, path) as Directory;
      this.directories.set("", this.root);
      return;
    }
    const slash = path.lastIndexOf("/");
    const name = path.slice(slash + 1) as ByteString;
    if (!path.startsWith("/") || name === "" || name === "." || name === ".." || path.includes("\0"))
      throw this.bad("dump-path", `has ${showBytes(path)}, which is no path of an image`);
    const parent = this.directories.get(path.slice(0, slash));
    if (parent === undefined)
      throw this.bad("dump-parent", `has ${showBytes(path)}, whose directory did not come before it`);
    if (parent.entries.has(name) || this.links.has(path))
      throw this.bad("dump-duplicate", `gives ${showBytes(path)} again`);
    if (isLink) {
      const target = this.optional(fields[8]!); // there are 11
      if (type === "directory" || target === undefined)
        throw this.bad(
          "dump-link",
          `makes ${showBytes(path)} a hard link ${target === undefined ? "to nothing" : "of a directory"}`,
        );
      this.links.set(path, { line: this.line, parent, name, path, target });
      return;
    }
    const node = this.node(type, mode, fields, path);
    parent.entries.set(name, node);
    if (node.type === "directory") this.directories.set(path, node);
    else {
      const links = this.integer(fields[3]!, 0xffffffff);
      if (links !== 1) this.homes.set(node, { parent, name, links });
    }
  }

  private node(type: NodeType, mode: number, fields: readonly string[], path: ByteString): Node {
    const [, sizeField, , , uid, gid, deviceField, time, payloadField, contentField, digestField] =
      fields as unknown as readonly [
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
        string,
      ];
    const own: Attributes = {
      mode: mode & 0o7777,
      uid: this.integer(uid, 0xffffffff),
      gid: this.integer(gid, 0xffffffff),
      mtime: this.time(time),
      xattrs: fields.length > 11 ? this.xattrs(fields.slice(11), path) : NO_XATTRS,
    };
    const size = this.integer(sizeField, Number.MAX_SAFE_INTEGER);
    const device = this.integer(deviceField, 0xffffffff);
    const payload = this.optional(payloadField);
    const content = this.optional(contentField);
    const digest = this.digest(digestField, path);
    if (payload?.includes("\0")) throw this.bad("dump-payload", `has a NUL in the payload of ${showBytes(path)}`);
    if (type !== "file" && ((content ?? "") !== "" || digest !== undefined))
      throw this.bad("dump-content", `gives content to ${showBytes(path)}, which is a ${type}`);
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
    digest: Uint8Array | undefined,
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
        `${showBytes(path)}: ${size} bytes of content cannot stand in an image`,
        {
          path: showBytes(path),
          expected: MAX_INLINE_SIZE,
          actual: size,
        },
      );
    return new InlineContent(bytesOf(inline));
  }

  private xattrs(fields: readonly string[], path: ByteString): Map<ByteString, Uint8Array> {
    const xattrs = new Map<ByteString, Uint8Array>();
    for (const field of fields) {
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

  private digest(field: string, path: ByteString): Uint8Array | undefined {
    const text = this.optional(field);
    if (text === undefined) return undefined;
    if (!/^([0-9a-f]{64}|[0-9a-f]{128})$/.test(text))
      throw this.bad("dump-digest", `has no SHA-256 or SHA-512 digest for ${showBytes(path)}`);
    return fromHex(text);
  }

  private integer(field: string, limit: number): number {
    if (field === "0") return 0; // every second field
    const value = Number(field);
    if (!/^[0-9]+$/.test(field) || value > limit) throw this.bad("dump-number", `has a bad number: ${shorten(field)}`);
    return value;
  }

  private octal(field: string): number {
    if (field === "100644") return 0o100644; // most
    if (!/^[0-7]{1,10}$/.test(field)) throw this.bad("dump-mode", `has a bad mode: ${shorten(field)}`);
    return Number.parseInt(field, 8);
  }

  /** Seconds, a dot, nanoseconds without leading zeros. */
  private time(field: string): bigint {
    if (field === this.lastTime[0]) return this.lastTime[1];
    const dot = field.indexOf(".");
    const seconds = field.slice(0, dot);
    const nanoseconds = field.slice(dot + 1);
    if (dot < 0 || !/^-?[0-9]{1,19}$/.test(seconds) || !/^[0-9]{1,9}$/.test(nanoseconds))
      throw this.bad("dump-time", `has a bad time: ${shorten(field)}`);
    this.lastTime = [field, BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds)];
    return this.lastTime[1];
  }

  private optional(field: string): ByteString | undefined {
    return field === "-" ? undefined : this.unescape(field);
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

const ESCAPES: Readonly<Record<string, string>> = { "\\": "\\", n: "\n", r: "\r", t: "\t" };

function shorten(field: string): string {
  return showBytes(field.slice(0, 80) as ByteString);
}
