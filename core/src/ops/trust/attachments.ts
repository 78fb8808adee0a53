/** Signatures where cosign keeps them beside what they are of: read from and written to any repository. */
import { encodeUtf8, fromBase64, toBase64 } from "../../bytes/index.ts";
import { FormatError, isAshlarError, PolicyError, SourceError } from "../../errors/index.ts";
import {
  type ArtifactManifest,
  type Descriptor,
  parseArtifactManifest,
  parseDocument,
  type Repository,
  readBlob,
} from "../../formats/oci/index.ts";
import { type Digest, digestOf, type Hashes } from "../../hash/index.ts";
import { bytesSource } from "../../source/index.ts";
import { parseBundle, preAuthenticationEncoding } from "./bundle.ts";
import {
  BUNDLE_CONTENT_ANNOTATION,
  BUNDLE_CONTENT_DSSE,
  BUNDLE_TYPE,
  CONFIG_TYPE,
  EMPTY_TYPE,
  MANIFEST_TYPE,
  MAX_SIGNATURES,
  PREDICATE_TYPE_ANNOTATION,
  SIGNATURE_ANNOTATION,
  SIMPLE_SIGNING_TYPE,
} from "./format.ts";
import type { SignatureVerifier } from "./verifier.ts";

export type SignatureForm = "classic" | "bundle";

export interface TrustEnvironment {
  readonly hashes: Hashes;
  readonly verifier: SignatureVerifier;
  readonly signal?: AbortSignal | undefined;
}

/** A signature as it was found; nothing of it is believed yet. */
export interface Attachment {
  readonly form: SignatureForm;
  /** For people: which it is. */
  readonly what: string;
  /** The claim: simple signing, or a statement. */
  readonly payload: Uint8Array;
  /** What is signed: the payload itself, or its pre-authentication encoding. */
  readonly message: Uint8Array;
  readonly signatures: readonly Uint8Array[];
  /** Of the key that made it, as it says. */
  readonly hint: string | undefined;
}

/** One that could not be read: what is wrong with it. A registry that fails is another matter: that is thrown. */
export interface Unreadable {
  readonly what: string;
  readonly error: Error;
}

export interface Found {
  readonly attachments: readonly Attachment[];
  readonly unreadable: readonly Unreadable[];
}

/** `sha256-….sig`, the tag of cosign's classic signatures of a digest. */
export function signatureTag(digest: Digest): string {
  return `${digest.replace(":", "-")}.sig`;
}

/** Runs `read` for each and keeps what fails by its own fault apart. */
async function readEach<T>(
  items: readonly T[],
  nameOf: (item: T, index: number) => string,
  read: (item: T, what: string) => Promise<Attachment | undefined>,
): Promise<Found> {
  const attachments: Attachment[] = [];
  const unreadable: Unreadable[] = [];
  for (const [index, item] of items.slice(0, MAX_SIGNATURES).entries()) {
    const what = nameOf(item, index);
    try {
      const attachment = await read(item, what);
      if (attachment !== undefined) attachments.push(attachment);
    } catch (error) {
      if (!isFaultOfIts(error)) throw error;
      unreadable.push({ what, error });
    }
  }
  if (items.length > MAX_SIGNATURES) {
    const message = `${items.length} signatures are there, only the first ${MAX_SIGNATURES} were looked at`;
    unreadable.push({ what: "too many", error: new PolicyError("too-many-signatures", message) });
  }
  return { attachments, unreadable };
}

/** Wrong or missing bytes of one signature do not spoil the others; a server that does not answer may be hiding them. */
function isFaultOfIts(error: unknown): error is Error {
  return isAshlarError(error) && (!(error instanceof SourceError) || error.code === "no-blob");
}

/** The manifest of the classic signatures; undefined where there is none. */
async function findClassic(repository: Repository, digest: Digest, { signal }: TrustEnvironment) {
  try {
    return await repository.resolve({ tag: signatureTag(digest) }, { signal });
  } catch (error) {
    if (error instanceof SourceError && error.code === "no-such-image") return undefined;
    throw error;
  }
}

/** The classic signatures of a digest. Errors: SourceError; what is wrong with one of them is in the result. */
export async function readClassic(
  repository: Repository,
  digest: Digest,
  environment: TrustEnvironment,
): Promise<Found> {
  const found = await findClassic(repository, digest, environment);
  if (found === undefined) return { attachments: [], unreadable: [] };
  const tag = signatureTag(digest);
  let manifest: ArtifactManifest;
  try {
    manifest = parseArtifactManifest(await readBlob(repository, found, environment.hashes, tag, environment), tag);
  } catch (error) {
    if (!isFaultOfIts(error)) throw error;
    return { attachments: [], unreadable: [{ what: tag, error }] };
  }
  return readEach(
    manifest.layers,
    (_, index) => `signature ${index + 1} of ${tag}`,
    async (layer, what) => {
      const encoded = layer.annotations[SIGNATURE_ANNOTATION];
      if (layer.mediaType !== SIMPLE_SIGNING_TYPE || encoded === undefined)
        throw new FormatError("bad-attachment", `${what}: is no signature by its media type and annotations`);
      const payload = await readBlob(repository, layer, environment.hashes, what, environment);
      const signatures = [fromBase64(encoded, what)];
      return { form: "classic", what, payload, message: payload, signatures, hint: undefined };
    },
  );
}

/**
 * The bundles that refer to a digest and hold a statement of this type, as far as they tell before they are read. Errors
 * as {@link readClassic}.
 */
