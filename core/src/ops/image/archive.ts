/** The files inside an uncompressed tar, read in place: for `oci-archive:`. */
import { type ByteString, fromUtf8 } from "../../bytes/index.ts";
import { FormatError, SourceError, UnsupportedError } from "../../errors/index.ts";
import type { ClosableSource, FileTree } from "../../formats/oci/index.ts";
import { tarParser } from "../../formats/tar/index.ts";
import { type ReadOptions, type Source, sliceSource } from "../../source/index.ts";
import { splitPath } from "../../tree/index.ts";

/** Members of one archive; an image has a few blobs a layer at most. */
const MAX_MEMBERS = 65536;
/** Bytes read at once while looking for headers; blobs between them are not read. */
const SCAN_SIZE = 64 * 1024;

const MAGICS: readonly (readonly [name: string, magic: readonly number[]])[] = [
  ["gzip", [0x1f, 0x8b]],
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a]],
  ["bzip2", [0x42, 0x5a, 0x68]],
];

/**
 * Indexes the archive; the tree owns `archive` from here on. A name that comes twice means its last member, as when
 * unpacking. Errors: those of the tar reader; UnsupportedError `compressed-archive`; FormatError `too-large`.
 * @param name for people, such as `oci-archive:/srv/image.tar`
 */
export async function openArchiveTree(archive: ClosableSource, name: string, options?: ReadOptions): Promise<FileTree> {
  try {
    const members = await indexArchive(archive, name, options);
    return {
      async open(path) {
        const member = members.get(splitPath(fromUtf8(path)).join("/") as ByteString);
        if (member === undefined) throw new SourceError("not-found", `${name}: no member ${path}`, { path });
        return { size: member.size, read: member.read, close: async () => {} };
      },
      close: () => archive.close(),
    };
  } catch (error) {
    await archive.close();
    throw error;
  }
}

async function indexArchive(archive: Source, name: string, options?: ReadOptions): Promise<Map<ByteString, Source>> {
  const start = await archive.read(0, Math.min(8, archive.size), options);
  const compressed = MAGICS.find(([, magic]) => magic.every((byte, index) => start[index] === byte));
  if (compressed !== undefined)
    throw new UnsupportedError(
      "compressed-archive",
      `${name}: the archive is compressed with ${compressed[0]}, expected a plain tar`,
    );
  const members = new Map<ByteString, Source>();
  const parser = tarParser({ what: name });
  let at = 0;
  for (;;) {
    for (let event = parser.next(); event !== undefined; event = parser.next()) {
      if (event.kind !== "entry") continue;
      const { path, type, size, contentOffset, linkTarget, segments } = event.entry;
      const key = splitPath(path).join("/") as ByteString;
      const target = type === "hardlink" ? members.get(splitPath(linkTarget).join("/") as ByteString) : undefined;
      if (type === "file" && segments === undefined && contentOffset + size <= archive.size)
        members.set(key, sliceSource(archive, contentOffset, size));
      else if (target !== undefined) members.set(key, target);
      else members.delete(key);
      if (members.size > MAX_MEMBERS)
        throw new FormatError("too-large", `${name}: the archive has more than ${MAX_MEMBERS} members`);
    }
    if (at >= archive.size) break;
    const skip = Math.min(parser.skippable, archive.size - at);
    if (skip > 0) {
      parser.skip(skip);
      at += skip;
      continue;
    }
    const length = Math.min(SCAN_SIZE, archive.size - at);
    parser.push(await archive.read(at, length, options));
    at += length;
  }
  parser.end();
  return members;
}
