/** What /etc of this machine has that its image has not, and what it takes to have the image's again. */
import { type ByteString, fromUtf8, showBytes } from "../../bytes/index.ts";
import { PolicyError, SourceError } from "../../errors/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { type Directory, type Node, splitPath } from "../../tree/index.ts";
import { type Aspect, compareTrees, surveyTree } from "../diff/compare.ts";
import { isMadeByMachine, shownPath } from "./merge.ts";

export interface EtcChange {
  /** Below /etc. */
  readonly path: ByteString;
  readonly kind: "added" | "changed" | "removed";
  /** What of it; empty for what was added or removed. */
  readonly aspects: readonly Aspect[];
  /** As the image has it; undefined where it was added. */
  readonly sealed: Node | undefined;
  /** As it is here; undefined where it was removed. */
  readonly local: Node | undefined;
}

/** Of these nobody would speak: the kernel sets times when it copies a file up, and takes hard links apart. */
const SILENT: readonly Aspect[] = ["mtime", "links"];

/** In canonical order. Without what the machine writes for itself, such as the linker's cache. */
export async function etcChanges(sealed: Directory, local: Directory, options?: ReadOptions): Promise<EtcChange[]> {
  const changes: EtcChange[] = [];
  const [a, b] = [surveyTree(sealed, "the image's /etc"), surveyTree(local, "/etc")];
  for await (const { path, before, after, aspects } of compareTrees(a, b, options)) {
    if (isMadeByMachine(path)) continue;
    const isLink = before?.type === "symlink" && after?.type === "symlink";
    const told = aspects.filter((aspect) => !SILENT.includes(aspect) && !(isLink && aspect === "mode"));
    const kind = before === undefined ? "added" : after === undefined ? "removed" : "changed";
    if (kind === "changed" && told.length === 0) continue;
    changes.push({ path, kind, aspects: told, sealed: before, local: after });
  }
  return changes;
}

/** `/etc/ssh` → `ssh`; for what lies below /etc alone. Throws PolicyError `not-in-etc`. */
export function pathInEtc(text: string): ByteString {
  const [first, ...names] = splitPath(fromUtf8(text));
  if (!text.startsWith("/") || first !== "etc" || names.includes(".." as ByteString))
    throw new PolicyError("not-in-etc", `${showBytes(fromUtf8(text))}: is no path below /etc`, { path: text });
  return names.join("/") as ByteString;
}

const isAtOrBelow = (path: ByteString, top: ByteString): boolean =>
  top === "" || path === top || path.startsWith(`${top}/`);

/** The changes at or below one of `paths`. Throws SourceError `not-found` for a path at which nothing is and nothing was. */
export function selectChanges(
  changes: readonly EtcChange[],
  paths: readonly ByteString[],
  exists: (path: ByteString) => boolean,
): EtcChange[] {
  for (const path of paths)
    if (!exists(path) && !changes.some((change) => isAtOrBelow(change.path, path)))
      throw new SourceError("not-found", `${shownPath(path)}: is neither here nor in the image`, {
        path: shownPath(path),
      });
  return changes.filter((change) => paths.some((path) => isAtOrBelow(change.path, path)));
}

/** Everything but what makes this machine the one that it is. */
export function changesButIdentity(changes: readonly EtcChange[]): EtcChange[] {
  return changes.filter(({ path }) => path !== "machine-id");
}

/** One step of a reset, in the order in which they are to be done. */
export type ResetStep =
  | { readonly action: "remove"; readonly path: ByteString }
  /** Put this node there with all that is in it, in place of whatever is there. */
  | { readonly action: "restore"; readonly path: ByteString; readonly node: Node }
  /** Give a directory that stays its attributes again. */
  | { readonly action: "attributes"; readonly path: ByteString; readonly node: Directory };

/** @param changes in canonical order, a selection of {@link etcChanges} */
export function planReset(changes: readonly EtcChange[]): ResetStep[] {
  const steps: ResetStep[] = [];
  let done: ByteString | undefined; // what lies below goes along
  for (const { path, sealed, local } of changes) {
    if (done !== undefined && isAtOrBelow(path, done)) continue;
    if (sealed?.type === "directory" && local?.type === "directory") {
      steps.push({ action: "attributes", path, node: sealed });
      continue;
    }
    done = path;
    steps.push(sealed === undefined ? { action: "remove", path } : { action: "restore", path, node: sealed });
  }
  return steps;
}
