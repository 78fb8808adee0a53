/** The repository that a REF is in. */
import { existsSync } from "node:fs";
import { UnsupportedError } from "@ashlar/core/errors";
import type { Repository } from "@ashlar/core/formats/oci";
import { openRegistries } from "@ashlar/core/node";
import { nameOf, openRepository, parseReference, type Reference } from "@ashlar/core/ops/image";
import type { RegistryFlags } from "../commands/flags.ts";
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

/** Opens the repository of a reference, runs `work`, closes everything. */
export async function withRepository<T>(
  word: string,
  flags: RegistryFlags,
  work: (repository: Repository, reference: Reference) => Promise<T>,
): Promise<T> {
  const reference = parseReference(word);
  if (reference.transport !== "docker")
    throw new UnsupportedError("not-a-repository", `${nameOf(reference)}: is not in a registry`);
  const registries = openRegistries(registryOptions(flags));
  try {
    const repository = await openRepository(reference, { registries });
    try {
      return await work(repository, reference);
    } finally {
      await repository.close();
    }
  } finally {
    registries.close();
  }
}
