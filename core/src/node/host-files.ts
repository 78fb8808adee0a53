/** The host's files behind the port that image references are opened with. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { SourceError } from "../errors/index.ts";
import type { HostFiles } from "../ops/image/index.ts";
import { readFailure } from "./errors.ts";
import { openFile } from "./files.ts";

export const nodeFiles: HostFiles = {
  openFile,
  async openDirectory(path) {
    const found = await stat(path).catch((error: unknown) => {
      throw readFailure(path, error);
    });
    if (!found.isDirectory()) throw new SourceError("not-a-directory", `${path}: is not a directory`, { path });
    return { open: (below) => openFile(join(path, below)), close: async () => {} };
  },
};
