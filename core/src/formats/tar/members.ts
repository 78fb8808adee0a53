/** An archive as an async sequence of members, for who has chunks from somewhere and wants content in turn. */
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
