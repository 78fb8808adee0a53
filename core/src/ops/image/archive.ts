/** The files inside an uncompressed tar, read in place: for `oci-archive:` and `docker-archive:`. */
import { type ByteString, fromUtf8 } from "../../bytes/index.ts";
import { FormatError, SourceError, UnsupportedError } from "../../errors/index.ts";
import { type ClosableSource, compressionOf, type FileTree, MAGIC_SIZE } from "../../formats/oci/index.ts";
import { readTarEntries } from "../../formats/tar/index.ts";
import { type ReadOptions, type Source, sliceSource } from "../../source/index.ts";
import { MAX_SYMLINKS, splitPath } from "../../tree/index.ts";

/** Members of one archive; an image has a few blobs a layer at most. */
const MAX_MEMBERS = 65536;

type Members = ReadonlyMap<ByteString, Source | { readonly linkTarget: ByteString }>;

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
        const member = findMember(members, fromUtf8(path));
        if (member === undefined)
          throw new SourceError("not-found", `${name}: no member ${JSON.stringify(path.slice(0, 300))}`, { path });
        return {
          size: member.size,
          read: (offset, length, readOptions) => member.read(offset, length, readOptions),
          close: async () => {},
        };
      },
      close: () => archive.close(),
    };
  } catch (error) {
    await archive.close();
    throw error;
  }
}

/** Docker stores a layer that comes twice as a symbolic link to the first: `../ID/layer.tar`. */
function findMember(members: Members, path: ByteString): Source | undefined {
  let at: ByteString | undefined = path;
  for (let links = 0; links <= MAX_SYMLINKS; links++) {
    const key: ByteString | undefined = at === undefined ? undefined : normalPath(at);
    if (key === undefined) return undefined;
    const member = members.get(key);
    if (member === undefined) return undefined;
    if (!("linkTarget" in member)) return member;
    const parent = key.slice(0, key.lastIndexOf("/") + 1);
    at = member.linkTarget.startsWith("/") ? undefined : ((parent + member.linkTarget) as ByteString);
  }
  return undefined;
}

/** Undefined for a path that leads out of the archive. */
function normalPath(path: ByteString): ByteString | undefined {
  const names: ByteString[] = [];
  for (const name of splitPath(path))
    if (name !== "..") names.push(name);
    else if (names.pop() === undefined) return undefined;
  return names.join("/") as ByteString;
}

async function indexArchive(archive: Source, name: string, options?: ReadOptions): Promise<Members> {
  const compression = compressionOf(await archive.read(0, Math.min(MAGIC_SIZE, archive.size), options));
  if (compression !== "none")
    throw new UnsupportedError(
      "compressed-archive",
      `${name}: the archive is compressed with ${compression}, expected a plain tar`,
    );
  const members = new Map<ByteString, Source | { readonly linkTarget: ByteString }>();
  for await (const { path, type, size, contentOffset, linkTarget, segments } of readTarEntries(archive, {
    what: name,
    ...options,
  })) {
    const key = splitPath(path).join("/") as ByteString;
    const target = type === "hardlink" ? members.get(splitPath(linkTarget).join("/") as ByteString) : undefined;
    if (type === "file" && segments === undefined && contentOffset + size <= archive.size)
      members.set(key, sliceSource(archive, contentOffset, size));
    else if (target !== undefined) members.set(key, target);
    else if (type === "symlink") members.set(key, { linkTarget });
    else members.delete(key);
    if (members.size > MAX_MEMBERS)
      throw new FormatError("too-large", `${name}: the archive has more than ${MAX_MEMBERS} members`);
  }
  return members;
}
