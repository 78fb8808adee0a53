/**
 * Requests to one registry: credentials, redirects, further attempts. What an answer means is for others to say.
 * Spec: distribution-spec 1.1.
 */
import { isAshlarError, PolicyError, SourceError } from "../../errors/index.ts";
import { type Access, type Authorizer, createAuthorizer } from "./authorizer.ts";
import { readBody } from "./body.ts";
import type { Credentials } from "./credentials.ts";
import { isHtml } from "./failure.ts";
import { MAX_REDIRECTS, MAX_RETRY_AFTER, MAX_TOKEN_BODY, RETRY_TIMES } from "./limits.ts";
import { DOCKER_HUB, DOCKER_HUB_API } from "./reference.ts";
import { delayBefore, isTransientError, isTransientStatus, parseRetryAfter } from "./retry.ts";
import { bytesBody } from "./token.ts";
import type { HttpBody, HttpRequest, HttpResponse, Timing, Transport } from "./transport.ts";
import { resolveLocation, textOf } from "./url.ts";

export interface ClientEnvironment {
  readonly transport: Transport;
  readonly timing: Timing;
}

export interface ClientOptions {
  /** Host and port, such as `docker.io`. */
  readonly host: string;
  /** Path within the registry; undefined to talk to the registry as such. */
  readonly repository: string | undefined;
  /** Whether certificates are not checked, and plain http is spoken where the registry knows no https. */
  readonly insecure: boolean;
  readonly credentials: () => Promise<Credentials | undefined>;
  /** Further attempts at a request. Default: {@link RETRY_TIMES}. */
  readonly retryTimes?: number | undefined;
}

export interface ClientRequest {
  readonly method: HttpRequest["method"];
  /** Below `/v2/`, or where a server has sent us; a function is asked anew before every attempt. */
  readonly target: string | URL | (() => Promise<URL>);
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly body?: HttpBody | undefined;
  readonly access: Access;
  /** For people: what is tried, such as `docker://host/name: manifest latest`. */
  readonly what: string;
  readonly signal?: AbortSignal | undefined;
  /** Whether a passing failure is for the caller to deal with. Default: false, the request is repeated. */
  readonly once?: boolean | undefined;
  /**
   * Bytes; of a document, whose body belongs to the attempt: where it breaks off, the request is repeated. SourceError
   * `too-large` past them.
   */
  readonly limit?: number | undefined;
}

export interface ClientResponse extends HttpResponse {
  /** Where it came from after redirects; what a relative Location is relative to. */
  readonly url: URL;
  readonly isRedirected: boolean;
}

export interface Client {
  /** Answers of any status, but of those that pass only after all attempts. */
  send(request: ClientRequest): Promise<ClientResponse>;
  /** Waits before a further attempt; throws `error` where there have been enough. @param failures so far, in a row */
  pause(failures: number, error: unknown, signal?: AbortSignal): Promise<void>;
  readonly timing: Timing;
}

/** Refusals that one request answers: no credentials at first, then an expired token. */
const MAX_ANSWERS = 2;

