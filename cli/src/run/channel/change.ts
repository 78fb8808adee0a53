/** `ashlar channel init|add|remove|promote|refresh|rotate|publish`: each makes a draft, signs it, and publishes it or writes it. */
import { PolicyError } from "@ashlar/core/errors";
import { nodeHashes } from "@ashlar/core/node";
import { tufVerifier } from "@ashlar/core/node/tuf";
import {
  addReleases,
  baseOf,
  type ChannelRelease,
  type ChannelSigner,
  type ChannelState,
  type ChannelView,
  type Draft,
  describeReleases,
  type EditTime,
  encodeClientState,
  keyIdOf,
  newChannel,
  nextClientState,
  publishDraft,
  type RoleKeys,
  removeReleases,
  rotate,
  signDraft,
} from "@ashlar/core/ops/channel";
import { compareVersions } from "@ashlar/core/ops/release";
import type {
  AddFlags,
  ChangeFlags,
  InitFlags,
  LifetimeFlags,
  PromoteFlags,
  PublishFlags,
  RotateFlags,
} from "../../commands/channel-flags.ts";
import { printDraft, printPublished } from "../../output/channel.ts";
import { inSession, type Session } from "../session.ts";
import { readDraft, writeDraft } from "./drafts.ts";
import { type ChannelKey, keyReader, signersOf } from "./keys.ts";
import {
  assertTag,
  type Place,
  readIfThere,
  readVerified,
  type VerifiedChannel,
  withPlaces,
  writeBytes,
} from "./open.ts";
import { rotationOf } from "./rotation.ts";

type Open = (text: string) => Promise<Place>;

function timeOf(flags: LifetimeFlags): EditTime {
  const all = {
    root: flags.rootLifetime,
    targets: flags.targetsLifetime,
    snapshot: flags.snapshotLifetime,
    timestamp: flags.timestampLifetime,
  };
  const given = Object.entries(all).filter(([, seconds]) => seconds !== undefined);
  return { now: Date.now(), lifetimes: Object.fromEntries(given) as EditTime["lifetimes"] };
}

interface Settling {
  readonly place: Place;
  readonly current: VerifiedChannel | undefined;
  readonly draft: Draft;
  readonly signers: readonly ChannelSigner[];
  readonly time: EditTime;
}

/** Signs a draft and publishes it; with --partial it is written instead, for others to sign. */
async function settle(
  session: Session,
  flags: PublishFlags & Pick<ChangeFlags, "partial">,
  settling: Settling,
): Promise<void> {
  const { place, current, signers, time } = settling;
  const draft = await signDraft(settling.draft, signers, nodeHashes);
  if (flags.partial !== undefined) {
    await writeDraft(flags.partial, draft, { overwrite: false });
    printDraft(session, flags, draft, flags.partial);
    return;
  }
  const environment = { hashes: nodeHashes, verifier: tufVerifier, time, signers };
  const { repository, tag } = place;
  const published = await publishDraft(repository, tag, draft, current?.channel, environment, {
    signal: session.signal,
  });
  if (flags.state !== undefined) {
    const seen = nextClientState(published.documents, current?.state, time.now);
    await writeBytes(flags.state, encodeClientState(seen), true);
  }
  noteEnding(session, published.view, time.now);
  printPublished(session, flags, place, published);
}

/** Days before its end when a document that needs offline keys is spoken of. */
const WARNING_DAYS = 30;

function noteEnding(session: Session, { roles }: ChannelView, now: number): void {
  for (const role of ["root", "targets"] as const) {
    const days = Math.floor((Date.parse(roles[role].expires) - now) / (24 * 60 * 60 * 1000));
    if (days < WARNING_DAYS)
      session.reporter.note({
        code: "channel-expires-soon",
        message: `${role} expires in ${days} days, at ${roles[role].expires}: its keys are needed before`,
      });
  }
}

/** A change of a channel that is there. */
function changing(
  flags: PublishFlags & Pick<ChangeFlags, "partial">,
  channel: string,
  make: (current: ChannelState, time: EditTime, session: Session, open: Open) => Draft | Promise<Draft>,
): Promise<void> {
  return inSession(flags, (session) =>
    withPlaces(flags, session, async (open) => {
      const signers = await keyReader(flags, session).signers();
      const place = await open(channel);
      assertTag(place);
      const current = await readVerified(place, flags, session);
      const time = timeOf(flags);
      const draft = await make(current.channel, time, session, open);
      await settle(session, flags, { place, current, draft, signers, time });
    }),
  );
}

const roleOf = (keys: readonly ChannelKey[], threshold: number): RoleKeys => ({
  keys: keys.map(({ key }) => key),
  threshold,
});

