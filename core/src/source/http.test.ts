import assert from "node:assert/strict";
import { test } from "node:test";
import { isAshlarError } from "../errors/index.ts";
import { blobSource, type Fetch, httpSource } from "./index.ts";

const CONTENT = Uint8Array.from({ length: 5000 }, (_, i) => (i * 7) & 255);

interface Answer {
  readonly status?: number;
  readonly headers?: Record<string, string>;
  readonly body?: Uint8Array;
  /** The body never ends. */
  readonly isEndless?: boolean;
  readonly throws?: boolean;
}

/** A server that does what it should, but for what `answer` says. */
function server(answer: (request: number, range: string) => Answer = () => ({})): Fetch {
  let requests = 0;
  return async (_, { headers }) => {
    const range = headers["range"] ?? "";
    const { status = 206, throws, ...given } = answer(requests++, range);
    if (throws) throw new TypeError("fetch failed");
    const [, start, end] = (/^bytes=(\d+)-(\d+)$/.exec(range) ?? []).map(Number) as [number, number, number];
    const shown = { "content-range": `bytes ${start}-${end}/5000`, etag: '"1"', ...given.headers };
    const body = given.body ?? CONTENT.slice(start, end + 1);
    const stream = given.isEndless
      ? new ReadableStream({ pull: (to) => to.enqueue(body) })
      : new Blob([Uint8Array.from(body)]).stream();
    return new Response(stream, { status, headers: shown });
  };
}

const URL_OF_IT = "https://example.org/image.erofs?token=secret";

async function codeOf(answer: (request: number, range: string) => Answer): Promise<string> {
  try {
    const source = await httpSource(URL_OF_IT, { fetch: server(answer) });
    await source.read(100, 10);
    return "read";
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    assert.doesNotMatch(error.message, /secret/);
    return error.code;
  }
}

test("ranges of a file on a server", async () => {
  const source = await httpSource(URL_OF_IT, { fetch: server() });
  assert.equal(source.size, 5000);
  assert.deepEqual(await source.read(100, 3000), CONTENT.slice(100, 3100));
  assert.deepEqual(await source.read(5000, 0), new Uint8Array(0));
  await assert.rejects(source.read(4999, 2), { code: "out-of-range" });
});

test("what a server may do wrong", async () => {
  assert.equal(await codeOf(() => ({ status: 200, headers: {}, body: CONTENT })), "no-ranges");
  assert.equal(await codeOf(() => ({ status: 404 })), "http-status");
  assert.equal(await codeOf(() => ({ throws: true })), "connection");
  assert.equal(await codeOf((n) => (n === 0 ? {} : { headers: { etag: '"2"' } })), "changed");
  assert.equal(await codeOf((n) => (n === 0 ? {} : { headers: { "content-range": "bytes 100-109/5001" } })), "changed");
  assert.equal(await codeOf(() => ({ headers: { etag: 'W/"1"' } })), "read");
  assert.equal(
    await codeOf((n) => (n === 0 ? {} : { headers: { "content-range": "bytes 0-9/5000" } })),
    "content-range",
  );
  assert.equal(
    await codeOf(() => ({ headers: { "content-range": "bytes 0-0/99999999999999999999" } })),
    "content-range",
  );
  assert.equal(await codeOf(() => ({ headers: { "content-encoding": "gzip" } })), "no-ranges");
  assert.equal(await codeOf((n) => (n === 0 ? {} : { body: new Uint8Array(9) })), "truncated");
  assert.equal(await codeOf((n) => (n === 0 ? {} : { body: new Uint8Array(9), isEndless: true })), "content-range");
});

test("a Blob", async () => {
  const source = blobSource(new Blob([CONTENT]));
  assert.deepEqual(await source.read(4000, 1000), CONTENT.slice(4000));
  const gone = { size: 10, slice: () => ({ arrayBuffer: () => Promise.reject(new Error("NotReadableError")) }) };
  await assert.rejects(blobSource(gone).read(0, 1), { code: "read-failed" });
  const short = { size: 10, slice: () => ({ arrayBuffer: async () => new ArrayBuffer(1) }) };
  await assert.rejects(blobSource(short).read(0, 2), { code: "truncated" });
});
