/** HTTP with Node's own client behind the port of the registry client. */
import http from "node:http";
import https from "node:https";
import { setTimeout as sleep } from "node:timers/promises";
import type { HttpRequest, HttpResponse, Timing, Transport } from "../../ops/registry/index.ts";
import { abortReason, connectionFailure } from "./failures.ts";
import { connectThrough, type ProxyFor, proxyTls, type TlsOptionsFor } from "./proxy.ts";

/** Milliseconds in which nothing comes or goes before a connection is given up, … */
const IDLE_TIMEOUT = 60_000;
/** … and when something was sent: a registry may have to copy a large blob before it answers. */
const IDLE_TIMEOUT_SENDING = 300_000;
/** Milliseconds from the end of a request to the end of the answer's headers: they may drip, and so are never idle. */
const HEAD_TIMEOUT = IDLE_TIMEOUT_SENDING;
/** Bytes of the headers of one answer. Addresses signed by object stores have a few thousand. */
const MAX_HEADERS = 64 * 1024;
/** Connections to one server. */
const MAX_CONNECTIONS = 16;
/** An unread rest of at most this many bytes is read away, so that the connection can serve again. */
const MAX_DRAINED = 16 * 1024;

export interface TransportOptions {
  readonly tlsOptions: TlsOptionsFor;
  /** The proxy on the way to an address. */
  readonly proxyFor: ProxyFor;
  readonly userAgent: string;
  /** Milliseconds that the headers of an answer may take. Default: {@link HEAD_TIMEOUT}. */
  readonly headTimeout?: number | undefined;
  /** Milliseconds in which nothing comes before a connection through a proxy is given up. Default: {@link IDLE_TIMEOUT}. */
  readonly tunnelTimeout?: number | undefined;
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

export function createTransport(options: TransportOptions): NodeTransport {
  const { tlsOptions, proxyFor, userAgent, headTimeout = HEAD_TIMEOUT, tunnelTimeout = IDLE_TIMEOUT } = options;
  const pooling = { keepAlive: true, maxSockets: MAX_CONNECTIONS };
  const plain = new http.Agent(pooling);
  const secure = new https.Agent(pooling);
  const secureProxy = new https.Agent(pooling);
  const giveUpTunnels = connectThrough(secure, proxyFor, tlsOptions, tunnelTimeout);

  /** To the server, or, for plain http, to a proxy that takes the whole address as the path. */
  async function routeOf({ url: text, insecure }: HttpRequest): Promise<https.RequestOptions> {
    const url = new URL(text);
    const proxy = proxyFor(url);
    const host = { host: url.host };
    const trust = insecure ? { rejectUnauthorized: false } : {};
    if (url.protocol === "https:" || proxy === undefined) {
      const target = { host: bareHost(url), path: url.pathname + url.search, headers: host };
      if (url.protocol === "http:") return { ...target, port: Number(url.port || 80), agent: plain };
      return { ...target, ...(await tlsOptions(url.host)), ...trust, port: Number(url.port || 443), agent: secure };
    }
    const { hostname, port, protocol } = proxy;
    const way = { host: hostname, path: text, headers: { ...host, ...proxy.headers } };
    if (protocol === "http:") return { ...way, port: Number(port || 80), agent: plain };
    return { ...way, ...(await proxyTls(proxy, tlsOptions)), port: Number(port || 443), agent: secureProxy };
  }

  async function once(request: HttpRequest): Promise<{ response?: HttpResponse; error?: unknown; reused: boolean }> {
    const { method, signal, body } = request;
    const { headers: own, ...route } = await routeOf(request);
    signal?.throwIfAborted();
    const what = new URL(request.url).host;
    const sent = (route.agent === plain ? http : https).request({
      ...route,
      method,
      maxHeaderSize: MAX_HEADERS,
      timeout: method === "GET" || method === "HEAD" ? IDLE_TIMEOUT : IDLE_TIMEOUT_SENDING,
      headers: {
        ...(own as http.OutgoingHttpHeaders),
        "user-agent": userAgent,
        ...request.headers,
        ...(body === undefined ? {} : { "content-length": body.size }),
      },
    });
    const stop = (): void => {
      sent.destroy(abortReason(signal) as Error);
    };
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
    const giveUp = (): void => {
      sent.destroy(Object.assign(new Error("timeout"), { code: "ETIMEDOUT" }));
    };
    sent.on("timeout", giveUp);
    let isOver = false;
    let deadline: NodeJS.Timeout | undefined;
    sent.once("finish", () => {
      if (!isOver) deadline = setTimeout(giveUp, headTimeout).unref();
    });
    const writing = writeBody(sent, body, answered);
    try {
      const response = await Promise.race([answered, writing.then(() => answered)]);
      return { response: toResponse(sent, response, request, what, forget), reused: sent.reusedSocket };
    } catch (error) {
      forget();
      sent.destroy();
      if (signal?.aborted) throw signal.reason;
      return { error: connectionFailure(what, error), reused: sent.reusedSocket };
    } finally {
      isOver = true;
      clearTimeout(deadline);
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
      secureProxy.destroy();
      giveUpTunnels();
    },
  };
}

/** As Node's sockets take it: an IPv6 address has no brackets. */
function bareHost({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, "");
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
