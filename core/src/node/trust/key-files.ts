/** A new pair of keys as files: both or none, nothing overwritten, the private one for its owner alone. */
import { link, open, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { writeFailure } from "../errors.ts";
import { newPartialName, removeLeftovers } from "../leftovers.ts";
import type { NewKey } from "./keys.ts";

async function writeAside(folder: string, bytes: Uint8Array, mode: number): Promise<string> {
  const path = join(folder, newPartialName());
  const handle = await open(path, "wx", mode);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return path;
}

/** Writes PREFIX.key and PREFIX.pub. Errors: SinkError `exists` and the like; nothing is there then. */
export async function writeKeyPair(prefix: string, { privatePem, publicPem }: NewKey) {
  const folder = dirname(prefix);
  const paths = { privateKey: `${prefix}.key`, publicKey: `${prefix}.pub` };
  const aside: string[] = [];
  const named: string[] = [];
  let at = paths.privateKey;
  try {
    await removeLeftovers(folder);
    for (const [path, bytes, mode] of [
      [paths.privateKey, privatePem, 0o600],
      [paths.publicKey, publicPem, 0o644],
    ] as const) {
      at = path;
      aside.push(await writeAside(folder, bytes, mode));
    }
    for (const [index, path] of [paths.privateKey, paths.publicKey].entries()) {
      at = path;
      await link(aside[index]!, path); // as many as were written; unlike a rename it replaces nothing
      named.push(path);
    }
    return paths;
  } catch (error) {
    for (const path of named) await unlink(path).catch(() => undefined);
    throw writeFailure(at, error);
  } finally {
    for (const path of aside) await unlink(path).catch(() => undefined);
  }
}
