/** How a person names an input: `transport:where[:TAG][@DIGEST]`, or `HOST/NAME[:TAG][@DIGEST]` for a registry. */
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import type { Selector } from "../../formats/oci/index.ts";
import { parseDigest } from "../../hash/index.ts";
import { formatName, namesHost, parseRegistryReference } from "../registry/reference.ts";

const TRANSPORTS = ["oci", "oci-archive", "docker-archive", "dir", "tar", "containers-storage", "docker"] as const;

export interface Reference extends Selector {
  /**
   * `oci`: a layout directory; `oci-archive`: a tar file of one; `docker-archive`: what `docker save` writes; `dir`: a
   * directory that is the root (or skopeo's layout of that name); `tar`: an archive of the root; `containers-storage`:
   * an image of podman's or buildah's on this machine; `docker`: a registry.
   */
  readonly transport: (typeof TRANSPORTS)[number];
  /**
   * Of the host, as it was given; for `containers-storage` the image's name, for `tar` also `-`, for `docker` the host
   * and name of the repository, completed.
   */
  readonly path: string;
}

/** Names that other tools give to transports, so that an error can tell an unknown one from a typing mistake. */
const FOREIGN = ["docker-daemon", "ostree", "registry", "sif", "tarball", "atomic"];

/** What `ashlar` takes, for people. */
export const REFERENCE_FORMS = "docker://, oci:, oci-archive:, docker-archive:, dir:, tar: or containers-storage:";

const DOCKER = "docker://";

/** image-spec: `org.opencontainers.image.ref.name`, as far as it has no slash. */
const TAG = /^[A-Za-z0-9]+(?:(?:[-._@+]|--)[A-Za-z0-9]+)*$/;
/** What Docker would look for in its own registry, and podman in several. */
const SHORT_NAME = /^[a-z0-9][a-z0-9._/-]{0,200}:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/;
/** Name of an image as Docker writes it, with or without a tag. */
const DOCKER_NAME = /^[A-Za-z0-9][A-Za-z0-9._:/-]{0,254}$/;

/**
 * `oci`, `oci-archive`: the tag is what follows the last colon with no slash behind it, so that a path may hold colons.
 * (containers/image ends the path at the first colon: there a path may hold none, but a tag may hold slashes and
 * colons; name such an image by its digest.) A path that ends in `:` has no tag. Where there is a digest, the tag is
 * only a remark.
 * `docker-archive`: the path ends at the first colon, since what follows holds slashes and colons itself.
 * The others are taken as they are.
 * What begins with a host, as `registry.example/os:1` does, is in a registry also without `docker://`.
 *
 * Errors: FormatError `bad-reference`, `bad-digest`; UnsupportedError `transport`, `digest-algorithm`.
 */
export function parseReference(text: string): Reference {
  const shown = JSON.stringify(text.slice(0, 200));
  if (text.startsWith(DOCKER)) return parseDocker(text.slice(DOCKER.length));
  const colon = text.indexOf(":");
  const transport = text.slice(0, Math.max(colon, 0));
  if (!isTransport(transport)) {
    if (namesHost(text)) return parseDocker(text);
    if (FOREIGN.includes(transport))
      throw new UnsupportedError("transport", `${shown}: transport ${transport}: is not supported`);
    if (SHORT_NAME.test(text))
      throw new FormatError("bad-reference", `${shown} names no registry: HOST/NAME, or ${DOCKER} for Docker Hub's`);
    throw new FormatError("bad-reference", `${shown} is no image reference; expected ${REFERENCE_FORMS}`);
  }
  if (transport === "docker")
    throw new FormatError("bad-reference", `${shown} is no image reference; a registry's begins with ${DOCKER}`);
  const where = text.slice(colon + 1);
  const reference = ["dir", "tar", "containers-storage"].includes(transport)
    ? { transport, path: where }
    : parseSelected(transport, where, shown);
  if (reference.path === "" || reference.path.includes("\0"))
    throw new FormatError("bad-reference", `${shown} has no path`);
  return reference;
}

function parseDocker(text: string): Reference {
  const { tag, digest, ...name } = parseRegistryReference(text);
  return { transport: "docker", path: formatName(name), tag, digest };
}

function parseSelected(transport: Reference["transport"], where: string, shown: string): Reference {
  let path = where;
  const at = /@([a-z0-9+._-]+:[^@/]*)$/.exec(path);
  const digest = at?.[1] === undefined ? undefined : parseDigest(at[1]);
  if (at !== null) path = path.slice(0, at.index);
  const isDocker = transport === "docker-archive";
  const last = isDocker ? path.indexOf(":") : path.lastIndexOf(":");
  let tag: string | undefined;
  if (last >= 0 && (isDocker || !path.includes("/", last))) {
    tag = path.slice(last + 1) || undefined;
    path = path.slice(0, last);
    if (tag !== undefined && !(isDocker ? DOCKER_NAME : TAG).test(tag))
      throw new FormatError("bad-reference", `${shown}: not a tag: ${JSON.stringify(tag)}`);
  }
  return { transport, path, tag, digest };
}

function isTransport(text: string): text is Reference["transport"] {
  return (TRANSPORTS as readonly string[]).includes(text);
}
