/** Releases as files: release.json with the artifacts beside it. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { isAshlarError, SourceError } from "@ashlar/core/errors";
import { openFile } from "@ashlar/core/node";
import type { ReleaseFiles } from "@ashlar/core/ops/publish";
import { MAX_RELEASE_SIZE, parseRelease } from "@ashlar/core/ops/release";
import { readAll } from "@ashlar/core/source";
import { openArtifact } from "./images.ts";

/** A release.json, or the only one in a directory. */
async function findRelease(word: string): Promise<string> {
  try {
    await using _file = await openFile(word);
    return word;
  } catch (error) {
    if (!isAshlarError(error) || error.code !== "not-a-file") throw error;
  }
  const names = (await readdir(word)).filter((name) => name.endsWith(".release.json"));
  const [only] = names;
  if (only === undefined || names.length > 1)
    throw new SourceError("no-release", `${word}: has ${names.length} files *.release.json; name one`, { path: word });
  return join(word, only);
}

/** @param word release.json, or a directory with one */
export async function openReleaseFiles(word: string): Promise<ReleaseFiles> {
  const path = await findRelease(word);
  await using file = await openFile(path);
  const bytes = await readAll(file, MAX_RELEASE_SIZE, path);
  return { name: path, release: parseRelease(bytes, path), bytes, open: (name) => openArtifact(path, name) };
}
