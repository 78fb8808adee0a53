/**
 * An OCI layout behind the port that repositories are used through, read and written in place. What is not under a tag
 * (a signature, a release that only a channel names) stands in `index.json` all the same: nothing else would find it.
 * Spec: image-spec 1.1, image-layout.md.
 */
import { decodeUtf8, encodeUtf8 } from "../../bytes/index.ts";
import { FormatError, IntegrityError, isAshlarError } from "../../errors/index.ts";
import {
  blobPath,
  type Descriptor,
  documentMediaType,
  encodeLayoutFile,
  type FileTree,
  INDEX_FILE,
  isIndexType,
  isManifestType,
  LAYOUT_FILE,
  MAX_DOCUMENT_SIZE,
  OCI_INDEX,
  OCI_MANIFEST,
  openLayoutBlob,
  parseArtifactManifest,
  parseIndex,
  REF_NAME,
  type Repository,
  readBlob,
  readLayoutIndex,
  resolveInLayout,
  sourceBlob,
} from "../../formats/oci/index.ts";
import { assertDigest, type Digest, digestAlgorithm, digestOf, formatDigest, type Hashes } from "../../hash/index.ts";
import { passingChunksOf, type ReadOptions, type Source } from "../../source/index.ts";

/** A file that has no name yet. */
export interface PendingFile {
  write(bytes: Uint8Array): Promise<void>;
  /** Flushes it and gives it its name, in place of what had it. */
  publish(): Promise<void>;
  /** Does nothing after `publish`. */
  discard(): Promise<void>;
}

/** The files of a layout, lent by the host. Paths are relative, with slashes; folders are made where missing. */
export interface LayoutFiles extends FileTree {
  /** Bytes of a file; undefined where there is none. */
  sizeOf(path: string): Promise<number | undefined>;
  create(path: string): Promise<PendingFile>;
  /** Runs `work` while nobody else, in this process or another one, runs any. */
  exclusively<T>(work: () => Promise<T>): Promise<T>;
}

/**
 * Opens a layout; one that is missing is made by the first thing that is stored. It owns `files` from here on. Errors:
 * those of `openLayout`, as methods are called.
 * @param name for people, such as `oci:/srv/image`
 */
export function openLayoutRepository(files: LayoutFiles, name: string, hashes: Hashes): Repository {
  const subjects = new Map<Digest, Digest | undefined>(); // by manifest; what is stored never changes

  async function readIndexBytes(options?: ReadOptions): Promise<Uint8Array> {
    return readLayoutIndex(files, name, options);
  }

  async function readIndex(options?: ReadOptions) {
    return parseIndex(await readIndexBytes(options), `${name}: ${INDEX_FILE}`);
  }

  /** As {@link readIndex}; empty for a layout that nothing is in yet. */
  async function entries(options?: ReadOptions): Promise<readonly Descriptor[]> {
    return (await files.sizeOf(INDEX_FILE)) === undefined ? [] : (await readIndex(options)).manifests;
  }

  const repository: Repository = {
    name,
    async resolve(selector, options) {
      const { digest } = selector;
      try {
        return await resolveInLayout(repository, await readIndex(options), selector, options);
      } catch (error) {
        // A manifest need not stand in the index to be had by its digest.
        const found = digest === undefined ? undefined : await findDocument(digest, options);
        if (found === undefined) throw error;
        return found;
      }
    },
    open: async ({ digest }) => sourceBlob(await openLayoutBlob(files, digest, name)),
    openBlob: ({ digest }) => openLayoutBlob(files, digest, name),
    has: async ({ digest, size }) => (await files.sizeOf(blobPath(digest))) === size,
    async putBlob(descriptor, content, options) {
      if (await repository.has(descriptor)) return "present";
      await store(descriptor, content, options);
      return "sent";
    },
    async putManifest(descriptor, bytes, tag, options) {
      const { digest } = descriptor;
      const what = `${name}: manifest ${digest}`;
      const actual = digestOf(hashes, bytes, digestAlgorithm(digest));
      assertDigest(actual, digest, what);
      const pending = await files.create(blobPath(digest));
      try {
        await pending.write(bytes);
        await pending.publish();
      } finally {
        await pending.discard();
      }
      const entry = describe(descriptor, bytes, what);
      await files.exclusively(async () => {
        // The index comes last: a layout without one was never finished, an index without a layout is somebody else's.
        const isNew = (await files.sizeOf(INDEX_FILE)) === undefined;
        if (isNew) await writeFile(LAYOUT_FILE, encodeLayoutFile());
        const before = isNew ? undefined : await readIndexBytes(options);
        await writeFile(INDEX_FILE, enter(before, entry, tag, `${name}: ${INDEX_FILE}`));
      });
    },
    async referrers(digest, options) {
      const found: Descriptor[] = [];
      for (const entry of await entries(options)) {
        if (!isManifestType(entry.mediaType) || found.some((one) => one.digest === entry.digest)) continue;
        const known = subjects.has(entry.digest) ? subjects.get(entry.digest) : await readSubject(entry, options);
        subjects.set(entry.digest, known);
        if (known !== digest) continue;
        const what = `${name}: manifest ${entry.digest}`;
        const bytes = await readBlob(repository, entry, hashes, what, options);
        const { artifactType, annotations } = parseArtifactManifest(bytes, what);
        if (options?.artifactType !== undefined && options.artifactType !== artifactType) continue;
        const { mediaType, size } = entry;
        found.push({ mediaType, digest: entry.digest, size, artifactType, annotations });
      }
      return found;
    },
    async tags(options) {
      const all = await entries(options);
      return [...new Set(all.flatMap(({ annotations }) => annotations[REF_NAME] ?? []))];
    },
    close: () => files.close(),
  };

  async function findDocument(digest: Digest, options?: ReadOptions): Promise<Descriptor | undefined> {
    const size = await files.sizeOf(blobPath(digest));
    if (size === undefined || size > MAX_DOCUMENT_SIZE) return undefined;
    const what = `${name}: manifest ${digest}`;
    const found = { mediaType: OCI_MANIFEST, digest, size, annotations: {} };
    const bytes = await readBlob(repository, found, hashes, what, options);
    return { ...found, mediaType: documentMediaType(bytes, what) };
  }

  async function readSubject(entry: Descriptor, options?: ReadOptions): Promise<Digest | undefined> {
    const what = `${name}: manifest ${entry.digest}`;
    try {
      const bytes = await readBlob(repository, entry, hashes, what, options);
      return parseArtifactManifest(bytes, what).subject?.digest;
    } catch (error) {
      // Others may keep things here that we cannot read; they refer to nothing that we know.
      if (error instanceof FormatError || (isAshlarError(error) && error.code === "no-blob")) return undefined;
      throw error;
    }
  }

  async function store(
    { digest, size }: Descriptor,
    content: Source,
    options?: ReadOptions & { readonly onProgress?: ((amount: number) => void) | undefined },
  ): Promise<void> {
    const what = `${name}: blob ${digest}`;
    if (content.size !== size)
      throw new IntegrityError("size-mismatch", `${what}: has ${content.size} bytes, expected ${size}`, {
        expected: size,
        actual: content.size,
      });
    const hash = hashes.create(digestAlgorithm(digest));
    const pending = await files.create(blobPath(digest));
    try {
      for await (const chunk of passingChunksOf(content, { signal: options?.signal })) {
        hash.update(chunk);
        await pending.write(chunk);
        options?.onProgress?.(chunk.length);
      }
      assertDigest(formatDigest(digestAlgorithm(digest), hash.digest()), digest, what);
      await pending.publish();
    } finally {
      await pending.discard();
    }
  }

  async function writeFile(path: string, bytes: Uint8Array): Promise<void> {
    const pending = await files.create(path);
    try {
      await pending.write(bytes);
      await pending.publish();
    } finally {
      await pending.discard();
    }
  }
  return repository;
}

