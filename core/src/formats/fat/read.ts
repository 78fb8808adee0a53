/** Opens a FAT32 volume as a tree. Directories are read at once, file content when asked. */
import { fromUtf8 } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { type Piece, piecewiseSource, type ReadOptions, type Source, sliceSource } from "../../source/index.ts";
import {
  attributes,
  type Directory,
  directory,
  joinPath,
  MAX_DEPTH,
  MAX_PATH_LENGTH,
  regularFile,
  showPath,
} from "../../tree/index.ts";
import { type Chains, type Extent, openChains } from "./chains.ts";
import { decodeEntries, type Entry } from "./entries.ts";
import { MAX_DIRECTORY_SIZE, RawBootSector } from "./format.ts";
import { clusterOffset } from "./geometry.ts";
import { type FatHeader, parseBootSector } from "./header.ts";
import { foldName } from "./names.ts";
import { decodeFatTime } from "./time.ts";

/** Files and directories on a volume, at most. An ESP has tens. */
const MAX_ENTRIES = 1 << 18;

export interface FatVolume extends FatHeader {
  /** Label of the root directory, without padding; undefined where there is none. */
  readonly label: string | undefined;
  readonly root: Directory;
  readonly usedClusters: number;
}

/**
 * Reads every directory and follows every chain once, so that loops, cross-links and chains that are too short or
 * leave the volume are found here: FormatError `fat-chain`. Names come as UTF-8; times are taken as UTC.
 * At most 2^18 entries, one step in the FAT for each cluster, and 4 bytes of memory for 32 clusters.
 */
export async function openFat(source: Source, options: ReadOptions = {}): Promise<FatVolume> {
  const head = await source.read(0, Math.min(RawBootSector.size, source.size), options);
  const header = parseBootSector(head);
  if (header.size > source.size)
    throw new FormatError("truncated", `FAT volume of ${header.size} bytes: only ${source.size} are there`, {
      expected: header.size,
      actual: source.size,
    });
  const chains = openChains(source, header);
  const root = directory(attributes(0o755));
  let label: string | undefined;
  let entryCount = 0;
  const pending: Pending[] = [{ node: root, path: "" as Pending["path"], cluster: header.rootCluster, depth: 0 }];
  for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
    options.signal?.throwIfAborted();
    const { node, path, depth } = next;
    const bytes = await readDirectory(source, header, chains, next, options);
    const folded = new Set<string>();
    for (const entry of decodeEntries(bytes, showPath(path))) {
      if (entry.type === "label") {
        if (depth === 0) label ??= entry.name;
        continue;
      }
      if (++entryCount > MAX_ENTRIES)
        throw new UnsupportedError("fat-entries", `FAT volume with more than ${MAX_ENTRIES} files and directories`);
      const name = fromUtf8(entry.name);
      const below = joinPath(path, name);
      if (below.length > MAX_PATH_LENGTH)
        throw new FormatError("too-deep", `a path has ${below.length} bytes, more than ${MAX_PATH_LENGTH}`);
      const shown = showPath(below);
      const fold = foldName(entry.name);
      if (folded.has(fold))
        throw new FormatError("fat-name", `${shown}: the name is there twice in its directory`, { path: shown });
      folded.add(fold);
      const mtime = decodeFatTime(entry.date, entry.time);
      if (entry.type === "directory") {
        if (depth >= MAX_DEPTH)
          throw new FormatError("too-deep", `directories nest deeper than ${MAX_DEPTH}: ${shown}`);
        const child = directory(attributes(0o755, { mtime }));
        node.entries.set(name, child);
        pending.push({ node: child, path: below, cluster: entry.cluster, depth: depth + 1 });
      } else node.entries.set(name, regularFile(attributes(0o644, { mtime }), await openFile(entry, shown)));
    }
  }
  return { ...header, label, root, usedClusters: chains.used };

  async function openFile(entry: Entry, path: string): Promise<Source> {
    const extents = entry.size === 0 ? [] : await chains.follow(entry.cluster, entry.size, path, options);
    return extentsSource(source, header, extents, entry.size);
  }
}

interface Pending {
  readonly node: Directory;
  readonly path: ReturnType<typeof joinPath>;
  readonly cluster: number;
  readonly depth: number;
}

async function readDirectory(
  source: Source,
  header: FatHeader,
  chains: Chains,
  { path, cluster }: Pending,
  options: ReadOptions,
): Promise<Uint8Array> {
  const extents = await chains.follow(cluster, undefined, showPath(path), options);
  const size = extents.reduce((sum, { count }) => sum + count * header.clusterSize, 0);
  if (size > MAX_DIRECTORY_SIZE) {
    const shown = showPath(path);
    throw new FormatError("fat-directory-size", `${shown}: directory of ${size} bytes, ${MAX_DIRECTORY_SIZE} at most`, {
      path: shown,
    });
  }
  return extentsSource(source, header, extents, size).read(0, size, options);
}

function extentsSource(source: Source, header: FatHeader, extents: readonly Extent[], size: number): Source {
  const pieces: Piece[] = [];
  let at = 0;
  for (const { first, count } of extents) {
    const length = Math.min(count * header.clusterSize, size - at);
    pieces.push({ at, source: sliceSource(source, clusterOffset(header, first), length) });
    at += length;
  }
  const only = pieces[0];
  return pieces.length === 1 && only !== undefined ? only.source : piecewiseSource(size, pieces);
}
