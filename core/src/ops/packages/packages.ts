/** Which package of the distribution owns which file, from the package database inside an image. */
import { type ByteString, showBytes } from "../../bytes/index.ts";
import { FormatError, isAshlarError, UnsupportedError } from "../../errors/index.ts";
import { readAll } from "../../source/index.ts";
import { type Directory, joinPath, type Node, resolvePath, splitPath } from "../../tree/index.ts";
import type { Note } from "../report.ts";
import { readApk } from "./apk.ts";
import { readDistroless, readDpkg } from "./dpkg.ts";
import { readPacman } from "./pacman.ts";
import { readRpm } from "./rpm.ts";

export type PackageManager = "apk" | "dpkg" | "pacman" | "rpm";

export interface Package {
  /** Unique in its image: `NAME`, or `NAME:ARCHITECTURE` (rpm: `NAME-VERSION`) where a name is there more than once. */
  readonly id: string;
  readonly name: string;
  readonly version: string;
  readonly architecture: string | undefined;
}

/** What a reader of one database gives for a package. */
export interface FoundPackage {
  readonly name: string;
  readonly version: string;
  readonly architecture: string | undefined;
  /** As the database has them; links on the way are not resolved. */
  readonly paths: Iterable<ByteString>;
  /** Files of the database that are about this package alone. */
  readonly records: readonly ByteString[];
}

export interface Packages {
  /** Those whose database was found, in alphabetical order. */
  readonly managers: readonly PackageManager[];
  /** By id, in the order of code units. */
  readonly packages: ReadonlyMap<string, Package>;
  /**
   * The package that owns a path of this image. Undefined for what no package has, and for directories that several
   * have.
   */
  ownerOf(path: ByteString): Package | undefined;
  /** What could not be read, for people. */
  readonly notes: readonly Note[];
}

/** Bytes of one file of a database. Debian's status file with all of its packages has some 60 MB. */
const MAX_FILE_SIZE = 256 * 1024 * 1024;
/** Bytes of all files of a database together. */
const MAX_TOTAL_SIZE = 1024 * 1024 * 1024;
const MAX_PACKAGES = 200_000;
/** Paths of all packages together. A full desktop has half a million. */
export const MAX_PATHS = 16 * 1024 * 1024;

/** Access to the files of a database, within one budget. */
export interface DatabaseFiles {
  /** The file as bytes; undefined where there is none. Throws SourceError `too-large`. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** The same as text of one unit a byte, for databases that hold paths. */
  text(path: string): Promise<ByteString | undefined>;
  /** The directory at a path, links followed. */
  directory(path: string): Directory | undefined;
}

const READERS: readonly (readonly [
  manager: PackageManager,
  read: (files: DatabaseFiles) => Promise<readonly FoundPackage[] | undefined>,
])[] = [
  ["apk", readApk],
  ["dpkg", readDpkg],
  ["dpkg", readDistroless],
  ["pacman", readPacman],
  ["rpm", readRpm],
];

/** Never fails on what is in a database: what cannot be read becomes a note, and its files belong to no package. */
export async function readPackages(root: Directory): Promise<Packages> {
  const notes: Note[] = [];
  const managers = new Set<PackageManager>();
  const packages = new Map<string, Package>();
  const owners = new Map<ByteString, Package | typeof SHARED>();
  const places = placeFinder(root);
  const files = databaseFiles(root);
  let paths = 0;
  for (const [manager, read] of READERS) {
    try {
      const found = await read(files);
      if (found === undefined) continue;
      managers.add(manager);
      if (packages.size + found.length > MAX_PACKAGES)
        throw new UnsupportedError("too-many-packages", `more than ${MAX_PACKAGES} packages`);
      for (const { entry, id } of withIds(found)) {
        const { name, version, architecture } = entry;
        const own: Package = { id: packages.has(id) ? `${manager}:${id}` : id, name, version, architecture };
        packages.set(own.id, own);
        for (const path of chain(entry.paths, entry.records)) {
          if (++paths > MAX_PATHS) throw new UnsupportedError("too-many-files", `more than ${MAX_PATHS} paths`);
          claim(own, path);
        }
      }
    } catch (error) {
      if (!isAshlarError(error)) throw error;
      managers.add(manager);
      notes.push({ code: "packages-not-read", message: `the ${manager} database is not read: ${error.message}` });
    }
  }

  function claim(own: Package, path: ByteString): void {
    const place = places(path);
    if (place === undefined) return; // listed but not in the image: documentation left out, say
    const before = owners.get(place.path);
    if (before === undefined || before === own) owners.set(place.path, own);
    else if (place.node.type === "directory") owners.set(place.path, SHARED);
    else owners.set(place.path, own); // one replaced the other's file; the later in the database has it
  }

  return {
    managers: [...managers].sort(),
    packages: new Map([...packages].sort(([a], [b]) => (a < b ? -1 : 1))),
    ownerOf(path) {
      const owner = owners.get(path);
      return owner === SHARED ? undefined : owner;
    },
    notes,
  };
}

