// A product's keys, its releases and channels, and what an attacker needs to forge them.
import { encodeUtf8 } from "../../core/src/bytes/index.ts";
import type { Repository } from "../../core/src/formats/oci/index.ts";
import { type Digest, digestOf } from "../../core/src/hash/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import { generateKey, type NewKeyType, openPrivateKey } from "../../core/src/node/trust/index.ts";
import { tufVerifier } from "../../core/src/node/tuf.ts";
import {
  addReleases,
  type ChannelDocuments,
  type ChannelSigner,
  type ChannelState,
  type ClientState,
  channelSigner,
  checkChannel,
  type DescribedRelease,
  type DeviceFacts,
  type Draft,
  describeReleases,
  type Lifetimes,
  newChannel,
  type Published,
  publishDraft,
  type ReleaseRules,
  type Role,
  type RootPin,
  readChannel,
  signDraft,
} from "../../core/src/ops/channel/index.ts";
import { MANIFEST_TYPE, RECIPE_TYPE, RELEASE_TYPE } from "../../core/src/ops/publish/index.ts";
import { encodeRelease, type Release } from "../../core/src/ops/release/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";

/** The time of all tests unless they say otherwise: milliseconds since 1970. */
export const NOW = Date.parse("2026-11-23T12:00:00Z");
export const DAY = 24 * 60 * 60 * 1000;

export async function newSigner(type: NewKeyType = "ed25519"): Promise<ChannelSigner> {
  const { privatePem } = await generateKey(type, undefined, type);
  return channelSigner(await openPrivateKey(privatePem, type, async () => undefined));
}

export const newSigners = (count: number, type?: NewKeyType): Promise<ChannelSigner[]> =>
  Promise.all(Array.from({ length: count }, () => newSigner(type)));

export interface Keys {
  readonly root: readonly ChannelSigner[];
  readonly targets: readonly ChannelSigner[];
  /** Snapshot and timestamp. */
  readonly online: readonly ChannelSigner[];
}

export const allOf = ({ root, targets, online }: Keys): ChannelSigner[] => [...root, ...targets, ...online];

export async function newKeys(type?: NewKeyType): Promise<Keys> {
  return { root: await newSigners(1, type), targets: await newSigners(1, type), online: await newSigners(1, type) };
}

export interface Thresholds {
  readonly root?: number;
  readonly targets?: number;
  readonly online?: number;
}

const role = (signers: readonly ChannelSigner[], threshold = 1) => ({ keys: signers.map(({ key }) => key), threshold });

export function draftOf(keys: Keys, name = "stable", product = "os", thresholds: Thresholds = {}, now = NOW): Draft {
  const online = role(keys.online, thresholds.online);
  const roles = {
    root: role(keys.root, thresholds.root),
    targets: role(keys.targets, thresholds.targets),
    snapshot: online,
    timestamp: online,
  };
  return newChannel({ product, name, roles }, { now }, nodeHashes);
}

export interface ReleaseFacts {
  readonly version: string;
  readonly architecture?: string;
  readonly product?: string;
}

/** Stores a release's manifest and config, as a push does, without packs. */
export async function pushRelease(repository: Repository, facts: ReleaseFacts, tag = facts.version): Promise<Digest> {
  const { version, architecture = "amd64", product = "os" } = facts;
  const rootHash = digestOf(nodeHashes, encodeUtf8(`${product} ${architecture} ${version}`)).slice("sha256:".length);
  const release: Release = {
    schema: "ashlar.release/v1",
    formatVersion: 1,
    imageId: product,
    imageVersion: version,
    architecture,
    rootHash,
    verity: {
      algorithm: "sha256",
      salt: "",
      uuid: "00000000-0000-4000-8000-000000000000",
      dataBlockSize: 4096,
      hashBlockSize: 4096,
      dataBlocks: 1,
    },
    inputs: [],
    options: {},
    artifacts: [],
  };
  const bytes = encodeRelease(release);
  const recipe = { mediaType: RECIPE_TYPE, digest: digestOf(nodeHashes, new Uint8Array(1)), size: 1 };
  await repository.putBlob({ ...recipe, annotations: {} }, bytesSource(new Uint8Array(1)));
  const config = { mediaType: RELEASE_TYPE, digest: digestOf(nodeHashes, bytes), size: bytes.length };
  await repository.putBlob({ ...config, annotations: {} }, bytesSource(bytes));
  return putJson(
    repository,
    { schemaVersion: 2, mediaType: MANIFEST_TYPE, artifactType: RELEASE_TYPE, config, layers: [recipe] },
    tag,
  );
}

