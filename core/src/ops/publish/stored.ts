/** A release in a repository, opened in place: nothing is fetched but what is read, and that is verified. */
import { FormatError, SourceError, UnsupportedError } from "../../errors/index.ts";
import {
  type ClosableSource,
  type Descriptor,
  type FileTree,
  type Repository,
  readBlob,
} from "../../formats/oci/index.ts";
import type { BlockHasher } from "../../hash/index.ts";
import type { Source } from "../../source/index.ts";
import { artifactOf, parseRelease, type Release } from "../release/release.ts";
import { type Assembly, parseAssembly } from "./assembly.ts";
import { assembledSource, type LayerEnvironment, openLayers } from "./layers.ts";
import { makeStoredSection, type SectionRoot } from "./make-section.ts";
import { type ReleaseManifest, readReleaseManifest } from "./manifest.ts";
import { type RootSources, rootSources } from "./root-source.ts";
import { openStoredRoot, type StoredRoot } from "./stored-root.ts";
import { openStoredSection, type StoredSection } from "./stored-section.ts";

/** Bytes: zeros cost nothing to store and much to check. */
const MAX_ARTIFACT_SIZE = 2 ** 40;

export interface StoredEnvironment extends LayerEnvironment {
  readonly blockHasher: BlockHasher;
}

export interface ForwardOptions {
  /** @param amount bytes that were read since the last call and had to be fetched */
  readonly onProgress?: ((amount: number) => void) | undefined;
  /** Content of a section that is there already, such as a kernel. Not closed here. */
  readonly localSection?: ((section: StoredSection) => Promise<Source | undefined>) | undefined;
  /** The root is there already: sections that are copies of its files are made from it. */
  readonly sectionRoot?: SectionRoot | undefined;
}

export interface StoredRelease extends FileTree {
  /** For people, with the digest. */
  readonly name: string;
  readonly manifest: ReleaseManifest;
  readonly release: Release;
  /** The bytes of release.json. */
  readonly bytes: Uint8Array;
  readonly root: StoredRoot;
  /** How the artifacts other than root and hash device are put together. */
  readonly assembly: Assembly | undefined;
  /** The root and its hash device, read by ranges. */
  sources(): Promise<RootSources>;
  /**
   * An artifact by its name. What it is made from is verified: blocks of the root against the root hash, everything else
   * as a blob, which is fetched whole. Throws SourceError `not-found` for a name that the release does not list.
   */
  open(name: string): Promise<ClosableSource>;
  /**
   * The same for an artifact that is read once and front to back: what it is put together from is kept nowhere. Nothing of
   * it is verified but by the reader, who holds all of it against the digest in `release`.
   */
  openForward(name: string, options?: ForwardOptions): Promise<ClosableSource>;
  /** Closes everything that came from here, not the repository. */
  close(): Promise<void>;
}

/** What a release is: its manifest and release.json, both verified. Errors: those of manifest and release. */
export async function readStoredRelease(
  repository: Repository,
  descriptor: Descriptor,
  { hashes, signal }: Pick<StoredEnvironment, "hashes" | "signal">,
): Promise<{ readonly manifest: ReleaseManifest; readonly release: Release; readonly bytes: Uint8Array }> {
  const manifest = await readReleaseManifest(repository, descriptor, hashes, { signal });
  const what = `${repository.name}: release ${manifest.config.digest}`;
  const bytes = await readBlob(repository, manifest.config, hashes, what, { signal });
  return { manifest, release: parseRelease(bytes, what), bytes };
}

