/** Single result files at paths of the user's choice: written aside, then renamed. */
import { basename, dirname } from "node:path";
import { openArtifacts } from "@ashlar/core/node";
import type { Artifact } from "@ashlar/core/ops";

/**
 * Runs `work` with a file that gets its name when `work` is done, and is gone where it fails. Throws SinkError `exists`
 * where the name is taken and `overwrite` is not set.
 */
export async function withOutputFile<T>(
  path: string,
  { overwrite }: { readonly overwrite: boolean },
  work: (file: Artifact) => Promise<T>,
): Promise<T> {
  const store = await openArtifacts(dirname(path), { overwrite });
  try {
    const result = await work(await store.create(basename(path)));
    await store.publish();
    return result;
  } finally {
    await store.discard();
  }
}
