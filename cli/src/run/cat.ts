import { once } from "node:events";
import process from "node:process";
import { SourceError } from "@ashlar/core/errors";
import { readTree } from "@ashlar/core/formats/erofs";
import { digestOf } from "@ashlar/core/hash";
import { nodeHashes } from "@ashlar/core/node";
import { chunksOf, readAll } from "@ashlar/core/source";
import type { OutputFlags } from "../commands/flags.ts";
import { withRoot } from "./images.ts";
import { findPath } from "./ls.ts";
import { inSession } from "./session.ts";

/** Bytes that `--json` puts into one document. */
const MAX_JSON_CONTENT = 64 * 1024 * 1024;

export function runCat(flags: OutputFlags, image: string, path: string): Promise<void> {
  return inSession(flags, (session) =>
    withRoot(image, async (opened) => {
      const { node } = findPath(await readTree(opened.image), path, image);
      if (node.type !== "file")
        throw new SourceError("not-a-file", `${image}: ${path}: is a ${node.type}, not a regular file`, { path });
      if (flags.json) {
        const bytes = await readAll(node.content, MAX_JSON_CONTENT, path);
        const content = Buffer.from(bytes).toString("base64");
        session.printJson({
          schema: "ashlar.cat/v1",
          image,
          path,
          size: bytes.length,
          digest: digestOf(nodeHashes, bytes),
          content,
        });
        return;
      }
      for await (const chunk of chunksOf(node.content, { signal: session.signal }))
        if (!process.stdout.write(chunk)) await once(process.stdout, "drain");
    }),
  );
}
