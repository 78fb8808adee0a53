/** A product for tests of the agent: its releases in a repository in memory, a channel of them, and a machine that runs the first. */
import { inlineBlockHasher } from "../../core/src/hash/index.ts";
import { decompressFrame, nodeHashes } from "../../core/src/node/index.ts";
import { nodeVerifier } from "../../core/src/node/trust/index.ts";
import { tufVerifier } from "../../core/src/node/tuf.ts";
import { addReleases, describeReleases, type ReleaseRules, removeReleases } from "../../core/src/ops/channel/index.ts";
import { silentReporter } from "../../core/src/ops/index.ts";
import type { AgentEnvironment } from "../../core/src/ops/machine/index.ts";
import { type PublishEnvironment, pushReleases } from "../../core/src/ops/publish/index.ts";
import type { PublicKey } from "../../core/src/ops/trust/index.ts";
import { memoryScratch } from "../../core/src/source/index.ts";
import { NOW, type Publisher, publisher, timeOf } from "./channels.ts";
import { installedDisk, type MachineModel, machineModel } from "./machine-model.ts";
import type { MemoryDevice } from "./memory-device.ts";
import { type MemoryRepository, memoryRepository } from "./memory-repository.ts";
import { publishEnvironment, type SampleRelease } from "./releases.ts";
import { noise } from "./samples.ts";
import { type SystemOptions, systemRelease } from "./systems.ts";

/** What the policy of the machine names; nothing resolves it but the repository of the test. */
export const CHANNEL = "registry.example/os:stable";
export const CHANNEL_POLICY = `[source]\nchannel = "${CHANNEL}"\nroot = "root.json"\n`;

export interface ReleaseOptions extends SystemOptions {
  /** Files beside those that each release has. */
  readonly more?: Readonly<Record<string, Uint8Array>>;
}

export interface Fleet {
  readonly repository: MemoryRepository;
  readonly publisher: Publisher;
  readonly environment: AgentEnvironment;
  readonly machine: MachineModel;
  /** Files of keys, as the policy names them → public keys. */
  readonly keys: Map<string, PublicKey>;
  /** Makes a release, pushes it under its version, and adds it to the channel. */
  release(version: string, rules?: Partial<ReleaseRules>, options?: ReleaseOptions): Promise<SampleRelease>;
}

const content = (version: string) => ({
  "etc/app.conf": `setting = ${version}\n`,
  "etc/motd": `release ${version}\n`,
  "usr/bin/same": noise(300_000, "same"),
  "usr/bin/tool": noise(40_000, `tool ${version}`),
});

/** The same for all machines of a run. */
interface Beginning {
  readonly environment: PublishEnvironment;
  readonly first: SampleRelease;
  readonly disk: MemoryDevice;
}

let beginning: Promise<Beginning> | undefined;

async function begin(): Promise<Beginning> {
  const environment = await publishEnvironment();
  const first = await systemRelease(content("1"), environment);
  return { environment, first, disk: await installedDisk(first) };
}

/** A machine with release 1, which follows the channel unless the policy says otherwise. */
export async function fleet(policy = CHANNEL_POLICY): Promise<Fleet> {
  beginning ??= begin();
  const { environment, first, disk } = await beginning;
  const repository = memoryRepository("registry.example/os");
  const channel = await publisher(repository, { product: "sample" });
  const machine = await machineModel(disk.copy());
  machine.time = NOW;
  machine.sealed.set("/usr/lib/ashlar/update.toml", policy);
  const push = (release: SampleRelease, version: string) =>
    pushReleases([release], repository, { tag: version }, environment);
  const add = async (version: string, rules: Partial<ReleaseRules> = {}) => {
    const [described] = await describeReleases(repository, { tag: version }, nodeHashes);
    const all = { barrier: false, minAgent: undefined, rollout: undefined, ...rules };
    await channel.change((current) => addReleases(current, [{ ...described!, ...all }], timeOf(channel)));
  };
  await push(first, "1");
  await add("1");
  const keys = new Map<string, PublicKey>();
  const identity = { type: "matchRepositoryIfNamed" } as const;
  return {
    repository,
    keys,
    publisher: channel,
    machine,
    environment: {
      hashes: nodeHashes,
      blockHasher: inlineBlockHasher(nodeHashes),
      decompressFrame,
      scratch: memoryScratch,
      reporter: silentReporter,
      repositories: { open: async () => ({ ...repository, close: async () => {} }) },
      loadTufVerifier: async () => tufVerifier,
      trust: { hashes: nodeHashes, verifier: nodeVerifier },
      loadTrusts: async (trust) =>
        trust.keys.length === 0
          ? []
          : [{ kind: "keys", identity, keys: trust.keys.flatMap((name) => keys.get(name) ?? []) }],
      readRoot: async () => channel.pin,
    },
    async release(version, rules = {}, { more = {}, ...options } = {}) {
      const made = await systemRelease({ ...content(version), ...more }, environment, { version, ...options });
      await push(made, version);
      const listed = Object.values((await channel.read()).targets.signed.targets);
      // What a version is never changes; who wants that takes it out first.
      if (listed.some(({ custom }) => custom.version === version))
        await channel.change((current) => removeReleases(current, [version], timeOf(channel)));
      await add(version, rules);
      return made;
    },
  };
}
