/** An OCI layout as one tar file (`oci-archive:`): members in the order of their names, no times, no owners. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fromUtf8 } from "../../bytes/index.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../../formats/tar/index.ts";
import type { PendingFile } from "../../ops/registry/index.ts";
import { passingChunksOf } from "../../source/index.ts";
import { readFailure } from "../errors.ts";
import { openFile } from "../files.ts";

/** What a layout consists of; anything else in the directory (locks, what is not finished) is not. */
const PARTS = ["blobs", "index.json", "oci-layout"];

/** Same layout, same bytes. */
export async function writeArchive(
  directory: string,
  target: PendingFile,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  async function add(path: string): Promise<void> {
    const entries = await readdir(join(directory, path), { withFileTypes: true }).catch((error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === "ENOTDIR") return undefined;
      throw readFailure(join(directory, path), error);
    });
    if (entries === undefined) return addFile(path);
    await target.write(encodeTarHeader({ path: fromUtf8(`${path}/`), type: "directory" }));
    const names = entries.map(({ name }) => name).filter((name) => !name.startsWith("."));
    for (const name of names.sort()) await add(`${path}/${name}`);
  }
  async function addFile(path: string): Promise<void> {
    await using source = await openFile(join(directory, path));
    await target.write(encodeTarHeader({ path: fromUtf8(path), type: "file", size: source.size }));
    for await (const chunk of passingChunksOf(source, { signal })) await target.write(chunk);
    await target.write(tarPadding(source.size));
  }
  for (const part of PARTS) await add(part);
  await target.write(TAR_END);
}
