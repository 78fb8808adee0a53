/** What a release is called: IMAGE_ID and IMAGE_VERSION of os-release(5), and what is derived from them. */
import { PolicyError } from "../../errors/index.ts";

/** OCI annotations that name an image (image-spec, annotations.md). */
export const LABEL_TITLE = "org.opencontainers.image.title";
export const LABEL_VERSION = "org.opencontainers.image.version";

export interface Identity {
  readonly imageId: string;
  readonly imageVersion: string;
}

/** GPT partition names have room for this many UTF-16 units (UEFI 2.10, table 5.8). */
export const MAX_LABEL = 36;

const IMAGE_ID = /^[a-z0-9][a-z0-9.-]*$/;
const IMAGE_VERSION = /^[0-9A-Za-z][0-9A-Za-z.~^-]*$/;
const SEMVER_PRERELEASE = /^(\d+\.\d+\.\d+)-([0-9A-Za-z.-]+)$/;

/**
 * A SemVer pre-release sorts after its release in the UAPI version order (UAPI.10), so that `1.0.0-rc.1` would never
 * be updated to `1.0.0`. Written with a tilde it sorts before. Everything else stays as it is.
 */
export function toImageVersion(version: string): string {
  return version.replace(SEMVER_PRERELEASE, (_, core: string, pre: string) => `${core}~${pre.replaceAll("-", ".")}`);
}

export interface IdentityOptions {
  readonly imageId?: string | undefined;
  readonly imageVersion?: string | undefined;
}

/**
 * The identity from the options, else from the OCI labels `title` and `version`.
 * Throws PolicyError `no-identity` where neither gives it, `bad-identity` where it cannot be written everywhere it must.
 */
export function identify(options: IdentityOptions, labels: Readonly<Record<string, string>>): Identity {
  const imageId = options.imageId ?? labels[LABEL_TITLE];
  const version = options.imageVersion ?? labels[LABEL_VERSION];
  if (imageId === undefined)
    throw new PolicyError("no-identity", `the image has no ${LABEL_TITLE} label and no --image-id is given`);
  if (version === undefined)
    throw new PolicyError("no-identity", `the image has no ${LABEL_VERSION} label and no --image-version is given`);
  if (!IMAGE_ID.test(imageId))
    throw new PolicyError(
      "bad-identity",
      `image id ${JSON.stringify(imageId)} is not made of a-z, 0-9, "." and "-" alone`,
    );
  const imageVersion = toImageVersion(version);
  if (!IMAGE_VERSION.test(imageVersion))
    throw new PolicyError(
      "bad-identity",
      `image version ${JSON.stringify(version)} is not made of letters, digits, ".", "-", "~" and "^" alone`,
    );
  const longest = partitionLabels({ imageId, imageVersion }).verity;
  if (longest.length > MAX_LABEL)
    throw new PolicyError(
      "bad-identity",
      `partition label ${longest} has ${longest.length} characters, GPT has room for ${MAX_LABEL}`,
    );
  return { imageId, imageVersion };
}

/** The stem of artifact names and the name of the UKI: `ID_VERSION`, the form that systemd-sysupdate patterns match. */
export function stemOf({ imageId, imageVersion }: Identity): string {
  return `${imageId}_${imageVersion}`;
}

export function partitionLabels(identity: Identity): { readonly root: string; readonly verity: string } {
  return { root: stemOf(identity), verity: `${stemOf(identity)}_verity` };
}
