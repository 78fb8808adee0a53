/** Blobs coming from a registry: front to back, taken up again where the connection broke, or by ranges. */
import { IntegrityError, SourceError } from "../../errors/index.ts";
import type { BlobStream, ClosableSource, Descriptor } from "../../formats/oci/index.ts";
import { assertRange, type ReadOptions } from "../../source/index.ts";
import { atMinimumRate } from "./body.ts";
import type { Client, ClientResponse } from "./client.ts";
import { failure, isHtml } from "./failure.ts";
import { MAX_RESUMES } from "./limits.ts";
import { isTransientError } from "./retry.ts";

/** A server that knows no ranges sends everything; this much of it is read to get at a part, in bytes. */
export const MAX_SKIPPED = 64 * 1024 * 1024;

interface Place {
  readonly client: Client;
  /** Path of the repository within the registry. */
  readonly repository: string;
  /** For people. */
  readonly name: string;
}

/**
 * Opens a blob. Where the stream breaks, the rest is asked for; the bytes are one blob only if its digest says so. Ends
 * at the promised size: IntegrityError `size-mismatch` when more comes. Errors: SourceError `no-blob`,
 * `content-range`, and those of the client.
 */
export function openDownload(place: Place, descriptor: Descriptor, options?: ReadOptions): Promise<BlobStream> {
  return openPart(place, descriptor, 0, descriptor.size, options);
}

/** As {@link openDownload}, `length` bytes of the blob from `from` on. No bytes behind them are asked for. */
export async function openPart(
  place: Place,
  descriptor: Descriptor,
  from: number,
  length: number,
  options?: ReadOptions,
): Promise<BlobStream> {
  const { client, name } = place;
  const { digest } = descriptor;
  const what = `${name}: blob ${digest}`;
  assertRange(from, length, descriptor.size);
  const isWhole = from === 0 && length === descriptor.size;
  const size = from + length; // where the part ends
  let response: ClientResponse | undefined = await request(place, descriptor, from, length, options);
  let open = response;
  const contentLength = response.headers["content-length"];
  return {
    size: isWhole ? (contentLength === undefined ? undefined : Number(contentLength)) : length,
    async *chunks(readOptions) {
      const signal = readOptions?.signal ?? options?.signal;
      let position = from;
      let failures = 0; // since the last progress
      let resumes = 0;
      for (;;) {
        const start = position;
        try {
          open = response ?? (await request(place, descriptor, position, size - position, { signal }));
          response = undefined;
          for await (const chunk of partOf(open, position, client, what)) {
            if (position + chunk.length > size && !isWhole) {
              yield chunk.subarray(0, size - position); // a server that knows no ranges goes on
              return;
            }
            if (position + chunk.length > size)
              throw new IntegrityError("size-mismatch", `${what}: has more than the expected ${size} bytes`, {
                expected: size,
              });
            position += chunk.length;
            yield chunk;
          }
          // A body that ends with its connection may have been cut; others say where they end.
          const { headers } = open;
          if (position >= size || (isWhole && isDelimited(headers))) return;
          throw new SourceError("connection", `${what}: ended at ${position} of ${size} bytes`);
        } catch (error) {
          if (position === size && isTransientError(error)) return; // everything is here
          // A drip is no progress, and a stream can break only so often.
          const isProgress = position > start && !(error instanceof SourceError && error.code === "too-slow");
          failures = isProgress ? 0 : failures + 1;
          if (!isTransientError(error) || ++resumes > MAX_RESUMES) throw error;
          await client.pause(failures, error, signal);
        } finally {
          open.cancel();
        }
      }
    },
    close: async () => open.cancel(),
  };
}

function isDelimited(headers: ClientResponse["headers"]): boolean {
  return (headers["content-length"] ?? headers["transfer-encoding"]) !== undefined;
}

