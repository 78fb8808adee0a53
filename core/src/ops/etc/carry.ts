/**
 * Generations of /etc: for each sealed root a layer of what is different on this machine. An update makes the generation of
 * its release out of the one that runs; a rollback finds its own as it was left.
 */
import * as v from "valibot";
import { encodeUtf8 } from "../../bytes/index.ts";
import { PolicyError, SourceError, UnsupportedError } from "../../errors/index.ts";
import { type ErofsImage, readTree } from "../../formats/erofs/index.ts";
import { checkDocument, parseDocument } from "../../formats/oci/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { type Directory, walkTree } from "../../tree/index.ts";
import { overlayView, upperFor } from "./layer.ts";
import { type EtcConflict, type MergedEtc, mergeEtc } from "./merge.ts";

/** `refuse`: an update that meets a conflict is not made; clashes of account numbers are always refused. */
export type ConflictPolicy = "refuse" | "keep-local" | "take-image";

/** Beside `upper` and `work`: what the initrd writes too, and what was found when the generation was made from another one. */
export const BASE_FILE = "base";
export const CARRIED_FILE = "carried.json";
const CARRIED_SCHEMA = "ashlar.etc-carried/v1";
/** Conflicts that are recorded; the rest is counted. */
const MAX_RECORDED = 200;

/** Where generations are kept: /var/lib/ashlar/etc. They are named by root hashes, lower-case hexadecimal. */
export interface GenerationStore {
  list(): Promise<readonly string[]>;
  /** The layer as the kernel has written it. Throws SourceError `not-found`. */
  readUpper(rootHash: string): Promise<Directory>;
  /** Undefined where there is none. */
  readFile(rootHash: string, name: string): Promise<Uint8Array | undefined>;
  /** Puts a generation under its name, in place of one that is there, in one step. It lasts when the promise resolves. */
  put(rootHash: string, upper: Directory, files: Readonly<Record<string, Uint8Array>>): Promise<void>;
  remove(rootHash: string): Promise<void>;
  /** Bytes that a generation can still take. */
  free(): Promise<number>;
}

export interface SealedEtc {
  /** Of the root that it is in, lower-case hexadecimal. */
  readonly rootHash: string;
  readonly tree: Directory;
}

export interface NamedEtc extends SealedEtc {
  readonly imageId: string;
  readonly imageVersion: string;
}

export type CarriedEtc = Pick<MergedEtc, "conflicts" | "clashes" | "remarks"> & {
  /** Names in the new layer. */
  readonly entries: number;
};

export interface CarryOptions extends ReadOptions {
  readonly conflicts: ConflictPolicy;
}

/** /etc of an image, without reading anything else of it. Throws UnsupportedError `no-etc`. */
export async function sealedEtc(image: ErofsImage): Promise<Directory> {
  const inode = await image.lookup("etc");
  if (inode?.type !== "directory")
    throw new UnsupportedError("no-etc", "the root has no directory /etc", { path: "/etc" });
  return readTree(image, inode);
}

export interface EtcTrees {
  /** Sealed /etc of the root that runs. */
  readonly base: Directory;
  /** The layer over it. */
  readonly upper: Directory;
  /** Sealed /etc of the root that is to run. */
  readonly next: Directory;
}

async function planCarry({ base, upper, next }: EtcTrees, { conflicts, signal }: CarryOptions) {
  const winner = conflicts === "take-image" ? "image" : "local";
  const merged = await mergeEtc(base, overlayView(base, upper), next, { winner, signal });
  const layer = await upperFor(next, merged.tree, { signal });
  const entries = [...walkTree(layer)].length - 1; // the layer itself is none
  return { ...merged, layer, entries };
}

/** For people: what is contested, in one line each. */
export function describeConflict({ path, kind, entry, what }: EtcConflict): string {
  const where = entry === undefined ? path : `${path}, ${entry}`;
  return what === undefined ? `${where}: ${MEANINGS[kind]}` : `${where}: ${MEANINGS[kind]} (${what})`;
}

const MEANINGS: Readonly<Record<EtcConflict["kind"], string>> = {
  "both-changed": "changed here and in the image",
  "removed-here": "removed here, changed in the image",
  "removed-in-image": "changed here, removed in the image",
  "other-type": "a directory on one side, something else on the other",
  "number-taken": "the image uses a number that is in use here",
  "number-changed": "has another number in the image; files in /var keep the old one",
};

function assertAllowed({ conflicts, clashes }: CarriedEtc, policy: ConflictPolicy): void {
  const found = (list: readonly EtcConflict[], what: string) =>
    `/etc: ${list.length} ${what}, such as ${list.slice(0, 3).map(describeConflict).join("; ")}`;
  if (clashes.length > 0)
    throw new PolicyError("etc-clash", found(clashes, "accounts would share a number"), { path: "/etc" });
  if (conflicts.length > 0 && policy === "refuse")
    throw new PolicyError("etc-conflicts", found(conflicts, "conflicts with the image"), { path: "/etc" });
}

