import { once } from "node:events";
import process from "node:process";
import { fromUtf8 } from "@ashlar/core/bytes";
import { SourceError } from "@ashlar/core/errors";
import { resolveInode } from "@ashlar/core/formats/erofs/reader";
import { digestOf } from "@ashlar/core/hash";
import { nodeHashes } from "@ashlar/core/node/reading";
import { chunksOf, readAll } from "@ashlar/core/source";
import type { CatFlags } from "../commands/files.ts";
import { withRoot } from "./images.ts";
import { inSession } from "./session.ts";

/** Bytes that `--json` puts into one document. */
const MAX_JSON_CONTENT = 64 * 1024 * 1024;

export function runCat(flags: CatFlags, image: string, path: string): Promise<void> {
  return inSession(flags, (session) =>
    withRoot(image, flags, session, async (opened) => {
      // Nothing but what is on the way is read: the image may be in a registry.
      const inode = await resolveInode(opened.image, fromUtf8(path));
      if (inode === undefined)
        throw new SourceError("not-found", `${image}: ${path}: no such file or directory`, { path });
      if (inode.type !== "file")
        throw new SourceError("not-a-file", `${image}: ${path}: is a ${inode.type}, not a regular file`, { path });
      const content = opened.image.content(inode);
      if (flags.json) {
        const bytes = await readAll(content, MAX_JSON_CONTENT, path);
        const base64 = Buffer.from(bytes).toString("base64");
        session.printJson({
          schema: "ashlar.cat/v1",
          image,
          path,
          size: bytes.length,
          digest: digestOf(nodeHashes, bytes),
          content: base64,
        });
        return;
      }
      for await (const chunk of chunksOf(content, { signal: session.signal }))
        if (!process.stdout.write(chunk)) await once(process.stdout, "drain");
    }),
  );
}