/** Ranges of a blob. Nothing is asked for before the first read, which throws SourceError `no-blob` where it is absent. */
export function rangedBlob(place: Place, descriptor: Descriptor): ClosableSource {
  const { client, name } = place;
  const { digest, size } = descriptor;
  const what = `${name}: blob ${digest}`;
  /** Where a redirect has led, such as to an object store: asked directly, as long as it answers. */
  let store: URL | undefined;

  async function part(offset: number, length: number, options: ReadOptions | undefined): Promise<ClientResponse> {
    if (store !== undefined) {
      const headers = rangeHeaders(offset, length);
      const access = { action: "pull" } as const;
      const direct = await client
        .send({ method: "GET", target: store, headers, access, what, signal: options?.signal, once: true })
        .catch((error: unknown) => {
          if (!isTransientError(error)) throw error;
          return undefined;
        });
      if (direct?.status === 206) return direct;
      direct?.cancel(); // its signature has run out, most likely
      store = undefined;
    }
    const response = await request(place, descriptor, offset, length, options);
    if (response.isRedirected) store = response.url;
    return response;
  }

  async function fill(target: Uint8Array, offset: number, options: ReadOptions | undefined): Promise<void> {
    let filled = 0;
    let failures = 0;
    for (let resumes = 0; filled < target.length; resumes++) {
      const before = filled;
      let response: ClientResponse | undefined;
      try {
        const missing = target.length - filled;
        response = await part(offset + filled, missing, options);
        // An answer that ends with the range is read to its end: its connection serves the next read then.
        const endsHere = response.status === 206 && response.headers["content-length"] === String(missing);
        for await (const chunk of partOf(response, offset + filled, client, what)) {
          const wanted = chunk.subarray(0, target.length - filled);
          target.set(wanted, filled);
          filled += wanted.length;
          if (filled === target.length && !endsHere) return;
        }
        if (filled === target.length) return;
        throw new SourceError("connection", `${what}: ended ${target.length - filled} bytes too early`);
      } catch (error) {
        failures = filled > before ? 0 : failures + 1;
        if (!isTransientError(error) || resumes >= MAX_RESUMES) throw error;
        await client.pause(failures, error, options?.signal);
      } finally {
        response?.cancel();
      }
    }
  }
  return {
    size,
    async read(offset, length, options) {
      assertRange(offset, length, size);
      const target = new Uint8Array(length);
      await fill(target, offset, options);
      return target;
    },
    close: async () => {},
  };
}

/** The bytes as they are: a digest is over those. */
const PLAIN = { accept: "*/*", "accept-encoding": "identity" };

function rangeHeaders(offset: number, length: number): Record<string, string> {
  return { ...PLAIN, range: `bytes=${offset}-${offset + Math.max(length, 1) - 1}` };
}

/** @param length bytes that are wanted from `offset` on */
async function request(
  { client, repository, name }: Place,
  { digest, size }: Descriptor,
  offset: number,
  length: number,
  options: ReadOptions | undefined,
): Promise<ClientResponse> {
  const what = `${name}: blob ${digest}`;
  const isWhole = offset === 0 && length === size;
  const response = await client.send({
    method: "GET",
    target: `${repository}/blobs/${digest}`,
    headers: isWhole ? PLAIN : rangeHeaders(offset, length),
    access: { action: "pull" },
    what,
    signal: options?.signal,
  });
  if (response.status === 404) {
    response.cancel();
    throw new SourceError("no-blob", `${name}: blob ${digest} is missing`);
  }
  if ((response.status !== 200 && response.status !== 206) || isHtml(response))
    throw await failure(response, client.timing, what);
  return response;
}

/** The chunks from byte `offset` of the blob on, whatever part of it the answer begins with. */
async function* partOf(response: ClientResponse, offset: number, client: Client, what: string) {
  const start = response.status === 206 ? startOf(response, what) : 0;
  if (response.status === 206 && start !== offset)
    throw new SourceError("content-range", `${what}: asked for bytes from ${offset}, got those from ${start}`);
  let skip = offset - start;
  if (skip > MAX_SKIPPED)
    throw new SourceError("no-ranges", `${what}: the registry serves no ranges, and byte ${offset} is far behind`);
  for await (const chunk of atMinimumRate(response.body, client.timing, what)) {
    if (skip >= chunk.length) {
      skip -= chunk.length;
      continue;
    }
    yield skip === 0 ? chunk : chunk.subarray(skip);
    skip = 0;
  }
}

/** First byte of a part, from its Content-Range (RFC 9110, 14.4). */
function startOf({ headers }: ClientResponse, what: string): number {
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)$/.exec(headers["content-range"] ?? "");
  if (match === null) throw new SourceError("content-range", `${what}: a part came without saying which`);
  return Number(match[1]);
}
