/** Directories as they are written: names chosen, entries encoded. */
import type { ByteString } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import type { Source } from "../../source/index.ts";
import { type Directory, joinPath, MAX_DEPTH, type Node, showPath, sortedEntries } from "../../tree/index.ts";
import {
  ATTRIBUTE_ARCHIVE,
  ATTRIBUTE_DIRECTORY,
  ATTRIBUTE_VOLUME,
  ATTRIBUTES_LONG_NAME,
  ENTRY_SIZE,
  LAST_PIECE,
  MAX_DIRECTORY_SIZE,
  MAX_FILE_SIZE,
  RawEntry,
  RawLongName,
  shortNameChecksum,
  UNITS_PER_PIECE,
} from "./format.ts";
import { foldName, longName, type ShortName, shortNames } from "./names.ts";
import type { FatTime } from "./time.ts";

export interface PlannedFile {
  readonly type: "file";
  readonly path: ByteString;
  readonly content: Source;
  /** 0 until it is given one; stays 0 for an empty file. */
  cluster: number;
}

export interface PlannedDirectory {
  readonly type: "directory";
  readonly path: ByteString;
  /** Undefined for the root. */
  readonly parent: PlannedDirectory | undefined;
  readonly entries: readonly PlannedEntry[];
  cluster: number;
}

export interface PlannedEntry {
  readonly name: string;
  readonly short: ShortName;
  readonly node: PlannedFile | PlannedDirectory;
}

/** A tree in canonical order, split by type. */
export interface Collected {
  readonly directories: readonly PlannedDirectory[];
  readonly files: readonly PlannedFile[];
}

/** Throws FormatError `fat-name` and UnsupportedError `fat-node`, `fat-file-size`, `fat-name-clash`, `fat-depth`. */
export function collect(tree: Directory): Collected {
  const directories: PlannedDirectory[] = [];
  const files: PlannedFile[] = [];
  function visit(
    node: Directory,
    path: ByteString,
    parent: PlannedDirectory | undefined,
    depth: number,
  ): PlannedDirectory {
    const shown = showPath(path);
    if (depth > MAX_DEPTH)
      throw new UnsupportedError("fat-depth", `${shown}: directories nest deeper than ${MAX_DEPTH}`, { path: shown });
    const sorted = sortedEntries(node);
    const names = sorted.map(([name]) => longName(name, showPath(joinPath(path, name))));
    refuseClashes(names, shown);
    const short = shortNames(names);
    const entries: PlannedEntry[] = [];
    const planned: PlannedDirectory = { type: "directory", path, parent, entries, cluster: 0 };
    directories.push(planned);
    sorted.forEach(([name, child], i) => {
      const below = joinPath(path, name);
      // names and short are parallel to sorted
      entries.push({ name: names[i]!, short: short[i]!, node: visitChild(child, below, planned, depth) });
    });
    return planned;
  }
  function visitChild(
    child: Node,
    path: ByteString,
    parent: PlannedDirectory,
    depth: number,
  ): PlannedFile | PlannedDirectory {
    if (child.type === "directory") return visit(child, path, parent, depth + 1);
    const shown = showPath(path);
    if (child.type !== "file")
      throw new UnsupportedError("fat-node", `${shown}: FAT cannot hold a ${child.type}`, { path: shown });
    const { content } = child;
    if (content.size > MAX_FILE_SIZE)
      throw new UnsupportedError(
        "fat-file-size",
        `${shown}: ${content.size} bytes, a file on FAT has less than 4 GiB`,
        {
          path: shown,
          actual: content.size,
        },
      );
    const file: PlannedFile = { type: "file", path, content, cluster: 0 };
    files.push(file);
    return file;
  }
  visit(tree, "" as ByteString, undefined, 0);
  return { directories, files };
}

function refuseClashes(names: readonly string[], path: string): void {
  const seen = new Map<string, string>();
  for (const name of names) {
    const folded = foldName(name);
    const other = seen.get(folded);
    if (other !== undefined)
      throw new UnsupportedError(
        "fat-name-clash",
        `${path}: ${JSON.stringify(other)} and ${JSON.stringify(name)} are one name on FAT`,
        { path },
      );
    seen.set(folded, name);
  }
}

function pieceCount({ name, short }: PlannedEntry): number {
  return short.exact ? 0 : Math.ceil(name.length / UNITS_PER_PIECE);
}

