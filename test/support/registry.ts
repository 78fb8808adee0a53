// Registries of other people as processes on the loopback interface, each with an empty storage of its own.
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after } from "node:test";

import { type Certificates, makeCertificates } from "./certificates.ts";
import { findPeer, type PeerName } from "./roots.ts";
import { startTokenServer, type TokenServer } from "./token-server.ts";

/** `distribution` is Debian's docker-registry; `go` is go-containerregistry's, which answers the referrers API. */
export type RegistryKind = "distribution" | "go";

export interface RegistryOptions {
  readonly kind: RegistryKind;
  /** Of `distribution` only. */
  readonly tls?: boolean;
  /** Of `distribution` only: a name and a password for everything, or tokens; then anybody may pull where `anonymous` is true. */
  readonly auth?: "basic" | "token";
  readonly anonymous?: boolean;
  /** Puts the server behind a program, such as one that enters a network namespace. */
  readonly wrapper?: readonly string[];
  /** 0 when absent: a free one. */
  readonly port?: number;
}

export interface Registry {
  readonly kind: RegistryKind;
  /** `127.0.0.1:PORT`. */
  readonly host: string;
  /** What it answers on: `http://127.0.0.1:PORT`. */
  readonly url: string;
  readonly auth: RegistryOptions["auth"];
  readonly certificates: Certificates | undefined;
  readonly tokens: TokenServer | undefined;
  /** Folder of its blobs. */
  readonly storage: string;
  /** All that it said. */
  log(): string;
  stop(): Promise<void>;
}

/** A hook at the end of a test or suite. */
export interface Lifetime {
  after(action: () => void | Promise<void>): void;
}

/** Of a `describe`: what its `before` starts ends with it, and not with the hook. */
export function suiteLifetime(): Lifetime {
  const ends: (() => void | Promise<void>)[] = [];
  after(async () => {
    for (const end of ends.reverse()) await end();
  });
  return { after: (end) => void ends.push(end) };
}

export const USER = "ashlar";
export const PASSWORD = "correct horse";
/** bcrypt of it, the only hash that the registry takes, at the least cost that there is. */
const PASSWORD_HASH = "$2b$04$ovcGXWIrrqK5FzEvnUbFTeIIWuDrMy3SZMBdxyoI7w4kqqZoY6OmK";
/** Milliseconds; generous, since the machine may be busy. */
const START_LIMIT = 60_000;

export const PROGRAMS = { distribution: "registry", go: "go-registry" } as const satisfies Record<
  RegistryKind,
  PeerName
>;

/**
 * For the option `skip` of a test: what is missing of scripts/fetch-peers. Nothing in CI, where such a test is to fail.
 */
export function missingPeers(...names: readonly PeerName[]): string | false {
  if (process.env["CI"]) return false;
  const missing = names.filter((name) => findPeer(name) === undefined);
  return missing.length > 0 && `run scripts/fetch-peers ${missing.join(" ")}`;
}

/** Starts a registry; it ends with the test or suite `t`, and with this process at the latest. */
export async function startRegistry(t: Lifetime, options: RegistryOptions): Promise<Registry> {
  const { kind, tls = false, auth, anonymous = false, wrapper = [], port = 0 } = options;
  const name = PROGRAMS[kind];
  const program = findPeer(name);
  if (program === undefined) throw new Error(`${name} is not there; run scripts/fetch-peers`);
  const folder = mkdtempSync(join(tmpdir(), "ashlar-registry-"));
  const storage = join(folder, "storage");
  mkdirSync(storage);
  const certificates = tls ? makeCertificates(join(folder, "tls")) : undefined;
  const users = { [USER]: PASSWORD };
  const tokens = auth === "token" ? await startTokenServer({ folder, users, anonymous }) : undefined;

  let args: string[];
  if (kind === "go") {
    if (tls || auth !== undefined) throw new RangeError("go-containerregistry's has neither TLS nor authentication");
    args = [`127.0.0.1:${port}`, storage];
  } else {
    const file = join(folder, "config.yml");
    const http = { addr: `127.0.0.1:${port}`, secret: "of the tests", ...(certificates && tlsConfig(certificates)) };
    const config = {
      version: "0.1",
      log: { level: "info", accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: storage }, delete: { enabled: true } },
      http,
      ...(auth === "basic" ? { auth: basicConfig(folder) } : {}),
      ...(tokens === undefined ? {} : { auth: tokenConfig(tokens) }),
    };
    writeFileSync(file, JSON.stringify(config)); // JSON is YAML
    args = ["serve", file];
  }

  // The death signal ends the server with this process, even if that is killed.
  const command = [...wrapper, "setpriv", "--pdeathsig", "KILL", program, ...args];
  const child = spawn(command[0]!, command.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
  let said = "";
  const bound = await new Promise<number>((resolve, reject) => {
    const fail = (what: string) => reject(new Error(`${kind} registry: ${what}: ${said}`));
    const timer = setTimeout(() => fail("did not start"), START_LIMIT);
    const listen = (chunk: Buffer): void => {
      said = (said + chunk.toString()).slice(-LOG_LIMIT);
      const found = /listening on 127\.0\.0\.1:(\d+)/.exec(said);
      if (found !== null) {
        clearTimeout(timer);
        resolve(Number(found[1]));
      }
    };
    child.stdout.on("data", listen);
    child.stderr.on("data", listen);
    child.on("error", (error) => fail(error.message));
    child.on("close", () => fail("ended"));
  }).catch(async (error: unknown) => {
    child.kill("SIGKILL");
    await tokens?.stop();
    rmSync(folder, { recursive: true, force: true });
    throw error;
  });

  async function stop(): Promise<void> {
    child.kill("SIGKILL");
    await ended;
    await tokens?.stop();
    rmSync(folder, { recursive: true, force: true });
  }
  t.after(stop);
  const host = `127.0.0.1:${bound}`;
  const url = `${tls ? "https" : "http"}://${host}`;
  return { kind, host, url, auth, certificates, tokens, storage, log: () => said, stop };
}

/** Characters of a server's log that are kept. */
const LOG_LIMIT = 1 << 20;

function tlsConfig({ certificate, key }: Certificates): object {
  return { tls: { certificate, key } };
}

function basicConfig(folder: string): object {
  const path = join(folder, "htpasswd");
  writeFileSync(path, `${USER}:${PASSWORD_HASH}\n`);
  return { htpasswd: { realm: "tests", path } };
}

function tokenConfig({ realm, service, issuer, certificate }: TokenServer): object {
  return { token: { realm, service, issuer, rootcertbundle: certificate } };
}
