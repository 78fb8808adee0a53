/**
 * The last step of an update: the UKI. It is written under a name that no boot loader looks at, flushed, read back, and
 * renamed; until then the machine starts what it started before.
 */
import { equalBytes } from "../../bytes/index.ts";
import { IntegrityError, isAshlarError } from "../../errors/index.ts";
import type { ClosableSource } from "../../formats/oci/index.ts";
import { openPe } from "../../formats/pe/index.ts";
import { assertDigest, type Digest } from "../../hash/index.ts";
import { type ReadOptions, type Source, sliceSource } from "../../source/index.ts";
import { readUki } from "../disk/disk.ts";
import type { StoredSection } from "../publish/index.ts";
import { digestSource } from "../release/describe.ts";
import { stemOf } from "../release/identity.ts";
import type { Release } from "../release/release.ts";
import { type BootEntries, type BootEntry, ENTRY_FOLDER, type EntryName, readBootEntries } from "./boot-entries.ts";
import type { ContentEnvironment, ReleaseContent } from "./content.ts";
import { guard, isGuarded, removeGuard, renameGuarded } from "./entry-guard.ts";
import { type EntryRename, isSetBack } from "./entry-order.ts";
import type { EspFile, EspFiles } from "./esp-files.ts";
import type { System } from "./system.ts";

/** What every temporary name of ours looks like. */
const TEMPORARY = /^ashlar-[0-9a-f]{16}\.new$/i;
/** Sections of a UKI with fewer bytes are not layers of a release. */
const MIN_SECTION = 64 * 1024;
/** Where a file that was broken off is gone on with: whole blocks of the volume. */
const RESUME_UNIT = 64 * 1024;
/** Names that are tried for an entry. */
const MAX_NAMES = 1000;

type Artifact = Release["artifacts"][number];

/** Of the UKI: the next run knows what is there already by it. */
function temporaryName({ digest }: Artifact): string {
  return `ashlar-${digest.slice(digest.indexOf(":") + 1).slice(0, 16)}.new`;
}

/** What broken runs have left. */
interface Leftovers {
  /** Of the UKI that is asked for, to be gone on with: under its temporary name, or whole under one that it was being given. */
  readonly own: EspFile | undefined;
  readonly others: readonly EspFile[];
}

export async function findLeftovers(
  esp: EspFiles,
  { guarded }: Pick<BootEntries, "guarded">,
  uki: Artifact,
): Promise<Leftovers> {
  const temporary = (await esp.list(ENTRY_FOLDER)).filter(({ name }) => TEMPORARY.test(name));
  const name = temporaryName(uki);
  const own =
    temporary.find((file) => file.name.toLowerCase() === name) ?? guarded.find(({ size }) => size === uki.size);
  return { own, others: [...temporary, ...guarded].filter((file) => file !== own) };
}

/** What a broken run was about to name gets its temporary name, under which it may be whole. Returns the bytes that are there. */
async function takeBack(esp: EspFiles, uki: Artifact, options: ReadOptions): Promise<number> {
  const { own } = await findLeftovers(esp, await readBootEntries(esp, options), uki);
  if (own === undefined) return 0;
  const path = `${ENTRY_FOLDER}/${temporaryName(uki)}`;
  if (!TEMPORARY.test(own.name)) {
    await esp.rename(`${ENTRY_FOLDER}/${own.name}`, path);
    await esp.flush();
  }
  const file = await esp.open(path);
  const wasNamed = await isGuarded(file, options).finally(() => file.close());
  if (wasNamed) await removeGuard(esp, path);
  return Math.min(own.size, uki.size);
}

