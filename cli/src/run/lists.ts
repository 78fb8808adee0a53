/** Files of lines that flags name: comments begin with `#`, and empty lines say nothing. */
import { decodeUtf8Strict } from "@ashlar/core/bytes";
import { FormatError } from "@ashlar/core/errors";
import { openFile } from "@ashlar/core/node";
import { readAll } from "@ashlar/core/source";
import type { InputFlags } from "../commands/flags.ts";

const MAX_LIST_SIZE = 256 * 1024; // bytes; a release records the lines, and has itself at most 1 MiB

async function readLines(path: string | undefined): Promise<readonly string[] | undefined> {
  if (path === undefined) return undefined;
  await using file = await openFile(path);
  const text = decodeUtf8Strict(await readAll(file, MAX_LIST_SIZE, path));
  if (text === undefined) throw new FormatError("bad-list", `${path}: is not UTF-8 text`, { path });
  const lines = text.split("\n").map((line) => line.trim());
  return lines.filter((line) => line !== "" && !line.startsWith("#"));
}

/** What `--compress-hints` and `--data-first` name. */
export async function readLists({ compressHints, dataFirst }: Pick<InputFlags, "compressHints" | "dataFirst">) {
  return { compressHints: await readLines(compressHints), dataFirst: await readLines(dataFirst) };
}
