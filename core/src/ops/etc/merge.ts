/**
 * What /etc is to be under another release: the new defaults, with what was changed on this machine. Three trees are compared:
 * *base*, the sealed /etc that the machine ran on; *local*, what it looks like now; *next*, the sealed /etc of the release
 * that comes. docs/etc.md has the rules for people.
 */
import { type ByteString, byteString, bytesOf, equalBytes, showBytes } from "../../bytes/index.ts";
import { bytesSource, type ReadOptions, readAll } from "../../source/index.ts";
import {
  type Directory,
  directory,
  joinPath,
  type Node,
  type RegularFile,
  regularFile,
  showPath,
} from "../../tree/index.ts";
import { type AccountConflictKind, isDatabase, MAX_DATABASE_SIZE, mergeAccounts, type Winner } from "./accounts.ts";
import { isSameAttributes, isSameNode, isSameThing, withAttributes } from "./layer.ts";

export type EtcConflictKind =
  | AccountConflictKind
  /** A file here, a directory in the image, or the other way round. */
  | "other-type";

export interface EtcConflict {
  readonly kind: EtcConflictKind;
  /** Absolute, as it is shown to people: `/etc/fstab`. */
  readonly path: string;
  /** The account, where only an entry of the file is contested, and what of it. */
  readonly entry?: string | undefined;
  readonly what?: string | undefined;
}

export interface MergedEtc {
  readonly tree: Directory;
  /** Changed here and in the image, each once; the winner is in `tree`. */
  readonly conflicts: readonly EtcConflict[];
  /** Two accounts would be one: nobody can decide that but a person. What is here is in `tree`. */
  readonly clashes: readonly EtcConflict[];
  /** Nothing is contested, but somebody should know. */
  readonly remarks: readonly EtcConflict[];
}

export interface MergeOptions extends ReadOptions {
  /** Who wins a conflict; default `local`. */
  readonly winner?: Winner | undefined;
}

/** Made by the machine for the release that runs; `.updated` and the linker's cache would hide those of the next. */
const NEVER_CARRIED: ReadonlySet<string> = new Set([".updated", "ld.so.cache", "ld.so.cache~", ".pwd.lock"]);
/** What a reset was about to put in place when it was killed. */
const LEFTOVER_PREFIX = ".ashlar-partial-";

/** Whether a path below /etc is of those that are never carried. */
export function isMadeByMachine(path: ByteString): boolean {
  return NEVER_CARRIED.has(path) || path.startsWith(LEFTOVER_PREFIX);
}

/** The databases as they were before their last change: history of this machine, and never contested. */
const BACKUPS: ReadonlySet<string> = new Set(["passwd-", "group-", "shadow-", "gshadow-", "subuid-", "subgid-"]);
const MACHINE_ID = "machine-id";

/**
 * Merges three trees of /etc. Leaves that are the image's are in the result as the same objects. Reads the contents of what was
 * changed here alone. Throws what the sources throw.
 */