/**
 * Bytes of the entries of a directory. The root has no `.` and `..`, but the label where there is one.
 * Throws UnsupportedError `fat-directory-size` past 65536 entries.
 */
export function directorySize(directory: PlannedDirectory, label: string | undefined): number {
  let entries = directory.parent === undefined ? (label === undefined ? 0 : 1) : 2;
  for (const entry of directory.entries) entries += 1 + pieceCount(entry);
  const size = entries * ENTRY_SIZE;
  if (size > MAX_DIRECTORY_SIZE) {
    const path = showPath(directory.path);
    throw new UnsupportedError("fat-directory-size", `${path}: ${entries} directory entries, FAT holds 65536`, {
      path,
    });
  }
  return size;
}

interface EntryValues {
  readonly packed: string;
  readonly attributes: number;
  readonly cluster: number;
  readonly size: number;
}

function encodeEntry({ packed, attributes, cluster, size }: EntryValues, time: FatTime): Uint8Array {
  const isLabel = attributes === ATTRIBUTE_VOLUME; // a label is only ever written to
  return RawEntry.encode({
    name: ascii(packed),
    attributes,
    caseFlags: 0,
    createdTenths: isLabel ? 0 : time.tenths,
    createdTime: isLabel ? 0 : time.time,
    createdDate: isLabel ? 0 : time.date,
    accessedDate: isLabel ? 0 : time.date,
    clusterHigh: Math.floor(cluster / 0x10000),
    writtenTime: time.time,
    writtenDate: time.date,
    clusterLow: cluster % 0x10000,
    size,
  });
}

/** The pieces of a long name in the order they are written: the last first. */
function* encodeLongName({ name, short }: PlannedEntry): Generator<Uint8Array> {
  const checksum = shortNameChecksum(ascii(short.packed));
  const count = Math.ceil(name.length / UNITS_PER_PIECE);
  for (let piece = count; piece >= 1; piece--) {
    const units = new Uint8Array(2 * UNITS_PER_PIECE).fill(0xff);
    const view = new DataView(units.buffer);
    const start = (piece - 1) * UNITS_PER_PIECE;
    // One NUL unit ends a name that does not fill its last piece; ff ff after it.
    for (let i = 0; i < UNITS_PER_PIECE && start + i <= name.length; i++)
      view.setUint16(2 * i, start + i === name.length ? 0 : name.charCodeAt(start + i), true);
    yield RawLongName.encode({
      order: piece === count ? piece | LAST_PIECE : piece,
      units1: units.subarray(0, 10),
      attributes: ATTRIBUTES_LONG_NAME,
      type: 0,
      checksum,
      units2: units.subarray(10, 22),
      cluster: 0,
      units3: units.subarray(22, 26),
    });
  }
}

/** The entries of a directory whose children have their clusters. */
export function encodeDirectory(directory: PlannedDirectory, label: string | undefined, time: FatTime): Uint8Array {
  const bytes = new Uint8Array(directorySize(directory, label));
  let at = 0;
  const put = (entry: Uint8Array): void => {
    bytes.set(entry, at);
    at += ENTRY_SIZE;
  };
  const { parent } = directory;
  if (parent !== undefined) {
    const values = { attributes: ATTRIBUTE_DIRECTORY, size: 0 };
    put(encodeEntry({ ...values, packed: ".".padEnd(11), cluster: directory.cluster }, time));
    // The root is cluster 0 here, whatever its number (fatgen103, "Directory Creation").
    const up = parent.parent === undefined ? 0 : parent.cluster;
    put(encodeEntry({ ...values, packed: "..".padEnd(11), cluster: up }, time));
  } else if (label !== undefined) {
    put(encodeEntry({ packed: label.padEnd(11), attributes: ATTRIBUTE_VOLUME, cluster: 0, size: 0 }, time));
  }
  for (const entry of directory.entries) {
    if (!entry.short.exact) for (const piece of encodeLongName(entry)) put(piece);
    const { node } = entry;
    const [attributes, size] =
      node.type === "directory" ? [ATTRIBUTE_DIRECTORY, 0] : [ATTRIBUTE_ARCHIVE, node.content.size];
    put(encodeEntry({ packed: entry.short.packed, attributes, cluster: node.cluster, size }, time));
  }
  return bytes;
}

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
