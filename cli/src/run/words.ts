/** What a word on the command line may mean, as far as that can be told without the parts that read references. */
import { isAshlarError } from "@ashlar/core/errors";
import { openFile } from "@ashlar/core/node/reading";

/** It begins as a reference to an image or a release does. */
export function isExplicitReference(word: string): boolean {
  return /^(docker|oci|oci-archive):/.test(word);
}

/** Whether there is a file or device, one that cannot be opened too. */
export async function isThere(path: string): Promise<boolean> {
  try {
    await using _file = await openFile(path);
    return true;
  } catch (error) {
    if (isAshlarError(error)) return error.code !== "not-found" && error.code !== "not-a-directory";
    throw error;
  }
}
