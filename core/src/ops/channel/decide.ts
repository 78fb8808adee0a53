/** What a device does about a channel: pure, so that `channel check` says today what the agent will do. */
import { encodeUtf8 } from "../../bytes/index.ts";
import { PolicyError } from "../../errors/index.ts";
import type { Hashes } from "../../hash/index.ts";
import { compareVersions } from "../release/index.ts";
import { ROLLOUT_PARTS } from "./format.ts";
import { type ChannelRelease, type ChannelView, targetPath } from "./view.ts";

/** What a device knows of itself. */
export interface DeviceFacts {
  readonly product: string;
  readonly architecture: string;
  /** Of the channel when what runs was installed. */
  readonly epoch: number;
  /** IMAGE_VERSION of what runs; undefined where nothing is installed yet. */
  readonly version: string | undefined;
  /** Undefined: no release asks for one. */
  readonly agentVersion?: string | undefined;
  /** Says where in a rollout the device stands, such as its machine id; without one it comes last. Never sent anywhere. */
  readonly rolloutKey?: string | undefined;
}

export type Decision =
  | {
      readonly action: "install";
      readonly release: ChannelRelease;
      /** What runs is below the floor or of an older epoch: it should not go on running. */
      readonly required: boolean;
    }
  /** `ahead`: what runs is newer than all that the channel has, say because that was withdrawn. There is no way back. */
  | { readonly action: "none"; readonly reason: "newest" | "ahead" }
  /** There is a newer release, but its rollout has not come to this device. */
  | { readonly action: "wait"; readonly release: ChannelRelease; readonly parts: number; readonly position: number };

export interface DecideEnvironment {
  readonly hashes: Hashes;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/**
 * The newest release that this device may install next. Throws PolicyError `wrong-product`, `wrong-architecture`,
 * `channel-epoch` where the device has seen a later epoch, `channel-floor` where the channel has nothing at or above its
 * own floor, `agent-too-old` where every release that comes next needs a newer agent.
 */
export function decide(channel: ChannelView, device: DeviceFacts, environment: DecideEnvironment): Decision {
  const releases = candidates(channel, device);
  const newEpoch = device.epoch < channel.epoch;
  const { version } = device;
  const newer =
    newEpoch || version === undefined ? releases : releases.filter((one) => compareVersions(one.version, version) > 0);
  if (newer.length === 0)
    return { action: "none", reason: releases.some((one) => one.version === version) ? "newest" : "ahead" };
  const belowFloor =
    version !== undefined && channel.floor !== undefined && compareVersions(version, channel.floor) < 0;
  const required = newEpoch || belowFloor;
  // A fresh disk has nothing to migrate, and versions of two epochs do not compare: barriers are for updates within one.
  const barrier = newEpoch || version === undefined ? undefined : newer.find((release) => release.barrier);
  const reachable = barrier === undefined ? newer : newer.slice(0, newer.indexOf(barrier) + 1);
  const able = reachable.filter((release) => isAgentNewEnough(release, device));
  if (able.length === 0) throw agentTooOld(reachable, device);
  const newestFirst = able.toReversed();
  const admitted = newestFirst.find((release) => {
    const parts = rolloutParts(release, environment.now);
    return required ? parts > 0 : rolloutPosition(release, device, environment.hashes) < parts;
  });
  if (admitted !== undefined) return { action: "install", release: admitted, required };
  const [release] = newestFirst as [ChannelRelease]; // able is not empty
  return {
    action: "wait",
    release,
    parts: rolloutParts(release, environment.now),
    position: rolloutPosition(release, device, environment.hashes),
  };
}

/** Of the device's product and architecture and the channel's epoch, at or above the floor; oldest first. */
function candidates(channel: ChannelView, device: DeviceFacts): ChannelRelease[] {
  if (device.product !== channel.product)
    throw new PolicyError("wrong-product", `the channel is for ${channel.product}, the device is ${device.product}`, {
      expected: device.product,
      actual: channel.product,
    });
  if (device.epoch > channel.epoch)
    throw new PolicyError("channel-epoch", `the channel has epoch ${channel.epoch}, the device ${device.epoch}`, {
      expected: device.epoch,
      actual: channel.epoch,
    });
  const inEpoch = channel.releases.filter(({ epoch }) => epoch === channel.epoch);
  const ours = inEpoch.filter(({ architecture }) => architecture === device.architecture);
  if (ours.length === 0) {
    const others = [...new Set(inEpoch.map(({ architecture }) => architecture))].sort().join(", ");
    throw new PolicyError(
      "wrong-architecture",
      `the channel has no release for ${device.architecture}; it has ${others === "" ? "none at all" : others}`,
      { expected: device.architecture, actual: others },
    );
  }
  const { floor } = channel;
  const allowed = floor === undefined ? ours : ours.filter(({ version }) => compareVersions(version, floor) >= 0);
  if (allowed.length === 0)
    throw new PolicyError("channel-floor", `the channel has no release at or above its floor ${floor}`);
  return allowed.sort((a, b) => compareVersions(a.version, b.version) || (a.version < b.version ? -1 : 1));
}

function isAgentNewEnough({ minAgent }: ChannelRelease, { agentVersion }: DeviceFacts): boolean {
  return minAgent === undefined || agentVersion === undefined || compareVersions(agentVersion, minAgent) >= 0;
}

function agentTooOld(releases: readonly ChannelRelease[], device: DeviceFacts): Error {
  const last = releases.at(-1);
  return new PolicyError(
    "agent-too-old",
    `release ${last?.version} needs agent ${last?.minAgent}, the device has ${device.agentVersion}`,
    { expected: last?.minAgent, actual: device.agentVersion },
  );
}

/** The share of devices that may install the release at a time, in parts of {@link ROLLOUT_PARTS}. */
export function rolloutParts({ rollout }: Pick<ChannelRelease, "rollout">, now: number): number {
  if (rollout === undefined) return ROLLOUT_PARTS;
  const begun = rollout.filter(({ from }) => from === undefined || Date.parse(from) <= now);
  return begun.at(-1)?.parts ?? 0;
}

/**
 * Where a device stands in a release's rollout, from 0 to {@link ROLLOUT_PARTS} − 1: those below the share may install.
 * Made from its key and the release, so that not the same devices come first each time.
 */
export function rolloutPosition(
  release: Pick<ChannelRelease, "product" | "architecture" | "version">,
  { rolloutKey }: Pick<DeviceFacts, "rolloutKey">,
  hashes: Hashes,
): number {
  if (rolloutKey === undefined) return ROLLOUT_PARTS - 1;
  const digest = hashes.hash("sha256", encodeUtf8(`ashlar rollout\n${targetPath(release)}\n${rolloutKey}`));
  // 32 bits over 10 000 parts: no part is larger than another by more than three in a million.
  return new DataView(digest.buffer, digest.byteOffset, digest.length).getUint32(0) % ROLLOUT_PARTS;
}
