/** Names where two builds differ: a file of the root, a section of the UKI, a partition of the disk. */
import { equalBytes, fromHex } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { openErofs, readTree } from "../../formats/erofs/index.ts";
import { openGpt } from "../../formats/gpt/index.ts";
import { openPe } from "../../formats/pe/index.ts";
import { passingChunksOf, type Source, sliceSource } from "../../source/index.ts";
import { diffImages, type FileChange } from "../diff/index.ts";
import { openSealedRoot } from "../disk/index.ts";
import type { Environment } from "../environment.ts";
import { artifactOf, type Release } from "../release/release.ts";
import type { ArtifactComparison, Original } from "./reproduce.ts";

export interface Difference {
  /** Role of the artifact, or `release.json`. */
  readonly artifact: string;
  /** A path in the root, `.cmdline`, a partition; null where it is the artifact as a whole. */
  readonly place: string | null;
  /** What follows the place in a sentence. */
  readonly message: string;
}

/** What the others follow from comes first. */
const ORDER = ["root", "root-verity", "uki", "disk"];
/** Files that are listed. */
const MAX_FILES = 20;
const CHUNK_SIZE = 1024 * 1024;

export async function locateDifferences(
  original: Original,
  rebuilt: Release,
  differing: readonly ArtifactComparison[],
  open: (name: string) => Source | undefined,
  environment: Environment,
): Promise<Difference[]> {
  const differences: Difference[] = [];
  const rank = ({ role }: ArtifactComparison): number => (ORDER.indexOf(role) + ORDER.length) % ORDER.length;
  for (const { role, name, actual } of [...differing].sort((a, b) => rank(a) - rank(b))) {
    const ours = open(name);
    if (actual === undefined || ours === undefined) {
      differences.push({ artifact: role, place: null, message: "is not built" });
      continue;
    }
    const theirs = await original.open(name);
    const found = await attempt(() => locateIn(role, theirs, ours, original, rebuilt, environment));
    if (found !== undefined && found.length > 0) differences.push(...found);
    else differences.push({ artifact: role, place: null, message: await firstByte(theirs, ours) });
  }
  return differences;
}

/** Undefined where an artifact cannot be read as what it should be: then its bytes are compared. */
async function attempt<T>(work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!isAshlarError(error) || error.kind === "SourceError") throw error;
    return undefined;
  }
}

async function locateIn(
  role: string,
  theirs: Source,
  ours: Source,
  original: Original,
  rebuilt: Release,
  environment: Environment,
): Promise<Difference[]> {
  switch (role) {
    case "root":
      return filesOf(theirs, ours, original, rebuilt, environment);
    case "uki":
      return sectionsOf(theirs, ours);
    case "disk":
      return partitionsOf(theirs, ours);
    default:
      return [];
  }
}

async function filesOf(
  theirs: Source,
  ours: Source,
  { release, name, open }: Original,
  rebuilt: Release,
  environment: Environment,
): Promise<Difference[]> {
  const hashDevice = artifactOf(release, "root-verity");
  const rootHash = fromHex(release.rootHash);
  const { image } =
    hashDevice === undefined
      ? { image: await openErofs(theirs) }
      : await openSealedRoot(theirs, await open(hashDevice.name), rootHash, environment.blockHasher);
  const diff = await diffImages(
    { name, root: await readTree(image), image: undefined },
    { name: "the new build", root: await readTree(await openErofs(ours)), image: undefined },
    environment,
  );
  const files = diff.files.slice(0, MAX_FILES).map((change): Difference => {
    return { artifact: "root", place: change.path, message: describeChange(change) };
  });
  if (files.length > 0) return files;
  const same = release.rootHash === rebuilt.rootHash ? "" : "; every file is the same";
  return [{ artifact: "root", place: null, message: `${await firstByte(theirs, ours)}${same}` }];
}

function describeChange({ change, aspects, details }: FileChange): string {
  if (change === "added") return "is in the new build alone";
  if (change === "removed") return "is missing in the new build";
  const [first] = aspects;
  const detail = first === undefined || first === "content" ? undefined : details[first];
  const values = detail === undefined ? "" : `: ${detail[0]} in the release, ${detail[1]} in the new build`;
  return `has another ${aspects.join(" and ")}${aspects.length === 1 ? values : ""}`;
}

async function sectionsOf(theirs: Source, ours: Source): Promise<Difference[]> {
  const [a, b] = [await openPe(theirs), await openPe(ours)];
  const differences: Difference[] = [];
  for (const section of a.sections) {
    const other = b.sections.find(({ name }) => name === section.name);
    if (other === undefined)
      differences.push({ artifact: "uki", place: section.name, message: "is missing in the new build" });
    else if (!(await isSame(section.content, other.content)))
      differences.push({
        artifact: "uki",
        place: section.name,
        message: await firstByte(section.content, other.content),
      });
  }
  for (const { name } of b.sections)
    if (!a.sections.some((section) => section.name === name))
      differences.push({ artifact: "uki", place: name, message: "is in the new build alone" });
  return differences;
}

async function partitionsOf(theirs: Source, ours: Source): Promise<Difference[]> {
  const [a, b] = [await openGpt(theirs), await openGpt(ours)];
  const differences: Difference[] = [];
  for (const partition of a.partitions) {
    const place = `partition ${partition.number} (${partition.name})`;
    const other = b.partitions.find(({ number }) => number === partition.number);
    if (other === undefined) differences.push({ artifact: "disk", place, message: "is missing in the new build" });
    else if (JSON.stringify(partition, shown) !== JSON.stringify(other, shown))
      differences.push({ artifact: "disk", place, message: "has another entry in the partition table" });
    else {
      const [one, two] = [
        sliceSource(theirs, partition.start, partition.size),
        sliceSource(ours, other.start, other.size),
      ];
      if (!(await isSame(one, two))) differences.push({ artifact: "disk", place, message: await firstByte(one, two) });
    }
  }
  return differences;
}

function shown(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}` : value;
}

async function isSame(a: Source, b: Source): Promise<boolean> {
  return a.size === b.size && (await differsAt(a, b)) === undefined;
}

async function firstByte(theirs: Source, ours: Source): Promise<string> {
  const at = await differsAt(theirs, ours);
  if (at === undefined) return `has ${ours.size} bytes in the new build, ${theirs.size} in the release`;
  return `differs at byte ${at}`;
}

/** The first byte of both that is another one; undefined where there is none. */
async function differsAt(a: Source, b: Source): Promise<number | undefined> {
  const size = Math.min(a.size, b.size);
  let offset = 0;
  for await (const chunk of passingChunksOf(sliceSource(a, 0, size), { chunkSize: CHUNK_SIZE })) {
    const other = await b.read(offset, chunk.length);
    if (!equalBytes(chunk, other)) {
      let at = 0;
      while (chunk[at] === other[at]) at++;
      return offset + at;
    }
    offset += chunk.length;
  }
  return undefined;
}
