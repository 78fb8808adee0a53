/**
 * A token server as a registry with `auth: token` expects it: JSON web tokens, signed with a key that the registry knows.
 * Spec: distribution "Token Authentication Specification", "Token Authentication Implementation" and "Oauth2 Token Authentication".
 */
import { createHash, createPrivateKey, createPublicKey, randomUUID, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

import { makeSigningKey } from "./certificates.ts";

export interface TokenRequest {
  readonly method: string;
  readonly service: string | null;
  readonly scopes: readonly string[];
  readonly user: string | undefined; // undefined: asked without a name
}

export interface TokenServer {
  readonly realm: string; // address that challenges name
  readonly service: string;
  readonly issuer: string;
  /** PEM of the certificate with the key that signs; registries name it `rootcertbundle`. */
  readonly certificate: string;
  /** All requests until now, also those that were refused. */
  readonly requests: TokenRequest[];
  /** Seconds that answers promise. The registry accepts tokens a minute longer than they say. */
  lifetime: number;
  stop(): Promise<void>;
}

export interface TokenServerOptions {
  readonly folder: string; // for the key
  /** Password by user. Others get tokens to pull, and nothing where `anonymous` is false. */
  readonly users: Readonly<Record<string, string>>;
  readonly anonymous?: boolean; // true when absent
}

const SERVICE = "registry of the tests";
const ISSUER = "ashlar tests";

interface Access {
  readonly type: string;
  readonly name: string;
  readonly actions: readonly string[];
}

export async function startTokenServer(options: TokenServerOptions): Promise<TokenServer> {
  const { users, anonymous = true } = options;
  const files = makeSigningKey(options.folder, "token");
  const key = createPrivateKey(readFileSync(files.key));
  const keyId = libtrustKeyId(createPublicKey(key).export({ type: "spki", format: "der" }));
  const requests: TokenRequest[] = [];

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "", "http://localhost");
    const isForm = request.method === "POST";
    const query = isForm ? new URLSearchParams(await text(request)) : url.searchParams;
    const scopes = query.getAll("scope").flatMap((scope) => scope.split(" "));
    const login = isForm ? formLogin(query) : basicLogin(request);
    requests.push({ method: request.method ?? "", service: query.get("service"), scopes, user: login?.user });
    const isKnown = login !== undefined && users[login.user] === login.password;
    if (isKnown || (login === undefined && anonymous)) {
      const access = scopes.map(parseScope).map((asked) => (isKnown ? asked : onlyPull(asked)));
      const now = Math.floor(Date.now() / 1000);
      const token = encodeToken({
        iss: ISSUER,
        sub: login?.user ?? "",
        aud: query.get("service") ?? "",
        nbf: now - 10,
        iat: now,
        exp: now + server.lifetime,
        jti: randomUUID(),
        access,
      });
      // The OAuth 2 form calls the token by another name.
      const name = isForm ? "access_token" : "token";
      const body = { [name]: token, expires_in: server.lifetime, issued_at: new Date(now * 1000).toISOString() };
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
    } else {
      response
        .writeHead(401, { "content-type": "application/json" })
        .end('{"details":"incorrect username or password"}');
    }
  }

  function encodeToken(claims: object): string {
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
    const signed = `${part({ typ: "JWT", alg: "ES256", kid: keyId })}.${part(claims)}`;
    return `${signed}.${sign("sha256", Buffer.from(signed), { key, dsaEncoding: "ieee-p1363" }).toString("base64url")}`;
  }

  const http = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const server: TokenServer = {
    // By name: go-containerregistry goes to no realm at a private address.
    realm: `http://localhost:${(http.address() as AddressInfo).port}/token`,
    service: SERVICE,
    issuer: ISSUER,
    certificate: files.certificate,
    requests,
    lifetime: 300,
    async stop() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
  return server;
}

interface Login {
  readonly user: string;
  readonly password: string;
}

function basicLogin(request: IncomingMessage): Login | undefined {
  const encoded = /^Basic (.*)$/i.exec(request.headers.authorization ?? "")?.[1];
  if (encoded === undefined) return undefined;
  const plain = Buffer.from(encoded, "base64").toString();
  const colon = plain.indexOf(":");
  return { user: plain.slice(0, colon), password: plain.slice(colon + 1) };
}

/** Of `grant_type=password`, and of `refresh_token`, which holds `user:password` here. */
function formLogin(form: URLSearchParams): Login | undefined {
  const refresh = form.get("refresh_token");
  if (refresh !== null) {
    const colon = refresh.indexOf(":");
    return { user: refresh.slice(0, colon), password: refresh.slice(colon + 1) };
  }
  const user = form.get("username");
  return user === null ? undefined : { user, password: form.get("password") ?? "" };
}

/** `TYPE:NAME:ACTIONS`; a name may hold a colon of a port. */
function parseScope(scope: string): Access {
  const first = scope.indexOf(":");
  const last = scope.lastIndexOf(":");
  const actions = scope.slice(last + 1).split(",");
  return { type: scope.slice(0, first), name: scope.slice(first + 1, last), actions };
}

const onlyPull = (access: Access): Access => ({
  ...access,
  actions: access.actions.filter((action) => action === "pull"),
});

/** How the registry names a key: the first 240 bits of a SHA-256, in base 32, in groups of four. */
function libtrustKeyId(spki: Uint8Array): string {
  const bits = [...createHash("sha256").update(spki).digest().subarray(0, 30)]
    .map((byte) => byte.toString(2).padStart(8, "0"))
    .join("");
  const letters = bits.match(/.{5}/g)!.map((five) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[Number.parseInt(five, 2)]);
  return letters.join("").match(/.{4}/g)!.join(":");
}
