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
import { CONTENT, DEVICE, DumpLine, GID, LINKS, MAX_LINE, PAYLOAD, SIZE, UID } from "./dump-line.ts";
import { MAX_INLINE_SIZE } from "./format.ts";
import type { Home, Homes } from "./survey.ts";

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
  /** Neighbours are often in one directory. */
  private lastParent: readonly [path: string, directory: Directory | undefined] = ["", undefined];
  private readonly line = new DumpLine();
  private rest = "";

  push(chunk: Uint8Array): void {
    const lines = (this.rest + byteString(chunk)).split("\n");
    this.rest = lines.pop()!; // a split has at least one piece
    if (this.rest.length > MAX_LINE)
      throw this.line.bad("dump-line", `has more than ${MAX_LINE} bytes`, this.line.number + 1);
    for (const line of lines) this.add(line);
  }

  finish(): Dump {
    if (this.rest !== "") this.add(this.rest); // the newline of the last line may be missing
    this.rest = "";
    if (this.root === undefined) throw new FormatError("dump-empty", "the dump has no line");
    for (const link of this.links.values()) this.resolve(link);
    return { root: this.root, homes: this.homes };
  }

  private add(text: string): void {
    const { line } = this;
    line.next(text);
    const path = line.path();
    const { isLink } = line;
    const mode = line.mode();
    const type = TYPES.get(mode & 0o170000);
    if (type === undefined || mode > 0o177777) throw line.bad("dump-mode", `has mode 0o${mode.toString(8)}`);
    if (path === "/") {
      if (type !== "directory" || isLink) throw line.bad("dump-root", "gives a root that is no directory");
      if (this.root !== undefined) throw line.bad("dump-duplicate", "gives a second root");
      this.root = this.node(type, mode, path) as Directory;
      this.directories.set("", this.root);
      return;
    }
    const slash = path.lastIndexOf("/");
    const name = path.slice(slash + 1) as ByteString;
    if (!path.startsWith("/") || name === "" || name === "." || name === ".." || path.includes("\0"))
      throw line.bad("dump-path", `has ${showBytes(path)}, which is no path of an image`);
    const parent = this.parentAt(path.slice(0, slash));
    if (parent === undefined)
      throw line.bad("dump-parent", `has ${showBytes(path)}, whose directory did not come before it`);
    if (parent.entries.has(name) || (this.links.size > 0 && this.links.has(path)))
      throw line.bad("dump-duplicate", `gives ${showBytes(path)} again`);
    if (isLink) {
      const target = line.optional(PAYLOAD);
      if (type === "directory" || target === undefined)
        throw line.bad(
          "dump-link",
          `makes ${showBytes(path)} a hard link ${target === undefined ? "to nothing" : "of a directory"}`,
        );
      this.links.set(path, { line: line.number, parent, name, path, target });
      return;
    }
    const node = this.node(type, mode, path);
    parent.entries.set(name, node);
    if (node.type === "directory") this.directories.set(path, node);
    else {
      const links = line.integer(LINKS, 0xffffffff);
      if (links !== 1) this.homes.set(node, { parent, name, links });
    }
  }

  private parentAt(path: string): Directory | undefined {
    if (this.lastParent[0] !== path || this.lastParent[1] === undefined)
      this.lastParent = [path, this.directories.get(path)];
    return this.lastParent[1];
  }

  private node(type: NodeType, mode: number, path: ByteString): Node {
    const { line } = this;
    const own: Attributes = {
      mode: mode & 0o7777,
      uid: line.integer(UID, 0xffffffff),
      gid: line.integer(GID, 0xffffffff),
      mtime: line.time(),
      xattrs: line.hasXattrs ? line.xattrs(path) : NO_XATTRS,
    };
    const size = line.integer(SIZE, Number.MAX_SAFE_INTEGER);
    const device = line.integer(DEVICE, 0xffffffff);
    const payload = line.optional(PAYLOAD);
    const content = line.optional(CONTENT);
    const digest = line.digest(path);
    if (payload?.includes("\0")) throw line.bad("dump-payload", `has a NUL in the payload of ${showBytes(path)}`);
    if (type !== "file" && ((content ?? "") !== "" || digest !== undefined))
      throw line.bad("dump-content", `gives content to ${showBytes(path)}, which is no file but a ${type}`);
    switch (type) {
      case "file":
        return regularFile(own, this.content(size, content, digest, payload, path));
      case "directory":
        return directory(own);
      case "symlink":
        if (payload === undefined || payload === "" || payload.length > MAX_SYMLINK_SIZE)
          throw line.bad("dump-link-target", `gives ${showBytes(path)} a target of ${payload?.length ?? 0} bytes`);
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
      throw this.line.bad(
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

  /** Hard links are resolved when all names are known; a target may be a hard link itself. */
  private resolve(link: PendingLink): void {
    let { target } = link;
    for (let steps = 0; ; steps++) {
      const next = this.links.get(target);
      if (next === undefined) break;
      if (steps === MAX_LINK_CHAIN || next === link)
        throw this.line.bad("dump-link", `makes ${showBytes(link.path)} a hard link to itself`, link.line);
      target = next.target;
    }
    const slash = target.lastIndexOf("/");
    const parent = this.directories.get(target.slice(0, Math.max(slash, 0)));
    const name = target.slice(slash + 1) as ByteString;
    const node = parent?.entries.get(name);
    if (parent === undefined || node === undefined)
      throw this.line.bad("dump-link", `makes ${showBytes(link.path)} a hard link to nothing`, link.line);
    if (node.type === "directory")
      throw this.line.bad("dump-link", `makes ${showBytes(link.path)} a hard link to a directory`, link.line);
    if (!this.homes.has(node)) this.homes.set(node, { parent, name, links: 1 }); // what its line says
    link.parent.entries.set(link.name, node);
  }
}
