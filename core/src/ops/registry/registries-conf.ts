/**
 * registries.conf: which registry is really elsewhere, has mirrors, is blocked or speaks without TLS.
 * Spec: containers-registries.conf(5), version 2. Pure; the host reads the files.
 */
import { parse } from "smol-toml";
import * as v from "valibot";
import { decodeUtf8Strict, oneLine } from "../../bytes/index.ts";
import { FormatError, PolicyError, UnsupportedError } from "../../errors/index.ts";
import { formatName, parseRegistryReference, type RepositoryName } from "./reference.ts";

/** Bytes of one file. */
export const MAX_REGISTRIES_CONF = 1024 * 1024;

/** What a mirror serves. */
type PullFrom = "all" | "digest-only" | "tag-only";

interface Mirror {
  readonly location: string;
  readonly insecure: boolean;
  readonly pullFrom: PullFrom;
}

/** One `[[registry]]`. */
export interface RegistryRule {
  /** `HOST[/NAME…]` or `*.DOMAIN`. */
  readonly prefix: string;
  /** What stands in place of the prefix; undefined for the prefix itself. */
  readonly location: string | undefined;
  readonly insecure: boolean;
  readonly blocked: boolean;
  readonly mirrors: readonly Mirror[];
}

/** Where a repository is to be had. */
export interface RepositoryPlace extends RepositoryName {
  readonly insecure: boolean;
  /** What may be asked for by a tag, or by a digest. */
  readonly tags: boolean;
  readonly digests: boolean;
}

const flag = v.optional(v.boolean(), false);
const text = v.optional(v.string(), "");
const pullFrom = v.optional(v.picklist(["all", "digest-only", "tag-only", ""]), "");

const RawMirror = v.looseObject({ location: text, insecure: flag, "pull-from-mirror": pullFrom });
const RawRegistry = v.looseObject({
  prefix: text,
  location: text,
  insecure: flag,
  blocked: flag,
  "mirror-by-digest-only": flag,
  mirror: v.optional(v.array(RawMirror), []),
});
const RawFile = v.looseObject({ registry: v.optional(v.array(RawRegistry), []) });

/**
 * The rules of one file. Errors: FormatError `bad-registries-conf`; UnsupportedError `registries-conf-version` for the
 * old form. @param what names the file
 */
export function parseRegistriesConf(bytes: Uint8Array, what: string): RegistryRule[] {
  const source = decodeUtf8Strict(bytes);
  if (source === undefined) throw new FormatError("bad-registries-conf", `${what}: is not UTF-8`);
  let document: unknown;
  try {
    document = parse(source);
  } catch (cause) {
    const reason = oneLine((cause as Error).message.split("\n")[0] ?? "");
    throw new FormatError("bad-registries-conf", `${what}: ${reason}`, { cause });
  }
  if (Object.hasOwn(document as object, "registries"))
    throw new UnsupportedError("registries-conf-version", `${what}: the form with [registries.…] is not supported`);
  const file = v.safeParse(RawFile, document);
  if (!file.success) {
    const place = oneLine(v.getDotPath(file.issues[0]) ?? "document");
    throw new FormatError("bad-registries-conf", `${what}: ${place}: expected ${file.issues[0].expected}`);
  }
  return file.output.registry.map((raw) => {
    const prefix = raw.prefix || raw.location;
    if (prefix === "")
      throw new FormatError("bad-registries-conf", `${what}: a registry has no prefix and no location`);
    if (prefix.startsWith("*.") ? raw.location.includes("*") : raw.location === "" && raw.prefix === "")
      throw new FormatError("bad-registries-conf", `${what}: not a location: ${JSON.stringify(raw.location)}`);
    return {
      prefix: trimmed(prefix),
      location: raw.location === "" ? undefined : trimmed(raw.location),
      insecure: raw.insecure,
      blocked: raw.blocked,
      mirrors: raw.mirror.map((mirror) => {
        if (mirror.location === "") throw new FormatError("bad-registries-conf", `${what}: a mirror has no location`);
        const own = mirror["pull-from-mirror"] || (raw["mirror-by-digest-only"] ? "digest-only" : "all");
        return { location: trimmed(mirror.location), insecure: mirror.insecure, pullFrom: own };
      }),
    };
  });
}

const trimmed = (location: string): string => location.replace(/^https?:\/\//, "").replace(/\/{1,8}$/, "");

/** The rules of several files: a later one with the same prefix counts. */
export function mergeRules(files: readonly (readonly RegistryRule[])[]): RegistryRule[] {
  const rules = new Map<string, RegistryRule>();
  for (const rule of files.flat()) rules.set(rule.prefix, rule);
  return [...rules.values()];
}

/** Characters of `name` that a prefix covers; undefined where it is for something else. */
function covered(name: string, prefix: string): number | undefined {
  const isWild = prefix.startsWith("*.");
  const tail = isWild ? prefix.slice(1) : prefix;
  const start = isWild ? name.indexOf(tail) : name.startsWith(prefix) ? 0 : -1;
  if (start < 0 || name.slice(0, start).includes("/")) return undefined;
  const end = start + tail.length;
  return end === name.length || name[end] === "/" || name[end] === ":" ? end : undefined;
}

/**
 * Where a repository is to be had, mirrors first, and last the registry itself, which is the only one that is written
 * to. Errors: PolicyError `blocked-registry`; FormatError `bad-reference` where a rule leads to no repository.
 */
export function placesOf(name: RepositoryName, rules: readonly RegistryRule[]): RepositoryPlace[] {
  const full = formatName(name);
  let best: { readonly rule: RegistryRule; readonly length: number } | undefined;
  for (const rule of rules) {
    const length = covered(full, rule.prefix);
    if (length !== undefined && (best === undefined || length > best.length)) best = { rule, length };
  }
  if (best === undefined) return [{ ...name, insecure: false, tags: true, digests: true }];
  const { rule, length } = best;
  if (rule.blocked)
    throw new PolicyError(
      "blocked-registry",
      `docker://${full}: registries.conf blocks ${JSON.stringify(rule.prefix)}`,
    );
  const at = (location: string | undefined, insecure: boolean, pull: PullFrom): RepositoryPlace => {
    const { host, repository } =
      location === undefined ? name : parseRegistryReference(`${location}${full.slice(length)}`);
    return { host, repository, insecure, tags: pull !== "digest-only", digests: pull !== "tag-only" };
  };
  const mirrors = rule.mirrors.map(({ location, insecure, pullFrom: pull }) => at(location, insecure, pull));
  return [...mirrors, at(rule.location, rule.insecure, "all")];
}
