/** What can be wrong with one inode, its xattrs and its directory entries, besides what keeps them from being read. */
import { isZero, showBytes } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { contentOf } from "./content.ts";
import { failure, type Report, warning } from "./findings.ts";
import { INCOMPAT, RawInodeCompact, RawInodeExtended, RawXattrHeader } from "./format.ts";
import type { ErofsInode } from "./inode.ts";
import type { ErofsImage } from "./read.ts";
import { type DirectoryEntry, parseDirectoryBlock } from "./read-directory.ts";
import { showNid } from "./superblock.ts";
import { metadataLimit } from "./volume.ts";
import { filterBit } from "./xattr-filter.ts";

const MAX_NANOSECONDS = 999_999_999;

/** Reserved bytes, xattrs, link targets. Throws what reading them throws. */
export async function checkInode(image: ErofsImage, inode: ErofsInode, path: string, report: Report): Promise<void> {
  const at = { path, offset: inode.position };
  const bytes = await image.metadataOf(inode).read(inode.position, inode.inodeSize);
  const is48Bit = (image.superblock.featureIncompat & INCOMPAT.bits48) !== 0; // then these have a meaning
  let isReservedZero: boolean;
  if (inode.isExtended) {
    const raw = RawInodeExtended.view(bytes);
    isReservedZero = isZero(raw.reserved) && (is48Bit || raw.nb === 0);
    if (raw.mtimeNsec > MAX_NANOSECONDS)
      report(failure("bad-time", `${path}: its time has ${raw.mtimeNsec} nanoseconds`, at));
  } else {
    const raw = RawInodeCompact.view(bytes);
    isReservedZero = raw.reserved === 0 && (is48Bit || raw.mtime === 0);
  }
  if (!isReservedZero) report(warning("reserved", `reserved bytes of the inode of ${path} are not zero`, at));
  if (inode.xattrSize === RawXattrHeader.size)
    report(
      failure("bad-xattr", `${path}: there is room for xattrs, but for none of them, which the kernel refuses`, at),
    );
  await checkXattrs(image, inode, path, report);
  if (inode.type === "symlink") await image.readlink(inode);
}

/** A filter that denies a name which is there hides it from lookups. */
async function checkXattrs(image: ErofsImage, inode: ErofsInode, path: string, report: Report): Promise<void> {
  const xattrs = await image.xattrs(inode);
  if (inode.xattrSize <= RawXattrHeader.size || !image.superblock.hasXattrFilter) return;
  const start = inode.position + inode.inodeSize;
  const { nameFilter } = RawXattrHeader.view(await image.metadataOf(inode).read(start, RawXattrHeader.size));
  for (const name of xattrs.keys()) {
    const bit = filterBit(name);
    if (bit === undefined || ((nameFilter >>> bit) & 1) === 0) continue;
    report(
      failure("xattr-filter", `${path}: the name filter denies ${showBytes(name)}, which is there`, {
        path,
        offset: start,
      }),
    );
  }
}

/**
 * The entries of a directory but `.` and `..`, as far as they can be read, a block at a time. Reports broken blocks, wrong
 * order, names that are there twice, and `.` and `..` that lead elsewhere. Throws what reading the content throws.
 */
export async function checkEntries(
  image: ErofsImage,
  inode: ErofsInode,
  parent: number,
  path: string,
  report: Report,
): Promise<DirectoryEntry[]> {
  const at = { path, offset: inode.position };
  const { volume, superblock } = image;
  if (inode.size > metadataLimit(volume)) {
    report(failure("too-large", `${path} has ${inode.size} bytes of entries, more than the image can hold`, at));
    return [];
  }
  const content = contentOf(volume, volume.metadata, inode);
  const entries: DirectoryEntry[] = [];
  const dots = new Map<string, number>();
  let last: DirectoryEntry | undefined;
  let isOrdered = true;
  let isWhole = true;
  for (let start = 0; start < content.size; start += superblock.blockSize) {
    let block: DirectoryEntry[] = [];
    try {
      const bytes = await content.read(start, Math.min(superblock.blockSize, content.size - start));
      block = parseDirectoryBlock(bytes, `block ${start / superblock.blockSize}`);
    } catch (error) {
      if (!isAshlarError(error)) throw error;
      report(
        failure(error.code, `${path}: ${error.message}`, { path, offset: error.details.offset ?? inode.position }),
      );
      isWhole = false;
    }
    for (const entry of block) {
      if (last !== undefined && entry.name === last.name)
        report(
          failure(
            "duplicate-name",
            `${path}: a name is there twice, for inodes ${showNid(last.nid)} and ${showNid(entry.nid)}`,
            at,
          ),
        );
      else if (isOrdered && last !== undefined && entry.name < last.name) {
        report(failure("directory-order", `${path}: entries are not in order, so that lookups miss some`, at));
        isOrdered = false;
      }
      last = entry;
      if (entry.name !== "." && entry.name !== "..") {
        entries.push(entry);
        continue;
      }
      dots.set(entry.name, entry.nid);
      if (entry.type !== "directory")
        report(failure("directory-type", `${path}: the entry ${entry.name} says ${entry.type ?? "nothing"}`, at));
    }
  }
  if (isWhole)
    for (const [name, nid] of [
      [".", inode.nid],
      ["..", parent],
    ] as const) {
      const found = dots.get(name);
      if (found === nid || (name === "." && found === undefined && inode.isDotOmitted)) continue;
      const leads = found === undefined ? "is missing" : `leads to inode ${showNid(found)}, not ${showNid(nid)}`;
      report(failure("directory-dots", `${path}: ${name} ${leads}`, at));
    }
  return entries;
}
