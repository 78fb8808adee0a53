/** The manifest of a release: what each of its layers is. */
import { encodeUtf8 } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { type BlobStore, type Descriptor, parseArtifactManifest, readBlob } from "../../formats/oci/index.ts";
import { MAX_PACKS } from "../../formats/pack/index.ts";
import { digestOf, type Hashes } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import {
  ASSEMBLY_TYPE,
  LITERALS_TYPE,
  MANIFEST_TYPE,
  PACK_TYPE,
  RECIPE_TYPE,
  RELEASE_TYPE,
  SECTION_FRAMES_TYPE,
  SECTION_RECIPE_TYPE,
  SECTION_TYPE,
  TREE_TYPE,
} from "./media-types.ts";
import { parseStoredSection, type StoredSection } from "./stored-section.ts";

/** Layers by what they are; layers of types that are not known here are left out. */
export interface ReleaseLayers {
  /** release.json. */
  readonly config: Descriptor;
  readonly recipe: Descriptor;
  /** Undefined where the tree has no level above its leaves. */
  readonly tree: Descriptor | undefined;
  readonly packs: readonly Descriptor[];
  readonly sections: readonly Descriptor[];
  /** Of sections that can be made from the root; an annotation names the section. */
  readonly sectionRecipes: readonly Descriptor[];
  /** Undefined where the release is a root and its hash device alone. */
  readonly assembly: Descriptor | undefined;
  readonly literals: readonly Descriptor[];
}

export interface ReleaseManifest extends Omit<ReleaseLayers, "sections"> {
  readonly sections: readonly StoredSection[];
  readonly descriptor: Descriptor;
  readonly subject: Descriptor | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

/** Bytes of a manifest and its descriptor. */
export interface EncodedManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

/** A document of OCI: compact JSON, in the order of its keys. */
export function encodeDocument(value: unknown, mediaType: string, hashes: Hashes): EncodedManifest {
  const bytes = encodeUtf8(JSON.stringify(value));
  return { descriptor: { mediaType, digest: digestOf(hashes, bytes), size: bytes.length, annotations: {} }, bytes };
}

/** A descriptor as documents have it: nothing that is empty. */
export function plainDescriptor({ mediaType, digest, size, artifactType, platform, annotations }: Descriptor): object {
  return {
    mediaType,
    digest,
    size,
    ...(platform === undefined ? {} : { platform }),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
  };
}

export function encodeReleaseManifest(
  layers: ReleaseLayers,
  subject: Descriptor | undefined,
  annotations: Readonly<Record<string, string>>,
  hashes: Hashes,
): EncodedManifest {
  const { config, recipe, tree, packs, sections, sectionRecipes, assembly, literals } = layers;
  const all = [recipe, tree, ...packs, ...sections, ...sectionRecipes, assembly, ...literals].filter(
    (layer) => layer !== undefined,
  );
  const { mediaType, digest, size } = subject ?? {};
  const document = {
    schemaVersion: 2,
    mediaType: MANIFEST_TYPE,
    artifactType: RELEASE_TYPE,
    config: plainDescriptor(config),
    layers: all.map(plainDescriptor),
    ...(subject === undefined ? {} : { subject: { mediaType, digest, size } }),
    annotations,
  };
  const encoded = encodeDocument(document, MANIFEST_TYPE, hashes);
  return { ...encoded, descriptor: { ...encoded.descriptor, artifactType: RELEASE_TYPE } };
}

/**
 * Reads and interprets the manifest of a release. Errors: those of {@link readBlob} and of the parser; UnsupportedError
 * `not-a-release` for what is something else; FormatError `bad-manifest` where layers are missing, `bad-section`.
 */
export async function readReleaseManifest(
  store: BlobStore,
  descriptor: Descriptor,
  hashes: Hashes,
  options?: ReadOptions,
): Promise<ReleaseManifest> {
  const what = `${store.name}: manifest ${descriptor.digest}`;
  const manifest = parseArtifactManifest(await readBlob(store, descriptor, hashes, what, options), what);
  const { config, layers, subject, annotations, artifactType } = manifest;
  if (artifactType !== RELEASE_TYPE || config.mediaType !== RELEASE_TYPE)
    throw new UnsupportedError(
      "not-a-release",
      `${what}: is ${JSON.stringify(artifactType.slice(0, 120))}, no release`,
    );
  const ofType = (type: string): Descriptor[] => layers.filter(({ mediaType }) => mediaType === type);
  function one(type: string, isNeeded: boolean): Descriptor | undefined {
    const found = ofType(type);
    if (found.length > 1 || (isNeeded && found.length === 0))
      throw new FormatError("bad-manifest", `${what}: has ${found.length} layers of type ${type}`);
    return found[0];
  }
  const packs = ofType(PACK_TYPE);
  if (packs.length > MAX_PACKS)
    throw new FormatError("bad-manifest", `${what}: has ${packs.length} packs, more than ${MAX_PACKS}`);
  return {
    descriptor,
    subject,
    annotations,
    config,
    recipe: one(RECIPE_TYPE, true)!, // it is needed
    tree: one(TREE_TYPE, false),
    packs,
    sections: layers
      .filter(({ mediaType }) => mediaType === SECTION_TYPE || mediaType === SECTION_FRAMES_TYPE)
      .map((layer) => parseStoredSection(layer, what)),
    sectionRecipes: ofType(SECTION_RECIPE_TYPE),
    assembly: one(ASSEMBLY_TYPE, false),
    literals: ofType(LITERALS_TYPE),
  };
}
