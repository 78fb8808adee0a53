/**
 * Names and limits of a channel: TUF metadata as the layers of one OCI manifest.
 * Spec: The Update Framework 1.0 (theupdateframework.github.io/specification); docs/channels.md for what is ours.
 */
import { MAX_DOCUMENT_SIZE } from "../../formats/oci/index.ts";

export const CHANNEL_ARTIFACT_TYPE = "application/vnd.ashlar.channel.v1+json";

/** OCI's config for artifacts that have none (image-spec, manifest.md, "Guidance for an Empty Descriptor"). */
export const EMPTY_CONFIG_TYPE = "application/vnd.oci.empty.v1+json";

/** In the order in which they are trusted: each vouches for the next. */
export const ROLES = ["root", "timestamp", "snapshot", "targets"] as const;
export type Role = (typeof ROLES)[number];

export const isRole = (text: string): text is Role => (ROLES as readonly string[]).includes(text);

export const metadataType = (role: Role): string => `application/vnd.ashlar.channel.${role}.v1+json`;

/** The TUF version that our metadata names. */
export const SPEC_VERSION = "1.0.31";

/** Bytes of a document of each role; more is refused before it is fetched. */
export const MAX_METADATA_SIZE: Readonly<Record<Role, number>> = {
  root: 256 * 1024,
  timestamp: 16 * 1024,
  snapshot: 16 * 1024,
  targets: MAX_DOCUMENT_SIZE,
};

/** Rotations of a channel's life: a layer each, and each is verified by a new device. */
export const MAX_ROOTS = 256;
export const MAX_KEYS = 64;
export const MAX_SIGNATURES = 64;
/** tuf-js takes the square of their number: 0.4 s of CPU for so many (measured). */
export const MAX_RELEASES = 1024;
export const MAX_ROLLOUT_STEPS = 32;
/** Objects within objects. */
export const MAX_DEPTH = 24;

/** A rollout counts devices in parts of this many; canonical JSON has no fractions. */
export const ROLLOUT_PARTS = 10_000;

const DAY = 24 * 60 * 60;

/** Seconds from signing to expiry, by default. */
export const DEFAULT_LIFETIMES: Readonly<Record<Role, number>> = {
  root: 365 * DAY,
  timestamp: 7 * DAY,
  snapshot: 7 * DAY,
  targets: 91 * DAY,
};
