/** Addresses that a server sends us to. */
import { PolicyError, SourceError } from "../../errors/index.ts";
import { MAX_HEADER } from "./limits.ts";

/**
 * The address that a Location, a Link or a realm means, without user and fragment. Errors: SourceError `bad-location`;
 * PolicyError `insecure-redirect` from https to anything else.
 * @param what was tried
 */
export function resolveLocation(location: string | undefined, base: URL, what: string): URL {
  let url: URL;
  try {
    url = new URL(location ?? "", base.origin + base.pathname + base.search);
    if (location === undefined || location === "") throw new TypeError("no location");
  } catch (cause) {
    throw new SourceError("bad-location", `${what}: ${base.host} sends us to no address`, { cause });
  }
  if (url.protocol !== "https:" && url.protocol !== "http:")
    throw new SourceError("bad-location", `${what}: ${base.host} sends us to an address of ${url.protocol}`);
  if (base.protocol === "https:" && url.protocol !== "https:")
    throw new PolicyError("insecure-redirect", `${what}: ${base.host} sends us from https to http (${url.host})`);
  return new URL(url.origin + url.pathname + url.search);
}

/** The address as text; the class has no such member in our platform's list. */
export function textOf(url: URL): string {
  return url.origin + url.pathname + url.search;
}

/** The target of the Link with `rel="next"` (RFC 8288), where there is one. */
export function nextLink(header: string | undefined): string | undefined {
  for (const [, target, parameters] of (header ?? "").slice(0, MAX_HEADER).matchAll(/<([^<>]*)>([^<]*)/g))
    if (/;\s*rel\s*=\s*"?next"?(?:\s*[;,]|\s*$)/i.test(parameters ?? "")) return target;
  return undefined;
}
