/** One look at a channel as a device takes it: resolve, fetch, authenticate, decide. */
import { type AshlarError, isAshlarError } from "../../errors/index.ts";
import type { Repository, Selector } from "../../formats/oci/index.ts";
import type { Digest, Hashes } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { type Decision, type DeviceFacts, decide } from "./decide.ts";
import { type ChannelState, readChannel } from "./state.ts";
import { type ClientState, effectiveTime, nextClientState } from "./trust.ts";
import { authenticate, type ChannelTrust, type Expiry, expiry, pinOf, type TufVerifier } from "./verify.ts";
import type { ChannelView } from "./view.ts";

export interface CheckEnvironment {
  readonly hashes: Hashes;
  readonly verifier: TufVerifier;
  /** Milliseconds since 1970, as the machine believes; it may have lost count. */
  readonly clock: number;
  /** Milliseconds since 1970 that have passed for certain: when what runs was built. */
  readonly notBefore: number;
}

/**
 * Four results, never mixed up. `newer` and `current` are said only of documents that are authentic and fresh; `stale`
 * of authentic ones that have expired (a freeze, or a publisher that sleeps); whatever else happened is `error`:
 * a registry that refuses or fails has not said that there is nothing newer.
 */
export type ChannelCheck =
  | {
      readonly result: "newer" | "current";
      readonly digest: Digest;
      readonly view: ChannelView;
      readonly decision: Decision;
      /** To be kept until the next check. */
      readonly state: ClientState;
    }
  | {
      readonly result: "stale";
      readonly digest: Digest;
      readonly view: ChannelView;
      readonly expired: Expiry;
      readonly state: ClientState;
    }
  | { readonly result: "error"; readonly error: AshlarError };

/** A channel whose documents are authentic; fresh unless `expired` says since when not. */
export interface OpenedChannel {
  readonly channel: ChannelState;
  readonly view: ChannelView;
  readonly expired: Expiry | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Errors: those of `readChannel` and `authenticate`. */
export async function openChannel(
  repository: Repository,
  selector: Selector,
  trust: ChannelTrust,
  { hashes, verifier, clock, notBefore }: CheckEnvironment,
  options: ReadOptions = {},
): Promise<OpenedChannel> {
  const { state, pins } = trust;
  // From the oldest pin on, though the state knows a newer root: what an image was sealed with must be in the chain, or a
  // state that somebody has put there would lead to another channel. A root is 2 kB.
  const versions = [...pins, ...(state === undefined ? [] : [pinOf(state)])].map(({ version }) => version ?? 1);
  const channel = await readChannel(repository, selector, hashes, {
    ...options,
    fromRoot: Math.min(...versions, Infinity),
  });
  const view = authenticate(channel, trust, verifier, hashes);
  const now = effectiveTime(clock, notBefore, state);
  return { channel, view, expired: expiry(channel, verifier, now), now };
}

/** What an opened channel means for a device. Errors: those of `decide`. */
export function judgeChannel(
  { channel, view, expired, now }: OpenedChannel,
  previous: ClientState | undefined,
  device: DeviceFacts,
  hashes: Hashes,
): Exclude<ChannelCheck, { result: "error" }> {
  const { digest } = channel;
  // A clock in 2100 makes everything stale; were it remembered, the device would never believe a right one again.
  if (expired !== undefined)
    return { result: "stale", digest, view, expired, state: nextClientState(channel, previous, undefined) };
  const decision = decide(view, device, { hashes, now });
  const result = decision.action === "install" ? "newer" : "current";
  return { result, digest, view, decision, state: nextClientState(channel, previous, now) };
}

/** Bugs and interruptions are thrown; every error of ours is a result. */
export async function checkChannel(
  repository: Repository,
  selector: Selector,
  trust: ChannelTrust,
  device: DeviceFacts,
  environment: CheckEnvironment,
  options: ReadOptions = {},
): Promise<ChannelCheck> {
  try {
    const opened = await openChannel(repository, selector, trust, environment, options);
    return judgeChannel(opened, trust.state, device, environment.hashes);
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    return { result: "error", error };
  }
}
