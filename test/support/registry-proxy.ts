// Stands in front of a registry: counts what goes through it, and answers as broken networks, middleboxes and attackers do.
import { once } from "node:events";
import { readFileSync } from "node:fs";
import {
  Agent,
  type ClientRequest,
  createServer,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type ServerResponse,
} from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { AddressInfo, Socket } from "node:net";

import type { Lifetime, Registry } from "./registry.ts";

/** What a request is about, by its path. */
export type RequestKind = "base" | "manifest" | "blob" | "upload" | "referrers" | "tags" | "token" | "other";

/** One request and what became of it. */
export interface Exchange {
  readonly kind: RequestKind;
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  /** 0 until answered. */
  readonly status: number;
  /** Bytes of the request's body that came. */
  readonly received: number;
  /** Bytes of the answer's body that were handed to the client's connection. */
  readonly sent: number;
}

/** One request in the hands of a fault. */
export interface Call {
  readonly exchange: { -readonly [K in keyof Exchange]: Exchange[K] };
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** Asks the registry; `headers` replace the client's, undefined ones are left out. */
  ask(headers?: OutgoingHttpHeaders): Promise<IncomingMessage>;
  /** Gives the registry `count` bytes of the request's body and hangs up on it. */
  askInPart(count: number): Promise<void>;
  /** Sends the registry's answer on; what is given replaces its parts. Resolves when the client has it all or is gone. */
  answer(from: IncomingMessage, parts?: AnswerParts): Promise<void>;
  /** Writes a piece of the body to the client; false: the client is gone. */
  write(chunk: Uint8Array): Promise<boolean>;
}

export interface AnswerParts {
  readonly status?: number;
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: AsyncIterable<Uint8Array>;
}

export type Fault = (call: Call) => Promise<void>;

export interface FaultFilter {
  readonly kind?: RequestKind;
  readonly method?: string;
  /** Those for which it holds. */
  readonly when?: (exchange: Exchange) => boolean;
  /** Requests to be answered so, from the first that fits; all when absent. */
  readonly times?: number;
}

export interface Injection {
  /** How often the fault was played. */
  readonly hits: number;
  remove(): void;
}

export interface RegistryProxy {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  readonly url: string;
  /** In the order in which they came. */
  readonly exchanges: readonly Exchange[];
  /** Bytes on the wire to the client since the last reset, heads of answers included. */
  wireBytes(): number;
  /** Sum of the bodies that went to the client, of one kind or all. */
  sent(kind?: RequestKind): number;
  /** Sum of the bodies that came from the client. */
  received(kind?: RequestKind): number;
  /** Faults that were injected earlier go first. */
  inject(fault: Fault, filter?: FaultFilter): Injection;
  /** Forgets faults and counts. */
  reset(): void;
  stop(): Promise<void>;
}

export interface ProxyOptions {
  /** `Authorization` towards the registry in place of the client's: a server that clients need not log in to. */
  readonly authorization?: string;
}

const HOP_BY_HOP = ["connection", "keep-alive", "transfer-encoding", "proxy-connection"];

/**
 * Starts a proxy without TLS, whatever the registry has. A token server stands behind it too, at `/token`, since careful
 * clients go to no realm at another address of the loopback interface.
 */
