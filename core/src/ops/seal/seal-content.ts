/** `seal`: any content → EROFS image, hash device and a release that names the root hash. No system is needed. */
import { crc32, toHex } from "../../bytes/index.ts";
import { PolicyError } from "../../errors/index.ts";
import type { HashAlgorithm, Hashes } from "../../hash/index.ts";
import type { Directory } from "../../tree/index.ts";
import type { ArtifactStore } from "../artifacts.ts";
import type { Environment } from "../environment.ts";
import { describeArtifact, describeVerity, formatTime, writeRelease } from "../release/describe.ts";
import { type Identity, identify, LABEL_TITLE, LABEL_VERSION, stemOf } from "../release/identity.ts";
import {
  FORMAT_VERSION,
  RELEASE_SCHEMA,
  type RecordedOptions,
  type Release,
  type SEAL_OPTIONS,
} from "../release/release.ts";
import { type LabelMode, labelTree } from "../selinux/index.ts";
import { chooseForm, type FormOptions, recordForm, standsPlain } from "./form.ts";
import { type Landing, openLanding } from "./landing.ts";
import { productUuid } from "./product.ts";
import { BLOCK_SIZE, sealTree, verityParameters } from "./seal.ts";
import { targetKernel } from "./target-kernel.ts";
import { clampTimes, newestTime } from "./times.ts";

/** Content, wherever it comes from. */
export interface ContentInput {
  /** Is changed: times are clamped. */
  readonly tree: Directory;
  /** OCI's name, where the content is for one. */
  readonly architecture: string | undefined;
  /** Nanoseconds since 1970. */
  readonly created: bigint | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** What the tree was made from, by digest. */
  readonly inputs: Release["inputs"];
  /** What {@link openContentLanding} opened for the contents, if it did. */
  readonly landing?: Landing | undefined;
  /** Frees what the tree's files are read from; called once they are in the image. May be called again. */
  dispose(): Promise<void>;
}

export interface SealContentOptions extends FormOptions {
  /** Stem of the artifacts; default `ID_VERSION`. */
  readonly name?: string | undefined;
  readonly imageId?: string | undefined;
  readonly imageVersion?: string | undefined;
  /** Nanoseconds since 1970; default the creation of the image, else its newest time. */
  readonly clamp?: bigint | undefined;
  readonly algorithm: HashAlgorithm;
  /** Default `policy`: content that is a system with a policy gets its labels. */
  readonly selinux?: LabelMode | undefined;
  /** Hexadecimal; default made from the image id. */
  readonly salt?: string | undefined;
}

export interface SealedContent {
  readonly release: Release;
  /** Name of the release's own file. */
  readonly releaseName: string;
}

/** Content needs a name for its files; who gives one need not give it an identity. */
function nameContent(
  options: SealContentOptions,
  labels: ContentInput["labels"],
): { readonly stem: string; readonly identity: Partial<Identity> } {
  const { name, imageId, imageVersion } = options;
  if (name !== undefined)
    return {
      stem: name,
      identity: {
        ...(imageId === undefined ? {} : { imageId }),
        ...(imageVersion === undefined ? {} : { imageVersion }),
      },
    };
  if (!(imageId ?? labels[LABEL_TITLE]) || !(imageVersion ?? labels[LABEL_VERSION]))
    throw new PolicyError(
      "no-identity",
      "the image has no title and version labels, and neither --name nor --image-id and --image-version are given",
    );
  const identity = identify(options, labels);
  return { stem: stemOf(identity), identity };
}

/** What the labels and the options decide, before anything of the content is known. */
function prepare(labels: ContentInput["labels"], options: SealContentOptions, hashes: Hashes) {
  const { stem, identity } = nameContent(options, labels);
  const product = options.imageId ?? labels[LABEL_TITLE] ?? "";
  return {
    identity,
    names: { root: `${stem}.root.erofs`, verity: `${stem}.root.verity`, release: `${stem}.release.json` },
    product,
    verity: verityParameters(hashes, options.algorithm, product, options.salt),
  };
}

/**
 * For who reads the content with the options that it will be sealed with: a place for contents in the root artifact,
 * which is created then. Undefined where contents cannot stand there as they are.
 */
export async function openContentLanding(
  labels: ContentInput["labels"],
  options: SealContentOptions,
  artifacts: ArtifactStore,
  environment: Environment,
): Promise<Landing | undefined> {
  if (!standsPlain(options, BLOCK_SIZE)) return undefined;
  const { names, verity } = prepare(labels, options, environment.hashes);
  const crc = options.verify === true ? (environment.crc32 ?? crc32) : undefined;
  return openLanding(await artifacts.create(names.root), verity, { ...environment, crc32: crc });
}

export async function sealContent(
  input: ContentInput,
  options: SealContentOptions,
  artifacts: ArtifactStore,
  environment: Environment,
): Promise<SealedContent> {
  const { hashes, signal, reporter } = environment;
  const { identity, names, verity, product } = prepare(input.labels, options, hashes);
  const clamp = options.clamp ?? input.created ?? newestTime(input.tree);
  clampTimes(input.tree, clamp);
  const selinux = await labelTree(input.tree, options.selinux ?? "policy", reporter);
  const form = await chooseForm(options, BLOCK_SIZE, () => targetKernel(input.tree, options.targetKernel));
  const { landing } = input;
  const root = landing?.root ?? (await artifacts.create(names.root));
  const hashDevice = await artifacts.create(names.verity);
  const releaseFile = await artifacts.create(names.release);

  const verityUuid = productUuid(hashes, product, "verity");
  const sealed = await sealTree(
    input.tree,
    root,
    hashDevice,
    { verity, verityUuid, form, verify: options.verify, landing },
    environment,
  );

  const freed = input.dispose(); // while the digests are made: freeing a large scratch file takes time
  freed.catch(() => {}); // awaited below
  const task = reporter.start("digests", sealed.rootSize + sealed.hashDeviceSize);
  const digesting = { signal, onProgress: task.advance };
  const release: Release = {
    schema: RELEASE_SCHEMA,
    formatVersion: FORMAT_VERSION,
    ...identity,
    ...(input.architecture === undefined ? {} : { architecture: input.architecture }),
    rootHash: toHex(sealed.rootHash),
    verity: describeVerity(verity, verityUuid, sealed.dataBlocks),
    inputs: input.inputs,
    options: {
      timestamp: formatTime(clamp),
      ...recordForm(form),
      ...(selinux === "none" ? {} : { selinux }),
    } satisfies RecordedOptions<(typeof SEAL_OPTIONS)[number]>,
    artifacts: [
      await describeArtifact("root", names.root, root.source(sealed.rootSize), hashes, digesting),
      await describeArtifact("root-verity", names.verity, hashDevice.source(sealed.hashDeviceSize), hashes, digesting),
    ],
  };
  task.end();
  await freed;
  await writeRelease(release, releaseFile);
  signal?.throwIfAborted();
  await artifacts.publish();
  return { release, releaseName: names.release };
}