/**
 * What carrying would meet; nothing is written. Throws PolicyError `etc-clash`, `etc-conflicts` where the policy refuses them,
 * `var-full`; UnsupportedError `overlay-feature`; what the sources throw.
 * @param free bytes that the new layer can take
 */
export async function checkCarry(trees: EtcTrees, free: number, options: CarryOptions): Promise<CarriedEtc> {
  const { conflicts, clashes, remarks, entries, layer } = await planCarry(trees, options);
  const result = { conflicts, clashes, remarks, entries };
  assertAllowed(result, options.conflicts);
  const size = sizeOf(layer);
  if (size > free)
    throw new PolicyError("var-full", `/var: the layer of /etc takes ${size} bytes, ${free} are free`, {
      path: "/var",
      expected: size,
      actual: free,
    });
  return result;
}

/** Bytes that a name takes besides its content: a block, and its part of the directory. */
const NAME_SIZE = 4096;

function sizeOf(layer: Directory): number {
  let size = 0;
  for (const { node } of walkTree(layer)) size += NAME_SIZE + (node.type === "file" ? node.content.size : 0);
  return size;
}

/** Times that /etc is read while its files change. */
const TRIES = 5;

/**
 * The machine goes on while its /etc is read: a file may change, or go, between listing and reading. Then all of it is read again,
 * {@link TRIES} times at most.
 */
export async function whileItMoves<T>(action: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries++)
    try {
      return await action();
    } catch (error) {
      const hasMoved = error instanceof SourceError && ["changed", "not-found", "truncated"].includes(error.code);
      if (!hasMoved || tries === TRIES) throw error;
      signal?.throwIfAborted();
    }
}

/**
 * Makes the generation of `next` from the one that runs. Refuses nothing: that is {@link checkCarry}'s, before anything is
 * staged; what has come up since then is decided for what is here. Where both are the same root there is nothing to carry.
 * Throws what the store and the sources throw; then a generation that was there is as it was.
 * @param now for the record, milliseconds since 1970
 */
export async function carryEtc(
  store: GenerationStore,
  running: SealedEtc,
  next: NamedEtc,
  options: CarryOptions & { readonly now: number },
): Promise<CarriedEtc> {
  if (running.rootHash === next.rootHash) return { conflicts: [], clashes: [], remarks: [], entries: 0 };
  return whileItMoves(() => carryOnce(store, running, next, options), options.signal);
}

async function carryOnce(
  store: GenerationStore,
  running: SealedEtc,
  next: NamedEtc,
  options: CarryOptions & { readonly now: number },
): Promise<CarriedEtc> {
  const upper = await store.readUpper(running.rootHash);
  const { layer, ...plan } = await planCarry({ base: running.tree, upper, next: next.tree }, options);
  const { conflicts, clashes, remarks, entries } = plan;
  const lines = [
    `IMAGE_ID=${next.imageId}`,
    `IMAGE_VERSION=${next.imageVersion}`,
    `ROOT_HASH=${next.rootHash}`,
    `CARRIED_FROM=${running.rootHash}`,
  ];
  const record = {
    schema: CARRIED_SCHEMA,
    from: running.rootHash,
    at: new Date(options.now).toISOString(),
    policy: options.conflicts,
    entries,
    counts: { conflicts: conflicts.length, clashes: clashes.length, remarks: remarks.length },
    conflicts: conflicts.slice(0, MAX_RECORDED),
    clashes: clashes.slice(0, MAX_RECORDED),
    remarks: remarks.slice(0, MAX_RECORDED),
  };
  await store.put(next.rootHash, layer, {
    [BASE_FILE]: encodeUtf8(lines.map((line) => `${line}\n`).join("")),
    [CARRIED_FILE]: encodeUtf8(`${JSON.stringify(record, null, 2)}\n`),
  });
  return { conflicts, clashes, remarks, entries };
}

const Text = v.pipe(v.string(), v.maxLength(8192));
const ConflictSchema = v.object({
  kind: v.picklist(Object.keys(MEANINGS) as EtcConflict["kind"][]),
  path: Text,
  entry: v.optional(Text),
  what: v.optional(Text),
});
const Count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const Conflicts = v.pipe(v.array(ConflictSchema), v.maxLength(MAX_RECORDED));
const CarriedSchema = v.object({
  schema: v.literal(CARRIED_SCHEMA),
  from: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/)),
  at: Text,
  policy: v.picklist(["refuse", "keep-local", "take-image"]),
  entries: Count,
  counts: v.object({ conflicts: Count, clashes: Count, remarks: Count }),
  conflicts: Conflicts,
  clashes: Conflicts,
  remarks: Conflicts,
});
export type CarriedRecord = v.InferOutput<typeof CarriedSchema>;

/**
 * What was found when a generation was made; undefined where the initrd has made it. Throws FormatError `bad-carried-record`.
 */
export async function readCarried(store: GenerationStore, rootHash: string): Promise<CarriedRecord | undefined> {
  const bytes = await store.readFile(rootHash, CARRIED_FILE);
  const what = `${rootHash}/${CARRIED_FILE}`;
  return bytes === undefined
    ? undefined
    : checkDocument(CarriedSchema, parseDocument(bytes, what), "bad-carried-record", what);
}