/** A role nobody can sign for would end the channel where it begins. */
function assertEnough(flag: string, keys: readonly ChannelKey[], threshold: number): void {
  const count = new Set(keys.map(({ key }) => keyIdOf(key, nodeHashes))).size;
  if (count < threshold)
    throw new PolicyError("channel-threshold", `--${flag} is given ${count} times, ${threshold} are needed`, {
      expected: threshold,
      actual: count,
    });
}

export function runInit(flags: InitFlags, channel: string): Promise<void> {
  return inSession(flags, (session) =>
    withPlaces(flags, session, async (open) => {
      const keys = keyReader(flags, session);
      const root = await keys.readAll(flags.rootKey);
      const targets = await keys.readAll(flags.targetsKey);
      const online = await keys.readAll(flags.onlineKey);
      const snapshot = flags.snapshotKey === undefined ? online : await keys.readAll(flags.snapshotKey);
      assertEnough("root-key", root, flags.rootThreshold);
      assertEnough("targets-key", targets, flags.targetsThreshold);
      assertEnough("online-key", online, 1);
      const signers = [
        ...signersOf([...root, ...targets, ...online, ...(flags.snapshotKey === undefined ? [] : snapshot)]),
        ...(await keys.signers()),
      ];
      const place = await open(channel);
      assertTag(place);
      const current = await readIfThere(place, flags, session);
      if (current !== undefined)
        throw new PolicyError("channel-exists", `${channel}: there is a channel already; rotate changes its keys`);
      const roles = {
        root: roleOf(root, flags.rootThreshold),
        targets: roleOf(targets, flags.targetsThreshold),
        snapshot: roleOf(snapshot, 1),
        timestamp: roleOf(online, 1),
      };
      const time = timeOf(flags);
      const draft = newChannel({ product: flags.product, name: flags.name ?? place.tag, roles }, time, nodeHashes);
      await settle(session, flags, { place, current: undefined, draft, signers, time });
    }),
  );
}

export function runAdd(flags: AddFlags, channel: string, release: string): Promise<void> {
  return changing(flags, channel, async (current, time, session, open) => {
    const { repository, selector } = await open(release);
    const described = await describeReleases(repository, selector, nodeHashes, { signal: session.signal });
    const { barrier, minAgent, rollout, floor } = flags;
    return addReleases(
      current,
      described.map((one) => ({ ...one, barrier, minAgent, rollout })),
      time,
      floor,
    );
  });
}

export function runRemove(flags: ChangeFlags, channel: string, version: string): Promise<void> {
  return changing(flags, channel, (current, time) => removeReleases(current, [version], time));
}

export function runPromote(flags: PromoteFlags, from: string, to: string): Promise<void> {
  return changing(flags, to, async (current, time, session, open) => {
    const { view, expired } = await readVerified(await open(from), { root: flags.fromRoot }, session);
    if (expired !== undefined)
      throw new PolicyError("channel-expired", `${from}: ${expired.role} has expired at ${expired.since}`);
    const offered = view.releases.filter(({ epoch }) => epoch === view.epoch);
    const version = flags.version ?? newestOf(offered);
    const chosen = offered.filter((release) => release.version === version);
    if (chosen.length === 0) throw new PolicyError("no-release", `${from}: has no release ${version ?? "at all"}`);
    const rules = (release: ChannelRelease): ChannelRelease => ({
      ...release,
      barrier: release.barrier || flags.barrier,
      minAgent: flags.minAgent ?? release.minAgent,
      rollout: flags.rollout,
    });
    return addReleases(current, chosen.map(rules), time, flags.floor);
  });
}

function newestOf(releases: readonly ChannelRelease[]): string | undefined {
  return releases
    .map(({ version }) => version)
    .sort(compareVersions)
    .at(-1);
}

export function runRefresh(flags: PublishFlags, channel: string): Promise<void> {
  return changing(flags, channel, (current) => ({ base: baseOf(current), root: undefined, targets: undefined }));
}

export function runRotate(flags: RotateFlags, channel: string): Promise<void> {
  return changing(flags, channel, async (current, time, session) => {
    return rotate(current, await rotationOf(flags, current, session), time, nodeHashes);
  });
}

export function runPublish(flags: PublishFlags, channel: string, path: string): Promise<void> {
  return inSession(flags, (session) =>
    withPlaces(flags, session, async (open) => {
      const signers = await keyReader(flags, session).signers();
      const draft = await readDraft(path);
      const place = await open(channel);
      assertTag(place);
      const current = await readIfThere(place, flags, session);
      await settle(session, flags, { place, current, draft, signers, time: timeOf(flags) });
    }),
  );
}
