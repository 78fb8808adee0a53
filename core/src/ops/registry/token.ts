/** Bearer tokens: distribution, docs/spec/auth (token.md, oauth.md, scope.md). */
import * as v from "valibot";
import { decodeUtf8 } from "../../bytes/index.ts";
import { PolicyError, SourceError } from "../../errors/index.ts";
import { readBody } from "./body.ts";
import type { Challenge } from "./challenge.ts";
import { basicAuthorization, type Credentials } from "./credentials.ts";
import { failure } from "./failure.ts";
import { MAX_TOKEN, MAX_TOKEN_BODY } from "./limits.ts";
import type { HttpBody, HttpResponse, Timing } from "./transport.ts";
import { resolveLocation } from "./url.ts";

export interface Token {
  readonly value: string;
  /** Milliseconds of {@link Timing.now} after which it is not used any more. */
  readonly until: number;
}

/** Sends a request, follows redirects, repeats what fails for the moment. */
export type SendPlain = (request: {
  readonly method: "GET" | "POST";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: HttpBody | undefined;
  readonly signal?: AbortSignal | undefined;
}) => Promise<HttpResponse>;

/** Seconds that a token lives where nobody says (token.md). */
const DEFAULT_LIFETIME = 60;
/** Part of its life that a token is used for: it must not end on the way. */
const USED_PART = 0.8;

const Answer = v.looseObject({
  token: v.nullish(v.string()),
  access_token: v.nullish(v.string()),
  expires_in: v.nullish(v.number()),
});

/** A token as it may stand in a header. */
const HEADER_SAFE = /^[\x21-\x7e]+$/;

/**
 * Errors: PolicyError `insecure-realm` where an https registry wants credentials sent over http; SourceError
 * `unauthorized`, `bad-token`, `bad-location`, and those of {@link failure}.
 * @param scopes such as `repository:library/debian:pull`
 * @param what was tried
 */
export async function fetchToken(
  challenge: Challenge,
  scopes: readonly string[],
  credentials: Credentials | undefined,
  registry: URL,
  send: SendPlain,
  timing: Timing,
  what: string,
): Promise<Token> {
  const { realm, service } = challenge.parameters;
  const url = realmAddress(realm, registry, what);
  const response = await (credentials?.identityToken === undefined
    ? getToken(url, service, scopes, credentials, send)
    : exchangeToken(url, service, scopes, credentials.identityToken, send));
  const asked = `${what}: token from ${url.host}`;
  if (response.status === 401 || response.status === 403) {
    response.cancel();
    const who = credentials === undefined ? "nothing without credentials" : "not with these credentials";
    throw new SourceError("unauthorized", `${asked}: ${who} (status ${response.status})`);
  }
  if (response.status !== 200) throw await failure(response, timing, asked);
  return parseToken(await readBody(response, MAX_TOKEN_BODY, timing, asked), timing.now(), asked);
}

/** @param now milliseconds of {@link Timing.now}. Errors: SourceError `bad-token`. */
export function parseToken(bytes: Uint8Array, now: number, what: string): Token {
  let document: unknown;
  try {
    document = JSON.parse(decodeUtf8(bytes));
  } catch {
    document = undefined; // the parser's message quotes the token
  }
  const answer = v.safeParse(Answer, document);
  const value = answer.success ? answer.output.token || answer.output.access_token || "" : "";
  if (!answer.success || value.length > MAX_TOKEN || !HEADER_SAFE.test(value))
    throw new SourceError("bad-token", `${what}: the answer holds no token`);
  const lifetime = Math.max(answer.output.expires_in ?? DEFAULT_LIFETIME, DEFAULT_LIFETIME);
  return { value, until: now + lifetime * 1000 * USED_PART };
}

function realmAddress(realm: string | undefined, registry: URL, what: string): URL {
  try {
    return resolveLocation(realm, registry, what);
  } catch (error) {
    if (error instanceof PolicyError)
      throw new PolicyError("insecure-realm", `${what}: ${registry.host} wants credentials sent over http`);
    throw error;
  }
}

function getToken(
  url: URL,
  service: string | undefined,
  scopes: readonly string[],
  credentials: Credentials | undefined,
  send: SendPlain,
): Promise<HttpResponse> {
  if (service !== undefined) url.searchParams.set("service", service);
  for (const scope of scopes) url.searchParams.append("scope", scope);
  if (credentials === undefined) return send({ method: "GET", url, headers: {} });
  url.searchParams.set("account", credentials.username);
  return send({ method: "GET", url, headers: { authorization: basicAuthorization(credentials) } });
}

function exchangeToken(
  url: URL,
  service: string | undefined,
  scopes: readonly string[],
  refreshToken: string,
  send: SendPlain,
): Promise<HttpResponse> {
  const form = new URLSearchParams({
    grant_type: "refresh_token",
    service: service ?? "",
    client_id: "ashlar",
    scope: scopes.join(" "),
    refresh_token: refreshToken,
  });
  return send({
    method: "POST",
    url,
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: bytesBody(new TextEncoder().encode(form.toString())),
  });
}

/** Bytes in memory as a body. */
export function bytesBody(bytes: Uint8Array): HttpBody {
  return {
    size: bytes.length,
    async *chunks() {
      yield bytes;
    },
  };
}
