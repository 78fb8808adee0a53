/** `inspect`: finds out what something is, and describes it as plain values. */
import { isAshlarError } from "../../errors/index.ts";
import { readAll, type Source } from "../../source/index.ts";
import type { InputEnvironment, Reference } from "../image/index.ts";
import { isRepositoryReference, openIfRelease, type ReleaseAccess } from "../publish/index.ts";
import { MAX_RELEASE_SIZE, parseRelease } from "../release/release.ts";
import { type DiskReport, inspectDisk } from "./disk.ts";
import { type ErofsReport, inspectErofs } from "./erofs.ts";
import { type FatReport, inspectFat } from "./fat.ts";
import { type ImageReport, type InspectImageOptions, inspectImage } from "./image.ts";
import { type InitrdReport, inspectInitrd } from "./initrd.ts";
import { type ContentKind, directoryOf, locate } from "./locate.ts";
import type { InspectEnvironment } from "./parts.ts";
import { inspectRelease, inspectStoredRelease, type ReleaseReport } from "./release.ts";
import { inspectTree, type TreeReport } from "./tree.ts";
import { inspectPe, type PeReport } from "./uki.ts";
import { inspectVerity, type VerityReport } from "./verity.ts";

export type Inspection =
  | ImageReport
  | TreeReport
  | ReleaseReport
  | DiskReport
  | ErofsReport
  | VerityReport
  | PeReport
  | InitrdReport
  | FatReport;

/** Describes bytes of a known kind; releases and OCI images are more than bytes. @param what names them in errors */
export function inspectSource(
  source: Source,
  kind: Exclude<ContentKind, "release" | "archive">,
  what: string,
  environment: InspectEnvironment,
): Promise<Inspection> {
  switch (kind) {
    case "erofs":
      return inspectErofs(source, environment);
    case "verity":
      return inspectVerity(source, environment);
    case "disk":
      return inspectDisk(source, environment);
    case "pe":
      return inspectPe(source, what, environment);
    case "initrd":
      return inspectInitrd(source, environment, { what });
    case "fat":
      return inspectFat(source, environment);
  }
}

/**
 * @param word a reference, or a path of the host
 * Errors: those of `locate` and, where nothing at all can be made of the bytes, of their format. What can be read of
 * something that is partly broken is described; the rest is told in `problems`.
 */
export async function inspect(
  word: string,
  environment: InspectEnvironment & InputEnvironment & ReleaseAccess,
  options: InspectImageOptions = {},
): Promise<Inspection> {
  const { files } = environment;
  const located = await locate(word, files, options);
  if (located.kind === "image") return inspectReference(located.reference, environment, options);
  const { kind, source, path } = located;
  try {
    if (kind !== "release" && kind !== "archive") return await inspectSource(source, kind, path, environment);
    const release = parseRelease(await readAll(source, MAX_RELEASE_SIZE, path), path);
    const folder = await files.openDirectory(directoryOf(path));
    try {
      return await inspectRelease(release, folder);
    } finally {
      await folder.close();
    }
  } finally {
    await source.close();
  }
}

async function inspectReference(
  reference: Reference,
  environment: InspectEnvironment & InputEnvironment & ReleaseAccess,
  options: InspectImageOptions,
): Promise<Inspection> {
  const { releases } = environment;
  if (releases !== undefined && isRepositoryReference(reference)) {
    const stored = await openIfRelease(reference, { ...environment, ...releases }, options);
    if (stored !== undefined)
      try {
        return inspectStoredRelease(stored);
      } finally {
        await stored.close();
      }
  }
  if (reference.transport === "containers-storage") {
    const exported = await environment.files.exportImage(reference.path, options);
    try {
      return {
        ...(await inspectImage(exported.reference, environment, options)),
        store: `containers-storage:${reference.path}`,
      };
    } finally {
      await exported.dispose();
    }
  }
  try {
    return await inspectImage(reference, environment, options);
  } catch (error) {
    if (!isAshlarError(error) || error.code !== "not-an-image") throw error;
    return inspectTree(reference, environment, options);
  }
}
