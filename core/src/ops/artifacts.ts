/** Where an operation puts its results: all of them appear under their names, or none does. */
import { passingChunksOf, type RandomSink, type ReadOptions, type Source } from "../source/index.ts";

export interface Artifact extends RandomSink {
  /** What is cut off is gone: where the artifact grows again it reads as zero. */
  setSize(size: number): Promise<void>;
  /** What was written so far, `size` bytes of it. */
  source(size: number): Source;
}

export interface ArtifactStore {
  /** A new artifact, invisible until `publish`. Throws SinkError `exists` where the name is taken. */
  create(name: string): Promise<Artifact>;
  /** Flushes everything and gives it its names, in the order of creation, the last one being the sign that all are there. */
  publish(): Promise<void>;
  /** Removes what was not published. May be called at any time and more than once. */
  discard(): Promise<void>;
}

/** A store that can go on where a run broke off. */
export interface ResumableStore extends ArtifactStore {
  /**
   * As `create`. `left` is what an earlier run has left of it: any bytes, of which the caller uses what it can check and
   * writes the rest over.
   */
  resume(name: string): Promise<{ readonly artifact: Artifact; readonly left: Source | undefined }>;
  /** Instead of `discard`: leaves what is written for a later `resume`. False where there is nothing worth it. */
  suspend(): Promise<boolean>;
}

/** What an operation writes, for who only looks at it: nothing gets a name. */
export interface UnpublishedStore extends ResumableStore {
  /** An artifact that was written, by its name; undefined where there is none. */
  source(name: string, release: { readonly artifacts: readonly { name: string; size: number }[] }): Source | undefined;
}

/** `publish` of the result does nothing; the caller discards `store`. */
export function unpublished(store: ArtifactStore): UnpublishedStore {
  const files = new Map<string, Artifact>();
  async function create(name: string): Promise<Artifact> {
    const file = await store.create(name);
    files.set(name, file);
    return file;
  }
  return {
    create,
    resume: async (name) => ({ artifact: await create(name), left: undefined }),
    publish: async () => {},
    suspend: async () => false,
    discard: () => store.discard(),
    source(name, { artifacts }) {
      const size = artifacts.find((artifact) => artifact.name === name)?.size;
      return size === undefined ? undefined : files.get(name)?.source(size);
    },
  };
}

export interface CopyOptions extends ReadOptions {
  /** @param amount bytes written since the last call */
  readonly onProgress?: (amount: number) => void;
}

/** Copies all of `from` to `to`, starting at byte `at` of it. */
export async function copySource(from: Source, to: RandomSink, at: number, options: CopyOptions = {}): Promise<void> {
  let position = at;
  for await (const chunk of passingChunksOf(from, options)) {
    await to.writeAt(position, chunk);
    position += chunk.length;
    options.onProgress?.(chunk.length);
  }
}
