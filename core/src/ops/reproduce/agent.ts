/** The agent of a release, out of its own root: what was built with it needs nobody to bring it again. */
import { fromHex } from "../../bytes/index.ts";
import { IntegrityError, SourceError } from "../../errors/index.ts";
import { readTree } from "../../formats/erofs/index.ts";
import { AGENT_INPUT, AGENT_PATH, type Agent, copyAgent, findAgent } from "../build/index.ts";
import { openSealedRoot } from "../disk/index.ts";
import type { Environment } from "../environment.ts";
import { artifactOf } from "../release/release.ts";
import type { Original } from "./reproduce.ts";

/**
 * Throws IntegrityError `agent-mismatch` where the root has another executable than the one that the release records; errors
 * of reading the root.
 */
export async function agentOfRelease({ release, name, open }: Original, environment: Environment): Promise<Agent> {
  const expected = release.inputs.find((input) => input.name === AGENT_INPUT)?.digest;
  const [root, hashDevice] = [artifactOf(release, "root"), artifactOf(release, "root-verity")];
  if (expected === undefined || root === undefined || hashDevice === undefined)
    throw new SourceError(
      "no-source",
      `${name}: holds no agent; say where the one that it was made with is, by --agent`,
    );
  const { image } = await openSealedRoot(
    await open(root.name),
    await open(hashDevice.name),
    fromHex(release.rootHash),
    environment.blockHasher,
  );
  const agent = await copyAgent(findAgent(await readTree(image), name), `${name}: /${AGENT_PATH}`, environment);
  if (agent.digest === expected) return agent;
  await agent.dispose();
  throw new IntegrityError("agent-mismatch", `${name}: /${AGENT_PATH} is not the agent that the release records`, {
    expected,
    actual: agent.digest,
  });
}
