/**
 * A UKI whose name is being changed or removed. FAT stores a long name in several entries and the short one behind them, in two
 * sectors where they cross a boundary: a power cut may leave the short one alone, `OS_2+3~1.EFI` or so without its counter. The
 * boot loader would start that for ever, good or bad. So a UKI that has to be counted is no PE image until its name is on
 * the medium; the two bytes that make it one are in a sector of their own, which is written at once or not at all.
 */
import { encodeUtf8, equalBytes } from "../../bytes/index.ts";
import { bytesSource, piecewiseSource, type ReadOptions, type Source, sliceSource } from "../../source/index.ts";
import type { EspFiles } from "./esp-files.ts";

/** What every PE image begins with (PE format, "MS-DOS Stub"). */
const PE = encodeUtf8("MZ");
/** Instead of it: no boot loader takes it for an image, and it says whose it is. */
const GUARD = encodeUtf8("mz");

export async function isGuarded(file: Source, options: ReadOptions = {}): Promise<boolean> {
  return file.size > GUARD.length && equalBytes(await file.read(0, GUARD.length, options), GUARD);
}

/** The UKI that a guarded file is. */
export function withoutGuard(file: Source): Source {
  const rest = { at: PE.length, source: sliceSource(file, PE.length) };
  return piecewiseSource(file.size, [{ at: 0, source: bytesSource(PE) }, rest]);
}

/** The file is a UKI no longer, once this resolves. */
export async function guard(esp: EspFiles, path: string): Promise<void> {
  await esp.overwrite(path, 0, GUARD);
  await esp.flush();
}

/** Renames a UKI, which can be started once its new name is on the medium, and not before. */
export async function renameGuarded(esp: EspFiles, from: string, to: string): Promise<void> {
  await guard(esp, from);
  await esp.rename(from, to);
  await esp.flush();
  await removeGuard(esp, to);
}

/** The file is a UKI again. */
export async function removeGuard(esp: EspFiles, path: string): Promise<void> {
  await esp.overwrite(path, 0, PE);
  await esp.flush();
}
