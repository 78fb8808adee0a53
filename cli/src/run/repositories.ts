/** The repository that a REF is in. */
import { existsSync } from "node:fs";
import type { Repository } from "@ashlar/core/formats/oci";
import { openLocation, openRegistries } from "@ashlar/core/node";
import { parseReference, type Reference } from "@ashlar/core/ops/image";
import type { RegistryFlags } from "../commands/flags.ts";
import type { Session } from "./session.ts";
import { registryOptions } from "./tools.ts";

/** Whether the word means something in a repository; a file that is there wins over a host of the same name. */
export function isRepositoryWord(word: string): boolean {
  if (/^(docker:\/\/|oci:|oci-archive:)/.test(word)) return true;
  if (existsSync(word)) return false;
  try {
    return parseReference(word).transport === "docker";
  } catch {
    return false; // not even a reference: a path then
  }
}

/** Opens the repository of a reference, runs `work`, closes everything. Archives are only read. */
export async function withRepository<T>(
  word: string,
  flags: RegistryFlags,
  session: Pick<Session, "signal">,
  work: (repository: Repository, reference: Reference) => Promise<T>,
): Promise<T> {
  const reference = parseReference(word);
  const registries = openRegistries(registryOptions(flags));
  try {
    const location = await openLocation(reference, registries, { write: false, signal: session.signal });
    try {
      return await work(location.repository, reference);
    } finally {
      await location.close();
    }
  } finally {
    registries.close();
  }
}