export async function startProxy(t: Lifetime, registry: Registry, options: ProxyOptions = {}): Promise<RegistryProxy> {
  const { certificates, tokens } = registry;
  const agents = { "http:": new Agent({ keepAlive: true }), "https:": new HttpsAgent({ keepAlive: true }) };
  const authority = certificates === undefined ? undefined : readFileSync(certificates.authority);
  const exchanges: Exchange[] = [];
  const injections: { fault: Fault; filter: FaultFilter; hits: number }[] = [];
  const sockets = new Map<Socket, number>(); // bytes written before the last reset
  let closedBytes = 0;

  function open(call: Call, headers: OutgoingHttpHeaders): ClientRequest {
    const { request, exchange } = call;
    const sent: OutgoingHttpHeaders = { ...request.headers };
    if (options.authorization !== undefined) sent["authorization"] = options.authorization;
    Object.assign(sent, headers);
    for (const name of Object.keys(sent)) if (HOP_BY_HOP.includes(name) || sent[name] === undefined) delete sent[name];
    const isToken = exchange.kind === "token" && tokens !== undefined;
    const { hostname, port, protocol } = new URL(isToken ? tokens.realm : registry.url);
    const place = { hostname, port, method: exchange.method, path: exchange.path, headers: sent };
    return protocol === "https:"
      ? httpsRequest({ ...place, agent: agents["https:"], ca: authority })
      : httpRequest({ ...place, agent: agents["http:"] });
  }

  function ask(call: Call, headers: OutgoingHttpHeaders = {}): Promise<IncomingMessage> {
    const { request, exchange } = call;
    return new Promise((resolve, reject) => {
      const outgoing = open(call, headers);
      outgoing.on("response", resolve);
      outgoing.on("error", reject);
      request.on("data", (chunk: Buffer) => {
        exchange.received += chunk.length;
      });
      request.on("error", () => outgoing.destroy());
      request.pipe(outgoing);
    });
  }

  async function askInPart(call: Call, count: number): Promise<void> {
    const outgoing = open(call, {});
    outgoing.on("error", () => {}); // it is hung up on
    let left = count;
    for await (const chunk of call.request as AsyncIterable<Buffer>) {
      call.exchange.received += chunk.length;
      await new Promise((resolve) => outgoing.write(chunk.subarray(0, left), resolve));
      left -= Math.min(left, chunk.length);
      if (left === 0) break;
    }
    outgoing.destroy();
  }

  async function write(call: Call, chunk: Uint8Array): Promise<boolean> {
    const { response, exchange } = call;
    if (response.destroyed || response.socket === null) return false;
    exchange.sent += chunk.length;
    if (response.write(chunk)) return true;
    const gone = new AbortController();
    const ends = once(response, "close", { signal: gone.signal }).catch(() => {});
    await Promise.race([once(response, "drain", { signal: gone.signal }).catch(() => {}), ends]);
    gone.abort();
    return !response.destroyed;
  }

  async function answer(call: Call, from: IncomingMessage, parts: AnswerParts = {}): Promise<void> {
    const { response, exchange } = call;
    const headers: OutgoingHttpHeaders = { ...from.headers, ...parts.headers };
    const challenge = headers["www-authenticate"];
    if (tokens !== undefined && typeof challenge === "string")
      headers["www-authenticate"] = challenge.replace(tokens.realm, `${proxy.url}/token`);
    for (const name of Object.keys(headers))
      if (HOP_BY_HOP.includes(name) || headers[name] === undefined) delete headers[name];
    exchange.status = parts.status ?? from.statusCode ?? 0;
    response.writeHead(exchange.status, headers);
    response.flushHeaders();
    for await (const chunk of parts.body ?? (from as AsyncIterable<Uint8Array>)) if (!(await write(call, chunk))) break;
    from.destroy();
    if (!response.destroyed) await new Promise<void>((resolve) => response.end(resolve).on("close", resolve));
  }

  function chooseFault(exchange: Exchange): Fault | undefined {
    for (const injection of injections) {
      const { kind, method, when, times = Number.POSITIVE_INFINITY } = injection.filter;
      if (injection.hits >= times) continue;
      if (kind !== undefined && kind !== exchange.kind) continue;
      if (method !== undefined && method !== exchange.method) continue;
      if (when !== undefined && !when(exchange)) continue;
      injection.hits++;
      return injection.fault;
    }
    return undefined;
  }

  const http = createServer(async (request, response) => {
    const { method = "", url: path = "", headers } = request;
    const exchange = { kind: kindOf(path), method, path, headers, status: 0, received: 0, sent: 0 };
    exchanges.push(exchange);
    const call: Call = {
      exchange,
      request,
      response,
      ask: (changed) => ask(call, changed),
      askInPart: (count) => askInPart(call, count),
      answer: (from, parts) => answer(call, from, parts),
      write: (chunk) => write(call, chunk),
    };
    const fault = chooseFault(exchange);
    try {
      if (fault === undefined) await answer(call, await ask(call));
      else await fault(call);
    } catch {
      response.socket?.destroy(); // one of the two sides is gone
    }
  });
  http.on("connection", (socket: Socket) => {
    sockets.set(socket, 0);
    socket.on("error", () => {});
    socket.on("close", () => {
      closedBytes += socket.bytesWritten - (sockets.get(socket) ?? 0);
      sockets.delete(socket);
    });
  });
  http.requestTimeout = 0; // drips take their time
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(http.address() as AddressInfo).port}`;

  const proxy: RegistryProxy = {
    host,
    url: `http://${host}`,
    exchanges,
    wireBytes: () => [...sockets].reduce((sum, [socket, before]) => sum + socket.bytesWritten - before, closedBytes),
    sent: (kind) => sumOf(exchanges, kind, "sent"),
    received: (kind) => sumOf(exchanges, kind, "received"),
    inject(fault, filter = {}) {
      const injection = { fault, filter, hits: 0 };
      injections.push(injection);
      return {
        get hits() {
          return injection.hits;
        },
        remove: () => void injections.splice(injections.indexOf(injection), 1),
      };
    },
    reset() {
      exchanges.length = 0;
      injections.length = 0;
      closedBytes = 0;
      for (const socket of sockets.keys()) sockets.set(socket, socket.bytesWritten);
    },
    async stop() {
      http.closeAllConnections();
      for (const agent of Object.values(agents)) agent.destroy();
      await new Promise((resolve) => http.close(resolve));
    },
  };
  t.after(() => proxy.stop());
  return proxy;
}

function sumOf(exchanges: readonly Exchange[], kind: RequestKind | undefined, count: "sent" | "received"): number {
  return exchanges.reduce(
    (sum, exchange) => sum + (kind === undefined || exchange.kind === kind ? exchange[count] : 0),
    0,
  );
}

const KINDS: Readonly<Record<string, RequestKind>> = {
  manifests: "manifest",
  blobs: "blob",
  referrers: "referrers",
  tags: "tags",
};

function kindOf(path: string): RequestKind {
  if (/^\/v2\/?(\?|$)/.test(path)) return "base";
  if (/^\/token(\?|$)/.test(path)) return "token";
  const [, what = "", name] = /^\/v2\/.+\/(manifests|blobs|referrers|tags)\/([^/?]*)/.exec(path) ?? [];
  if (what === "blobs" && name === "uploads") return "upload";
  return KINDS[what] ?? "other";
}