export function createClient(options: ClientOptions, { transport, timing }: ClientEnvironment): Client {
  const { host, repository, insecure } = options;
  const retryTimes = options.retryTimes ?? RETRY_TIMES;
  const name = `docker://${repository === undefined ? host : `${host}/${repository}`}`;
  const apiHost = host === DOCKER_HUB ? DOCKER_HUB_API : host;
  let origin: Promise<URL> | undefined;
  let authorizer: Authorizer | undefined;

  /** Where the registry is. An insecure one may speak http; which it does is found out once. */
  function findOrigin(signal: AbortSignal | undefined): Promise<URL> {
    origin ??= insecure ? probe(signal) : Promise.resolve(new URL(`https://${apiHost}/`));
    origin.catch(() => {
      origin = undefined;
    });
    return origin;
  }

  async function probe(signal: AbortSignal | undefined): Promise<URL> {
    const secure = new URL(`https://${apiHost}/`);
    let refusal: unknown;
    for (const url of [secure, new URL(`http://${apiHost}/`)])
      try {
        const address = textOf(new URL("/v2/", textOf(url)));
        (await transport.send({ method: "GET", url: address, headers: {}, insecure, signal })).cancel();
        return url;
      } catch (error) {
        signal?.throwIfAborted();
        if (!isAshlarError(error)) throw error;
        refusal ??= error;
        if (url !== secure && error.code !== "connection") refusal = error;
      }
    throw refusal;
  }

  /**
   * One request and the redirects that follow. Credentials stay with the origin they are for; where the body holds some, a
   * redirect to another one is a PolicyError `credentials-redirect`.
   */
  async function follow(
    request: Pick<ClientRequest, "method" | "body" | "what" | "signal"> & { readonly isBodySecret?: boolean },
    start: URL,
    headers: Readonly<Record<string, string>>,
  ): Promise<ClientResponse> {
    let url = start;
    let sent = headers;
    for (let steps = 0; ; steps++) {
      const { method, body, signal, what } = request;
      const response = await transport.send({ method, url: textOf(url), headers: sent, body, insecure, signal });
      if (!isRedirect(response.status, method)) return { ...response, url, isRedirected: steps > 0 };
      response.cancel();
      if (steps >= MAX_REDIRECTS)
        throw new SourceError("too-many-redirects", `${what}: sent on more than ${MAX_REDIRECTS} times`);
      const next = resolveLocation(response.headers["location"], url, what);
      if (next.origin !== url.origin) {
        if (request.isBodySecret === true)
          throw new PolicyError(
            "credentials-redirect",
            `${what}: ${url.host} sends us on to ${next.host}, which is not to have the credentials`,
          );
        const { authorization: _, ...others } = sent;
        sent = others;
      }
      url = next;
    }
  }

  /** Calls `attempt` until it neither throws nor yields something that passes. */
  async function repeat<T extends HttpResponse>(
    attempt: () => Promise<T>,
    { once = false, what, signal }: Pick<ClientRequest, "once" | "what" | "signal">,
  ): Promise<T> {
    for (let tries = 0; ; tries++) {
      const isLast = once || tries >= retryTimes;
      let wait: number | undefined;
      try {
        const response = await attempt();
        if (isLast || !isTransientStatus(response.status)) return response;
        wait = parseRetryAfter(response.headers["retry-after"], timing.date());
        response.cancel();
        if (wait !== undefined && wait > MAX_RETRY_AFTER)
          throw new SourceError(
            "too-many-requests",
            `${what}: the registry says to come back in ${Math.round(wait / 1000)} s`,
          );
      } catch (error) {
        signal?.throwIfAborted();
        if (isLast || !isTransientError(error)) throw error;
      }
      await timing.sleep(Math.max(wait ?? 0, delayBefore(tries, timing.random())), signal);
    }
  }

  async function whole<T extends HttpResponse>(response: T, limit: number | undefined, what: string): Promise<T> {
    if (limit === undefined || response.status !== 200 || isHtml(response)) return response;
    const bytes = await readBody(response, limit, timing, what);
    return { ...response, body: bytesBody(bytes).chunks(), cancel: () => {} };
  }

  function authorizerOf(registry: URL): Authorizer {
    authorizer ??= createAuthorizer({
      registry,
      repository,
      credentials: options.credentials,
      timing,
      name,
      async send({ method, url, headers, body, signal }) {
        const what = `${name}: token`;
        const request = { method, body, what, signal, isBodySecret: body !== undefined };
        try {
          return await repeat(async () => whole(await follow(request, url, headers), MAX_TOKEN_BODY, what), request);
        } catch (error) {
          if (!isTransientError(error)) throw error;
          // It was tried often enough; the request that wants the token is not to multiply that.
          throw new SourceError("token-service", `${what}: ${(error as Error).message}`, { cause: error });
        }
      },
    });
    return authorizer;
  }

  async function sendAuthorised(request: ClientRequest): Promise<ClientResponse> {
    const registry = await findOrigin(request.signal);
    const { access, signal } = request;
    const target = typeof request.target === "function" ? await request.target() : request.target;
    const url = typeof target === "string" ? new URL(`${textOf(registry)}v2/${target}`) : target;
    const isOurs = url.origin === registry.origin;
    const known = authorizerOf(registry);
    for (let answers = 0; ; answers++) {
      const authorization = isOurs ? await known.header(access, signal) : undefined;
      const headers = { ...request.headers, ...(authorization === undefined ? {} : { authorization }) };
      const response = await follow(request, url, headers);
      if (response.status !== 401 || answers >= MAX_ANSWERS || response.url.origin !== registry.origin) return response;
      const wanted = response.headers["www-authenticate"];
      try {
        if (!(await known.answer(wanted, access, authorization, signal))) return response;
      } catch (error) {
        response.cancel(); // an answer that nobody reads keeps its connection, and the process with it
        throw error;
      }
      response.cancel();
    }
  }

  return {
    timing,
    send: (request) => repeat(async () => whole(await sendAuthorised(request), request.limit, request.what), request),
    async pause(failures, error, signal) {
      signal?.throwIfAborted();
      if (failures > retryTimes) throw error;
      await timing.sleep(delayBefore(Math.max(failures - 1, 0), timing.random()), signal);
    },
  };
}

/** What is sent on with a body keeps it; other redirects are for reading only (RFC 9110, 15.4). */
function isRedirect(status: number, method: HttpRequest["method"]): boolean {
  if (status === 307 || status === 308) return true;
  return (status === 301 || status === 302 || status === 303) && (method === "GET" || method === "HEAD");
}
