/** Names of images as registries' users write them, `HOST/NAME[:TAG][@DIGEST]`, and when a signature's name is the right one. */
import { oneLine } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { type Digest, parseDigest } from "../../hash/index.ts";

/** A name as containers compare it: complete, Docker Hub's short forms written out. */
export interface ImageName {
  /** `HOST/PATH`. */
  readonly repository: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
}

const MAX_NAME = 512; // characters; registries allow 255 for the path
const HOST =
  /^(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/;
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;

/** Throws FormatError `bad-name`, `bad-digest`. */
export function parseImageName(text: string): ImageName {
  const fail = (): never => {
    throw new FormatError("bad-name", `not the name of an image: ${JSON.stringify(oneLine(text))}`);
  };
  if (text.length > MAX_NAME) fail();
  const at = text.indexOf("@");
  const digest = at < 0 ? undefined : parseDigest(text.slice(at + 1));
  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(":");
  const hasTag = colon > named.lastIndexOf("/");
  const tag = hasTag ? named.slice(colon + 1) : undefined;
  if (tag !== undefined && !TAG.test(tag)) fail();
  const components = (hasTag ? named.slice(0, colon) : named).split("/");
  const [first = ""] = components;
  // Docker's rule: the first part is a host where it could not be a name on the Hub.
  const hasHost =
    components.length > 1 && (/[.:]/.test(first) || first === "localhost" || first !== first.toLowerCase());
  const host = hasHost ? first : "docker.io";
  const path = hasHost ? components.slice(1) : components;
  if (!HOST.test(host) || !path.every((part) => COMPONENT.test(part))) fail();
  const isHub = host === "docker.io" || host === "index.docker.io";
  const full = isHub && path.length === 1 ? ["library", ...path] : path;
  return { repository: [isHub ? "docker.io" : host, ...full].join("/"), tag, digest };
}

/**
 * Which names a signature may have, as containers-policy.json(5) names the rules; and two of ours: `any`, and
 * `matchRepositoryIfNamed`, by which a signature of the newer form, which need not name anything, may lack a name.
 */
export type IdentityRule =
  | { readonly type: "any" | "matchRepositoryIfNamed" }
  | { readonly type: "matchExact" | "matchRepoDigestOrExact" | "matchRepository" }
  | { readonly type: "exactReference"; readonly reference: string }
  | { readonly type: "exactRepository"; readonly repository: string }
  | { readonly type: "remapIdentity"; readonly prefix: string; readonly signedPrefix: string };

/** Undefined where a signature with this name is one for `image`; else why it is not. */
export function nameRefusal(
  rule: IdentityRule,
  image: string | undefined,
  signed: string | undefined,
): string | undefined {
  if (rule.type === "any" || (rule.type === "matchRepositoryIfNamed" && signed === undefined)) return undefined;
  if (signed === undefined) return "it names no image, and the rule asks for one";
  const wanted = intended(rule, image);
  if (wanted === undefined) {
    const cure = rule.type === "matchRepositoryIfNamed" ? ": say which it should have, by --identity" : "";
    return `it is for ${oneLine(signed)}, and the image has no name to compare with${cure}`;
  }
  let name: ImageName;
  try {
    name = parseImageName(signed);
  } catch {
    return `it is for ${JSON.stringify(oneLine(signed))}, which is not the name of an image`;
  }
  return isMatch(rule.type, wanted, name) ? undefined : `it is for ${showName(name)}, not for ${showName(wanted)}`;
}

/** What the signature should name. */
function intended(rule: IdentityRule, image: string | undefined): ImageName | undefined {
  if (rule.type === "exactReference") return parseImageName(rule.reference);
  if (rule.type === "exactRepository") return parseImageName(rule.repository);
  if (image === undefined) return undefined;
  const name = parseImageName(image);
  return rule.type === "remapIdentity" ? remap(name, rule.prefix, rule.signedPrefix) : name;
}

/** A prefix ends where a component ends. An image outside of it keeps its name. */
function remap(name: ImageName, prefix: string, signedPrefix: string): ImageName {
  const { repository } = name;
  const isBelow = repository === prefix || repository.startsWith(`${prefix}/`);
  return isBelow ? { ...name, repository: signedPrefix + repository.slice(prefix.length) } : name;
}

function isMatch(rule: IdentityRule["type"], wanted: ImageName, signed: ImageName): boolean {
  const sameRepository = wanted.repository === signed.repository;
  const sameTag = sameRepository && wanted.tag === signed.tag && wanted.digest === signed.digest;
  const isFull = signed.tag !== undefined || signed.digest !== undefined;
  switch (rule) {
    case "matchRepository":
    case "matchRepositoryIfNamed":
    case "exactRepository":
      return sameRepository;
    case "matchExact":
    case "exactReference":
      return sameTag && isFull;
    default: // matchRepoDigestOrExact, which remapIdentity continues with
      if (!isFull) return false; // a signature that names no tag could be for any
      return wanted.tag !== undefined ? sameTag : wanted.digest !== undefined && sameRepository;
  }
}

export function showName({ repository, tag, digest }: ImageName): string {
  return `${repository}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}
