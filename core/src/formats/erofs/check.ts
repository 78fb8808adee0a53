/** Looks for everything that is wrong with an image, and that no reader needs to care about. Collects, never repairs. */
import { isZero } from "../../bytes/index.ts";
import { type Finding, isAshlarError } from "../../errors/index.ts";
import { chunksOf, type Source, sliceSource } from "../../source/index.ts";
import { showPath } from "../../tree/index.ts";
import {
  headSize,
  INCOMPAT,
  RawInodeCompact,
  RawInodeExtended,
  RawSuperblock,
  RawXattrEntry,
  SUPERBLOCK_OFFSET,
  XATTR_UNIT,
} from "./format.ts";
import type { ErofsInode } from "./inode.ts";
import { type ErofsImage, openErofs } from "./read.ts";
import { parseSharedIds } from "./read-xattrs.ts";
import { checksumMatches } from "./superblock.ts";
import { walkErofs } from "./walk.ts";

export interface ErofsFinding extends Finding {
  /** Path inside the image, for people. */
  readonly path?: string | undefined;
  /** Bytes from the start of the image. */
  readonly offset?: number | undefined;
}

/** Findings after which the check stops; a thoroughly broken image has no use for more. */
export const MAX_FINDINGS = 200;

interface Gap {
  readonly start: number;
  readonly size: number;
}

interface Claim {
  readonly start: number;
  readonly size: number;
  readonly what: string;
}

/**
 * Findings in order of discovery, none for a sound image. Where an image cannot be opened or walked, the error that
 * a reader gets is a finding too. Files with chunks are not accounted for: then overlaps and padding are not checked.
 */
export async function checkErofs(source: Source): Promise<ErofsFinding[]> {
  const findings: ErofsFinding[] = [];
  const report = (code: string, message: string, at: Omit<ErofsFinding, "code" | "message"> = {}): void => {
    if (findings.length < MAX_FINDINGS) findings.push({ code, message, ...at });
  };
  try {
    const image = await openErofs(source, { checksum: "ignore" });
    if (!(await checksumMatches(source, image.superblock)))
      report("superblock-checksum", "the checksum of the superblock does not match", { offset: SUPERBLOCK_OFFSET });
    const raw = RawSuperblock.view(await source.read(SUPERBLOCK_OFFSET, RawSuperblock.size));
    if (!isZero(raw.reserved) || !isZero(raw.reserved2))
      report("reserved", "reserved bytes of the superblock are not zero", { offset: SUPERBLOCK_OFFSET });
    await checkInodes(image, report);
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    report(error.code, error.message, { path: error.details.path, offset: error.details.offset });
  }
  return findings;
}

type Report = (code: string, message: string, at?: Omit<ErofsFinding, "code" | "message">) => void;

async function checkInodes(image: ErofsImage, report: Report): Promise<void> {
  const { superblock, source } = image;
  const claims: Claim[] = [{ start: SUPERBLOCK_OFFSET, size: RawSuperblock.size, what: "superblock" }];
  const sharedIds = new Set<number>();
  const leaves = new Map<number, { readonly inode: ErofsInode; readonly path: string; names: number }>();
  let isAccounted = true;
  let count = 0;
  for await (const { path, inode, parent, isKnown } of walkErofs(image)) {
    const shown = showPath(path);
    const leaf = leaves.get(inode.nid);
    if (leaf !== undefined) leaf.names++;
    if (isKnown) continue;
    count++;
    await checkReserved(image, inode, shown, report);
    claims.push({ start: inode.position, size: inode.inodeSize + inode.xattrSize, what: `inode of ${shown}` });
    if (inode.xattrSize > 0) {
      const metadata = image.metadataOf(inode);
      for (const id of parseSharedIds(await metadata.read(inode.position + inode.inodeSize, inode.xattrSize), shown))
        sharedIds.add(id);
      await image.xattrs(inode); // every shared entry can be read
    }
    if (inode.type === "directory") await checkDirectory(image, inode, parent ?? inode.nid, shown, report);
    else leaves.set(inode.nid, { inode, path: shown, names: 1 });
    if (!["file", "directory", "symlink"].includes(inode.type)) continue;
    isAccounted &&= (inode.layout === "flat-plain" || inode.layout === "flat-inline") && !inode.isInMetabox;
    for await (const { start, storedSize } of image.extents(inode))
      claims.push({ start, size: storedSize, what: `data of ${shown}` });
  }
  for (const { inode, path, names } of leaves.values())
    if (inode.links !== names)
      report("link-count", `${path} has ${names} names, its inode says ${inode.links}`, {
        path,
        offset: inode.position,
      });
  if (superblock.inodeCount !== count)
    report("inode-count", `the image has ${count} inodes, the superblock says ${superblock.inodeCount}`);
  isAccounted &&=
    superblock.deviceCount === 0 && superblock.xattrPrefixCount === 0 && superblock.packedNid === undefined;
  if (isAccounted)
    for (const id of sharedIds) {
      const start = superblock.xattrStart + id * XATTR_UNIT;
      const { nameSize, valueSize } = RawXattrEntry.view(await source.read(start, RawXattrEntry.size));
      claims.push({ start, size: RawXattrEntry.size + nameSize + valueSize, what: `shared xattr ${id}` });
    }
  if (isAccounted) await checkAccounts(image, claims, report);
}

