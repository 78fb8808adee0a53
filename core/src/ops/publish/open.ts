/** From a reference to the release that it leads to. */
import { isAshlarError } from "../../errors/index.ts";
import type { Descriptor, Repository } from "../../formats/oci/index.ts";
import type { Reference } from "../image/index.ts";
import { type ResolveOptions, releasesIn, resolveRelease } from "./resolve.ts";
import { openStoredRelease, type StoredEnvironment, type StoredRelease } from "./stored.ts";

/** Repositories as the host knows them: registries, OCI layouts and archives of them. */
export interface HostRepositories {
  /** Errors: UnsupportedError `not-a-repository` for references of other transports. */
  open(reference: Reference): Promise<Repository>;
}

export interface OpenReleaseEnvironment extends StoredEnvironment {
  readonly repositories: HostRepositories;
}

/** Of operations that take releases in repositories beside other things; they take none where it is absent. */
export interface ReleaseAccess {
  readonly releases?: Pick<OpenReleaseEnvironment, "repositories" | "decompressFrame"> | undefined;
}

/** Whether a reference may lead to a release at all. */
export function isRepositoryReference({ transport }: Reference): boolean {
  return transport === "docker" || transport === "oci" || transport === "oci-archive";
}

/**
 * Opens the release that a reference means, and through a container image the one that was made from it. Closing it closes
 * the repository. Errors: those of `resolveRelease` and of opening.
 */
export async function openRelease(
  reference: Reference,
  environment: OpenReleaseEnvironment,
  options: ResolveOptions = {},
): Promise<StoredRelease> {
  const repository = await environment.repositories.open(reference);
  try {
    const descriptor = await resolveRelease(repository, reference, environment.hashes, options);
    return await openIn(repository, descriptor, environment);
  } catch (error) {
    await repository.close();
    throw error;
  }
}

/**
 * As {@link openRelease}; undefined for a reference to anything but a release, such as a container image. A layout in which
 * nothing is found is left to who reads images: there is more to say of it.
 */
export async function openIfRelease(
  reference: Reference,
  environment: OpenReleaseEnvironment,
  options: ResolveOptions = {},
): Promise<StoredRelease | undefined> {
  let repository: Repository | undefined;
  try {
    repository = await environment.repositories.open(reference);
    const start = await repository.resolve(reference, options);
    if (!(await isRelease(repository, start, environment))) {
      await repository.close();
      return undefined;
    }
    const descriptor = await resolveRelease(repository, { digest: start.digest }, environment.hashes, options);
    return await openIn(repository, descriptor, environment);
  } catch (error) {
    await repository?.close();
    if (reference.transport !== "docker" && isAshlarError(error) && error.kind === "SourceError") return undefined;
    throw error;
  }
}

async function isRelease(
  repository: Repository,
  start: Descriptor,
  { hashes, signal }: OpenReleaseEnvironment,
): Promise<boolean> {
  try {
    return (await releasesIn(repository, start, hashes, { signal })).length > 0;
  } catch (error) {
    if (isAshlarError(error) && error.code === "not-a-release") return false;
    throw error;
  }
}

async function openIn(repository: Repository, descriptor: Descriptor, environment: OpenReleaseEnvironment) {
  const stored = await openStoredRelease(repository, descriptor, environment);
  return {
    ...stored,
    async close() {
      await stored.close();
      await repository.close();
    },
  };
}
