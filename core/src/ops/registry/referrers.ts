/**
 * What refers to a manifest: the registry's own list, or, where it keeps none, an index under a tag that everybody who
 * pushes keeps up. Spec: distribution-spec 1.1, "Listing Referrers", "Referrers Tag Schema".
 */
import { encodeUtf8 } from "../../bytes/index.ts";
import { FormatError, SinkError, SourceError } from "../../errors/index.ts";
import {
  type Descriptor,
  MAX_DOCUMENT_SIZE,
  OCI_INDEX,
  parseIndex,
  type ReferrersOptions,
} from "../../formats/oci/index.ts";
import { type Digest, digestOf } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { readBody } from "./body.ts";
import { failure, isHtml } from "./failure.ts";
import { MAX_PAGES, MAX_REFERRERS } from "./limits.ts";
import { getManifest, type ManifestPlace, sendManifest } from "./manifests.ts";
import { nextLink, resolveLocation } from "./url.ts";

/** Times that an index is written again because somebody else wrote it in between. */
const MAX_RACES = 5;

/** The tag under which the list stands in a registry without referrers API: `sha256-HEX`. */
export function referrersTag(digest: Digest): string {
  const [algorithm = "", hex = ""] = digest.split(":");
  return `${algorithm.slice(0, 32)}-${hex.slice(0, 64)}`;
}

/** Errors: FormatError `bad-index`; those of the registry. A list that is refused is never an empty one. */
export async function listReferrers(
  place: ManifestPlace,
  digest: Digest,
  options: ReferrersOptions = {},
): Promise<readonly Descriptor[]> {
  const { artifactType } = options;
  const all = (await askRegistry(place, digest, options)) ?? (await readFallback(place, digest, options));
  const wanted = artifactType === undefined ? all : all.filter((one) => one.artifactType === artifactType);
  const seen = new Set<Digest>();
  return wanted.filter((one) => !seen.has(one.digest) && seen.add(one.digest));
}

/** Undefined where the registry has no referrers API. */
async function askRegistry(
  { client, repository, name }: ManifestPlace,
  digest: Digest,
  { artifactType, signal }: ReferrersOptions,
): Promise<readonly Descriptor[] | undefined> {
  const what = `${name}: referrers of ${digest}`;
  const query = artifactType === undefined ? "" : `?${new URLSearchParams({ artifactType })}`;
  let target: string | URL = `${repository}/referrers/${digest}${query}`;
  const found: Descriptor[] = [];
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const response = await client.send({
      method: "GET",
      target,
      headers: { accept: OCI_INDEX },
      access: { action: "pull" },
      what,
      limit: MAX_DOCUMENT_SIZE,
      signal,
    });
    // Registries of before 1.1 know no such address; some show a page for people instead.
    if (pages === 0 && (MISSING.includes(response.status) || (response.status === 200 && isHtml(response)))) {
      response.cancel();
      return undefined;
    }
    if (response.status !== 200) throw await failure(response, client.timing, what);
    const link = nextLink(response.headers["link"]);
    const bytes = await readBody(response, MAX_DOCUMENT_SIZE, client.timing, what);
    found.push(...parseIndex(bytes, what).manifests);
    if (found.length > MAX_REFERRERS)
      throw new SourceError("too-large", `${what}: there are more than ${MAX_REFERRERS}`);
    if (link === undefined) return found;
    target = resolveLocation(link, response.url, what);
  }
  throw new SourceError("too-large", `${what}: the list has more than ${MAX_PAGES} pages`);
}
const MISSING: readonly number[] = [400, 404, 405, 501];

async function readFallback(
  place: ManifestPlace,
  digest: Digest,
  options: ReadOptions,
): Promise<readonly Descriptor[]> {
  const tag = referrersTag(digest);
  const document = await getManifest(place, tag, options);
  if (document === undefined) return [];
  const { manifests } = parseIndex(document.bytes, `${place.name}: referrers in tag ${tag}`);
  if (manifests.length > MAX_REFERRERS)
    throw new SourceError("too-large", `${place.name}: tag ${tag}: there are more than ${MAX_REFERRERS}`);
  return manifests;
}

/**
 * For a registry that did not say that it took note of a subject: sees to it that its list has the referrer. Errors:
 * SinkError `referrers-race`.
 */
export async function enterReferrer(
  place: ManifestPlace,
  subject: Digest,
  referrer: Descriptor,
  options?: ReadOptions,
): Promise<void> {
  const isListed = (list: readonly Descriptor[]) => list.some(({ digest }) => digest === referrer.digest);
  if (isListed((await askRegistry(place, subject, options ?? {})) ?? [])) return; // it has an API and only does not say so
  const tag = referrersTag(subject);
  for (let races = 0; races < MAX_RACES; races++) {
    const there = await readFallback(place, subject, options ?? {});
    if (isListed(there)) return;
    const bytes = encodeIndex([...there, referrer]);
    if (bytes.length > MAX_DOCUMENT_SIZE)
      throw new FormatError("too-large", `${place.name}: the referrers of ${subject} no longer fit into one index`);
    const descriptor = {
      mediaType: OCI_INDEX,
      digest: digestOf(place.hashes, bytes),
      size: bytes.length,
      annotations: {},
    };
    await sendManifest(place, descriptor, bytes, tag, options);
  }
  throw new SinkError("referrers-race", `${place.name}: tag ${tag}: others keep changing the list of referrers`);
}

function encodeIndex(manifests: readonly Descriptor[]): Uint8Array {
  const entries = manifests.map(({ mediaType, digest, size, platform, artifactType, annotations }) => ({
    mediaType,
    digest,
    size,
    ...(platform === undefined ? {} : { platform }),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  }));
  return encodeUtf8(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: entries }));
}
