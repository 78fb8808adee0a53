/** Registries as this machine knows them: its credentials, certificates and proxies. */
import process from "node:process";
import type { Repository } from "../../formats/oci/index.ts";
import {
  type Credentials,
  checkCredentials,
  chooseProxy,
  formatName,
  openRegistryRepository,
  placesOf,
  type RegistryEnvironment,
  type RegistryRule,
  type RepositoryName,
  type RepositoryPlace,
  withBlobCache,
  withMirrors,
} from "../../ops/registry/index.ts";
import { nodeHashes } from "../hashes.ts";
import { cacheDirectory, openBlobCache } from "./blob-cache.ts";
import { findCredentials, storeCredentials } from "./credentials.ts";
import type { ProxyServer } from "./proxy.ts";
import { readRegistriesConf } from "./registries-conf.ts";
import type { NodeTransport } from "./transport.ts";

export interface RegistriesOptions {
  /** The only file that credentials are read from. */
  readonly authFile?: string | undefined;
  /** Whether certificates are checked; undefined: as registries.conf says, and it does unless it says otherwise. */
  readonly tlsVerify?: boolean | undefined;
  /** Further attempts at a request. */
  readonly retryTimes?: number | undefined;
  /** Whether blobs are kept in the user's cache, and taken from there. Default: false. */
  readonly cache?: boolean | undefined;
  readonly environment?: NodeJS.ProcessEnv | undefined;
}

export interface Registries {
  /** Sends nothing yet. The same repository again for the same name: it remembers tokens and documents. */
  open(name: RepositoryName): Promise<Repository>;
  /**
   * Checks credentials against the registry, then stores them; where they stand then. Errors: SourceError
   * `unauthorized`, and those of `storeCredentials`.
   */
  login(name: RepositoryName, credentials: Credentials): Promise<string>;
  /** Takes them out; where they stood, undefined where they did not. */
  logout(name: RepositoryName): Promise<string | undefined>;
  /** Closes all connections. */
  close(): void;
}

export function openRegistries(options: RegistriesOptions = {}): Registries {
  const { authFile, tlsVerify, retryTimes } = options;
  const environment = options.environment ?? process.env;
  let transport: NodeTransport | undefined;
  let rules: Promise<RegistryRule[]> | undefined;
  const opened = new Map<string, Repository>();
  const cache = options.cache === true ? openBlobCache(cacheDirectory(environment)) : undefined;

  /** HTTP and TLS take their time to load, and most commands need neither. */
  async function connect(): Promise<RegistryEnvironment> {
    const { createTransport, systemTiming } = await import("./transport.ts");
    const { createTrust } = await import("./trust.ts");
    transport ??= createTransport({
      tlsOptions: createTrust(environment),
      proxyFor: (url) => proxyFor(url, environment),
      userAgent: "ashlar",
    });
    return { transport, timing: systemTiming, hashes: nodeHashes };
  }

  /** What a person says now counts more than what the machine's files say. */
  const isInsecure = (configured: boolean): boolean => (tlsVerify === undefined ? configured : !tlsVerify);

  function readRules(): Promise<RegistryRule[]> {
    rules ??= readRegistriesConf(environment);
    return rules;
  }

  function openPlace({ host, repository, insecure }: RepositoryPlace, connection: RegistryEnvironment): Repository {
    return openRegistryRepository(
      {
        host,
        repository,
        insecure: isInsecure(insecure),
        retryTimes,
        credentials: () => findCredentials({ host, repository }, { authFile, environment }),
      },
      connection,
    );
  }

  return {
    async open(name) {
      const key = formatName(name);
      const known = opened.get(key);
      if (known !== undefined) return known;
      const places = placesOf(name, await readRules());
      const connection = await connect();
      const mirrors = places.slice(0, -1).map((place) => ({ ...place, repository: openPlace(place, connection) }));
      const registry = openPlace(places.at(-1)!, connection); // there is always the registry itself
      const mirrored = mirrors.length === 0 ? registry : withMirrors(mirrors, registry);
      const repository = cache === undefined ? mirrored : withBlobCache(mirrored, cache);
      opened.set(key, repository);
      return repository;
    },
    async login(name, credentials) {
      const { host, insecure } = placesOf({ ...name, repository: name.repository || "x" }, await readRules()).at(-1)!;
      await checkCredentials(
        { host, insecure: isInsecure(insecure), retryTimes, credentials: async () => credentials },
        await connect(),
      );
      return (await storeCredentials(name, credentials, { authFile, environment })) ?? "";
    },
    logout: (name) => storeCredentials(name, undefined, { authFile, environment }),
    close: () => transport?.close(),
  };
}

function proxyFor(url: URL, environment: NodeJS.ProcessEnv): ProxyServer | undefined {
  const proxy = chooseProxy(url, {
    httpProxy: environment["http_proxy"] || environment["HTTP_PROXY"],
    httpsProxy: environment["https_proxy"] || environment["HTTPS_PROXY"],
    noProxy: environment["no_proxy"] || environment["NO_PROXY"],
  }) as URL | undefined;
  if (proxy === undefined) return undefined;
  const { protocol, hostname, port, username, password } = proxy;
  const who = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const headers: Record<string, string> =
    username === "" ? {} : { "proxy-authorization": `Basic ${Buffer.from(who).toString("base64")}` };
  return { protocol: protocol as ProxyServer["protocol"], hostname, port, headers };
}
