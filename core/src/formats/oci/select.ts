/** From what a name means to one manifest: through nested indexes, by platform. */
import { oneLine } from "../../bytes/index.ts";
import { FormatError, SourceError, UnsupportedError } from "../../errors/index.ts";
import type { Hashes } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { isIndexType, isManifestType, MAX_INDEX_DEPTH } from "./format.ts";
import { type Descriptor, type Manifest, type Platform, parseIndex, parseManifest } from "./read.ts";
import { type BlobStore, readBlob } from "./store.ts";

export interface SelectedManifest {
  readonly descriptor: Descriptor;
  readonly manifest: Manifest;
  /** What the digest is over. */
  readonly bytes: Uint8Array;
}

/** `os/architecture[/variant]`, as `--platform` takes it. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return variant === undefined || variant === "" ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`;
}

/** Throws FormatError `bad-platform`. */
export function parsePlatform(text: string): Platform {
  const match = /^([a-z0-9_.-]+)\/([a-z0-9_.-]+)(?:\/([a-z0-9_.-]+))?$/i.exec(text);
  if (match === null)
    throw new FormatError(
      "bad-platform",
      `not a platform: ${JSON.stringify(text.slice(0, 80))}; expected os/architecture[/variant]`,
    );
  const [, os, architecture, variant] = match as unknown as [string, string, string, string | undefined];
  return { os, architecture, variant };
}

/** A variant counts only where both sides have one: arm64 is v8, written or not. */
export function matchesPlatform(candidate: Platform, wanted: Platform): boolean {
  return (
    candidate.os === wanted.os &&
    candidate.architecture === wanted.architecture &&
    (!candidate.variant || !wanted.variant || candidate.variant === wanted.variant)
  );
}

/**
 * Follows indexes down to a manifest, every step verified. Errors: SourceError `no-such-platform` listing those there
 * are; FormatError `bad-index`, `bad-manifest`, `too-deep`; UnsupportedError `media-type`; IntegrityError of
 * {@link readBlob}.
 */
export async function readManifest(
  store: BlobStore,
  start: Descriptor,
  platform: Platform,
  hashes: Hashes,
  options?: ReadOptions,
): Promise<SelectedManifest> {
  let descriptor = start;
  for (let depth = 0; isIndexType(descriptor.mediaType); depth++) {
    const what = `${store.name}: index ${descriptor.digest}`;
    if (depth >= MAX_INDEX_DEPTH)
      throw new FormatError("too-deep", `${what}: indexes nest deeper than ${MAX_INDEX_DEPTH}`);
    const bytes = await readBlob(store, descriptor, hashes, what, options);
    descriptor = choosePlatform(parseIndex(bytes, what).manifests, platform, what);
  }
  const { mediaType, digest } = descriptor;
  const what = `${store.name}: manifest ${digest}`;
  if (!isManifestType(mediaType))
    throw new UnsupportedError(
      "media-type",
      `${what}: media type ${JSON.stringify(mediaType.slice(0, 120))} is not supported`,
    );
  const bytes = await readBlob(store, descriptor, hashes, what, options);
  const manifest = parseManifest(bytes, what);
  // The descriptor and the document must mean the same kind of thing (CVE-2021-41190).
  if (manifest.mediaType !== undefined && manifest.mediaType !== mediaType)
    throw new FormatError("bad-manifest", `${what}: media type inside is ${manifest.mediaType}, outside ${mediaType}`);
  return { descriptor, manifest, bytes };
}

function choosePlatform(manifests: readonly Descriptor[], wanted: Platform, what: string): Descriptor {
  // Attestations of BuildKit stand beside the images as platform unknown/unknown.
  const images = manifests.filter(
    ({ mediaType, platform }) =>
      (isIndexType(mediaType) || isManifestType(mediaType)) && platform?.architecture !== "unknown",
  );
  const matching = images.filter(({ platform }) => platform !== undefined && matchesPlatform(platform, wanted));
  const best = matching.find(({ platform }) => (platform?.variant ?? "") === (wanted.variant ?? "")) ?? matching[0];
  if (best !== undefined) return best;
  const [only] = images;
  if (images.length === 1 && only?.platform === undefined && only !== undefined) return only; // its config will tell
  const there = [
    ...new Set(images.map(({ platform }) => (platform ? formatPlatform(platform) : "one without platform"))),
  ];
  throw new SourceError(
    "no-such-platform",
    `${what}: nothing for ${formatPlatform(wanted)}; there is ${there.slice(0, 20).map(oneLine).join(", ") || "nothing"}`,
  );
}
