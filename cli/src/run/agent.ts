/** The agent that goes into a system (`--agent`): a file, or an image in which it is. */
import { stat } from "node:fs/promises";
import { PolicyError } from "@ashlar/core/errors";
import type { Platform } from "@ashlar/core/formats/oci";
import { openFile } from "@ashlar/core/node";
import { type Agent, copyAgent, findAgent } from "@ashlar/core/ops/build";
import { type Input, type InputEnvironment, parseReference, type Reference, readInput } from "@ashlar/core/ops/image";

/** What can be taken from where it is without a digest: nobody else moves it. */
const LOCAL: readonly Reference["transport"][] = ["dir", "tar"];

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

/**
 * Takes a copy of the executable that the flag names. Errors: PolicyError `agent-not-pinned` for an image without a
 * digest, which would be another tomorrow; those of `copyAgent` and of reading an image.
 */
export async function readAgent(
  given: string,
  environment: InputEnvironment,
  options: { readonly platform: Platform | undefined },
): Promise<Agent> {
  if ((await isFile(given)) || given.startsWith(".") || given.startsWith("/")) {
    await using file = await openFile(given);
    return await copyAgent(file, given, environment);
  }
  const reference = parseReference(given);
  if (reference.digest === undefined && !LOCAL.includes(reference.transport))
    throw new PolicyError("agent-not-pinned", `${given}: names the agent without a digest; give NAME@sha256:…`);
  const image: Input = await readInput(reference, environment, options);
  try {
    return await copyAgent(findAgent(image.tree, given), given, environment);
  } finally {
    await image.dispose();
  }
}