/** The entry that has this very UKI, whatever it is called. */
export async function findUki(
  esp: EspFiles,
  entries: readonly BootEntry[],
  uki: Artifact,
  environment: Pick<ContentEnvironment, "hashes" | "signal">,
): Promise<BootEntry | undefined> {
  for (const entry of entries) {
    try {
      if (entry.size === uki.size && (await isUki(esp, `${ENTRY_FOLDER}/${entry.name}`, uki, environment)))
        return entry;
    } catch (error) {
      if (!isAshlarError(error) || error.kind !== "SourceError") throw error; // what cannot be read is not it
    }
  }
  return undefined;
}

/**
 * `ID_VERSION`, or with `.1`, `.2`, … behind it where that is taken: one stem with and without a counter would be two entries
 * that systemd-bless-boot cannot tell apart. A greater number sorts before a smaller one.
 */
export function freeStem(system: System, entries: readonly EntryName[]): string {
  const taken = new Set(entries.map(({ stem }) => stem.toLowerCase()));
  const stem = stemOf(system);
  for (let number = 0; number < MAX_NAMES; number++) {
    const candidate = number === 0 ? stem : `${stem}.${number}`;
    if (!taken.has(candidate.toLowerCase())) return candidate;
  }
  throw new RangeError(`more than ${MAX_NAMES} entries are named ${stem}`);
}

/** Large sections of the UKIs on the ESP, to be found by digest. */
interface LocalSections {
  find(section: StoredSection): Promise<Source | undefined>;
  close(): Promise<void>;
}

async function openLocalSections(
  esp: EspFiles,
  entries: readonly BootEntry[],
  { hashes, signal }: ContentEnvironment,
): Promise<LocalSections> {
  const files: ClosableSource[] = [];
  const sections: { readonly content: Source; digest?: Digest }[] = [];
  for (const { name } of entries) {
    const file = await esp.open(`${ENTRY_FOLDER}/${name}`);
    files.push(file);
    for (const { virtualSize, content } of (await openPe(file, { signal })).sections)
      if (virtualSize >= MIN_SECTION) sections.push({ content });
  }
  return {
    async find({ digest, size }) {
      for (const section of sections) {
        if (section.content.size !== size) continue;
        try {
          section.digest ??= await digestSource(section.content, hashes, { signal });
        } catch (error) {
          if (!isAshlarError(error) || error.kind !== "SourceError") throw error;
        }
        if (section.digest === digest) return section.content;
      }
      return undefined;
    },
    async close() {
      for (const file of files) await file.close();
    },
  };
}

/**
 * Writes the UKI under its temporary name, and holds what reads back against its digest. Kernel and initrd are taken from UKIs
 * that are there or made from the new root, and what a broken run has written is gone on with; where that turns out to be
 * something else all of it is fetched. Returns the bytes that came from a repository. Throws IntegrityError `digest-mismatch`,
 * `root-hash-mismatch` for a UKI that boots another root.
 * @param root of the release, as it is on the disk
 */
export async function writeUki(
  content: ReleaseContent,
  { uki, rootHash }: System,
  esp: EspFiles,
  root: Source,
  environment: ContentEnvironment,
): Promise<number> {
  const { compressContent, signal } = environment;
  const { entries } = await readBootEntries(esp, environment);
  const path = `${ENTRY_FOLDER}/${temporaryName(uki)}`;
  const there = await takeBack(esp, uki, environment);
  let fetched = 0;
  async function write(from: number, isLocal: boolean): Promise<void> {
    const local = await openLocalSections(esp, isLocal ? entries : [], environment);
    const sectionRoot = isLocal && compressContent !== undefined ? { root, compressContent } : undefined;
    const task = environment.reporter.start("writing the UKI", uki.size - from);
    try {
      const onProgress = (amount: number) => {
        fetched += amount;
      };
      const source = await content.openUki({ onProgress, localSection: local.find, sectionRoot });
      try {
        await esp.write(path, sized(source, uki), { from, signal, onProgress: task.advance });
      } finally {
        await source.close();
      }
      await esp.flush();
    } finally {
      task.end();
      await local.close();
    }
  }
  const isWritten = () => isUki(esp, path, uki, environment);
  if (there < uki.size || !(await isWritten())) {
    await write(there < uki.size ? there - (there % RESUME_UNIT) : 0, true);
    if (!(await isWritten())) await write(0, false);
  }
  const written = await esp.open(path);
  try {
    assertDigest(await digestSource(written, environment.hashes, { signal }), uki.digest as Digest, uki.name);
    const facts = await readUki(written, uki.name, { signal });
    if (facts.rootHash === undefined || !equalBytes(facts.rootHash, rootHash))
      throw new IntegrityError("root-hash-mismatch", `${uki.name}: boots another root than that of the release`);
  } finally {
    await written.close();
  }
  return fetched;
}

