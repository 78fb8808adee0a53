// What can go wrong between a registry and its clients, each as an answer of the proxy of registry-proxy.ts.
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";

import type { Call, Fault } from "./registry-proxy.ts";

/** Another answer altogether; the registry is not asked. */
export function status(code: number, headers: Record<string, string> = {}, body = ""): Fault {
  return async (call) => {
    call.exchange.status = code;
    call.request.resume();
    call.response.writeHead(code, { "content-length": Buffer.byteLength(body), ...headers });
    if (call.exchange.method !== "HEAD") await call.write(Buffer.from(body));
    call.response.end();
  };
}

/** 429, to be tried again after some seconds. */
export const tooManyRequests = (seconds: number | string): Fault =>
  status(429, { "retry-after": String(seconds) }, '{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}');

/** What a captive portal or a single sign-on says to everything. */
export const loginPage = (code = 200): Fault =>
  status(
    code,
    { "content-type": "text/html; charset=utf-8" },
    "<!DOCTYPE html>\n<title>Log in</title>\n<h1>Log in</h1>\n",
  );

/** To the same path of another server, as registries do that keep their blobs elsewhere. */
export const redirectTo =
  (origin: string, code = 307): Fault =>
  (call) =>
    status(code, { location: `${origin}${call.exchange.path}` })(call);

/** To itself, with another query each time, so that nothing notices by the address alone. */
export function redirectLoop(code = 307): Fault {
  let count = 0;
  return (call) => status(code, { location: `${call.exchange.path.replace(/\?.*/, "")}?round=${++count}` })(call);
}

/** As if the token had run out: the registry sees none, and its own challenge goes back. */
export const withoutToken = (): Fault => async (call) => call.answer(await call.ask({ authorization: undefined }));

/** The connection is reset when `count` bytes of the body went out; -1: not even a head did. */
export function resetAt(count: number): Fault {
  return async (call) => {
    if (count >= 0) await sendStart(call, count);
    call.response.socket?.resetAndDestroy();
  };
}

/** The connection is reset when `count` bytes of the request's body came in; the registry sees none of them. */
export function resetUploadAt(count: number): Fault {
  return async (call) => {
    for await (const chunk of call.request as AsyncIterable<Uint8Array>) {
      call.exchange.received += chunk.length;
      if (call.exchange.received >= count) break;
    }
    call.response.socket?.resetAndDestroy();
  };
}

/** The registry sees `count` bytes of the request's body, and then the connections to both sides are reset. */
export function breakUploadAt(count: number): Fault {
  return async (call) => {
    await call.askInPart(count);
    call.response.socket?.resetAndDestroy();
  };
}

/** The registry does what it is asked, and the client never hears of it. */
export function loseAnswer(): Fault {
  return async (call) => {
    const answer = await call.ask();
    answer.resume();
    call.exchange.status = answer.statusCode ?? 0;
    call.response.socket?.resetAndDestroy();
  };
}

/** The connection ends in good order after `count` bytes, although the head promised more. */
export function endAt(count: number): Fault {
  return async (call) => {
    await sendStart(call, count);
    call.response.socket?.end();
  };
}

/** The body stops after `count` bytes, and the head agrees with that. */
export function cutAt(count: number): Fault {
  return async (call) => {
    const answer = await call.ask();
    const headers = { "content-length": Math.min(count, Number(answer.headers["content-length"] ?? count)) };
    await call.answer(answer, { headers, body: start(answer, count) });
  };
}

/** One bit of the byte at `offset` of the body is another. */
export function flipAt(offset: number): Fault {
  return async (call) => {
    const answer = await call.ask();
    await call.answer(answer, { body: flipped(answer, offset) });
  };
}

/** 200 and everything, whatever range was asked for. */
export const ignoreRange = (): Fault => async (call) => call.answer(await call.ask({ range: undefined }));

/** The bytes that were asked for, with a head that says they begin `shift` bytes later. */
export function wrongContentRange(shift: number): Fault {
  return async (call) => {
    const answer = await call.ask();
    const range = answer.headers["content-range"]?.replace(
      /(\d+)-(\d+)/,
      (_, from: string, to: string) => `${Number(from) + shift}-${Number(to) + shift}`,
    );
    await call.answer(answer, { headers: { "content-range": range } });
  };
}

/** A head that agrees with what was asked for, and bytes from `shift` bytes later. */
export function otherRange(shift: number): Fault {
  return async (call) => {
    const asked = call.request.headers.range;
    const moved = asked?.replace(/(\d+)-(\d*)/, (_, from: string, to: string) =>
      to === "" ? `${Number(from) + shift}-` : `${Number(from) + shift}-${Number(to) + shift}`,
    );
    const answer = await call.ask({ range: moved });
    const range = answer.headers["content-range"]?.replace(
      /(\d+)-(\d+)/,
      (_, from: string, to: string) => `${Number(from) - shift}-${Number(to) - shift}`,
    );
    await call.answer(answer, { headers: { "content-range": range } });
  };
}

