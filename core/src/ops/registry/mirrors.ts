/** A repository with mirrors: read from the first that answers, written to where it really is. */
import { isAshlarError } from "../../errors/index.ts";
import type { BlobStream, ClosableSource, Descriptor, Repository, Selector } from "../../formats/oci/index.ts";
import { chunksOf, type ReadOptions, sliceSource } from "../../source/index.ts";

export interface Mirror {
  readonly repository: Repository;
  /** What it may be asked for. */
  readonly tags: boolean;
  readonly digests: boolean;
}

/** Whether another one may do better. Wrong bytes are not made up for. */
function isPassable(error: unknown): boolean {
  return isAshlarError(error) && error.kind !== "IntegrityError";
}

/**
 * Nothing that a mirror says is trusted more than what a registry says: digests decide. IntegrityError of one is not
 * made up for by another. Where nobody has it, the error is that of the registry itself.
 */
export function withMirrors(mirrors: readonly Mirror[], registry: Repository): Repository {
  /** The one that knew the image is likely to have the rest of it. */
  let preferred: Repository | undefined;

  function order(wants: "tags" | "digests"): Repository[] {
    const all = [...mirrors.filter((mirror) => mirror[wants]).map(({ repository }) => repository), registry];
    const first = all.filter((one) => one === preferred);
    return [...first, ...all.filter((one) => one !== preferred)];
  }

  async function firstOf<T>(
    wants: "tags" | "digests",
    action: (repository: Repository) => Promise<T>,
    isAnswer: (result: T) => boolean = () => true,
  ): Promise<T> {
    let failure: { readonly error: unknown } | undefined;
    let result: { readonly value: T } | undefined;
    for (const repository of order(wants))
      try {
        const value = await action(repository);
        if (isAnswer(value)) {
          preferred ??= repository;
          return value;
        }
        result = { value };
      } catch (error) {
        if (!isPassable(error)) throw error;
        if (failure === undefined || repository === registry) failure = { error };
      }
    // Whoever failed might have known better than those who know nothing.
    if (failure !== undefined) throw failure.error;
    return result!.value; // the registry itself is always asked: it has failed or answered
  }

  function openBlob(descriptor: Descriptor): ClosableSource {
    const opened = new Map<Repository, ClosableSource>();
    return {
      size: descriptor.size,
      read: (offset, length, options) =>
        firstOf("digests", async (repository) => {
          const source = opened.get(repository) ?? (await repository.openBlob(descriptor, options));
          opened.set(repository, source);
          return source.read(offset, length, options);
        }),
      async close() {
        for (const source of opened.values()) await source.close();
      },
    };
  }

  /** Where the stream ends in an error, the rest comes by ranges, from whoever has it. */
  function goingOn(stream: BlobStream, rest: ClosableSource): BlobStream {
    return {
      size: stream.size,
      async *chunks(options) {
        let position = 0;
        try {
          for await (const chunk of stream.chunks(options)) {
            position += chunk.length;
            yield chunk;
          }
        } catch (error) {
          if (!isPassable(error) || position >= rest.size) throw error;
          preferred = undefined;
          yield* chunksOf(sliceSource(rest, position), options);
        }
      },
      async close() {
        await stream.close();
        await rest.close();
      },
    };
  }

  return {
    name: registry.name,
    resolve: (selector: Selector, options?: ReadOptions) =>
      firstOf(selector.digest === undefined ? "tags" : "digests", (one) => one.resolve(selector, options)),
    async open(descriptor, options) {
      const stream = await firstOf("digests", (one) => one.open(descriptor, options));
      return goingOn(stream, openBlob(descriptor));
    },
    openBlob: async (descriptor) => openBlob(descriptor),
    has: (descriptor, options) => firstOf("digests", (one) => one.has(descriptor, options), Boolean),
    referrers: (digest, options) =>
      firstOf(
        "digests",
        (one) => one.referrers(digest, options),
        (found) => found.length > 0,
      ),
    putBlob: (descriptor, content, options) => registry.putBlob(descriptor, content, options),
    putManifest: (descriptor, bytes, tag, options) => registry.putManifest(descriptor, bytes, tag, options),
    tags: (options) => registry.tags(options),
    async close() {
      for (const { repository } of mirrors) await repository.close();
      await registry.close();
    },
  };
}