export async function putJson(
  repository: Repository,
  manifest: { readonly mediaType: string; readonly [field: string]: unknown },
  tag: string,
): Promise<Digest> {
  const bytes = encodeUtf8(JSON.stringify(manifest));
  const digest = digestOf(nodeHashes, bytes);
  await repository.putManifest(
    { mediaType: manifest.mediaType, digest, size: bytes.length, annotations: {} },
    bytes,
    tag,
  );
  return digest;
}

/** A publisher with all keys at hand. */
export interface Publisher {
  readonly tag: string;
  keys: Keys;
  /** Milliseconds since 1970. */
  now: number;
  lifetimes: Partial<Lifetimes>;
  publish(draft: Draft): Promise<Published>;
  read(): Promise<ChannelState>;
  /** Pushes a release and adds it. */
  release(
    facts: ReleaseFacts | readonly ReleaseFacts[],
    rules?: Partial<ReleaseRules>,
    floor?: string,
  ): Promise<Published>;
  refresh(): Promise<Published>;
  change(make: (current: ChannelDocuments) => Draft): Promise<Published>;
  /** The root that devices are born with. */
  readonly pin: RootPin;
}

export async function publisher(
  repository: Repository,
  {
    keys,
    tag = "stable",
    product = "os",
    thresholds = {},
  }: { keys?: Keys; tag?: string; product?: string; thresholds?: Thresholds } = {},
): Promise<Publisher> {
  const owned = keys ?? (await newKeys());
  const self: Publisher = {
    tag,
    keys: owned,
    now: NOW,
    lifetimes: {},
    pin: { fingerprint: "sha256:" },
    async publish(draft) {
      const signed = await signDraft(draft, allOf(self.keys), nodeHashes);
      const current = draft.base === undefined ? undefined : await self.read();
      return publishDraft(repository, tag, signed, current, environmentOf(self));
    },
    read: () => readChannel(repository, { tag }, nodeHashes),
    change: async (make) => self.publish(make(await self.read())),
    async release(facts, rules = {}, floor) {
      const described: DescribedRelease[] = [];
      for (const one of [facts].flat() as ReleaseFacts[])
        described.push(
          ...(await describeReleases(repository, { digest: await pushRelease(repository, one) }, nodeHashes)),
        );
      const all = { barrier: false, minAgent: undefined, rollout: undefined, ...rules };
      return self.change((current) =>
        addReleases(
          current,
          described.map((one) => ({ ...one, ...all })),
          timeOf(self),
          floor,
        ),
      );
    },
    refresh: async () => {
      const current = await self.read();
      return publishDraft(repository, tag, emptyDraft(current), current, environmentOf(self));
    },
  };
  const { documents } = await self.publish(draftOf(owned, tag, product, thresholds));
  return Object.assign(self, { pin: { version: 1, fingerprint: documents.roots[0].fingerprint } });
}

export const timeOf = ({ now, lifetimes }: Publisher) => ({ now, lifetimes });

const environmentOf = (self: Publisher) => ({
  hashes: nodeHashes,
  verifier: tufVerifier,
  time: timeOf(self),
  signers: self.keys.online,
});

export function emptyDraft(current: ChannelDocuments): Draft {
  const root = current.roots.at(-1)!;
  return {
    base: {
      root: { signed: root.signed, signatures: root.signatures },
      targets: { signed: current.targets.signed, signatures: current.targets.signatures },
    },
    root: undefined,
    targets: undefined,
  };
}

export const DEVICE: DeviceFacts = { product: "os", architecture: "amd64", epoch: 0, version: "1" };

/** A device that follows a channel: keeps its state as an agent does. */
export interface Device {
  facts: DeviceFacts;
  /** Milliseconds since 1970. */
  clock: number;
  notBefore: number;
  state: ClientState | undefined;
  check(): Promise<Awaited<ReturnType<typeof checkChannel>>>;
  /** As check, but throws what went wrong, so that a refusal can be looked at. */
  follow(): Promise<Exclude<Awaited<ReturnType<typeof checkChannel>>, { result: "error" }>>;
}

export function device(repository: Repository, pin: RootPin, tag = "stable"): Device {
  const self: Device = {
    facts: DEVICE,
    clock: NOW,
    notBefore: Date.parse("2026-01-01T00:00:00Z"),
    state: undefined,
    async check() {
      const trust = { pins: [pin], state: self.state };
      const { clock, notBefore } = self;
      const environment = { hashes: nodeHashes, verifier: tufVerifier, clock, notBefore };
      const result = await checkChannel(repository, { tag }, trust, self.facts, environment);
      if (result.result !== "error") self.state = result.state;
      return result;
    },
    async follow() {
      const result = await self.check();
      if (result.result === "error") throw result.error;
      return result;
    },
  };
  return self;
}

export type { Role };
