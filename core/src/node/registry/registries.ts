/** Registries as this machine knows them: its credentials, certificates and proxies. */
import process from "node:process";
import type { Repository } from "../../formats/oci/index.ts";
import { chooseProxy, formatName, openRegistryRepository, type RepositoryName } from "../../ops/registry/index.ts";
import { nodeHashes } from "../hashes.ts";
import { findCredentials } from "./credentials.ts";
import type { ProxyServer } from "./proxy.ts";
import type { NodeTransport } from "./transport.ts";

export interface RegistriesOptions {
  /** The only file that credentials are read from. */
  readonly authFile?: string | undefined;
  /** Whether certificates are checked; undefined: as registries.conf says, and it does unless it says otherwise. */
  readonly tlsVerify?: boolean | undefined;
  /** Further attempts at a request. */
  readonly retryTimes?: number | undefined;
  readonly environment?: NodeJS.ProcessEnv | undefined;
}

export interface Registries {
  /** Sends nothing yet. The same repository again for the same name: it remembers tokens and documents. */
  open(name: RepositoryName): Promise<Repository>;
  /** Closes all connections. */
  close(): void;
}

export function openRegistries(options: RegistriesOptions = {}): Registries {
  const environment = options.environment ?? process.env;
  let transport: NodeTransport | undefined;
  const opened = new Map<string, Repository>();
  return {
    async open({ host, repository }) {
      const name = formatName({ host, repository });
      const known = opened.get(name);
      if (known !== undefined) return known;
      // HTTP and TLS take their time to load, and most commands need neither.
      const { createTransport, systemTiming } = await import("./transport.ts");
      const { createTrust } = await import("./trust.ts");
      transport ??= createTransport({
        tlsOptions: createTrust(environment),
        proxyFor: (url) => proxyFor(url, environment),
        userAgent: "ashlar",
      });
      const made = openRegistryRepository(
        {
          host,
          repository,
          insecure: options.tlsVerify === false,
          retryTimes: options.retryTimes,
          credentials: () => findCredentials({ host, repository }, { authFile: options.authFile, environment }),
        },
        { transport, timing: systemTiming, hashes: nodeHashes },
      );
      opened.set(name, made);
      return made;
    },
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
