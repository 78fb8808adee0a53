/** The volume of the ESP beside its file system: what a power cut left of it is looked for, and mended where nobody uses it. */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { FatMedium } from "../../formats/fat/index.ts";
import type { OpenedEspFiles } from "../../ops/machine/index.ts";
import { checkEsp, mendEsp } from "../../ops/update/index.ts";
import { readFailure, writeFailure } from "../errors.ts";
import { handleSource, sizeOf, writeAll } from "../files.ts";

export interface EspHealth extends Pick<OpenedEspFiles, "mended" | "unmended" | "damaged"> {
  /** Clusters that belong to nothing, as of a UKI that was being written: room that is missing. */
  readonly lost: number;
}

/** Through the node of the partition: what a mounted file system has not written yet is in its cache. */
async function mediumOf(handle: FileHandle, path: string): Promise<FatMedium> {
  const source = handleSource(handle, path, await sizeOf(handle, path));
  return {
    size: source.size,
    read: (offset, length, options) => source.read(offset, length, options),
    writeAt: (offset, bytes) => writeAll(handle, path, offset, bytes),
    flush: () =>
      handle.sync().catch((error: unknown) => {
        throw writeFailure(path, error);
      }),
  };
}

/** Looks, and writes nothing; it may be mounted. */
export async function checkVolume(path: string): Promise<EspHealth> {
  const handle = await open(path, constants.O_RDONLY).catch((error: unknown) => {
    throw readFailure(path, error);
  });
  try {
    const { removed, freed, damaged } = await checkEsp(await mediumOf(handle, path));
    return { mended: [], unmended: removed, damaged, lost: freed };
  } finally {
    await handle.close();
  }
}

/** Codes of what keeps us from having it alone: somebody has it mounted, or nobody may write to it. */
const NOT_OURS = ["EBUSY", "EROFS", "EACCES", "EPERM"];

/** Mends it, while nobody can mount it, an automount neither. Where somebody has it mounted it is only looked at. */
export async function mendVolume(path: string): Promise<EspHealth> {
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDWR | constants.O_EXCL);
  } catch (error) {
    if (NOT_OURS.includes((error as NodeJS.ErrnoException).code ?? "")) return await checkVolume(path);
    throw readFailure(path, error);
  }
  try {
    const { removed, freed, damaged } = await mendEsp(await mediumOf(handle, path));
    const clusters = freed === 0 ? [] : [freed === 1 ? "1 cluster was freed" : `${freed} clusters were freed`];
    return { mended: [...removed.map((name) => `${name} is gone`), ...clusters], unmended: [], damaged, lost: 0 };
  } finally {
    await handle.close();
  }
}
