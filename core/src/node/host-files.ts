/** The host's files behind the port that image references are opened with. */
import { fstatSync } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { join } from "node:path";
import { SourceError } from "../errors/index.ts";
import type { HostInputs, HostStream } from "../ops/image/index.ts";
import { exportContainerImage } from "./containers-storage.ts";
import { readFailure } from "./errors.ts";
import { openFile } from "./files.ts";
import { readHostTree } from "./host-tree.ts";

/** Bytes read at once. */
const CHUNK_SIZE = 1024 * 1024;

/** The standard input where it is no file: closing it ends a read that waits. */
async function* standardInput(signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const stop = (): void => {
    process.stdin.destroy();
  };
  signal?.addEventListener("abort", stop, { once: true });
  try {
    for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
      yield chunk;
      // Given back at once: what the collector leaves lying grows with the length of the input (measured: 50 MB at 20 GB).
      if (chunk.buffer instanceof ArrayBuffer && chunk.length === chunk.buffer.byteLength) chunk.buffer.transfer(0);
    }
    signal?.throwIfAborted();
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

async function* forward(handle: FileHandle): AsyncGenerator<Uint8Array> {
  const bytes = new Uint8Array(CHUNK_SIZE);
  for (;;) {
    const { bytesRead } = await handle.read(bytes, 0, CHUNK_SIZE, null);
    if (bytesRead === 0) return;
    yield bytesRead < CHUNK_SIZE ? bytes.subarray(0, bytesRead) : bytes;
  }
}

/** A file, a pipe or a device, read forward; `-` is the standard input. */
async function openStream(path: string): Promise<HostStream> {
  const name = path === "-" ? "standard input" : path;
  const isPipe = path === "-" && !fstatSync(0).isFile();
  const handle = isPipe
    ? undefined
    : await open(path === "-" ? "/dev/stdin" : path, "r").catch((e) => rethrow(name, e));
  const found = await handle?.stat();
  if (found?.isDirectory()) {
    await handle?.close();
    throw new SourceError("is-a-directory", `${name}: is a directory`, { path: name });
  }
  return {
    size: found?.isFile() ? found.size : undefined,
    async *chunks(options) {
      try {
        for await (const chunk of handle === undefined ? standardInput(options?.signal) : forward(handle)) {
          options?.signal?.throwIfAborted();
          yield chunk;
        }
      } catch (error) {
        if (options?.signal?.aborted) throw options.signal.reason;
        throw readFailure(name, error);
      }
      if (handle === undefined || !found?.isFile()) return;
      const now = await handle.stat();
      if (now.size !== found.size || now.mtimeMs !== found.mtimeMs || now.ctimeMs !== found.ctimeMs)
        throw new SourceError("changed", `${name}: changed while it was read`, { path: name });
    },
    close: async () => handle?.close(),
  };
}

function rethrow(path: string, error: unknown): never {
  throw readFailure(path, error);
}

export const nodeFiles: HostInputs = {
  openStream,
  readTree: readHostTree,
  exportImage: (name, options) => exportContainerImage(name, options),
  openFile: (path) => openFile(path),
  async openDirectory(path) {
    const found = await stat(path).catch((error: unknown) => {
      throw readFailure(path, error);
    });
    if (!found.isDirectory()) throw new SourceError("not-a-directory", `${path}: is not a directory`, { path });
    return { open: (below) => openFile(join(path, below)), close: async () => {} };
  },
};