interface IndexEntry {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: unknown;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface NewEntry {
  readonly entry: IndexEntry;
  /** Digests that the new one lists, being an index. */
  readonly children: ReadonlySet<string>;
}

function describe({ mediaType, digest, size, platform }: Descriptor, bytes: Uint8Array, what: string): NewEntry {
  const children = isIndexType(mediaType) ? parseIndex(bytes, what).manifests.map((child) => child.digest) : [];
  const artifact = isManifestType(mediaType) ? parseArtifactManifest(bytes, what) : undefined;
  const isImage = artifact === undefined || /\.image\.config\.|\.container\.image\./.test(artifact.artifactType);
  return {
    entry: {
      mediaType,
      digest,
      size,
      ...(platform === undefined ? {} : { platform }),
      ...(isImage && artifact?.subject === undefined ? {} : { artifactType: artifact?.artifactType ?? "" }),
    },
    children: new Set(children),
  };
}

/** `index.json` with the new entry. A tag leaves what had it; what an index lists needs no entry of its own. */
function enter(
  before: Uint8Array | undefined,
  { entry, children }: NewEntry,
  tag: string | undefined,
  what: string,
): Uint8Array {
  // Checked, then edited as it is: what we do not know in it stays.
  if (before !== undefined) parseIndex(before, what);
  const document = before === undefined ? {} : (JSON.parse(decodeUtf8(before)) as Record<string, unknown>);
  const there = (document["manifests"] ?? []) as IndexEntry[];
  const kept: IndexEntry[] = [];
  let isEntered = false;
  for (const one of there) {
    const name = one.annotations?.[REF_NAME];
    if (one.digest === entry.digest && (name === tag || (tag !== undefined && name === undefined))) continue;
    if (name === undefined && one.artifactType === undefined && children.has(one.digest)) continue;
    // What the tag leaves is still found by its digest, and what refers to something by being here.
    if (name === undefined || name !== tag) kept.push(one);
    else if (one.artifactType !== undefined) kept.push(withoutTag(one));
    isEntered ||= one.digest === entry.digest;
  }
  const isListed = tag === undefined && isEntered;
  if (!isListed) kept.push({ ...entry, ...(tag === undefined ? {} : { annotations: { [REF_NAME]: tag } }) });
  let bytes: Uint8Array;
  try {
    bytes = encodeUtf8(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, ...document, manifests: kept }));
  } catch {
    throw new FormatError("bad-index", `${what}: nests too deep to be written again`); // V8 reads deeper than it writes
  }
  if (bytes.length > MAX_DOCUMENT_SIZE)
    throw new FormatError("too-large", `${what}: would have ${bytes.length} bytes, more than ${MAX_DOCUMENT_SIZE}`);
  return bytes;
}

function withoutTag({ annotations, ...entry }: IndexEntry): IndexEntry {
  const { [REF_NAME]: _, ...others } = annotations ?? {};
  return { ...entry, ...(Object.keys(others).length === 0 ? {} : { annotations: others }) };
}