/** A directory that more than one package has. */
const SHARED = "shared";

function* chain(...parts: readonly Iterable<ByteString>[]): Generator<ByteString> {
  for (const part of parts) yield* part;
}

/** Gives each package an id. Several packages of one name are told apart by architecture, then by version. */
function* withIds(found: readonly FoundPackage[]): Generator<{ readonly entry: FoundPackage; readonly id: string }> {
  const names = new Map<string, number>();
  for (const { name } of found) names.set(name, (names.get(name) ?? 0) + 1);
  const taken = new Set<string>();
  const counts = new Map<string, number>(); // of those with the same name, version and architecture
  for (const entry of found) {
    const { name, version, architecture } = entry;
    const candidates = names.get(name) === 1 ? [name] : [];
    candidates.push(`${name}:${architecture ?? ""}`, `${name}-${version}:${architecture ?? ""}`);
    let id = candidates.find((candidate) => !taken.has(candidate));
    while (id === undefined) {
      const stem = `${name}-${version}:${architecture ?? ""}`;
      const count = (counts.get(stem) ?? 1) + 1;
      counts.set(stem, count);
      if (!taken.has(`${stem}#${count}`)) id = `${stem}#${count}`;
    }
    taken.add(id);
    yield { entry, id };
  }
}

interface Place {
  readonly path: ByteString;
  readonly node: Node;
}

/**
 * Where a path of a database is in the tree. Databases name files through links of merged directories (`/bin/sh` for
 * `/usr/bin/sh`); each directory is looked up once.
 */
function placeFinder(root: Directory): (path: ByteString) => Place | undefined {
  const directories = new Map<ByteString, { readonly path: ByteString; readonly node: Directory } | undefined>();
  function directoryAt(path: ByteString) {
    if (directories.has(path)) return directories.get(path);
    const found = resolvePath(root, path);
    const place = found?.node.type === "directory" ? { path: found.path, node: found.node } : undefined;
    directories.set(path, place);
    return place;
  }
  return (path) => {
    const names = splitPath(path);
    const name = names.pop();
    if (name === undefined) return { path: "" as ByteString, node: root };
    if (name === ".." || names.includes(".." as ByteString)) return undefined;
    const parent = directoryAt(names.join("/") as ByteString);
    const node = parent?.node.entries.get(name);
    return parent === undefined || node === undefined ? undefined : { path: joinPath(parent.path, name), node };
  };
}

function databaseFiles(root: Directory): DatabaseFiles {
  let budget = MAX_TOTAL_SIZE;
  async function read(path: string): Promise<Uint8Array | undefined> {
    const node = resolvePath(root, path)?.node;
    if (node?.type !== "file") return undefined;
    budget -= node.content.size;
    if (budget < 0)
      throw new FormatError("too-large", `the package database has more than ${MAX_TOTAL_SIZE} bytes`, { path });
    return readAll(node.content, MAX_FILE_SIZE, showBytes(path as ByteString));
  }
  return {
    read,
    async text(path) {
      const bytes = await read(path);
      return bytes && latin1(bytes);
    },
    directory(path) {
      const node = resolvePath(root, path)?.node;
      return node?.type === "directory" ? node : undefined;
    },
  };
}

const LATIN_CHUNK = 4096;

/** One unit a byte, in pieces: some of these files have megabytes. */
function latin1(bytes: Uint8Array): ByteString {
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += LATIN_CHUNK)
    parts.push(String.fromCharCode(...bytes.subarray(at, at + LATIN_CHUNK)));
  return parts.join("") as ByteString;
}

/** A field as text for people. Names and versions are ASCII in every sound database. */
export function fieldText(value: string): string {
  return showBytes(value.trim().slice(0, MAX_FIELD) as ByteString);
}

/** Characters of a name or version that are kept. */
const MAX_FIELD = 512;
