/** A file on a web server as a source, by ranges (RFC 9110, section 14). Nothing is trusted but what ranges and tags say. */
import { SourceError } from "../errors/index.ts";
import { assertRange, type Source } from "./source.ts";

/** The part of Response (WHATWG Fetch) that is used. */
export interface FetchResponse {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: {
    getReader(): {
      read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
      cancel(): Promise<void>;
    };
  } | null;
}

/** `globalThis.fetch` of any host. */
export type Fetch = (
  url: string,
  options: { readonly headers: Readonly<Record<string, string>>; readonly signal?: AbortSignal },
) => Promise<FetchResponse>;

export interface HttpSourceOptions {
  readonly fetch: Fetch;
  readonly signal?: AbortSignal | undefined;
}

interface Part {
  readonly bytes: Uint8Array;
  /** Bytes of the whole file. */
  readonly size: number;
  /** The server's name of this state of the file; null where it gives none, or a weak one. */
  readonly tag: string | null;
}

/**
 * Asks for one byte to learn the size. Each read is one request. Throws SourceError `connection`, `http-status`,
 * `no-ranges` where the server sends no part, `content-range` where it sends another one, `truncated`; `changed` where the
 * file's size or tag is no longer what it was. Errors name host and path, not the query, which may be a secret.
 */
export async function httpSource(url: string, options: HttpSourceOptions): Promise<Source> {
  const { host, pathname } = new URL(url);
  const what = `${host}${pathname}`;
  const first = await fetchPart(url, what, 0, 1, options);
  const { size, tag } = first;
  return {
    size,
    async read(offset, length, { signal = options.signal } = {}) {
      assertRange(offset, length, size);
      if (length === 0) return new Uint8Array(0);
      const part = await fetchPart(url, what, offset, length, { fetch: options.fetch, signal });
      if (part.size !== size || part.tag !== tag)
        throw new SourceError("changed", `${what}: changed while it was read`, { offset });
      return part.bytes;
    },
  };
}

async function fetchPart(
  url: string,
  what: string,
  offset: number,
  length: number,
  { fetch, signal }: HttpSourceOptions,
): Promise<Part> {
  signal?.throwIfAborted();
  const headers = { range: `bytes=${offset}-${offset + length - 1}`, "accept-encoding": "identity" };
  const response = await fetch(url, signal === undefined ? { headers } : { headers, signal }).catch(
    (cause: unknown) => {
      signal?.throwIfAborted();
      throw new SourceError("connection", `${what}: no answer`, { cause });
    },
  );
  const refuse = async (code: string, reason: string): Promise<never> => {
    await response.body?.getReader().cancel();
    throw new SourceError(code, `${what}: ${reason}`, { offset });
  };
  if (response.status === 200) return refuse("no-ranges", "the server sends the whole file, not a range of it");
  if (response.status !== 206) return refuse("http-status", `status ${response.status}`);
  const encoding = response.headers.get("content-encoding");
  if (encoding !== null && encoding !== "identity") return refuse("no-ranges", `the range is of its ${encoding} form`);
  const range = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(response.headers.get("content-range") ?? "");
  const size = Number(range?.[3]);
  if (Number(range?.[1]) !== offset || Number(range?.[2]) !== offset + length - 1 || !Number.isSafeInteger(size))
    return refuse("content-range", `asked for ${length} bytes at ${offset}, the answer is not about them`);
  const tag = response.headers.get("etag");
  return { bytes: await readBody(response, what, offset, length), size, tag: tag?.startsWith("W/") ? null : tag };
}

async function readBody({ body }: FetchResponse, what: string, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  const reader = body?.getReader();
  let filled = 0;
  for (;;) {
    const { done, value } = (await reader?.read().catch((cause: unknown) => {
      throw new SourceError("connection", `${what}: broke off after ${filled} of ${length} bytes`, { offset, cause });
    })) ?? { done: true, value: undefined };
    if (done || value === undefined) break;
    if (value.length > length - filled) {
      await reader?.cancel();
      throw new SourceError("content-range", `${what}: more than the ${length} bytes that were asked for`, { offset });
    }
    bytes.set(value, filled);
    filled += value.length;
  }
  if (filled < length)
    throw new SourceError("truncated", `${what}: ended after ${filled} of ${length} bytes`, { offset });
  return bytes;
}
