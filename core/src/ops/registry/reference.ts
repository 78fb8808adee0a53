/**
 * Names of repositories: `HOST[:PORT]/NAME[:TAG][@DIGEST]`. Grammar: distribution/reference (reference.go) and
 * distribution-spec 1.1, "Pulling manifests"; what is left out is completed as skopeo does.
 */
import { oneLine } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { type Digest, parseDigest } from "../../hash/index.ts";

/** A repository of a registry. */
export interface RepositoryName {
  /** With the port where one was given, as it was given: `registry.example:5000`, `docker.io`. */
  readonly host: string;
  /** Path within the registry, such as `library/debian`. */
  readonly repository: string;
}

export interface RegistryReference extends RepositoryName {
  readonly tag: string | undefined;
  /** Where there is one, the tag is only a remark. */
  readonly digest: Digest | undefined;
}

/** Docker's registry under the name that people use; its API is elsewhere. */
export const DOCKER_HUB = "docker.io";
const DOCKER_HUB_ALIASES = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];
export const DOCKER_HUB_API = "registry-1.docker.io";

/** Characters of host and repository together; distribution's NameTotalLengthMax. */
const MAX_NAME = 255;

const HOST =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$/;
const REPOSITORY = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:\/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;

/** Whether the first component of a name is a host: it has a dot or a port, or is `localhost` (distribution/reference). */
export function namesHost(text: string): boolean {
  const slash = text.indexOf("/");
  if (slash <= 0) return false;
  const first = text.slice(0, slash);
  return (first.includes(".") || first.includes(":") || first === "localhost") && HOST.test(first);
}

export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** Whether `text` is a repository's path within a registry. */
export function isRepositoryPath(text: string): boolean {
  return text.length <= MAX_NAME && REPOSITORY.test(text);
}

/**
 * What stands behind `docker://`. A name without host is Docker Hub's, and there one without a path is in `library`.
 * Errors: FormatError `bad-reference`, `bad-digest`; UnsupportedError `digest-algorithm`.
 */
export function parseRegistryReference(text: string): RegistryReference {
  const shown = JSON.stringify(oneLine(text));
  const bad = (why: string) => new FormatError("bad-reference", `${shown}: ${why}`);
  let name = text;
  const at = name.indexOf("@");
  const digest = at < 0 ? undefined : parseDigest(name.slice(at + 1));
  if (at >= 0) name = name.slice(0, at);
  const colon = name.lastIndexOf(":");
  let tag: string | undefined;
  if (colon > name.lastIndexOf("/")) {
    tag = name.slice(colon + 1);
    name = name.slice(0, colon);
    if (!isTag(tag)) throw bad(`not a tag: ${JSON.stringify(oneLine(tag))}`);
  }
  // Docker would look for an image of that name on its own registry; official images have no dots.
  if (!name.includes("/") && (name.includes(".") || name === "localhost"))
    throw bad("a host without the name of a repository");
  const { host, repository } = completeName(name);
  if (!HOST.test(host)) throw bad(`not a host: ${JSON.stringify(oneLine(host))}`);
  if (!REPOSITORY.test(repository)) {
    const isUpper = REPOSITORY.test(repository.toLowerCase());
    throw bad(isUpper ? "the name of a repository is in lower case" : "not the name of a repository");
  }
  if (host.length + 1 + repository.length > MAX_NAME) throw bad(`the name is longer than ${MAX_NAME} characters`);
  return { host, repository, tag, digest };
}

/**
 * What somebody logs in to: a registry, or a part of one (`HOST[/NAME]`; the repository is empty for all of it). As
 * people write it, also with `https://` in front. Errors: FormatError `bad-reference`.
 */
export function parseRegistryName(text: string): RepositoryName {
  const bare = text.replace(/^(?:https?|docker):\/\//, "").replace(/\/$/, "");
  const slash = bare.indexOf("/");
  const host = slash < 0 ? bare : bare.slice(0, slash);
  const repository = slash < 0 ? "" : bare.slice(slash + 1);
  if (!HOST.test(host) || (repository !== "" && !isRepositoryPath(repository)) || bare.length > MAX_NAME)
    throw new FormatError("bad-reference", `${JSON.stringify(oneLine(text))}: not the name of a registry`);
  return { host: DOCKER_HUB_ALIASES.includes(host) ? DOCKER_HUB : host, repository };
}

function completeName(name: string): RepositoryName {
  if (!namesHost(name)) return { host: DOCKER_HUB, repository: name.includes("/") ? name : `library/${name}` };
  const slash = name.indexOf("/");
  const host = name.slice(0, slash);
  const repository = name.slice(slash + 1);
  if (host !== DOCKER_HUB && !DOCKER_HUB_ALIASES.includes(host)) return { host, repository };
  return { host: DOCKER_HUB, repository: repository.includes("/") ? repository : `library/${repository}` };
}

/** `HOST/NAME`. */
export function formatName({ host, repository }: RepositoryName): string {
  return `${host}/${repository}`;
}

/** `HOST/NAME[:TAG][@DIGEST]`. */
export function formatReference(reference: RegistryReference): string {
  const { tag, digest } = reference;
  return `${formatName(reference)}${tag === undefined ? "" : `:${tag}`}${digest === undefined ? "" : `@${digest}`}`;
}
