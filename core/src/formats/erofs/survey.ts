/**
 * Walks everything that an image has, gives each byte to what it belongs to, and reports what is broken on the way: past
 * a broken inode it goes on with the next one. What the check and the dump have in common.
 */
import type { ByteString } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { joinPath, MAX_DEPTH, MAX_PATH_LENGTH, showPath } from "../../tree/index.ts";
import { checkIndex } from "./check-index.ts";
import { checkEntries, checkInode } from "./check-inode.ts";
import { Claims } from "./claims.ts";
import type { Extent } from "./extent.ts";
import { failure, type Report, warning } from "./findings.ts";
import { RawSuperblock, SUPERBLOCK_OFFSET } from "./format.ts";
import type { ErofsInode } from "./inode.ts";
import { mapTableOf } from "./map-table.ts";
import type { ErofsImage } from "./read.ts";
import type { DirectoryEntry } from "./read-directory.ts";
import { parseSharedIds } from "./read-xattrs.ts";
import { metadataLimit } from "./volume.ts";

export interface SurveyOptions {
  readonly report: Report;
  readonly signal?: AbortSignal | undefined;
  /** Called for each inode that a name leads to, once. */
  readonly onInode?: ((inode: ErofsInode) => void) | undefined;
}

export interface Survey {
  readonly claims: Claims;
  /** Inodes that names lead to. */
  readonly inodeCount: number;
  /** Names that lead to an inode, the root's own among them. */
  readonly names: number;
  /** What people know an inode by: its first path, or what it is for the image. */
  nameOf(nid: number | undefined): string;
}

/** Names for inodes that no path leads to. */
const PACKED_NAME = "the packed inode";
const METABOX_NAME = "the metabox";

export async function surveyErofs(image: ErofsImage, options: SurveyOptions): Promise<Survey> {
  const surveyor = new Surveyor(image, options);
  await surveyor.walk();
  return surveyor;
}

interface OpenDirectory {
  readonly inode: ErofsInode;
  readonly path: ByteString;
  readonly rest: Iterator<DirectoryEntry>;
  /** Directories in it so far. */
  directories: number;
}

interface Leaf {
  readonly links: number;
  readonly position: number;
  names: number;
}

class Surveyor implements Survey {
  readonly claims: Claims;
  inodeCount = 0;
  names = 1;
  private readonly image: ErofsImage;
  private readonly options: SurveyOptions;
  private readonly paths = new Map<number, string>();
  private readonly directories = new Set<number>();
  private readonly leaves = new Map<number, Leaf>();
  private readonly sharedIds = new Set<number>();
  /** Bytes of inodes, tables and directories, which in a sound image do not overlap: that bounds memory and time. */
  private metadataSize = 0;
  private readonly metadataLimit: number;

  constructor(image: ErofsImage, options: SurveyOptions) {
    this.image = image;
    this.options = options;
    this.claims = new Claims(image);
    this.metadataLimit = metadataLimit(image);
  }

  nameOf(nid: number | undefined): string {
    if (nid === undefined) return "the image";
    const { packedNid, metaboxNid } = this.image.superblock;
    return (
      this.paths.get(nid) ?? (nid === packedNid ? PACKED_NAME : nid === metaboxNid ? METABOX_NAME : `inode ${nid}`)
    );
  }

  async walk(): Promise<void> {
    const { superblock, root } = this.image;
    this.claims.claimHead();
    await this.guard("xattr prefixes", () => this.claims.claimPrefixes());
    let specialCount = 0;
    for (const [nid, name] of [
      [superblock.packedNid, PACKED_NAME],
      [superblock.metaboxNid, METABOX_NAME],
    ] as const)
      if (nid !== undefined && nid !== root.nid)
        await this.guard(name, async () => {
          const inode = await this.image.inode(nid);
          this.paths.set(nid, name);
          await this.visit(inode, name);
          specialCount++;
        });
    await this.walkNames(root);
    for (const [nid, { links, names, position }] of this.leaves)
      if (links !== names) {
        const path = this.nameOf(nid);
        this.options.report(
          warning("link-count", `${path} has ${names} names, its inode says ${links}`, {
            path,
            offset: position,
          }),
        );
      }
    const { inodeCount: promised } = superblock;
    // mkfs.erofs counts the image's own inodes too.
    if (promised !== this.inodeCount && promised !== this.inodeCount + specialCount)
      this.options.report(
        warning("inode-count", `the image has ${this.inodeCount} inodes, the superblock says ${promised}`, {
          offset: SUPERBLOCK_OFFSET + RawSuperblock.fields.inodeCount.offset,
        }),
      );
    for (const id of this.sharedIds) await this.guard(`shared xattr ${id}`, () => this.claims.claimShared(id));
  }

