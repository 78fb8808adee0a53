/** Where repositories are: registries, OCI layouts in directories, and archives of them. */
import { lstat, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { SinkError, UnsupportedError } from "../../errors/index.ts";
import type { Repository } from "../../formats/oci/index.ts";
import { type HostRegistries, nameOf, openArchiveTree, openRepository, type Reference } from "../../ops/image/index.ts";
import { type LayoutFiles, openLayoutRepository } from "../../ops/registry/index.ts";
import { writeFailure } from "../errors.ts";
import { makeDirectories, openFile } from "../files.ts";
import { nodeHashes } from "../hashes.ts";
import { newPartialName, removeLeftovers } from "../leftovers.ts";
import { writeArchive } from "./archive.ts";
import { openLayoutFiles } from "./layout-files.ts";
import { createPendingFile } from "./pending-file.ts";

export interface OpenedLocation {
  readonly repository: Repository;
  /** Gives an archive its name. What is written to the others is there already. */
  publish(): Promise<void>;
  /** Lets go of everything; an archive that was not published is not there. */
  close(): Promise<void>;
}

export interface LocationOptions {
  /** Whether something is to be stored. */
  readonly write: boolean;
  /** Whether an archive that is there is replaced. Default: SinkError `exists`. */
  readonly overwrite?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens what `docker://`, `oci:` or `oci-archive:` means. Errors: UnsupportedError `not-a-repository` for another
 * transport, `no-registries`; SinkError `exists`; those of the archive.
 */
export async function openLocation(
  reference: Reference,
  registries: HostRegistries | undefined,
  options: LocationOptions,
): Promise<OpenedLocation> {
  const { transport, path } = reference;
  const name = nameOf(reference);
  const publish = async (): Promise<void> => {};
  switch (transport) {
    case "docker": {
      const repository = await openRepository(reference, { registries });
      return { repository, publish, close: () => repository.close() };
    }
    case "oci": {
      const repository = openLayoutRepository(openLayoutFiles(path), name, nodeHashes);
      return { repository, publish, close: () => repository.close() };
    }
    case "oci-archive": {
      if (options.write) return newArchive(path, name, options);
      const repository = await openArchive(path, name, options);
      return { repository, publish, close: () => repository.close() };
    }
  }
  throw new UnsupportedError("not-a-repository", `${name}: expected docker://, oci: or oci-archive:`);
}

async function openArchive(path: string, name: string, options: LocationOptions): Promise<Repository> {
  const tree = await openArchiveTree(await openFile(path), name, options);
  const readOnly = (): never => {
    throw new SinkError("read-only", `${name}: an archive is not changed in place`, { path });
  };
  const files: LayoutFiles = {
    open: tree.open,
    close: tree.close,
    async sizeOf(member) {
      const found = await tree.open(member).catch(() => undefined);
      await found?.close();
      return found?.size;
    },
    create: async () => readOnly(),
    exclusively: async () => readOnly(),
  };
  return openLayoutRepository(files, name, nodeHashes);
}

/** Collected in a directory beside it, since members of a tar come in an order and with a size. */
async function newArchive(path: string, name: string, options: LocationOptions): Promise<OpenedLocation> {
  const folder = dirname(path);
  if (options.overwrite !== true && (await lstat(path).catch(() => undefined)) !== undefined)
    throw new SinkError("exists", `${path}: exists already`, { path });
  const directory = join(folder, newPartialName());
  await makeDirectories(folder)
    .then(() => removeLeftovers(folder))
    .then(() => makeDirectories(directory))
    .catch((error: unknown) => {
      throw writeFailure(directory, error);
    });
  const repository = openLayoutRepository(openLayoutFiles(directory), name, nodeHashes);
  return {
    repository,
    async publish() {
      const target = await createPendingFile(path);
      try {
        await writeArchive(directory, target, options);
        await target.publish();
      } finally {
        await target.discard();
      }
    },
    async close() {
      await repository.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
