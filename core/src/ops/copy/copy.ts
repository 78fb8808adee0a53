/**
 * From one repository to another: an image or index with all that is in it, and where asked for what refers to it and
 * what it points to. Digests stay; the tag comes last, so that it never names something that is not all there.
 */
import { FormatError, IntegrityError, isAshlarError, SourceError } from "../../errors/index.ts";
import {
  type Descriptor,
  isDocumentType,
  isIndexType,
  MAX_INDEX_DEPTH,
  parseArtifactManifest,
  parseIndex,
  type Repository,
  readBlob,
  type Selector,
} from "../../formats/oci/index.ts";
import type { Digest, Hashes } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { MAX_REFERRERS, referrersTag } from "../registry/index.ts";
import { type Reporter, silentReporter } from "../report.ts";
import { forwardSource } from "./forward-source.ts";

export interface CopyEnvironment {
  readonly hashes: Hashes;
  readonly reporter?: Reporter | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface CopyOptions {
  /** The tag at the destination; undefined for none. */
  readonly tag: string | undefined;
  /**
   * Also what refers to it and what it refers to, the signatures of cosign, and, of a channel, the releases, each with
   * the image that it was made from where that is in the same repository. Default: false.
   */
  readonly all?: boolean | undefined;
  /** The source's path within the registry, where both are in one: blobs are mounted from there. */
  readonly mountFrom?: string | undefined;
}

export interface Copied {
  /** What the tag or digest means. */
  readonly descriptor: Descriptor;
  readonly manifests: number;
  /** Blobs by what became of them. */
  readonly blobs: { readonly present: number; readonly mounted: number; readonly sent: number };
  /** Bytes of the blobs that were sent. */
  readonly sentBytes: number;
  /** Tags other than the own that were written: cosign's. */
  readonly tags: readonly string[];
}

/** Documents of one copy. */
const MAX_DOCUMENTS = 50_000;
/** Blobs that travel at once. */
const CONCURRENT_BLOBS = 4;
/** What refers to what refers to … */
const MAX_REFERRER_DEPTH = 8;

/** Tags that cosign makes of a digest: signatures, attestations, bills of materials. */
const COSIGN_SUFFIXES = [".sig", ".att", ".sbom"];

interface Document {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
  /** Written to these tags as well. */
  readonly tags: Set<string>;
}

/**
 * Errors: those of both repositories; IntegrityError where something is not what its digest says; FormatError
 * `too-deep`; SourceError `too-large`. What was stored before an error stays, without a tag.
 */
export async function copyImage(
  source: Repository,
  selector: Selector,
  destination: Repository,
  environment: CopyEnvironment,
  options: CopyOptions,
): Promise<Copied> {
  const { signal, reporter = silentReporter } = environment;
  const top = await source.resolve(selector, { signal });
  const plan = new Plan(source, environment, options.all ?? false);
  await plan.add(top, 0);
  const blobs = [...plan.blobs.values()];
  const task = reporter.start(
    "copy",
    blobs.reduce((sum, { size }) => sum + size, 0),
  );
  const counts = { present: 0, mounted: 0, sent: 0 };
  let sentBytes = 0;
  try {
    await eachAtOnce(blobs, CONCURRENT_BLOBS, signal, async (blob, blobSignal) => {
      const content = forwardSource(source, blob);
      try {
        let told = 0;
        const onProgress = (amount: number): void => {
          told += amount;
          task.advance(amount);
        };
        const mountFrom = options.mountFrom === undefined ? undefined : [options.mountFrom];
        const result = await destination.putBlob(blob, content, { signal: blobSignal, onProgress, mountFrom });
        counts[result]++;
        if (result === "sent") sentBytes += blob.size;
        task.advance(Math.max(0, blob.size - told));
      } finally {
        await content.close();
      }
    });
    // In the order of the plan what a document lists comes before it, and what refers to it after it.
    for (const { descriptor, bytes } of plan.documents.values())
      if (!(await destination.has(descriptor, { signal })) || refersTo(descriptor, bytes))
        await destination.putManifest(descriptor, bytes, undefined, { signal });
    const tags: string[] = [];
    for (const { descriptor, bytes, tags: names } of plan.documents.values())
      for (const name of names) {
        await destination.putManifest(descriptor, bytes, name, { signal });
        tags.push(name);
      }
    const own = plan.documents.get(top.digest)!; // the first that was planned
    await destination.putManifest(own.descriptor, own.bytes, options.tag, { signal });
    return { descriptor: own.descriptor, manifests: plan.documents.size, blobs: counts, sentBytes, tags };
  } finally {
    task.end();
  }
}

/** Whether a document is there says nothing of the list of referrers that it has to be in. */
function refersTo({ mediaType, digest }: Descriptor, bytes: Uint8Array): boolean {
  return !isIndexType(mediaType) && parseArtifactManifest(bytes, digest).subject !== undefined;
}

/** Finds everything that a copy consists of. Every document is verified. */
class Plan {
  /** Each after what it consists of. */
  readonly documents = new Map<Digest, Document>();
  readonly blobs = new Map<Digest, Descriptor>();
  private readonly source: Repository;
  private readonly environment: CopyEnvironment;
  private readonly all: boolean;
  private tags: Promise<ReadonlySet<string>> | undefined;

  constructor(source: Repository, environment: CopyEnvironment, all: boolean) {
    this.source = source;
    this.environment = environment;
    this.all = all;
  }

  private get options(): ReadOptions {
    return { signal: this.environment.signal };
  }