export async function readBundles(
  repository: Repository,
  digest: Digest,
  predicateType: string,
  environment: TrustEnvironment,
): Promise<Found> {
  const { hashes, signal } = environment;
  // Not asked for by type: some registries give the media type of the config for it, which says nothing here.
  const wanted = (await repository.referrers(digest, { signal })).filter(({ artifactType, annotations }) => {
    const said = annotations[PREDICATE_TYPE_ANNOTATION];
    return mayBeBundle(artifactType) && (said === undefined || said === predicateType);
  });
  return readEach(
    wanted,
    (descriptor) => `bundle ${descriptor.digest}`,
    async (descriptor, what) => {
      const manifest = parseArtifactManifest(await readBlob(repository, descriptor, hashes, what, environment), what);
      const { artifactType, annotations } = manifest;
      const said = annotations[PREDICATE_TYPE_ANNOTATION];
      const isOther = artifactType !== BUNDLE_TYPE || (said !== undefined && said !== predicateType);
      if (descriptor.artifactType !== BUNDLE_TYPE && isOther) return undefined;
      const [layer] = manifest.layers;
      if (artifactType !== BUNDLE_TYPE || layer?.mediaType !== BUNDLE_TYPE)
        throw new FormatError("bad-attachment", `${what}: is no sigstore bundle by its artifactType and media type`);
      const bundle = parseBundle(await readBlob(repository, layer, hashes, what, environment), what);
      const { payload, signatures, hint } = bundle;
      return { form: "bundle", what, payload, message: preAuthenticationEncoding(payload), signatures, hint };
    },
  );
}

function mayBeBundle(artifactType: string | undefined): boolean {
  return artifactType === undefined || artifactType === BUNDLE_TYPE || artifactType === EMPTY_TYPE;
}

function descriptorOf(bytes: Uint8Array, mediaType: string, hashes: Hashes): Descriptor {
  return { mediaType, digest: digestOf(hashes, bytes), size: bytes.length, annotations: {} };
}

/** Only these members: a descriptor of ours carries annotations even where there are none. */
function reference({ mediaType, size, digest }: Descriptor) {
  return { mediaType, size, digest };
}

async function putDocument(
  repository: Repository,
  bytes: Uint8Array,
  mediaType: string,
  { hashes, signal }: TrustEnvironment,
): Promise<Descriptor> {
  const descriptor = descriptorOf(bytes, mediaType, hashes);
  await repository.putBlob(descriptor, bytesSource(bytes), { signal });
  return descriptor;
}

/**
 * Adds a classic signature to those that are there. Two who do this at the same moment may lose one of the two
 * signatures: a tag has no other way of being moved. Bundles do not have that weakness.
 */
export async function writeClassic(
  repository: Repository,
  digest: Digest,
  payload: Uint8Array,
  signature: Uint8Array,
  environment: TrustEnvironment,
): Promise<Descriptor> {
  const { hashes, signal } = environment;
  const tag = signatureTag(digest);
  const found = await findClassic(repository, digest, environment);
  const present = found && (await readBlob(repository, found, hashes, tag, environment));
  const others = present === undefined ? [] : parseArtifactManifest(present, tag).layers;
  const layer = await putDocument(repository, payload, SIMPLE_SIGNING_TYPE, environment);
  const config = await putDocument(
    repository,
    encodeUtf8(
      JSON.stringify({
        architecture: "",
        created: "0001-01-01T00:00:00Z", // what cosign writes: an image config has to be one
        history: [...others, layer].map(() => ({ created: "0001-01-01T00:00:00Z" })),
        os: "",
        rootfs: { type: "layers", diff_ids: [...others, layer].map((each) => each.digest) },
        config: {},
      }),
    ),
    CONFIG_TYPE,
    environment,
  );
  const document = (present === undefined ? {} : parseDocument(present, tag)) as {
    readonly layers?: readonly unknown[];
  };
  const bytes = encodeUtf8(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      ...document, // whatever other signers have put there stays as it is
      config: reference(config),
      layers: [
        ...(document.layers ?? []),
        { ...reference(layer), annotations: { [SIGNATURE_ANNOTATION]: toBase64(signature) } },
      ],
    }),
  );
  const manifest = descriptorOf(bytes, MANIFEST_TYPE, hashes);
  await repository.putManifest(manifest, bytes, tag, { signal });
  return manifest;
}

/** Adds a bundle to the referrers of `subject`. */
export async function writeBundle(
  repository: Repository,
  subject: Descriptor,
  bundle: Uint8Array,
  predicateType: string,
  environment: TrustEnvironment,
): Promise<Descriptor> {
  const config = await putDocument(repository, encodeUtf8("{}"), EMPTY_TYPE, environment);
  const layer = await putDocument(repository, bundle, BUNDLE_TYPE, environment);
  const bytes = encodeUtf8(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST_TYPE,
      artifactType: BUNDLE_TYPE,
      config: reference(config),
      layers: [reference(layer)],
      subject: reference(subject),
      annotations: { [BUNDLE_CONTENT_ANNOTATION]: BUNDLE_CONTENT_DSSE, [PREDICATE_TYPE_ANNOTATION]: predicateType },
    }),
  );
  const manifest = descriptorOf(bytes, MANIFEST_TYPE, environment.hashes);
  await repository.putManifest(manifest, bytes, undefined, { signal: environment.signal });
  return manifest;
}