async function checkReserved(image: ErofsImage, inode: ErofsInode, path: string, report: Report): Promise<void> {
  const bytes = await image.metadataOf(inode).read(inode.position, inode.inodeSize);
  const compact = inode.isExtended ? undefined : RawInodeCompact.view(bytes);
  const extended = inode.isExtended ? RawInodeExtended.view(bytes) : undefined;
  const isShort = (image.superblock.featureIncompat & INCOMPAT.bits48) === 0; // else these have a meaning
  if (
    compact?.reserved ||
    (extended !== undefined && !isZero(extended.reserved)) ||
    (isShort && (compact?.mtime || extended?.nb))
  )
    report("reserved", `reserved bytes of the inode of ${path} are not zero`, { path, offset: inode.position });
}

async function checkDirectory(
  image: ErofsImage,
  inode: ErofsInode,
  parent: number,
  path: string,
  report: Report,
): Promise<void> {
  const at = { path, offset: inode.position };
  const entries = await image.readEntries(inode);
  for (const [i, { name }] of entries.entries())
    if (i > 0 && name <= entries[i - 1]!.name) {
      report("directory-order", `${path}: entry ${i} is not above the one before it`, at);
      break;
    }
  for (const [name, nid] of [
    [".", inode.nid],
    ["..", parent],
  ] as const) {
    const found = entries.find((entry) => entry.name === name);
    if (found?.nid !== nid && !(name === "." && found === undefined && inode.isDotOmitted))
      report("directory-dots", `${path}: ${name} leads to ${found?.nid ?? "nothing"}, not ${nid}`, at);
  }
  let links = 2;
  for (const { name, nid, type } of entries) {
    const actual = (await image.inode(nid)).type;
    if (type !== actual) report("directory-type", `${path}: an entry says ${type}, inode ${nid} is a ${actual}`, at);
    if (actual === "directory" && name !== "." && name !== "..") links++;
  }
  if (inode.links !== links)
    report("link-count", `${path} has ${links - 2} directories in it, its link count is ${inode.links}`, at);
}

/** Every byte belongs to one thing, or is zero. Data may be shared as a whole. */
async function checkAccounts({ superblock, source }: ErofsImage, claims: Claim[], report: Report): Promise<void> {
  claims.sort((a, b) => a.start - b.start || b.size - a.size);
  const end = superblock.blockCount * superblock.blockSize;
  const gaps: Gap[] = [];
  let covered = 0;
  let last: Claim | undefined;
  for (const claim of [...claims, { start: end, size: 0, what: "end of the image" }]) {
    if (claim.start > covered) gaps.push({ start: covered, size: claim.start - covered });
    else if (claim.start < covered && last !== undefined && !(claim.start === last.start && claim.size === last.size))
      report("overlap", `${claim.what} overlaps ${last.what}`, { offset: claim.start });
    if (claim.start + claim.size > covered) {
      covered = claim.start + claim.size;
      last = claim;
    }
  }
  for (const { start, size } of gaps) {
    if (start < headSize(superblock.blockSize) && start < SUPERBLOCK_OFFSET) continue; // room for a boot sector
    for await (const chunk of chunksOf(sliceSource(source, start, Math.min(size, source.size - start))))
      if (!isZero(chunk)) {
        report("padding", `${size} bytes that belong to nothing are not all zero`, { offset: start });
        break;
      }
  }
}