export async function mergeEtc(
  base: Directory,
  local: Directory,
  next: Directory,
  { winner = "local", ...reading }: MergeOptions = {},
): Promise<MergedEtc> {
  const conflicts: EtcConflict[] = [];
  const clashes: EtcConflict[] = [];
  const remarks: EtcConflict[] = [];
  const tree = await mergeDirectories(base, local, next, "" as ByteString);
  return { tree, conflicts, clashes, remarks };

  function contested<T>(what: Pick<EtcConflict, "kind" | "what">, path: ByteString, local: T, next: T): T {
    conflicts.push({ ...what, path: shownPath(path) });
    return winner === "local" ? local : next;
  }

  /** Of each attribute what was changed here, else the image's. */
  function mergeAttributes(base: Node | undefined, local: Node, next: Node, path: ByteString): MergedAttributes {
    function pick<T>(what: string, of: (node: Node) => T, same: (a: T, b: T) => boolean = Object.is): T {
      const [mine, theirs] = [of(local), of(next)];
      if (same(mine, theirs)) return mine;
      if (base !== undefined && same(of(base), mine)) return theirs;
      if (base !== undefined && same(of(base), theirs)) return mine;
      return contested({ kind: "both-changed", what }, path, mine, theirs);
    }
    const [uid, gid] = pick(
      "owner",
      (node) => [node.uid, node.gid],
      (a, b) => a[0] === b[0] && a[1] === b[1],
    ) as [number, number];
    const xattrs = new Map<ByteString, Uint8Array>();
    for (const name of new Set([...next.xattrs.keys(), ...local.xattrs.keys()])) {
      const value = pick(showBytes(name), (node) => node.xattrs.get(name), isSameValue);
      if (value !== undefined) xattrs.set(name, value);
    }
    return { mode: pick("mode", ({ mode }) => mode), uid, gid, xattrs };
  }

  async function mergeDirectories(
    base: Directory | undefined,
    local: Directory,
    next: Directory | undefined,
    path: ByteString,
  ): Promise<Directory> {
    const attributes = next === undefined ? local : { ...next, ...mergeAttributes(base, local, next, path) };
    const result = directory(attributes);
    for (const name of new Set([...(next?.entries.keys() ?? []), ...local.entries.keys()])) {
      reading.signal?.throwIfAborted();
      const [b, l, n] = [base?.entries.get(name), local.entries.get(name), next?.entries.get(name)];
      const at = joinPath(path, name);
      const merged = path === "" ? await mergeTop(name, b, l, n) : await mergeNodes(b, l, n, at);
      if (merged !== undefined) result.entries.set(name, merged);
    }
    return result;
  }

  /** What lies directly in /etc: some of it is known by name. */
  async function mergeTop(
    name: ByteString,
    base: Node | undefined,
    local: Node | undefined,
    next: Node | undefined,
  ): Promise<Node | undefined> {
    if (isMadeByMachine(name)) return next;
    if (name === MACHINE_ID && (await isMachineId(local))) return local;
    if (BACKUPS.has(name) && !(await isSameNode(base, local, reading))) return local;
    if (isDatabase(name) && isSmallFile(local) && isSmallFile(next) && (base === undefined || isSmallFile(base)))
      return mergeDatabase(name, base, local, next);
    return mergeNodes(base, local, next, name);
  }

  async function mergeNodes(
    base: Node | undefined,
    local: Node | undefined,
    next: Node | undefined,
    path: ByteString,
  ): Promise<Node | undefined> {
    if (local === base) return next;
    if (local?.type === "directory")
      return next?.type === "directory"
        ? mergeDirectories(base?.type === "directory" ? base : undefined, local, next, path)
        : mergeGoneDirectory(base, local, next, path);
    if (await isSameNode(base, local, reading)) return next;
    if (await isSameNode(base, next, reading)) return local;
    if (await isSameNode(local, next, reading)) return next;
    if (local === undefined) return contested({ kind: "removed-here" }, path, local, next);
    if (next === undefined) return contested({ kind: "removed-in-image" }, path, local, next);
    if (next.type === "directory" || (base?.type === "directory" && local.type !== next.type))
      return contested({ kind: "other-type" }, path, local, next);
    // Only the attributes were changed here: they go along with the image's new content.
    if (base !== undefined && base.type === next.type && (await isSameThing(base, local, reading)))
      return withAttributes(next, mergeAttributes(base, local, next, path));
    return contested({ kind: "both-changed" }, path, local, next);
  }

  /** A directory that the image has no more, or something else in its place: it stays for what was put or changed in it. */
  async function mergeGoneDirectory(
    base: Node | undefined,
    local: Directory,
    next: Node | undefined,
    path: ByteString,
  ): Promise<Node | undefined> {
    if (base !== undefined && (await isSameNode(base, next, reading))) return local; // it was made here
    const before = base?.type === "directory" ? base : undefined;
    const found = conflicts.length;
    const rest = await mergeDirectories(before, local, undefined, path);
    if (before !== undefined && rest.entries.size === 0 && isSameAttributes(before, local)) return next;
    if (next === undefined) return rest;
    conflicts.length = found; // the whole is contested, not what is in it
    return contested({ kind: "other-type" }, path, rest, next);
  }

  async function mergeDatabase(
    name: ByteString,
    base: RegularFile | undefined,
    local: RegularFile,
    next: RegularFile,
  ): Promise<Node> {
    if (local === base) return next;
    const read = async (file: RegularFile) => byteString(await readAll(file.content, MAX_DATABASE_SIZE, name));
    const [before, here, there] = [
      base === undefined ? ("" as ByteString) : await read(base),
      await read(local),
      await read(next),
    ];
    const { text, conflicts: found } = mergeAccounts(name, before, here, there, winner);
    for (const { kind, entry, what } of found) {
      const list = kind === "number-taken" ? clashes : kind === "number-changed" ? remarks : conflicts;
      list.push({ kind, path: `/etc/${name}`, entry, what });
    }
    const attributes = { ...next, ...mergeAttributes(base, local, next, name) };
    const merged = regularFile(attributes, text === there ? next.content : bytesSource(bytesOf(text)));
    return text === there && isSameAttributes(merged, next) ? next : merged;
  }

  function isSmallFile(node: Node | undefined): node is RegularFile {
    return node?.type === "file" && node.content.size <= MAX_DATABASE_SIZE;
  }
}

type MergedAttributes = Pick<Node, "mode" | "uid" | "gid" | "xattrs">;

function isSameValue(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && equalBytes(a, b));
}

/** As people know it. @param path below /etc */
export function shownPath(path: ByteString): string {
  return path === "" ? "/etc" : `/etc${showPath(path)}`;
}

/** Bytes of 32 hexadecimal digits and a newline. */
const MACHINE_ID_SIZE = 33;

async function isMachineId(node: Node | undefined): Promise<boolean> {
  if (node?.type !== "file" || node.content.size > MACHINE_ID_SIZE) return false;
  return /^[0-9a-f]{32}\n?$/.test(byteString(await readAll(node.content, MACHINE_ID_SIZE, MACHINE_ID)));
}
