/** Artifacts in memory, for tests of operations that write several and of runs that break off. */
import type { Artifact, ResumableStore } from "../../core/src/ops/index.ts";
import { bytesSource, memorySink, type Source } from "../../core/src/source/index.ts";

export interface MemoryArtifacts extends ResumableStore {
  /** What was published, by name. */
  readonly published: Map<string, Uint8Array>;
  /** What a run that broke off has left. */
  readonly left: Map<string, Uint8Array>;
}

/** @param left of an earlier store that was suspended */
export function memoryArtifacts(left: Map<string, Uint8Array> = new Map()): MemoryArtifacts {
  const files = new Map<string, { readonly sink: ReturnType<typeof memorySink>; size: number }>();
  const published = new Map<string, Uint8Array>();

  function create(name: string): Artifact {
    const sink = memorySink();
    const file = { sink, size: 0 };
    files.set(name, file);
    return {
      writeAt: (offset, bytes) => sink.writeAt(offset, Uint8Array.from(bytes)),
      async setSize(size) {
        sink.setSize(size);
        file.size = size;
      },
      source(size): Source {
        return {
          size,
          read: (offset, length) => {
            const bytes = new Uint8Array(size);
            bytes.set(sink.bytes().subarray(0, size));
            return bytesSource(bytes).read(offset, length);
          },
        };
      },
    };
  }

  return {
    published,
    left,
    create: async (name) => create(name),
    async resume(name) {
      const bytes = left.get(name);
      const artifact = create(name);
      if (bytes !== undefined) await artifact.writeAt(0, bytes);
      return { artifact, left: bytes === undefined ? undefined : bytesSource(bytes) };
    },
    async publish() {
      for (const [name, { sink, size }] of files) published.set(name, sink.bytes().slice(0, size));
    },
    discard: async () => files.clear(),
    async suspend() {
      for (const [name, { sink }] of files) left.set(name, sink.bytes());
      return true;
    },
  };
}
