/** What the commands of channels begin with: the repository, the roots to trust, the time. */
import { PolicyError } from "@ashlar/core/errors";
import type { Repository, Selector } from "@ashlar/core/formats/oci";
import { parseDigest } from "@ashlar/core/hash";
import {
  nodeHashes,
  type OpenedLocation,
  openFile,
  openLocation,
  openRegistries,
  tufVerifier,
} from "@ashlar/core/node";
import {
  authenticate,
  type ChannelState,
  type ChannelTrust,
  type ChannelView,
  type CheckEnvironment,
  type Expiry,
  expiry,
  MAX_METADATA_SIZE,
  parseMetadata,
  type RootPin,
  readChannel,
  tagDigest,
} from "@ashlar/core/ops/channel";
import { parseReference } from "@ashlar/core/ops/image";
import { readAll } from "@ashlar/core/source";
import type { RegistryFlags } from "../../commands/flags.ts";
import type { Session } from "../session.ts";
import { registryOptions } from "../tools.ts";

export interface Place {
  readonly repository: Repository;
  /** Tag or digest. */
  readonly selector: Selector;
  readonly tag: string;
}

/** Opens repositories for as long as `work` takes: of registries, and layouts on disk. */
export async function withPlaces<T>(
  flags: RegistryFlags,
  work: (open: (text: string) => Promise<Place>) => Promise<T>,
): Promise<T> {
  const registries = openRegistries(registryOptions(flags));
  const opened: OpenedLocation[] = [];
  try {
    return await work(async (text) => {
      const { tag, digest, ...where } = parseReference(text);
      const location = await openLocation({ ...where, tag, digest }, registries, { write: false });
      opened.push(location);
      return { repository: location.repository, selector: { tag, digest }, tag: tag ?? "latest" };
    });
  } finally {
    for (const location of opened.reverse()) await location.close();
    registries.close();
  }
}

/** Throws PolicyError `bad-channel-reference`: a channel moves, so it is a tag. */
export function assertTag({ selector }: Place): void {
  if (selector.tag === undefined || selector.digest !== undefined)
    throw new PolicyError("bad-channel-reference", "a channel that changes is named by its tag: HOST/NAME:TAG");
}

/** A root by its file or digest. */
export async function readPin(root: string): Promise<RootPin> {
  if (root.startsWith("sha256:")) return { fingerprint: parseDigest(root) };
  await using file = await openFile(root);
  const bytes = await readAll(file, MAX_METADATA_SIZE.root, root);
  const { signed, fingerprint } = parseMetadata("root", bytes, nodeHashes, root);
  return { version: signed.version, fingerprint };
}

export const environmentAt = (clock: number, notBefore = 0): CheckEnvironment => ({
  hashes: nodeHashes,
  verifier: tufVerifier,
  clock,
  notBefore,
});

export interface VerifiedChannel {
  readonly channel: ChannelState;
  readonly view: ChannelView;
  readonly expired: Expiry | undefined;
}

/** For people who look at or change a channel: trusted from `root`, else from its own first root, which is noted. */
export async function readVerified(
  { repository, selector }: Place,
  root: string | undefined,
  session: Session,
): Promise<VerifiedChannel> {
  const channel = await readChannel(repository, selector, nodeHashes, { signal: session.signal });
  const pin = root === undefined ? { fingerprint: channel.roots[0].fingerprint } : await readPin(root);
  if (root === undefined)
    session.reporter.note({
      code: "channel-root-untold",
      message: `trusted from the channel's own first root, ${pin.fingerprint}; --root compares it`,
    });
  const trust: ChannelTrust = { pins: [pin] };
  const view = authenticate(channel, trust, tufVerifier, nodeHashes);
  return { channel, view, expired: expiry(channel, tufVerifier, Date.now()) };
}

/** The channel, or undefined where the tag is free. */
export async function readIfThere(place: Place, root: string | undefined, session: Session) {
  const digest = await tagDigest(place.repository, place.tag, { signal: session.signal });
  return digest === undefined ? undefined : readVerified(place, root, session);
}