/** The right start, and then bytes without end or length, until the client goes away or `ENDLESS_LIMIT` is reached. */
export function endless(): Fault {
  return async (call) => {
    const answer = await call.ask();
    await call.answer(answer, { headers: { "content-length": undefined }, body: forever(answer) });
  };
}

/** Bytes after which an endless body gives up, so that a client that takes it all fails a test and not the machine. */
export const ENDLESS_LIMIT = 256 * 1024 * 1024;

/** `size` bytes at a time, with `pause` milliseconds between them. */
export function drip(size: number, pause: number): Fault {
  return async (call) => {
    const answer = await call.ask();
    await call.answer(answer, { body: dripping(answer, size, pause) });
  };
}

/** `count` bytes of the body, and then silence until the client goes away; -1: not even a head. */
export function stallAt(count: number): Fault {
  return async (call) => {
    if (count >= 0) await sendStart(call, count);
    await gone(call);
  };
}

/** When the client has gone away. */
async function gone({ response }: Call): Promise<void> {
  if (!response.destroyed) await new Promise<void>((resolve) => response.on("close", resolve));
}

/** `Content-Encoding: gzip`, though nobody asked for it. */
export function gzipContent(): Fault {
  return async (call) => {
    const answer = await call.ask({ range: undefined });
    const packed = gzipSync(await collect(answer));
    const headers = { "content-encoding": "gzip", "content-length": packed.length };
    await call.answer(answer, { headers, body: pieces([packed]) });
  };
}

/** `Transfer-Encoding: gzip, chunked`, which HTTP allows between two hops and nobody speaks. */
export function gzipTransfer(): Fault {
  return async (call) => {
    const answer = await call.ask({ range: undefined });
    const packed = gzipSync(await collect(answer));
    const head = headOf(call, "HTTP/1.1", answer.statusCode ?? 0, answer.rawHeaders, [
      "transfer-encoding: gzip, chunked",
    ]);
    const size = `${packed.length.toString(16)}\r\n`;
    raw(call, Buffer.concat([Buffer.from(head + size), packed, Buffer.from("\r\n0\r\n\r\n")]), packed.length);
  };
}

/** An answer of HTTP 1.0: no length, no chunks, the end of the connection is the end of the body. */
export function http10(): Fault {
  return async (call) => {
    const answer = await call.ask({ range: undefined });
    const body = await collect(answer);
    const head = headOf(call, "HTTP/1.0", answer.statusCode ?? 0, answer.rawHeaders, []);
    raw(call, Buffer.concat([Buffer.from(head), body]), body.length);
  };
}

function headOf(
  call: Call,
  version: string,
  code: number,
  rawHeaders: readonly string[],
  extra: readonly string[],
): string {
  call.exchange.status = code;
  const lines = [`${version} ${code} -`];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2)
    if (!/^(content-length|transfer-encoding|connection|keep-alive)$/i.test(rawHeaders[i]!))
      lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
  return [...lines, ...extra, "Connection: close", "", ""].join("\r\n");
}

/** Past what Node makes of answers. */
function raw(call: Call, bytes: Uint8Array, bodySize: number): void {
  call.exchange.sent += bodySize;
  call.response.socket?.end(call.exchange.method === "HEAD" ? bytes.subarray(0, bytes.length - bodySize) : bytes);
}

/** The registry's head and `count` bytes of its body; the connection stays open. */
async function sendStart(call: Call, count: number): Promise<void> {
  const answer = await call.ask();
  const headers = { ...answer.headers };
  delete headers.connection;
  delete headers["transfer-encoding"];
  call.exchange.status = answer.statusCode ?? 0;
  call.response.writeHead(call.exchange.status, headers);
  call.response.flushHeaders();
  for await (const chunk of start(answer, count)) await call.write(chunk);
  answer.destroy();
  // What was written must be out of this process before the connection goes.
  const { socket } = call.response;
  while (socket !== null && !socket.destroyed && socket.writableLength > 0) await sleep(1);
}

async function* start(body: AsyncIterable<Uint8Array>, count: number): AsyncGenerator<Uint8Array> {
  let left = count;
  if (left <= 0) return;
  for await (const chunk of body) {
    yield chunk.subarray(0, left);
    left -= chunk.length;
    if (left <= 0) return;
  }
}

async function* flipped(body: AsyncIterable<Uint8Array>, offset: number): AsyncGenerator<Uint8Array> {
  let at = 0;
  for await (const chunk of body) {
    if (offset >= at && offset < at + chunk.length) {
      const copy = Uint8Array.from(chunk);
      copy[offset - at]! ^= 0x10;
      yield copy;
    } else yield chunk;
    at += chunk.length;
  }
}

async function* forever(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* body;
  const more = Buffer.alloc(64 * 1024, " ");
  for (let sent = 0; sent < ENDLESS_LIMIT; sent += more.length) yield more;
}

async function* dripping(body: AsyncIterable<Uint8Array>, size: number, pause: number): AsyncGenerator<Uint8Array> {
  for await (const chunk of body)
    for (let at = 0; at < chunk.length; at += size) {
      yield chunk.subarray(at, at + size);
      await sleep(pause);
    }
}

async function* pieces(list: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* list;
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks);
}
