/** What the commands of channels begin with: the repository, the roots to trust, the time. */
import { PolicyError, SourceError } from "@ashlar/core/errors";
import type { Repository, Selector } from "@ashlar/core/formats/oci";
import { parseDigest } from "@ashlar/core/hash";
import { nodeHashes, openFile } from "@ashlar/core/node";
import { tufVerifier } from "@ashlar/core/node/tuf";
import {
  authenticate,
  type ChannelState,
  type ChannelView,
  type CheckEnvironment,
  type ClientState,
  type Expiry,
  expiry,
  MAX_CLIENT_STATE_SIZE,
  MAX_METADATA_SIZE,
  parseClientState,
  parseMetadata,
  type RootPin,
  readChannel,
  tagDigest,
} from "@ashlar/core/ops/channel";
import { parseReference } from "@ashlar/core/ops/image";
import { readAll } from "@ashlar/core/source";
import type { RegistryFlags } from "../../commands/flags.ts";
import { withOutputFile } from "../outputs.ts";
import type { Session } from "../session.ts";
import { hostRepositories } from "../stored-releases.ts";

export interface Place {
  readonly repository: Repository;
  /** Tag or digest. */
  readonly selector: Selector;
  readonly tag: string;
}

/** Opens repositories for as long as `work` takes: of registries, and layouts on disk. */
export async function withPlaces<T>(
  flags: RegistryFlags,
  session: Session,
  work: (open: (text: string) => Promise<Place>) => Promise<T>,
): Promise<T> {
  const repositories = hostRepositories(flags, session.signal);
  const opened: Repository[] = [];
  try {
    return await work(async (text) => {
      const reference = parseReference(text);
      const repository = await repositories.open(reference);
      opened.push(repository);
      const { tag, digest } = reference;
      return { repository, selector: { tag, digest }, tag: tag ?? "latest" };
    });
  } finally {
    for (const repository of opened.reverse()) await repository.close();
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
  readonly state: ClientState | undefined;
  readonly expired: Expiry | undefined;
}

export interface Known {
  /** File or digest of a root. */
  readonly root?: string | undefined;
  /** File of what was seen before. */
  readonly state?: string | undefined;
}

/**
 * For people who look at or change a channel: trusted from what they know, else from its own first root, which is noted.
 * Whoever signs anew what a registry shows needs a state as a device does: an old state, renewed, would be new again.
 */
export async function readVerified(
  { repository, selector }: Place,
  known: Known,
  session: Session,
): Promise<VerifiedChannel> {
  const channel = await readChannel(repository, selector, nodeHashes, { signal: session.signal });
  const state = known.state === undefined ? undefined : await readState(known.state);
  const first = channel.roots[0].fingerprint;
  const pins =
    known.root !== undefined ? [await readPin(known.root)] : state === undefined ? [{ fingerprint: first }] : [];
  if (known.root === undefined && state === undefined)
    session.reporter.note({
      code: "channel-root-untold",
      message: `trusted from the channel's own first root, ${first}; --root compares it`,
    });
  const view = authenticate(channel, { pins, state }, tufVerifier, nodeHashes);
  return { channel, view, state, expired: expiry(channel, tufVerifier, Date.now()) };
}

/** The channel, or undefined where the tag is free. */
export async function readIfThere(place: Place, known: Known, session: Session): Promise<VerifiedChannel | undefined> {
  const digest = await tagDigest(place.repository, place.tag, { signal: session.signal });
  return digest === undefined ? undefined : readVerified(place, known, session);
}

/** Undefined where the file is not there yet. */
export async function readState(path: string): Promise<ClientState | undefined> {
  try {
    await using file = await openFile(path);
    return parseClientState(await readAll(file, MAX_CLIENT_STATE_SIZE, path), path);
  } catch (error) {
    if (error instanceof SourceError && error.code === "not-found") return undefined;
    throw error;
  }
}

export async function writeBytes(path: string, bytes: Uint8Array, overwrite: boolean): Promise<void> {
  await withOutputFile(path, { overwrite }, async (file) => {
    await file.writeAt(0, bytes);
    await file.setSize(bytes.length);
  });
}
