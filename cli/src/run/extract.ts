import process from "node:process";
import { SourceError } from "@ashlar/core/errors";
import { readTree } from "@ashlar/core/formats/erofs";
import { extractTree } from "@ashlar/core/node";
import { type Directory, walkTree } from "@ashlar/core/tree";
import type { ExtractFlags } from "../commands/files.ts";
import { withRoot } from "./images.ts";
import { findPath } from "./ls.ts";
import { inSession } from "./session.ts";

export function contentSize(tree: Directory): number {
  const files = new Set<unknown>();
  let size = 0;
  for (const { node } of walkTree(tree))
    if (node.type === "file" && !files.has(node)) {
      files.add(node);
      size += node.content.size;
    }
  return size;
}

export function runExtract(flags: ExtractFlags, image: string, directory: string): Promise<void> {
  return inSession(flags, (session) =>
    withRoot(image, flags, session, async (opened) => {
      const found = findPath(await readTree(opened.image), flags.path ?? "/", image);
      if (found.node.type !== "directory")
        throw new SourceError("not-a-directory", `${image}: ${flags.path}: is a ${found.node.type}, not a directory`);
      const task = session.reporter.start("extracting", contentSize(found.node));
      const { entries, bytes, notes } = await extractTree(found.node, directory, {
        privileged: process.getuid?.() === 0,
        task,
        signal: session.signal,
      });
      task.end();
      for (const note of notes) session.reporter.note(note);
      if (flags.json) session.printJson({ schema: "ashlar.extract/v1", image, directory, entries, bytes, notes });
    }),
  );
}
