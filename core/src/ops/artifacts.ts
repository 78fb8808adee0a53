/** Where an operation puts its results: all of them appear under their names, or none does. */
import { passingChunksOf, type RandomSink, type ReadOptions, type Source } from "../source/index.ts";

export interface Artifact extends RandomSink {
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
