import process from "node:process";
import { fromUtf8 } from "@ashlar/core/bytes";
import { SourceError } from "@ashlar/core/errors";
import { resolveInode } from "@ashlar/core/formats/erofs/reader";
import { extractImage } from "@ashlar/core/node/reading";
import type { ExtractFlags } from "../commands/files.ts";
import { withRoot } from "./images.ts";
import { inSession } from "./session.ts";

export function runExtract(flags: ExtractFlags, image: string, directory: string): Promise<void> {
  const { path = "/" } = flags;
  return inSession(flags, (session) =>
    withRoot(
      image,
      flags,
      session,
      async (opened) => {
        const from = await resolveInode(opened.image, fromUtf8(path));
        if (from === undefined)
          throw new SourceError("not-found", `${image}: ${path}: no such file or directory`, { path });
        if (from.type !== "directory")
          throw new SourceError("not-a-directory", `${image}: ${path}: is a ${from.type}, not a directory`);
        const task = session.reporter.start("extracting");
        const { entries, bytes, notes } = await extractImage(opened.image, from, directory, {
          privileged: process.getuid?.() === 0,
          isShortWork: opened.image.superblock.algorithms.every((name) => name === "lz4" || name === "zstd"),
          task,
          signal: session.signal,
        });
        task.end();
        for (const note of notes) session.reporter.note(note);
        if (flags.json) session.printJson({ schema: "ashlar.extract/v1", image, directory, entries, bytes, notes });
      },
      { readsAtOnce: true },
    ),
  );
}
