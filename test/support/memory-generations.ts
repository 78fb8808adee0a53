/** Layers of /etc in memory. */
import { SourceError } from "../../core/src/errors/index.ts";
import type { GenerationStore } from "../../core/src/ops/etc/index.ts";
import { attributes, type Directory, directory } from "../../core/src/tree/index.ts";

export interface MemoryGenerations extends GenerationStore {
  readonly uppers: Map<string, Directory>;
}

/** @param running root hash of what runs, which has a layer in which nothing is */
export function memoryGenerations(running: string): MemoryGenerations {
  const uppers = new Map([[running, directory(attributes(0o755))]]);
  const files = new Map<string, Readonly<Record<string, Uint8Array>>>();
  return {
    uppers,
    list: async () => [...uppers.keys()].sort(),
    async readUpper(rootHash) {
      const upper = uppers.get(rootHash);
      if (upper === undefined) throw new SourceError("not-found", `${rootHash}: no such generation`);
      return upper;
    },
    readFile: async (rootHash, name) => files.get(rootHash)?.[name],
    async put(rootHash, upper, beside) {
      uppers.set(rootHash, upper);
      files.set(rootHash, beside);
    },
    free: async () => Number.MAX_SAFE_INTEGER,
    async remove(rootHash) {
      uppers.delete(rootHash);
      files.delete(rootHash);
    },
  };
}
