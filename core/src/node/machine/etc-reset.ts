/**
 * Gives /etc back what its image has. It is written through the mounted overlay and never behind its back: what is the same as in
 * the image then is not carried to the next release, so it is as good as gone from the layer.
 */
import { chmodSync, lchownSync } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { type ByteString, bytesOf } from "../../bytes/index.ts";
import { SinkError, UnsupportedError } from "../../errors/index.ts";
import type { ResetStep } from "../../ops/etc/index.ts";
import { shownPath } from "../../ops/etc/index.ts";
import { attributes, type Directory, directory, NO_XATTRS } from "../../tree/index.ts";
import { writeFailure } from "../errors.ts";
import { extractTree } from "../extract.ts";
import { newPartialName, removeLeftovers } from "../leftovers.ts";
import { loadNativeCalls, type NativeCalls } from "../native.ts";

/**
 * Does the steps one after the other; each name changes in one step, so whoever reads it finds the one or the other. What is
 * restored is written aside first, so that a full disk changes nothing.
 * @param place where /etc is mounted
 */
export async function resetEtc(place: string, steps: readonly ResetStep[]): Promise<void> {
  const native = loadNativeCalls();
  if (native === undefined)
    throw new UnsupportedError("no-native-calls", `${place}: attributes cannot be restored without koffi`, {
      path: place,
    });
  await removeLeftovers(place).catch((error: unknown) => {
    throw writeFailure(place, error);
  });
  const aside = join(place, newPartialName());
  const nodes = directory(attributes(0o700));
  for (const [number, step] of steps.entries())
    if (step.action === "restore") nodes.entries.set(String(number) as ByteString, step.node);
  try {
    const { notes } = await extractTree(nodes, aside, { privileged: true });
    const [lost] = notes;
    if (lost !== undefined) throw new SinkError("not-restored", `${place}: ${lost.message}`, { path: place });
    for (const [number, step] of steps.entries()) {
      const at = Buffer.concat([Buffer.from(`${place}/`), bytesOf(step.path)]);
      try {
        if (step.action === "attributes") restoreAttributes(native, at, step.node);
        else if (step.action === "remove") await rm(at, { recursive: true, force: true });
        else await putInPlace(join(aside, String(number)), at, step.node.type === "directory");
      } catch (error) {
        throw writeFailure(shownPath(step.path), error);
      }
    }
  } finally {
    await rm(aside, { recursive: true, force: true });
  }
}

const IS_DIRECTORY = ["EISDIR", "ENOTEMPTY", "EEXIST", "ENOTDIR"];

async function putInPlace(from: string, at: Buffer, isDirectory: boolean): Promise<void> {
  try {
    if (isDirectory) await rm(at, { recursive: true, force: true });
    await rename(from, at);
  } catch (error) {
    if (!IS_DIRECTORY.includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    await rm(at, { recursive: true, force: true }); // of another type: in one step that cannot be done
    await rename(from, at);
  }
}

/** Owner first, since changing it clears set-id bits. */
function restoreAttributes(native: NativeCalls, at: Buffer, { mode, uid, gid, xattrs }: Directory): void {
  lchownSync(at, uid, gid);
  const there = native.getXattrs(at) ?? NO_XATTRS;
  assertDone(typeof there === "number" ? there : 0);
  if (typeof there !== "number")
    for (const name of there.keys()) if (!xattrs.has(name)) assertDone(native.removeXattr(at, bytesOf(name)));
  for (const [name, value] of xattrs) assertDone(native.setXattr(at, bytesOf(name), value));
  chmodSync(at, mode);
}

function assertDone(errno: number): void {
  if (errno !== 0) throw new SinkError("not-restored", `extended attributes were not restored (errno ${errno})`);
}