/** @param descriptor of the manifest of one release; see `resolveRelease` */
export async function openStoredRelease(
  repository: Repository,
  descriptor: Descriptor,
  environment: StoredEnvironment,
): Promise<StoredRelease> {
  const { hashes, signal } = environment;
  const { manifest, release, bytes } = await readStoredRelease(repository, descriptor, environment);
  const name = `${repository.name}@${descriptor.digest}`;
  if (artifactOf(release, "root") === undefined || artifactOf(release, "root-verity") === undefined)
    throw new FormatError("bad-release", `${name}: lists no root and hash device`, { path: name });
  const large = release.artifacts.find(({ size }) => size > MAX_ARTIFACT_SIZE);
  if (large !== undefined)
    throw new UnsupportedError(
      "too-large",
      `${name}: artifact ${JSON.stringify(large.name.slice(0, 200))} has ${large.size} bytes, more than ${MAX_ARTIFACT_SIZE}`,
      { expected: MAX_ARTIFACT_SIZE, actual: large.size },
    );
  const root = await openStoredRoot(repository, manifest, release, hashes, { signal });
  const assembly = await readAssembly(repository, manifest, release, environment);
  const layers = openLayers(repository, manifest, environment);
  let sources: Promise<RootSources> | undefined;
  const made = new Map<string, Source>();

  function rootAndHashes(): Promise<RootSources> {
    sources ??= rootSources(root, environment);
    return sources;
  }

  async function artifact(wanted: string): Promise<Source> {
    const known = made.get(wanted);
    if (known !== undefined) return known;
    const role = release.artifacts.find((entry) => entry.name === wanted)?.role;
    if (role === undefined)
      throw new SourceError("not-found", `${name}: lists no artifact ${JSON.stringify(wanted.slice(0, 200))}`);
    let source: Source;
    if (role === "root" || role === "root-verity") {
      const { data, hashDevice } = await rootAndHashes();
      source = role === "root" ? data : hashDevice;
    } else {
      const { pieces } = assembly!.artifacts.find((entry) => entry.name === wanted)!; // parseAssembly has seen to it
      for (const { artifact: part } of pieces) if (part !== undefined) await artifact(part);
      source = assembledSource(pieces, layers, (part) => made.get(part)!); // made above
    }
    made.set(wanted, source);
    return source;
  }

  return {
    name,
    manifest,
    release,
    bytes,
    root,
    assembly,
    sources: rootAndHashes,
    async open(wanted) {
      const source = await artifact(wanted);
      return { size: source.size, read: (...range) => source.read(...range), close: async () => {} };
    },
    async openForward(wanted, { onProgress = () => {}, localSection, sectionRoot } = {}) {
      await artifact(wanted); // throws for what is not listed; nothing is read by it
      const opened = new Map<string, ClosableSource>();
      const local = new Map<string, Source>();
      const literals = new Map<string, Promise<Source>>();
      async function openLayer(digest: string): Promise<Source> {
        const section = manifest.sections.find((layer) => layer.digest === digest);
        if (section === undefined) return openLiterals(digest);
        const known = local.get(digest) ?? opened.get(digest);
        if (known !== undefined) return known;
        const there = (await localSection?.(section)) ?? (await makeIfPossible(section));
        if (there !== undefined) {
          local.set(digest, there);
          return there;
        }
        const stream = openStoredSection(repository, section, environment.decompressFrame, onProgress);
        opened.set(digest, stream);
        return stream;
      }
      async function makeIfPossible(section: StoredSection): Promise<Source | undefined> {
        if (sectionRoot === undefined) return undefined;
        return makeStoredSection(repository, manifest, section, sectionRoot, environment, onProgress);
      }
      function openLiterals(digest: string): Promise<Source> {
        const known = literals.get(digest);
        if (known !== undefined) return known;
        const size = manifest.literals.find((layer) => layer.digest === digest)?.size ?? 0;
        const layer = layers.open(digest);
        literals.set(digest, layer);
        void layer.then(() => onProgress(size)).catch(() => {}); // whoever reads is told
        return layer;
      }
      const pieces = assembly?.artifacts.find((entry) => entry.name === wanted)?.pieces;
      const source =
        pieces === undefined
          ? made.get(wanted)! // root or hash device
          : assembledSource(pieces, { open: openLayer }, (part) => made.get(part)!); // made above
      return {
        size: source.size,
        read: (...range) => source.read(...range),
        ...(source.readInto === undefined
          ? {}
          : { readInto: (offset: number, target: Uint8Array) => source.readInto?.(offset, target) }),
        async close() {
          for (const stream of opened.values()) await stream.close();
        },
      };
    },
    async close() {
      await layers.close();
      await root.close();
    },
  };
}

async function readAssembly(
  repository: Repository,
  manifest: ReleaseManifest,
  release: Release,
  { hashes, signal }: StoredEnvironment,
): Promise<Assembly | undefined> {
  const layers = new Map<string, number | undefined>();
  for (const { digest } of manifest.literals) layers.set(digest, undefined);
  for (const { digest, size } of manifest.sections) layers.set(digest, size);
  if (manifest.assembly === undefined) {
    const missing = release.artifacts.find(({ role }) => role !== "root" && role !== "root-verity");
    if (missing === undefined) return undefined;
    throw new FormatError(
      "bad-manifest",
      `${repository.name}: manifest ${manifest.descriptor.digest}: has no assembly`,
    );
  }
  const what = `${repository.name}: assembly ${manifest.assembly.digest}`;
  const bytes = await readBlob(repository, manifest.assembly, hashes, what, { signal });
  return parseAssembly(bytes, release, layers, what);
}
