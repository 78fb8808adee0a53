/** HTTP with Node's own client behind the port of the registry client. */
import http from "node:http";
import https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import type { ConnectionOptions } from "node:tls";
import type { HttpRequest, HttpResponse, Timing, Transport } from "../../ops/registry/index.ts";
import { abortReason, connectionFailure } from "./failures.ts";
import { connectThrough, type ProxyFor } from "./proxy.ts";

/** Milliseconds in which nothing comes or goes before a connection is given up, … */
const IDLE_TIMEOUT = 60_000;
/** … and when something was sent: a registry may have to copy a large blob before it answers. */
const IDLE_TIMEOUT_SENDING = 300_000;
/** Bytes of the headers of one answer. Addresses signed by object stores have a few thousand. */
const MAX_HEADERS = 64 * 1024;
/** Connections to one server. */
const MAX_CONNECTIONS = 16;
/** An unread rest of at most this many bytes is read away, so that the connection can serve again. */
const MAX_DRAINED = 16 * 1024;

export interface TransportOptions {
  /** Certificates to trust and to show, for a host with port as in a URL. */
  readonly tlsOptions: (host: string) => Promise<ConnectionOptions>;
  /** The proxy on the way to an address. */
  readonly proxyFor: ProxyFor;
  readonly userAgent: string;
}

export interface NodeTransport extends Transport {
  /** Closes all connections. */
  close(): void;
}

export const systemTiming: Timing = {
  now: () => performance.now(),
  date: () => Date.now(),
  random: () => Math.random(),
  sleep: async (milliseconds, signal) => {
    await sleep(milliseconds, undefined, { signal: signal as globalThis.AbortSignal }).catch((error: unknown) => {
      throw abortReason(signal) ?? error;
    });
  },
};

export function createTransport({ tlsOptions, proxyFor, userAgent }: TransportOptions): NodeTransport {
  const pooling = { keepAlive: true, maxSockets: MAX_CONNECTIONS };
  const plain = new http.Agent(pooling);
  const secure = new https.Agent(pooling);
  connectThrough(secure, proxyFor);

  async function optionsFor(request: HttpRequest): Promise<https.RequestOptions> {
    const url = new URL(request.url);
    const proxy = proxyFor(url);
    const headers = { "user-agent": userAgent, ...request.headers };
    const { method } = request;
    const timeout = method === "GET" || method === "HEAD" ? IDLE_TIMEOUT : IDLE_TIMEOUT_SENDING;
    const common = { method, maxHeaderSize: MAX_HEADERS, timeout };
    const target = { host: url.hostname.replace(/^\[|\]$/g, ""), path: url.pathname + url.search };
    if (url.protocol === "https:")
      return {
        ...common,
        ...target,
        port: Number(url.port || 443),
        agent: secure,
        headers: { host: url.host, ...headers },
        ...(await tlsOptions(url.host)),
        ...(request.insecure ? { rejectUnauthorized: false } : {}),
      };
    if (proxy === undefined || proxy.protocol !== "http:")
      return {
        ...common,
        ...target,
        port: Number(url.port || 80),
        agent: plain,
        headers: { host: url.host, ...headers },
      };
    // A proxy takes plain requests as they are, with the whole address.
    return {
      ...common,
      host: proxy.hostname,
      port: Number(proxy.port || 80),
      path: request.url,
      agent: plain,
      headers: { host: url.host, ...headers, ...proxy.headers },
    };
  }

  async function once(request: HttpRequest): Promise<{ response?: HttpResponse; error?: unknown; reused: boolean }> {
    const options = await optionsFor(request);
    const { signal, body } = request;
    const what = new URL(request.url).host;
    const module = request.url.startsWith("https:") ? https : http;
    const headers = { ...(options.headers as http.OutgoingHttpHeaders) };
    if (body !== undefined) headers["content-length"] = body.size;
    const sent = module.request({ ...options, headers });
    const stop = (): void => {
      sent.destroy(abortReason(signal) as Error);
    };
    signal?.throwIfAborted();
    (signal as globalThis.AbortSignal | undefined)?.addEventListener("abort", stop, { once: true });
    const forget = (): void => {
      (signal as globalThis.AbortSignal | undefined)?.removeEventListener("abort", stop);
    };
    const answered = new Promise<http.IncomingMessage>((resolve, reject) => {
      sent.once("response", resolve);
      sent.once("error", reject);
      sent.once("close", () => reject(new Error("the connection was closed")));
    });
    sent.on("error", () => {}); // may come more than once
    sent.on("timeout", () => sent.destroy(Object.assign(new Error("timeout"), { code: "ETIMEDOUT" })));
    const writing = writeBody(sent, body, answered);
    try {
      const response = await Promise.race([answered, writing.then(() => answered)]);
      return { response: toResponse(sent, response, request, what, forget), reused: sent.reusedSocket };
    } catch (error) {
      forget();
      sent.destroy();
      if (signal?.aborted) throw signal.reason;
      return { error: connectionFailure(what, error), reused: sent.reusedSocket };
    }
  }

  return {
    async send(request) {
      const { response, error, reused } = await once(request);
      if (response !== undefined) return response;
      // A connection that was kept may have been closed by the server in the meantime: that says nothing yet. But a
      // part of a body may have arrived, and what that means only the caller knows.
      if (!reused || (request.body?.size ?? 0) > 0) throw error;
      const again = await once(request);
      if (again.response === undefined) throw again.error;
      return again.response;
    },
    close() {
      plain.destroy();
      secure.destroy();
    },
  };
}

/** Ends early when an answer comes before all is sent. Errors of the body pass. */
async function writeBody(
  sent: http.ClientRequest,
  body: HttpRequest["body"],
  answered: Promise<unknown>,
): Promise<void> {
  if (body === undefined || body.size === 0) {
    sent.end();
    return;
  }
  let isOver = false;
  const over = answered.then(
    () => {
      isOver = true;
    },
    () => {
      isOver = true;
    },
  );
  for await (const chunk of body.chunks()) {
    if (isOver) return;
    const written = new Promise<void>((resolve) => sent.write(chunk, () => resolve()));
    await Promise.race([written, over]);
  }
  if (!isOver) sent.end();
}

function toResponse(
  sent: http.ClientRequest,
  message: http.IncomingMessage,
  { method, signal }: HttpRequest,
  what: string,
  forget: () => void,
): HttpResponse {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(message.headers))
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
  message.on("error", () => {}); // after a cancel nobody listens
  message.once("close", forget);
  let isOver = false;
  return {
    status: message.statusCode ?? 0,
    headers,
    body: {
      async *[Symbol.asyncIterator]() {
        try {
          for await (const chunk of message as AsyncIterable<Buffer>)
            yield new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length);
          isOver = true;
        } catch (error) {
          if (signal?.aborted) throw signal.reason;
          throw connectionFailure(what, error);
        }
      },
    },
    cancel() {
      if (isOver || message.destroyed) return;
      isOver = true;
      const rest = Number(headers["content-length"] ?? Number.POSITIVE_INFINITY);
      const isSmall = method === "HEAD" || message.statusCode === 204 || rest <= MAX_DRAINED;
      if (isSmall && sent.writableFinished) message.resume();
      else sent.destroy();
    },
  };
}
