/**
 * The digests that composefs-rs' draft of sealed OCI images puts into a manifest as annotations: of the configuration, of
 * the image of all layers, and of its variant for booting. Digests of single layers, which the draft leaves to choice, and
 * signatures are not made. Source: composefs-rs 0fbc853, crates/composefs-oci/src/sealing_spec.rs, "Inline composefs metadata".
 */
import { decodeUtf8Strict, encodeUtf8, toHex } from "../../bytes/index.ts";
import { FormatError, IntegrityError, PolicyError, UnsupportedError } from "../../errors/index.ts";
import { defaultFsverity, measureBytes } from "../../formats/fsverity/index.ts";
import type { HashAlgorithm } from "../../hash/index.ts";
import type { Directory } from "../../tree/index.ts";
import { type FlattenEnvironment, flatten, type Image } from "../image/index.ts";
import { silentReporter } from "../report.ts";
import { prepareForBoot, transformForOci } from "./prepare.ts";
import { contentsOf, type StoreEnvironment, storeContents } from "./store.ts";
import { writeStored } from "./write.ts";

/** Digests in lower-case hexadecimal. */
export interface SealingDigests {
  readonly algorithm: HashAlgorithm;
  /** fs-verity digest of the configuration's bytes. */
  readonly config: string;
  /** Of the image of all layers, version 1. */
  readonly merged: string;
  /** The same, prepared for booting. */
  readonly bootable?: string | undefined;
}

export interface SealingOptions {
  readonly algorithm: HashAlgorithm;
  readonly bootable: boolean;
}

/** Reads all layers. Throws what `flatten`, the preparations and the writer throw. */
export async function computeSealingDigests(
  image: Image,
  { algorithm, bootable }: SealingOptions,
  environment: FlattenEnvironment & StoreEnvironment,
): Promise<SealingDigests> {
  const { hashes } = environment;
  const config = toHex(measureBytes(image.configBytes, defaultFsverity(algorithm), hashes).digest);
  const { root, dispose } = await flatten(image, environment);
  const digestOf = async (tree: Directory): Promise<string> => {
    await storeContents(contentsOf(tree), algorithm, environment);
    return toHex(writeStored({ name: image.name, root: tree }, 1, algorithm, hashes).digest);
  };
  try {
    transformForOci(root);
    const contents = contentsOf(root);
    const merged = await digestOf(root);
    if (!bootable) return { algorithm, config, merged };
    for (const [file, content] of contents) file.content = content; // the policy is read from them
    await prepareForBoot(root, environment.reporter ?? silentReporter);
    return { algorithm, config, merged, bootable: await digestOf(root) };
  } finally {
    await dispose();
  }
}

const PREFIX = "composefs.";

/** Where each digest goes: with the configuration's descriptor, or with the manifest. */
function annotationsOf({ algorithm, config, merged, bootable }: SealingDigests) {
  const kind = `fsverity-${algorithm}-12`;
  return {
    config: { [`composefs.config.${kind}`]: config },
    manifest: {
      [`composefs.merged.erofs.v1.${kind}`]: merged,
      ...(bootable === undefined ? {} : { [`composefs.merged.bootable.erofs.v1.${kind}`]: bootable }),
    },
  };
}

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function parseObject(bytes: Uint8Array, what: string): Json & { config: Json } {
  const value: unknown = JSON.parse(decodeUtf8Strict(bytes) ?? "null"); // it was read as a manifest before
  if (!isObject(value) || !isObject(value["config"])) throw new FormatError("bad-manifest", `${what}: is no manifest`);
  return value as Json & { config: Json };
}

/** The manifest with the annotations; everything else stays, in its order. The bytes are new, and so is the digest. */
export function annotateManifest(bytes: Uint8Array, digests: SealingDigests, what: string): Uint8Array {
  const manifest = parseObject(bytes, what);
  const { config, manifest: own } = annotationsOf(digests);
  manifest.config["annotations"] = { ...(manifest.config["annotations"] as Json | undefined), ...config };
  manifest["annotations"] = { ...(manifest["annotations"] as Json | undefined), ...own };
  return encodeUtf8(JSON.stringify(manifest));
}

/** What a manifest says of itself in annotations of the draft. */
interface Claims {
  readonly algorithms: readonly HashAlgorithm[];
  readonly bootable: boolean;
  readonly values: ReadonlyMap<string, string>;
}

/**
 * The annotations of a manifest that can be checked. Throws PolicyError `composefs-no-annotations` where there are none,
 * UnsupportedError `composefs-annotation` for other versions, block sizes and roles.
 */
export function readClaims(bytes: Uint8Array, what: string): Claims {
  const manifest = parseObject(bytes, what);
  const values = new Map<string, string>();
  for (const annotations of [manifest["annotations"], manifest.config["annotations"]])
    for (const [key, value] of Object.entries(isObject(annotations) ? annotations : {}))
      if (key.startsWith(PREFIX) && !key.endsWith(".sig")) values.set(key, String(value));
  if (values.size === 0) throw new PolicyError("composefs-no-annotations", `${what}: has no annotations of composefs`);
  const algorithms = new Set<HashAlgorithm>();
  let bootable = false;
  for (const key of values.keys()) {
    const match = /^composefs\.(config|merged(\.bootable)?\.erofs\.v1)\.fsverity-(sha256|sha512)-12$/.exec(key);
    if (match === null)
      throw new UnsupportedError("composefs-annotation", `${what}: annotation ${key} is not implemented`);
    algorithms.add(match[3] as HashAlgorithm);
    bootable ||= match[2] !== undefined;
  }
  return { algorithms: [...algorithms], bootable, values };
}

/** Throws IntegrityError `composefs-digest` where a claim is not what was computed. */
export function checkClaims({ values }: Claims, digests: SealingDigests, what: string): void {
  const { config, manifest } = annotationsOf(digests);
  for (const [key, actual] of Object.entries({ ...config, ...manifest })) {
    const expected = values.get(key);
    if (expected !== undefined && expected !== actual)
      throw new IntegrityError("composefs-digest", `${what}: ${key} is ${actual}, the manifest says ${expected}`, {
        path: what,
        expected,
        actual,
      });
  }
}
