/** Manifests and indexes of a registry. Spec: distribution-spec 1.1, "Pulling manifests", "Pushing manifests". */
import { IntegrityError, SourceError, UnsupportedError } from "../../errors/index.ts";
import {
  type Descriptor,
  DOCUMENT_TYPES,
  documentMediaType,
  isDocumentType,
  MAX_DOCUMENT_SIZE,
} from "../../formats/oci/index.ts";
import { type Digest, digestAlgorithm, digestOf, type Hashes, parseDigest } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { readBody } from "./body.ts";
import type { Client, ClientResponse } from "./client.ts";
import { failure, isHtml } from "./failure.ts";

export interface Document {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

export interface ManifestPlace {
  readonly client: Client;
  readonly repository: string;
  readonly name: string;
  readonly hashes: Hashes;
}

function request(
  { client, repository, name }: ManifestPlace,
  method: "GET" | "HEAD",
  which: string,
  options: ReadOptions | undefined,
): Promise<ClientResponse> {
  return client.send({
    method,
    target: `${repository}/manifests/${which}`,
    headers: { accept: DOCUMENT_TYPES.join(", "), "accept-encoding": "identity" },
    access: { action: "pull" },
    what: `${name}: ${describe(which)}`,
    signal: options?.signal,
    limit: MAX_DOCUMENT_SIZE,
  });
}

const describe = (which: string): string => (which.includes(":") ? `manifest ${which}` : `tag ${which}`);

/**
 * The manifest or index under a tag or digest; undefined where there is none. Errors: IntegrityError `digest-mismatch`
 * where it is not what the digest or the registry itself says; SourceError `not-a-registry`, `too-large`;
 * UnsupportedError `media-type`; those of {@link failure}.
 */
export async function getManifest(
  place: ManifestPlace,
  which: string,
  options?: ReadOptions,
): Promise<Document | undefined> {
  const { client, name, hashes } = place;
  const what = `${name}: ${describe(which)}`;
  const response = await request(place, "GET", which, options);
  if (response.status === 404 && !isHtml(response)) {
    response.cancel();
    return undefined;
  }
  if (response.status !== 200 || isHtml(response)) throw await failure(response, client.timing, what);
  const bytes = await readBody(response, MAX_DOCUMENT_SIZE, client.timing, what);
  const promised = promisedDigest(which, response);
  const digest = digestOf(hashes, bytes, promised === undefined ? "sha256" : digestAlgorithm(promised));
  if (promised !== undefined && promised !== digest)
    throw new IntegrityError("digest-mismatch", `${what}: digest is ${digest}, expected ${promised}`, {
      expected: promised,
      actual: digest,
    });
  const mediaType = mediaTypeOf(response, bytes, what);
  return { descriptor: { mediaType, digest, size: bytes.length, annotations: {} }, bytes };
}

/** What the one asking says counts; else what the registry says, where that is a digest that we know. */
function promisedDigest(which: string, { headers }: ClientResponse): Digest | undefined {
  if (which.includes(":")) return parseDigest(which);
  const header = headers["docker-content-digest"];
  try {
    return header === undefined ? undefined : parseDigest(header);
  } catch {
    return undefined;
  }
}

/** The header's, unless it says nothing; then the document's own. */
function mediaTypeOf({ headers }: ClientResponse, bytes: Uint8Array, what: string): string {
  const header = (headers["content-type"] ?? "").split(";")[0]!.trim().toLowerCase(); // split gives one part at least
  if (isDocumentType(header)) return header;
  if (header.startsWith("application/vnd.docker.distribution.manifest.v1"))
    throw new UnsupportedError("media-type", `${what}: a manifest of Docker schema 1 is not supported`);
  return documentMediaType(bytes, what);
}

/** Whether a manifest or index is there. */
export async function hasManifest(place: ManifestPlace, which: string, options?: ReadOptions): Promise<boolean> {
  const response = await request(place, "HEAD", which, options);
  if (response.status === 404 || (response.status === 200 && !isHtml(response))) {
    response.cancel();
    return response.status === 200;
  }
  throw await failure(response, place.client.timing, `${place.name}: ${describe(which)}`);
}

/** Stores a document under a tag or its digest. Whether the registry took note of its subject, where it has one. */
export async function sendManifest(
  { client, repository, name }: ManifestPlace,
  { mediaType }: Descriptor,
  bytes: Uint8Array,
  which: string,
  options?: ReadOptions,
): Promise<{ readonly notedSubject: boolean }> {
  const what = `${name}: ${describe(which)}`;
  const response = await client.send({
    method: "PUT",
    target: `${repository}/manifests/${which}`,
    headers: { "content-type": mediaType },
    body: {
      size: bytes.length,
      async *chunks() {
        yield bytes;
      },
    },
    access: { action: "push" },
    what,
    signal: options?.signal,
  });
  if (![200, 201, 202].includes(response.status) || isHtml(response))
    throw await failure(response, client.timing, what, "writing");
  response.cancel();
  return { notedSubject: response.headers["oci-subject"] !== undefined };
}

/** SourceError `no-such-image`. */
export function noSuchImage(name: string, which: string): SourceError {
  return new SourceError(
    "no-such-image",
    `${name}: no ${which.includes(":") ? which : `tag ${JSON.stringify(which)}`}`,
  );
}
