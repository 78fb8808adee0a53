/** What the verbs of a machine are given: this machine, repositories, and what its policy names. */
import { tmpdir } from "node:os";
import type { BlockHasher } from "@ashlar/core/hash";
import { compressContent, fileScratch, nodeHashes, thriftyFrameDecompressor } from "@ashlar/core/node";
import { thisMachine } from "@ashlar/core/node/machine";
import type { AgentEnvironment, MachineHost } from "@ashlar/core/ops/machine";
import packageJson from "../../../package.json" with { type: "json" };
import type { RegistryFlags } from "../../commands/flags.ts";
import type { Session } from "../session.ts";
import { hostRepositories } from "../stored-releases.ts";

export const machineHost = (): MachineHost => thisMachine(packageJson.version);

export async function agentEnvironment(
  flags: RegistryFlags,
  blockHasher: BlockHasher,
  session: Session,
): Promise<AgentEnvironment> {
  const { reporter, signal } = session;
  const { trustEnvironment, trustsOf } = await import("../trust.ts");
  return {
    hashes: nodeHashes,
    blockHasher,
    decompressFrame: thriftyFrameDecompressor(),
    compressContent,
    scratch: fileScratch(tmpdir()),
    reporter,
    signal,
    repositories: hostRepositories(flags, signal),
    trust: trustEnvironment(session),
    loadTufVerifier: async () => (await import("@ashlar/core/node/tuf")).tufVerifier,
    loadTrusts: ({ keys, policy, identity }) => trustsOf({ key: keys, policy, identity }),
    readRoot: async (root) => (await import("../channel/open.ts")).readPin(root),
  };
}
