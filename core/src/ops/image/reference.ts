/** How a person names an image: `transport:where[:TAG][@DIGEST]`. */
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import type { Selector } from "../../formats/oci/index.ts";
import { parseDigest } from "../../hash/index.ts";

/** What is read today; more transports become more members of the union. */
export interface Reference extends Selector {
  /** `oci`: a layout directory; `oci-archive`: a tar file of one. */
  readonly transport: "oci" | "oci-archive";
  /** Of the host, as it was given. */
  readonly path: string;
}

const TRANSPORTS = ["oci", "oci-archive"] as const;
/** Names that other tools give to transports, so that an error can tell an unknown one from a typing mistake. */
const FOREIGN = ["docker", "docker-archive", "docker-daemon", "dir", "tar", "containers-storage", "ostree"];

/** image-spec: `org.opencontainers.image.ref.name`, as far as it has no slash. */
const TAG = /^[A-Za-z0-9]+([-._@+]?[A-Za-z0-9]+|--[A-Za-z0-9]+)*$/;

/**
 * The tag is what follows the last colon with no slash behind it, so that a path may hold colons. (containers/image
 * ends the path at the first colon: there a path may hold none, but a tag may hold slashes and colons; name such an
 * image by its digest.) A path that ends in `:` has no tag. Where there is a digest, the tag is only a remark.
 *
 * Errors: FormatError `bad-reference`, `bad-digest`; UnsupportedError `transport`, `digest-algorithm`.
 */
export function parseReference(text: string): Reference {
  const shown = JSON.stringify(text.slice(0, 200));
  const colon = text.indexOf(":");
  const transport = text.slice(0, Math.max(colon, 0));
  if (!isTransport(transport)) {
    if (FOREIGN.includes(transport))
      throw new UnsupportedError("transport", `${shown}: transport ${transport}: is not supported`);
    throw new FormatError("bad-reference", `${shown} is no image reference; expected ${TRANSPORTS.join(":, ")}:`);
  }
  let path = text.slice(colon + 1);
  const at = /@([a-z0-9+._-]+:[^@/]*)$/.exec(path);
  const digest = at?.[1] === undefined ? undefined : parseDigest(at[1]);
  if (at !== null) path = path.slice(0, at.index);
  const last = path.lastIndexOf(":");
  let tag: string | undefined;
  if (last >= 0 && !path.includes("/", last)) {
    tag = path.slice(last + 1) || undefined;
    path = path.slice(0, last);
    if (tag !== undefined && !TAG.test(tag))
      throw new FormatError("bad-reference", `${shown}: not a tag: ${JSON.stringify(tag)}`);
  }
  if (path === "") throw new FormatError("bad-reference", `${shown} has no path`);
  return { transport, path, tag, digest };
}

function isTransport(text: string): text is Reference["transport"] {
  return (TRANSPORTS as readonly string[]).includes(text);
}