  /** Errors of ours become findings. */
  private async guard<T>(path: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!isAshlarError(error)) throw error;
      const message = error.message.startsWith(path) ? error.message : `${path}: ${error.message}`;
      this.options.report(failure(error.code, message, { path, offset: error.details.offset }));
      return undefined;
    }
  }

  /** False, with a finding, where what was read adds up to more than any sound image has. */
  private spend(bytes: number, path: string, offset: number): boolean {
    this.metadataSize += bytes;
    if (this.metadataSize <= this.metadataLimit) return true;
    const message = `${path}: metadata adds up to more bytes than the image has; it and what follows is not looked into`;
    this.options.report(failure("overlapping-metadata", message, { path, offset }));
    return false;
  }

  private async walkNames(root: ErofsInode): Promise<void> {
    const { report, signal } = this.options;
    const none = "" as ByteString;
    const open: OpenDirectory[] = [];
    const enter = async (inode: ErofsInode, path: ByteString, parent: number): Promise<void> => {
      this.directories.add(inode.nid);
      const shown = showPath(path);
      const entries = (await this.guard(shown, () => checkEntries(this.image, inode, parent, shown, report))) ?? [];
      open.push({ inode, path, rest: entries.values(), directories: 0 });
    };
    await this.visitNamed(root, showPath(none));
    if (this.spend(root.size, showPath(none), root.position)) await enter(root, none, root.nid);
    for (let here = open.at(-1); here !== undefined; here = open.at(-1)) {
      signal?.throwIfAborted();
      const { done, value: entry } = here.rest.next();
      if (done === true) {
        this.checkDirectoryLinks(here);
        open.pop();
        continue;
      }
      const path = joinPath(here.path, entry.name);
      const shown = showPath(path);
      const inode = await this.guard(shown, () => this.image.inode(entry.nid));
      if (inode === undefined) continue;
      this.names++;
      const at = { path: shown, offset: inode.position };
      if (inode.type !== entry.type)
        report(
          failure(
            "directory-type",
            `${shown}: its entry says ${entry.type ?? "nothing"}, its inode is a ${inode.type}`,
            at,
          ),
        );
      if (inode.type !== "directory") {
        await this.visitLeaf(inode, shown);
        continue;
      }
      here.directories++;
      if (this.directories.has(inode.nid)) {
        report(failure("directory-loop", `${shown} leads to a directory that has another name`, at));
        continue;
      }
      if (path.length > MAX_PATH_LENGTH || open.length >= MAX_DEPTH) {
        report(failure("too-deep", `${shown.slice(0, 200)}: directories nest too deep to be looked into`, at));
        continue;
      }
      await this.visitNamed(inode, shown);
      if (!this.spend(inode.size, shown, inode.position)) return;
      await enter(inode, path, here.inode.nid);
    }
  }

  private async visitLeaf(inode: ErofsInode, shown: string): Promise<void> {
    const leaf = this.leaves.get(inode.nid);
    if (leaf !== undefined) {
      leaf.names++;
      return;
    }
    this.leaves.set(inode.nid, { links: inode.links, position: inode.position, names: 1 });
    await this.visitNamed(inode, shown);
  }

  private async visitNamed(inode: ErofsInode, shown: string): Promise<void> {
    this.inodeCount++;
    const isSpecial = this.paths.has(inode.nid); // visited already
    this.paths.set(inode.nid, shown);
    this.options.onInode?.(inode);
    if (!isSpecial) await this.visit(inode, shown);
  }

  private checkDirectoryLinks({ inode, path, directories }: OpenDirectory): void {
    if (inode.links === directories + 2) return;
    const shown = showPath(path);
    const message = `${shown} has ${directories} directories in it, its link count is ${inode.links}`;
    this.options.report(warning("link-count", message, { path: shown, offset: inode.position }));
  }

  /** Claims what an inode has and looks at what can be wrong with it. */
  private async visit(inode: ErofsInode, shown: string): Promise<void> {
    const accounts = this.claims.of(inode);
    accounts.claim("inodes", inode.position, inode.inodeSize, inode.nid);
    accounts.claim("xattrs", inode.position + inode.inodeSize, inode.xattrSize, inode.nid);
    if (!this.spend(inode.inodeSize + inode.xattrSize, shown, inode.position)) return;
    await this.guard(shown, () => checkInode(this.image, inode, shown, this.options.report));
    if (inode.xattrSize > 0)
      await this.guard(shown, async () => {
        const metadata = this.image.metadataOf(inode);
        const body = await metadata.read(inode.position + inode.inodeSize, inode.xattrSize);
        for (const id of parseSharedIds(body, shown)) this.sharedIds.add(id);
      });
    await this.guard(shown, () => this.visitExtents(inode, shown));
  }

  private async visitExtents(inode: ErofsInode, shown: string): Promise<void> {
    if (inode.type !== "file" && inode.type !== "directory" && inode.type !== "symlink") return;
    const table = await mapTableOf(this.image.volume, inode);
    if (table !== undefined) {
      if (!this.spend(table.size, shown, table.start)) return;
      this.claims.of(inode).claim(table.kind, table.start, table.size, inode.nid);
      if (table.kind === "cluster maps") await checkIndex(this.image.volume, inode, shown, this.options.report);
    }
    for await (const extent of this.image.extents(inode)) {
      this.options.signal?.throwIfAborted();
      if (extent.space === "packed") await this.checkFragment(inode, extent, shown);
      this.claims.claimExtent(inode, extent);
    }
  }

  private async checkFragment(inode: ErofsInode, { start, size }: Extent, shown: string): Promise<void> {
    const { volume, superblock } = this.image;
    const at = { path: shown, offset: inode.position };
    if (inode.nid === superblock.packedNid)
      this.options.report(failure("fragment-loop", `${shown} is said to be a fragment of itself`, at));
    else if (start + size > (await volume.packed()).size) {
      const message = `${shown}: bytes ${start} to ${start + size} of the packed inode are past its end`;
      this.options.report(failure("fragment-out-of-range", message, at));
    }
  }
}
