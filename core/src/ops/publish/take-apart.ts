/** Takes artifacts other than the root apart: into sections of the UKI, other artifacts, zeros, and literals. */
import { IntegrityError, isAshlarError, UnsupportedError } from "../../errors/index.ts";
import { openFat } from "../../formats/fat/index.ts";
import { openPe } from "../../formats/pe/index.ts";
import type { Digest } from "../../hash/index.ts";
import type { Source } from "../../source/index.ts";
import { walkTree } from "../../tree/index.ts";
import { openDisk, partitionSource } from "../disk/disk.ts";
import { digestSource } from "../release/describe.ts";
import { type ArtifactRole, artifactOf, type Release } from "../release/release.ts";
import { type Assembly, isSealed, MAX_PIECES } from "./assembly.ts";
import type { PublishEnvironment } from "./environment.ts";
import { findSection, rootFiles } from "./find-section.ts";
import { MAX_LITERALS } from "./layers.ts";
import { type DraftPiece, literalCollector, MIN_OWN_LAYER } from "./literals.ts";
import { type Candidate, findPieces } from "./pieces.ts";

/** Sections of a UKI with fewer bytes are literals. */
const MIN_SECTION = 64 * 1024;

export interface Section {
  readonly name: string;
  readonly content: Source;
  readonly digest: Digest;
}

export interface Parts {
  /** Each content once. */
  readonly sections: readonly Section[];
  /** For sections that can be made from the root: the section, and the layer of its recipe. */
  readonly sectionRecipes: readonly (readonly [section: Digest, layer: Uint8Array])[];
  readonly artifacts: Assembly["artifacts"];
  /** Layers, compressed. */
  readonly literals: readonly Uint8Array[];
}

/** Where bytes of an artifact come from. */
type From = { readonly layer: Digest } | { readonly artifact: string } | { readonly file: Source };

/** Files of an ESP that are looked for. */
const MAX_FILES = 64;

/**
 * @param opened all artifacts of the release. Each is held against release.json here, root and hash device too: IntegrityError
 * `digest-mismatch`.
 */
export async function takeApart(
  release: Release,
  opened: ReadonlyMap<string, Source>,
  environment: PublishEnvironment,
): Promise<Parts> {
  const { hashes, signal, reporter, compressors } = environment;
  const task = reporter.start(
    "reading artifacts",
    release.artifacts.reduce((sum, { size }) => sum + size, 0),
  );
  const options = { signal, onProgress: task.advance };
  const uki = artifactOf(release, "uki");
  const sections = uki === undefined ? [] : await largeSections(opened.get(uki.name)!, environment); // all are open
  const literals = literalCollector();
  const candidates: Candidate<From>[] = sections.map(({ digest, content }) => ({
    name: { layer: digest },
    source: content,
  }));
  const drafts: { name: string; pieces: readonly DraftPiece[] }[] = [];
  // Smaller things first: a UKI is in the disk, not the other way round.
  const ordered = [...release.artifacts].sort(
    (a, b) => Number(isSealed(b.role)) - Number(isSealed(a.role)) || a.size - b.size,
  );
  for (const { role, name, digest: expected } of ordered) {
    const source = opened.get(name)!; // all are open
    let digest: Digest;
    if (isSealed(role)) digest = await digestSource(source, hashes, options);
    else {
      const files = role === ("disk" satisfies ArtifactRole) ? await filesOfEsp(source, signal) : [];
      const found = await findPieces(source, [...candidates, ...files], hashes, options);
      digest = found.digest;
      const pieces: DraftPiece[] = [];
      for (const { from, offset, at, size } of found.pieces)
        if (from === "zeros") pieces.push({ size });
        else if (from === "literal") pieces.push(...(await literals.add(source, offset, size)));
        else if ("file" in from) pieces.push(await literals.addFile(from.file, at, size));
        else pieces.push({ ...from, ...(at === 0 ? {} : { at }), size });
      drafts.push({ name, pieces });
    }
    if (digest !== expected)
      throw new IntegrityError("digest-mismatch", `${name}: digest is ${digest}, expected ${expected}`, {
        path: name,
        expected,
        actual: digest,
      });
    candidates.push({ name: { artifact: name }, source });
  }
  task.end();
  const sectionRecipes = await findRecipes(sections, opened.get(artifactOf(release, "root")!.name)!, environment); // it is open
  if (drafts.reduce((sum, { pieces }) => sum + pieces.length, 0) > MAX_PIECES)
    throw new UnsupportedError("too-many-pieces", `the artifacts have more than ${MAX_PIECES} pieces`);
  const finished = await literals.finish(compressors.zstd, hashes);
  const artifacts = drafts.map(({ name, pieces }) => ({ name, pieces: pieces.map(finished.resolve) }));
  return { sections, sectionRecipes, artifacts, literals: finished.layers };
}

/**
 * Files on the ESP, such as boot loaders: found as files, they are the same bytes in the next release, wherever they lie.
 * None where a disk cannot be read: then all of it is literals.
 */
async function filesOfEsp(disk: Source, signal: AbortSignal | undefined): Promise<Candidate<From>[]> {
  const files: Candidate<From>[] = [];
  try {
    const { source, esp } = await openDisk(disk, { signal });
    const volume = await openFat(partitionSource(source, esp), { signal });
    for (const { node } of walkTree(volume.root))
      if (node.type === "file" && node.content.size >= MIN_OWN_LAYER && node.content.size <= MAX_LITERALS) {
        files.push({ name: { file: node.content }, source: node.content });
        if (files.length === MAX_FILES) break;
      }
  } catch (error) {
    if (!isAshlarError(error)) throw error;
  }
  return files;
}

async function largeSections(uki: Source, { hashes, signal }: PublishEnvironment): Promise<Section[]> {
  const image = await openPe(uki, { signal });
  const sections = new Map<Digest, Section>();
  for (const { name, virtualSize, content } of image.sections) {
    if (virtualSize < MIN_SECTION) continue;
    const digest = await digestSource(content, hashes, { signal });
    if (!sections.has(digest)) sections.set(digest, { name, content, digest });
  }
  return [...sections.values()];
}

/** A root that cannot be read, which `seal` may make of anything, is no reason not to push it. */
async function findRecipes(
  sections: readonly Section[],
  root: Source,
  environment: PublishEnvironment,
): Promise<Parts["sectionRecipes"]> {
  if (sections.length === 0) return [];
  const total = sections.reduce((sum, { content }) => sum + content.size, 0);
  const task = environment.reporter.start("looking for files of the root in the UKI", total);
  const recipes: [Digest, Uint8Array][] = [];
  try {
    const files = await rootFiles(root, environment);
    for (const section of sections) {
      const layer = await findSection(section, root, files, environment);
      if (layer !== undefined) recipes.push([section.digest, layer]);
      task.advance(section.content.size);
    }
  } catch (error) {
    if (!isAshlarError(error) || (error.kind !== "FormatError" && error.kind !== "UnsupportedError")) throw error;
  } finally {
    task.end();
  }
  return recipes;
}
