/** Repositories and the releases in them, as the commands open them. */
import { tmpdir } from "node:os";
import { FormatError, isAshlarError } from "@ashlar/core/errors";
import type { Repository } from "@ashlar/core/formats/oci";
import type { BlockHasher } from "@ashlar/core/hash";
import { decompressFrame, fileScratch, nodeHashes } from "@ashlar/core/node";
import { parseReference, type Reference } from "@ashlar/core/ops/image";
import {
  type HostRepositories,
  isRepositoryReference,
  type OpenReleaseEnvironment,
  openRelease,
  type ReleaseAccess,
  type StoredRelease,
} from "@ashlar/core/ops/publish";
import type { RegistryFlags, ReleaseFlags } from "../commands/flags.ts";
import { platformOf } from "./inputs.ts";
import { registryOptions } from "./registries.ts";
import { isExplicitReference, isThere } from "./words.ts";

/** For reading. Closing a repository closes its connections. */
export function hostRepositories(flags: RegistryFlags, signal: AbortSignal): HostRepositories {
  return {
    async open(reference) {
      const { openLocation, openRegistries } = await import("@ashlar/core/node/registry"); // most images are files
      const registries = openRegistries(registryOptions(flags));
      try {
        const { repository } = await openLocation(reference, registries, { write: false, signal });
        return {
          ...repository,
          async close() {
            await repository.close();
            registries.close();
          },
        };
      } catch (error) {
        registries.close();
        throw error;
      }
    },
  };
}

export function releaseEnvironment(
  flags: RegistryFlags,
  blockHasher: BlockHasher,
  signal: AbortSignal,
): OpenReleaseEnvironment {
  return {
    hashes: nodeHashes,
    blockHasher,
    decompressFrame,
    scratch: fileScratch(tmpdir()),
    signal,
    repositories: hostRepositories(flags, signal),
  };
}

/** Of commands that take other things too. */
export function releaseAccess(flags: RegistryFlags, signal: AbortSignal): ReleaseAccess["releases"] {
  return { decompressFrame, repositories: hostRepositories(flags, signal) };
}

/** Undefined for what is a path. `HOST/NAME` may be a path too; what is there is meant. */
export async function repositoryReference(word: string): Promise<Reference | undefined> {
  const isExplicit = isExplicitReference(word);
  if (!isExplicit && (await isThere(word))) return undefined;
  let reference: Reference;
  try {
    reference = parseReference(word);
  } catch (error) {
    if (isAshlarError(error) && error.code === "bad-reference" && !isExplicit) return undefined;
    throw error;
  }
  return isRepositoryReference(reference) ? reference : undefined;
}

/** Runs `work` with the release that a reference leads to, closes everything. */
export async function withRelease<T>(
  reference: Reference,
  flags: ReleaseFlags,
  environment: OpenReleaseEnvironment,
  work: (release: StoredRelease) => Promise<T>,
): Promise<T> {
  const { signal } = environment;
  const stored = await openRelease(reference, environment, { platform: platformOf(flags), signal });
  try {
    return await work(stored);
  } finally {
    await stored.close();
  }
}

/** Runs `work` with the repository that a reference is in, closes everything. Archives are only read. */
export async function withRepository<T>(
  reference: Reference,
  flags: RegistryFlags,
  signal: AbortSignal,
  work: (repository: Repository) => Promise<T>,
): Promise<T> {
  const repository = await hostRepositories(flags, signal).open(reference);
  try {
    return await work(repository);
  } finally {
    await repository.close();
  }
}

/** Of commands that take nothing else. Throws FormatError `bad-reference`. */
export async function mustBeInRepository(word: string): Promise<Reference> {
  const reference = await repositoryReference(word);
  if (reference !== undefined) return reference;
  throw new FormatError(
    "bad-reference",
    `${word}: is nothing in a repository; expected docker://, oci: or oci-archive:`,
  );
}