  /** @param depth of referrers and references */
  async add(descriptor: Descriptor, depth: number, nesting = 0): Promise<void> {
    const { digest, mediaType } = descriptor;
    if (this.documents.has(digest)) return;
    const { source, environment } = this;
    const what = `${source.name}: manifest ${digest}`;
    if (nesting >= MAX_INDEX_DEPTH)
      throw new FormatError("too-deep", `${what}: indexes nest deeper than ${MAX_INDEX_DEPTH}`);
    if (this.documents.size >= MAX_DOCUMENTS)
      throw new SourceError("too-large", `${source.name}: more than ${MAX_DOCUMENTS} manifests belong to this`);
    const bytes = await readBlob(source, descriptor, environment.hashes, what, this.options);
    const document = { descriptor: { mediaType, digest, size: descriptor.size, annotations: {} }, bytes };
    if (isIndexType(mediaType)) {
      for (const child of parseIndex(bytes, what).manifests)
        if (isDocumentType(child.mediaType)) await this.add(child, depth, nesting + 1);
        else this.blobs.set(child.digest, child);
    } else {
      const { config, layers, subject } = parseArtifactManifest(bytes, what);
      for (const blob of [config, ...layers]) this.addBlob(blob, what);
      if (this.all && subject !== undefined && depth < MAX_REFERRER_DEPTH) await this.addSubject(subject, depth + 1);
      if (this.documents.has(digest)) return; // the subject's referrers led back here
    }
    this.documents.set(digest, { ...document, tags: new Set() });
    if (this.all && depth < MAX_REFERRER_DEPTH) await this.addRelated(document.descriptor, bytes, depth + 1);
  }

  /** The image that a release was made from, so that it can be built again where the copy goes. It may be elsewhere. */
  private async addSubject(subject: Descriptor, depth: number): Promise<void> {
    if (this.documents.has(subject.digest) || !isDocumentType(subject.mediaType)) return;
    if (await this.source.has(subject, this.options)) await this.add(subject, depth);
  }

  private addBlob(blob: Descriptor, what: string): void {
    const known = this.blobs.get(blob.digest);
    if (known !== undefined && known.size !== blob.size)
      throw new IntegrityError("size-mismatch", `${what}: blob ${blob.digest} cannot have two sizes`, {
        expected: known.size,
        actual: blob.size,
      });
    this.blobs.set(blob.digest, blob);
  }

  private async addRelated(descriptor: Descriptor, bytes: Uint8Array, depth: number): Promise<void> {
    const { source, environment } = this;
    const { digest, mediaType } = descriptor;
    const referrers = await source.referrers(digest, this.options);
    if (referrers.length > MAX_REFERRERS)
      throw new SourceError("too-large", `${source.name}: ${digest}: there are more than ${MAX_REFERRERS} referrers`);
    // In an order of their own, so that the same things make the same archive wherever they come from.
    for (const referrer of sorted(referrers)) await this.add(referrer, depth);
    const stem = referrersTag(digest);
    const tags = await this.knownTags();
    for (const suffix of COSIGN_SUFFIXES) {
      const tag = stem + suffix;
      if (!tags.has(tag)) continue;
      const found = await source.resolve({ tag }, this.options);
      await this.add(found, depth);
      this.documents.get(found.digest)?.tags.add(tag);
    }
    if (tags.has(stem)) await this.addListed(stem, depth);
    if (isIndexType(mediaType)) return;
    const { referencesOf } = await import("../channel/index.ts"); // a lot of code that most copies need nothing of
    for (const reference of await referencesOf(source, bytes, environment.hashes, this.options))
      await this.add(await source.resolve({ digest: reference.digest }, this.options), depth);
  }

  /** What stands in the list of referrers under a tag; the list itself is made anew at the destination, if one is needed. */
  private async addListed(tag: string, depth: number): Promise<void> {
    const { source, environment } = this;
    const found = await source.resolve({ tag }, this.options);
    if (!isIndexType(found.mediaType)) return;
    const what = `${source.name}: referrers in tag ${tag}`;
    const bytes = await readBlob(source, found, environment.hashes, what, this.options);
    for (const referrer of sorted(parseIndex(bytes, what).manifests)) await this.add(referrer, depth);
  }

  /** Of a repository that is there, but has no tags, some registries say that it is not. */
  private knownTags(): Promise<ReadonlySet<string>> {
    this.tags ??= this.source.tags(this.options).then(
      (tags) => new Set(tags),
      (error: unknown) => {
        if (isAshlarError(error) && error.code === "no-such-image") return new Set<string>();
        throw error;
      },
    );
    return this.tags;
  }
}

function sorted(descriptors: readonly Descriptor[]): Descriptor[] {
  return descriptors.toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
}

/** Runs `work` for each, some at once. The first error ends it all, when what runs has come to an end. */
async function eachAtOnce<T>(
  items: readonly T[],
  limit: number,
  signal: AbortSignal | undefined,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const others = new AbortController();
  const both = signal === undefined ? others.signal : AbortSignal.any([signal, others.signal]);
  const queue = items.values();
  let failure: { readonly error: unknown } | undefined;
  async function run(): Promise<void> {
    for (const item of queue) {
      if (both.aborted) return;
      try {
        await work(item, both);
      } catch (error) {
        failure ??= { error };
        others.abort(error);
      }
    }
  }
  await Promise.all(Array.from({ length: limit }, run));
  signal?.throwIfAborted();
  if (failure !== undefined) throw failure.error;
}
