/** A repository of a registry behind the port that images, releases and signatures are kept behind. */
import { IntegrityError, SourceError } from "../../errors/index.ts";
import {
  type Descriptor,
  isDocumentType,
  parseArtifactManifest,
  type Repository,
  type Selector,
} from "../../formats/oci/index.ts";
import { type Digest, digestAlgorithm, digestOf, type Hashes } from "../../hash/index.ts";
import { bytesSource, type ReadOptions } from "../../source/index.ts";
import { type ClientEnvironment, type ClientOptions, createClient } from "./client.ts";
import { openDownload, openPart, rangedBlob } from "./download.ts";
import { failure, isHtml } from "./failure.ts";
import { type Document, getManifest, hasManifest, noSuchImage, sendManifest } from "./manifests.ts";
import { formatName } from "./reference.ts";
import { enterReferrer, listReferrers } from "./referrers.ts";
import { listTags } from "./tags.ts";
import { uploadBlob } from "./upload.ts";

export interface RegistryEnvironment extends ClientEnvironment {
  readonly hashes: Hashes;
}

export interface RegistryOptions extends ClientOptions {
  readonly repository: string;
}

/** Documents that are remembered: an image is its index, its manifest, and what refers to them. */
const MAX_REMEMBERED = 16;
export const DEFAULT_TAG = "latest";

/** Nothing is sent before the first call. @param host as people write it */
export function openRegistryRepository(options: RegistryOptions, environment: RegistryEnvironment): Repository {
  const { host, repository } = options;
  const { hashes, timing } = environment;
  const client = createClient(options, environment);
  const name = `docker://${formatName({ host, repository })}`;
  const place = { client, repository, name, hashes };
  const documents = new Map<Digest, Document>();

  function remember(document: Document): Document {
    documents.set(document.descriptor.digest, document);
    const oldest = documents.keys().next();
    if (documents.size > MAX_REMEMBERED && !oldest.done) documents.delete(oldest.value);
    return document;
  }

  /** Its bytes are verified. */
  async function document(digest: Digest, options?: ReadOptions): Promise<Document> {
    const known = documents.get(digest);
    if (known !== undefined) return known;
    const found = await getManifest(place, digest, options);
    if (found === undefined) throw new SourceError("no-blob", `${name}: manifest ${digest} is missing`);
    return remember(found);
  }

  async function hasBlob({ digest }: Descriptor, access: "pull" | "push", options?: ReadOptions): Promise<boolean> {
    const what = `${name}: blob ${digest}`;
    const response = await client.send({
      method: "HEAD",
      target: `${repository}/blobs/${digest}`,
      access: { action: access },
      what,
      signal: options?.signal,
    });
    if ((response.status !== 200 && response.status !== 404) || (response.status === 200 && isHtml(response)))
      throw await failure(response, timing, what, access === "push" ? "writing" : "reading");
    response.cancel();
    return response.status === 200;
  }

  return {
    name,
    async resolve({ tag = DEFAULT_TAG, digest }: Selector, options) {
      const which = digest ?? tag;
      const found = await getManifest(place, which, options);
      if (found === undefined) throw noSuchImage(name, which);
      return remember(found).descriptor;
    },
    async open(descriptor, options) {
      if (!isDocumentType(descriptor.mediaType)) return openDownload(place, descriptor, options);
      const { bytes } = await document(descriptor.digest, options);
      return {
        size: bytes.length,
        async *chunks() {
          yield bytes;
        },
        close: async () => {},
      };
    },
    async openBlob(descriptor, options) {
      if (!isDocumentType(descriptor.mediaType)) return rangedBlob(place, descriptor);
      const { bytes } = await document(descriptor.digest, options);
      return { ...bytesSource(bytes), close: async () => {} };
    },
    openPart: (descriptor, start, length, options) => openPart(place, descriptor, start, length, options),
    has: (descriptor, options) =>
      isDocumentType(descriptor.mediaType)
        ? hasManifest(place, descriptor.digest, options)
        : hasBlob(descriptor, "pull", options),
    async putBlob(descriptor, content, options) {
      if (await hasBlob(descriptor, "push", options)) return "present";
      return uploadBlob(place, descriptor, content, options);
    },
    async putManifest(descriptor, bytes, tag, options) {
      const { digest } = descriptor;
      const actual = digestOf(hashes, bytes, digestAlgorithm(digest));
      if (actual !== digest || bytes.length !== descriptor.size)
        throw new IntegrityError("digest-mismatch", `${name}: manifest: digest is ${actual}, expected ${digest}`, {
          expected: digest,
          actual,
        });
      const referrer = subjectOf(descriptor, bytes, name);
      if (referrer === undefined) {
        await sendManifest(place, descriptor, bytes, tag ?? digest, options);
        return;
      }
      // The tag comes last: whoever finds the thing by it finds it among the referrers too.
      const { notedSubject } = await sendManifest(place, descriptor, bytes, digest, options);
      if (!notedSubject) await enterReferrer(place, referrer.subject, referrer.descriptor, options);
      if (tag !== undefined) await sendManifest(place, descriptor, bytes, tag, options);
    },
    referrers: (digest, options) => listReferrers(place, digest, options),
    tags: (options) => listTags(place, options),
    close: async () => {},
  };
}

/**
 * Whether a registry takes the credentials: asks it for nothing but that. Errors: SourceError `unauthorized` where it
 * does not, and those of the client.
 */
export async function checkCredentials(options: Omit<ClientOptions, "repository">, environment: ClientEnvironment) {
  const what = `docker://${options.host}`;
  const client = createClient({ ...options, repository: undefined }, environment);
  const response = await client.send({ method: "GET", target: "", access: { action: "pull" }, what });
  if (response.status !== 200 || isHtml(response)) throw await failure(response, environment.timing, what);
  response.cancel();
}

/** A manifest that says something about another one, as the list of that one's referrers names it. */
export function subjectOf(descriptor: Descriptor, bytes: Uint8Array, what: string) {
  if (descriptor.mediaType !== "application/vnd.oci.image.manifest.v1+json") return undefined;
  const { subject, artifactType, annotations } = parseArtifactManifest(bytes, `${what}: manifest ${descriptor.digest}`);
  if (subject === undefined) return undefined;
  const { mediaType, digest, size } = descriptor;
  return { subject: subject.digest, descriptor: { mediaType, digest, size, artifactType, annotations } };
}
