/** HTTP_PROXY, HTTPS_PROXY, NO_PROXY as Go reads them (golang.org/x/net/http/httpproxy), since container tools do. */
import { PolicyError } from "../../errors/index.ts";

/** Values of the environment, whichever case the names had; the lower case one counts first. */
export interface ProxySettings {
  readonly httpProxy: string | undefined;
  readonly httpsProxy: string | undefined;
  readonly noProxy: string | undefined;
}

/** The proxy for an address; undefined for none. This machine itself is never reached through one. Errors: PolicyError `bad-proxy`. */
export function chooseProxy(url: URL, { httpProxy, httpsProxy, noProxy }: ProxySettings): URL | undefined {
  const text = url.protocol === "https:" ? httpsProxy : httpProxy;
  if (text === undefined || text === "" || isExempt(url, noProxy ?? "")) return undefined;
  let proxy: URL;
  try {
    proxy = new URL(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
    const { username, password } = proxy as URL & { readonly username: string; readonly password: string };
    decodeURIComponent(username + password); // as whoever speaks to it will
  } catch {
    throw new PolicyError("bad-proxy", `the proxy for ${url.protocol}// is no address`);
  }
  if (proxy.protocol !== "http:" && proxy.protocol !== "https:")
    throw new PolicyError(
      "bad-proxy",
      `the proxy for ${url.protocol}// is of ${proxy.protocol}, expected http or https`,
    );
  return proxy;
}

function isExempt(url: URL, list: string): boolean {
  const host = unbracketed(url.hostname);
  if (host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host)) return true;
  const port = url.host.slice(url.hostname.length + 1) || (url.protocol === "https:" ? "443" : "80");
  for (const raw of list.split(",")) {
    const entry = raw.trim().toLowerCase();
    if (entry === "") continue;
    if (entry === "*") return true;
    const cidr = /^([0-9.]+)\/(\d{1,2})$/.exec(entry);
    if (cidr !== null) {
      if (isInNetwork(host, cidr[1] ?? "", Number(cidr[2]))) return true;
      continue;
    }
    const [, name = entry, wantedPort] = /^(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(entry) ?? [];
    if (wantedPort !== undefined && wantedPort !== port) continue;
    const bare = unbracketed(name).replace(/^\*/, "");
    if (bare.startsWith(".") ? host.endsWith(bare) : host === bare || host.endsWith(`.${bare}`)) return true;
  }
  return false;
}

const unbracketed = (host: string): string => host.replace(/^\[|\]$/g, "");

function isInNetwork(host: string, network: string, bits: number): boolean {
  const address = ipv4(host);
  const start = ipv4(network);
  if (address === undefined || start === undefined || bits > 32) return false;
  const size = 2 ** (32 - bits);
  return Math.floor(address / size) === Math.floor(start / size);
}

function ipv4(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || parts.some((part) => !/^\d{1,3}$/.test(part) || Number(part) > 255)) return undefined;
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0);
}
