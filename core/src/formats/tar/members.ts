/** An archive as an async sequence of members, for who has chunks from somewhere and wants content in turn. */
import { fillFrom, type ReadOptions, type Source } from "../../source/index.ts";
import type { TarEntry } from "./header.ts";
import { type TarOptions, tarParser } from "./read.ts";
import type { TarEvent } from "./steps.ts";

export interface TarMember {
  readonly entry: TarEntry;
  /** The stored bytes, once and only before the next member is asked for; skipped if nobody asks. Views of chunks. */
  readonly content: AsyncIterable<Uint8Array>;
}

/** The members of an archive from chunks of any size. Errors as {@link tarParser}. */
export async function* readTar(chunks: AsyncIterable<Uint8Array>, options: TarOptions = {}): AsyncGenerator<TarMember> {
  const parser = tarParser(options);
  const iterator = chunks[Symbol.asyncIterator]();
  async function nextEvent(): Promise<TarEvent | undefined> {
    for (;;) {
      const event = parser.next();
      if (event !== undefined) return event;
      const { done, value } = await iterator.next();
      if (done) {
        parser.end();
        return undefined;
      }
      parser.push(value);
    }
  }
  try {
    let event = await nextEvent();
    while (event !== undefined) {
      if (event.kind !== "entry") {
        event = await nextEvent(); // content that nobody asked for
        continue;
      }
      const { entry } = event;
      let upcoming: TarEvent | undefined | "unread" = "unread";
      async function* content(): AsyncGenerator<Uint8Array> {
        while (upcoming === "unread") {
          const following = await nextEvent();
          if (following?.kind === "data") yield following.bytes;
          else upcoming = following;
        }
      }
      yield { entry, content: content() };
      event = upcoming === "unread" ? await nextEvent() : upcoming;
    }
  } finally {
    await iterator.return?.();
  }
}

/** Bytes that are read behind a content that was passed over: its padding, the next header and what else a page holds. */
const FIRST_READ = 4096;
/** Each read that no content was passed over before has twice as many bytes as the one before it, up to this. */
const LARGEST_READ = 64 * 1024;

/**
 * The entries of an archive that can be read anywhere, contents among them left where they are: `contentOffset` says where.
 * Errors as {@link tarParser}, and those of the source.
 */
export async function* readTarEntries(
  archive: Source,
  { signal, ...options }: TarOptions & ReadOptions = {},
): AsyncGenerator<TarEntry> {
  const parser = tarParser(options);
  const buffer = new Uint8Array(LARGEST_READ);
  let length = FIRST_READ;
  for (let at = 0; ; ) {
    for (let event = parser.next(); event !== undefined; event = parser.next())
      if (event.kind === "entry") yield event.entry;
    if (at >= archive.size) break;
    const skip = Math.min(parser.skippable, archive.size - at);
    if (skip > 0) {
      parser.skip(skip);
      at += skip;
      length = FIRST_READ;
      continue;
    }
    signal?.throwIfAborted();
    const chunk = buffer.subarray(0, Math.min(length, archive.size - at));
    await fillFrom(archive, at, chunk, { signal });
    parser.push(chunk);
    at += chunk.length;
    length = Math.min(2 * length, LARGEST_READ);
  }
  parser.end();
}
