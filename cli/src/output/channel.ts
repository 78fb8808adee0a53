/** What the commands of channels print. */
import {
  type ChannelCheck,
  type ChannelRelease,
  type ChannelView,
  countDraft,
  type Draft,
  type Published,
  ROLES,
  ROLLOUT_PARTS,
  releaseOf,
} from "@ashlar/core/ops/channel";
import { compareVersions } from "@ashlar/core/ops/release";
import type { Place, VerifiedChannel } from "../run/channel/open.ts";
import type { Session } from "../run/session.ts";

interface Flags {
  readonly json: boolean;
}

/** Digits of a key id or digest that people compare. */
const SHORT = 12;
const shortId = (id: string): string => id.slice(0, SHORT);
const shortDigest = (digest: string): string => digest.slice(0, "sha256:".length + SHORT);

const percent = (parts: number): string => `${(100 * parts) / ROLLOUT_PARTS} %`;

function releaseLine({ version, architecture, epoch, manifest, barrier, minAgent, rollout }: ChannelRelease): string {
  const rules = [
    ...(barrier ? ["barrier"] : []),
    ...(minAgent === undefined ? [] : [`agent ${minAgent} or later`]),
    ...(rollout ?? []).map(({ parts, from }) =>
      from === undefined ? percent(parts) : `${percent(parts)} from ${from}`,
    ),
  ];
  return [version, architecture, `epoch ${epoch}`, shortDigest(manifest.digest), ...rules].join("  ");
}

const byVersion = (releases: readonly ChannelRelease[]): ChannelRelease[] =>
  releases.toSorted(
    (a, b) => b.epoch - a.epoch || compareVersions(b.version, a.version) || (a.architecture < b.architecture ? -1 : 1),
  );

function viewLines({ product, name, id, epoch, floor, roles, releases }: ChannelView): string[] {
  return [
    `channel ${name} of ${product}, ${id}`,
    `epoch ${epoch}${floor === undefined ? "" : `, floor ${floor}`}`,
    ...ROLES.map((role) => {
      const { version, expires, threshold, keyIds } = roles[role];
      const keys = `${threshold} of ${keyIds.length} keys: ${keyIds.map(shortId).join(", ")}`;
      return `${role.padEnd(9)}  ${version}  until ${expires}  ${keys}`;
    }),
    ...(releases.length === 0 ? ["no releases"] : byVersion(releases).map(releaseLine)),
  ];
}

export function printChannel(
  session: Session,
  { json }: Flags,
  subject: string,
  { channel, view, expired }: VerifiedChannel,
): void {
  const { digest } = channel;
  const root = channel.roots[0].fingerprint;
  if (json) {
    const freshness = { fresh: expired === undefined, ...(expired === undefined ? {} : { expired }) };
    session.printJson({ schema: "ashlar.channel/v1", subject, digest, root, ...freshness, ...view });
    return;
  }
  for (const line of viewLines(view)) session.print(line);
  session.print(`first root ${root}`);
  session.print(
    expired === undefined
      ? `fresh, state ${digest}`
      : `STALE: ${expired.role} has expired at ${expired.since}, state ${digest}`,
  );
}

export function printPublished(
  session: Session,
  { json }: Flags,
  place: Place,
  { digest, view, documents }: Published,
): void {
  const subject = `${place.repository.name}:${place.tag}`;
  const root = documents.roots[0].fingerprint;
  if (json) {
    session.printJson({ schema: "ashlar.channel-change/v1", subject, digest, root, ...view });
    return;
  }
  const { timestamp, targets } = view.roles;
  session.print(
    `${subject}: ${view.releases.length} releases, targets ${targets.version}, timestamp ${timestamp.version}`,
  );
  session.print(`fresh until ${timestamp.expires}, state ${digest}`);
  if (view.roles.root.version === 1) session.print(`first root ${root}`);
}

/** Everything that a signature would be about; what the base does not have is marked `+`, what it had `-`. */
function draftLines({ base, root, targets }: Draft): string[] {
  const lines: string[] = [];
  if (base !== undefined)
    lines.push(`made from root ${base.root.signed.version}, targets ${base.targets.signed.version}`);
  if (root !== undefined) {
    const { version, expires, ashlar, roles } = root.signed;
    lines.push(`root ${version} of ${ashlar.product} ${ashlar.name}, epoch ${ashlar.epoch}, until ${expires}`);
    for (const role of ROLES) {
      const { threshold, keyids } = roles[role];
      const before = base?.root.signed.roles[role].keyids ?? [];
      lines.push(`  ${role}: ${threshold} of ${keyids.length} keys`);
      for (const id of keyids) lines.push(`  ${before.includes(id) ? " " : "+"} ${id}`);
      for (const id of before) if (!keyids.includes(id)) lines.push(`  - ${id}`);
    }
  }
  if (targets !== undefined) {
    const { version, expires, ashlar } = targets.signed;
    lines.push(`targets ${version}${ashlar.floor === undefined ? "" : `, floor ${ashlar.floor}`}, until ${expires}`);
    const before = releaseLines(base?.targets);
    const now = releaseLines(targets);
    for (const line of now) lines.push(`  ${before.includes(line) ? " " : "+"} ${line}`);
    for (const line of before) if (!now.includes(line)) lines.push(`  - ${line}`);
  }
  return lines;
}

const releaseLines = (document: Draft["targets"]): string[] =>
  byVersion(Object.values(document?.signed.targets ?? {}).map(releaseOf)).map(releaseLine);

export function printDraft(session: Session, { json }: Flags, draft: Draft, path: string): void {
  const counts = countDraft(draft);
  const content = draftLines(draft);
  if (json) {
    session.printJson({ schema: "ashlar.channel-draft-status/v1", draft: path, content, signatures: counts });
    return;
  }
  for (const line of content) session.print(line);
  for (const { role, by, threshold, signedBy, keyIds } of counts) {
    const others = keyIds.filter((id) => !signedBy.includes(id)).map(shortId);
    const open = signedBy.length >= threshold ? "enough" : `to be signed by ${others.join(" or ")}`;
    session.print(`${role}: ${signedBy.length} of ${threshold} signatures that ${by} asks for: ${open}`);
  }
}

export function printCheck(
  session: Session,
  { json }: Flags,
  subject: string,
  check: Exclude<ChannelCheck, { result: "error" }>,
): void {
  if (json) {
    const { view: _, ...rest } = check;
    session.printJson({ schema: "ashlar.channel-check/v1", subject, ...rest });
    return;
  }
  session.print(`${subject}: ${check.result}: ${explain(check)}`);
}

function explain(check: Exclude<ChannelCheck, { result: "error" }>): string {
  if (check.result === "stale") return `${check.expired.role} has expired at ${check.expired.since}`;
  const { decision } = check;
  if (decision.action === "none")
    return decision.reason === "newest" ? "nothing newer" : "the channel has nothing as new as what runs";
  const { version, manifest } = decision.release;
  if (decision.action === "wait")
    return `version ${version} is being rolled out to ${percent(decision.parts)} of devices, not to this one yet`;
  return `version ${version}${decision.required ? ", required" : ""}, ${manifest.digest}`;
}