/** Whether the file at `path` is the UKI. */
async function isUki(
  esp: EspFiles,
  path: string,
  { size, digest }: Artifact,
  { hashes, signal }: Pick<ContentEnvironment, "hashes" | "signal">,
): Promise<boolean> {
  const file = await esp.open(path);
  try {
    return file.size === size && (await digestSource(file, hashes, { signal })) === digest;
  } finally {
    await file.close();
  }
}

function sized(source: Source, { name, size }: Artifact): Source {
  if (source.size === size) return sliceSource(source, 0);
  throw new IntegrityError("size-mismatch", `${name} has ${source.size} bytes, the release says ${size}`, {
    expected: size,
    actual: source.size,
  });
}

/** Gives the UKI that {@link writeUki} wrote its name. */
export async function nameUki(esp: EspFiles, uki: Artifact, name: string): Promise<void> {
  await renameGuarded(esp, `${ENTRY_FOLDER}/${temporaryName(uki)}`, `${ENTRY_FOLDER}/${name}`);
}

/**
 * Renames entries, one after the other, each on the medium before the next. What was not confirmed is never started without a
 * counter; but one of what runs can be started at any time.
 * @param found on the ESP, before any of it was renamed
 */
export async function renameEntries(
  esp: EspFiles,
  renames: readonly EntryRename[],
  found: Pick<BootEntries, "entries" | "guarded">,
  running: string,
): Promise<void> {
  for (const { from, to } of renames) {
    const [source, target] = [`${ENTRY_FOLDER}/${from}`, `${ENTRY_FOLDER}/${to}`];
    const isHeldBack = found.guarded.some(({ name }) => name === from);
    if (isHeldBack && from === to) {
      await esp.flush(); // the name, where a run was killed that had not done so
      await removeGuard(esp, target);
    } else if (isHeldBack || mayBeHeldBack(from, found.entries, running)) await renameGuarded(esp, source, target);
    else {
      await esp.rename(source, target);
      await esp.flush();
    }
  }
}

/** Whether nobody misses the entry for a moment, and it is not known to be good: one that is needs no counter. */
function mayBeHeldBack(name: string, entries: readonly BootEntry[], running: string): boolean {
  const entry = entries.find((one) => one.name === name);
  if (entry?.counter === undefined) return false;
  const isGood = (one: BootEntry) => one.counter === undefined || isSetBack(one);
  return entry.rootHash !== running || entries.some((one) => one !== entry && one.rootHash === running && isGood(one));
}

/**
 * Removes files of {@link ENTRY_FOLDER}. What is an entry is no UKI first: a power cut may leave the short one of its names, which
 * has no counter, or a name without its content.
 */
export async function removeEntries(
  esp: EspFiles,
  names: readonly string[],
  entries: readonly Pick<BootEntry, "name">[],
): Promise<void> {
  if (names.length === 0) return;
  for (const { name } of entries) if (names.includes(name)) await guard(esp, `${ENTRY_FOLDER}/${name}`);
  const left = new Set((await esp.list(ENTRY_FOLDER)).map(({ name }) => name));
  for (const name of names) if (left.has(name)) await esp.remove(`${ENTRY_FOLDER}/${name}`);
  await esp.flush();
}
