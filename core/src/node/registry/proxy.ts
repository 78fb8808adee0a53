/** Through a proxy to a TLS server: CONNECT (RFC 9110, 9.3.6). */
import http from "node:http";
import https from "node:https";
import net from "node:net";
import tls from "node:tls";
import { SourceError } from "../../errors/index.ts";
import { connectionFailure } from "./failures.ts";

export interface ProxyServer {
  readonly protocol: "http:" | "https:";
  readonly hostname: string;
  readonly port: string;
  /** Its own credentials. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Certificates to trust and to show, for a host with port as in a URL. */
export type TlsOptionsFor = (host: string) => Promise<tls.ConnectionOptions>;

/** For a connection to the proxy itself. Left alone, Node would want a certificate for the server behind it. */
export async function proxyTls({ hostname, port }: ProxyServer, tlsOptions: TlsOptionsFor) {
  const trust = await tlsOptions(port === "" ? hostname : `${hostname}:${port}`);
  return { ...trust, servername: net.isIP(hostname.replace(/^\[|\]$/g, "")) ? "" : hostname };
}

export type ProxyFor = (url: URL) => ProxyServer | undefined;

type OnSocket = (error: Error | null, socket?: net.Socket) => void;

/**
 * Makes the agent's connections through the proxy where there is one for the address. Neither the agent nor a request
 * knows of a connection before it is made, so its time is kept here.
 * @param timeout milliseconds in which nothing comes before a connection that is being made is given up
 * @returns gives up those that are being made
 */
export function connectThrough(
  agent: https.Agent,
  proxyFor: ProxyFor,
  tlsOptions: TlsOptionsFor,
  timeout: number,
): () => void {
  const pending = new Set<Pending>();
  const direct = agent.createConnection.bind(agent) as (options: tls.ConnectionOptions, done: OnSocket) => net.Socket;
  const create = (options: tls.ConnectionOptions, done: OnSocket): net.Socket | undefined => {
    const { host = "", port = 443 } = options;
    const shown = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    const proxy = proxyFor(new URL(`https://${shown}/`));
    if (proxy === undefined) return direct(options, done);
    openTunnel(proxy, shown, tlsOptions, timeout, pending).then(
      (socket) => {
        const encrypted = tls.connect({ ...options, socket, ...(net.isIP(host) ? {} : { servername: host }) });
        watch(encrypted, timeout, pending);
        encrypted.once("secureConnect", () => {
          pending.delete(encrypted);
          encrypted.setTimeout(0);
          done(null, encrypted);
        });
        encrypted.once("error", (error) => done(error));
      },
      (error: unknown) => done(error as Error),
    );
    return undefined;
  };
  agent.createConnection = create as typeof agent.createConnection;
  return () => {
    for (const one of pending) one.destroy(new Error("closed"));
  };
}

type Pending = http.ClientRequest | tls.TLSSocket;

function watch(one: Pending, timeout: number, pending: Set<Pending>): void {
  pending.add(one);
  one.once("close", () => pending.delete(one));
  one.setTimeout(timeout, () => one.destroy(Object.assign(new Error("timeout"), { code: "ETIMEDOUT" })));
}

/** A connection to `target` by way of the proxy. Errors: SourceError `proxy`, and those of the connection. */
async function openTunnel(
  proxy: ProxyServer,
  target: string,
  tlsOptions: TlsOptionsFor,
  timeout: number,
  pending: Set<Pending>,
): Promise<net.Socket> {
  const { protocol, hostname, port, headers } = proxy;
  const isSecure = protocol === "https:";
  const request = (isSecure ? https : http).request({
    ...(isSecure ? await proxyTls(proxy, tlsOptions) : {}),
    method: "CONNECT",
    host: hostname,
    port: Number(port || (isSecure ? 443 : 80)),
    path: target,
    headers: { host: target, ...headers },
    agent: false,
  });
  watch(request, timeout, pending);
  request.end();
  return new Promise((resolve, reject) => {
    request.once("connect", (response, socket) => {
      (socket as net.Socket).setTimeout(0);
      if (response.statusCode === 200) return resolve(socket as net.Socket);
      socket.destroy();
      reject(new SourceError("proxy", `proxy ${hostname}: status ${response.statusCode} for ${target}`));
    });
    request.once("response", (response) => {
      request.destroy();
      reject(new SourceError("proxy", `proxy ${hostname}: status ${response.statusCode} for ${target}`));
    });
    request.once("error", (error) => reject(connectionFailure(`proxy ${hostname}`, error)));
  });
}
