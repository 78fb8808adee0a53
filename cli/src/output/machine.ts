/** What the verbs of a machine print for people. */
import {
  describeUnderway,
  type MachineEvent,
  type Status,
  type StatusRelease,
  type UpgradeReport,
} from "@ashlar/core/ops/machine";
import { formatBytes } from "./units.ts";

const line = (name: string, text: string): string => `${name.padEnd(10)} ${text}`;

const STATES: Readonly<Record<StatusRelease["state"], string>> = {
  good: "good",
  trial: "on trial",
  bad: "failed: no tries are left",
  "set-back": "set back: the other was chosen",
  downloaded: "downloaded: the next upgrade stages it",
  "no-entry": "the boot loader has no entry for it",
  unknown: "nobody with privileges has looked since the boot",
};

function releaseLine({ slot, imageVersion, state, triesLeft }: StatusRelease, next: boolean): string {
  const parts = [
    imageVersion ?? "of unknown version",
    ...(slot === null ? [] : [`slot ${slot.toUpperCase()}`]),
    state === "trial" ? `on trial, ${triesLeft} tries left` : STATES[state],
    ...(next ? ["boots next"] : []),
  ];
  return parts.join(", ");
}

function verifiedLine({ verified }: StatusRelease): string | undefined {
  if (verified === null) return undefined;
  const by = [
    ...(verified.channel === null ? [] : [`channel ${verified.channel}`]),
    ...verified.signatures.map(({ key, name }) => `key ${key}${name === undefined ? "" : ` as ${name}`}`),
  ];
  return by.length === 0
    ? `accepted unsigned at ${verified.at}`
    : `vouched for by ${by.join(", ")}; checked ${verified.at}`;
}

/** `3 h`, `2 days`. */
function age(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} days`;
}

export function statusLines({ ashlar }: Status): string[] {
  const { root, booted, staged, rollback, source, next, freshness, firmware } = ashlar;
  const { underway, lastCheck, lastResult } = ashlar;
  if (root === null) return ["this machine does not run from a sealed root of Ashlar"];
  const isNext = (release: StatusRelease) => release.entry !== null && release.entry === next;
  const lines: string[] = [];
  if (booted !== null) {
    lines.push(line("runs", `${ashlar.imageId ?? "?"} ${releaseLine(booted, false)}`));
    const vouched = verifiedLine(booted);
    if (vouched !== undefined) lines.push(line("", vouched));
  }
  const verity = { verified: "every block is checked", corrupted: "a block did not match its hash", unknown: "" }[
    root.verity
  ];
  lines.push(line("root hash", `${root.rootHash}${verity === "" ? "" : `, ${verity}`}`));
  for (const [name, release] of [
    ["staged", staged],
    ["rollback", rollback],
  ] as const)
    if (release !== null) {
      lines.push(line(name, releaseLine(release, isNext(release))));
      const vouched = verifiedLine(release);
      if (vouched !== undefined) lines.push(line("", vouched));
      if (name === "staged") for (const conflict of release.etc) lines.push(line("", `conflict  ${conflict}`));
    }
  if (ashlar.downloaded !== null && staged === null)
    lines.push(line("downloaded", `${ashlar.downloaded.imageVersion}, at ${ashlar.downloaded.at}`));
  lines.push(
    source === null
      ? line("follows", "nothing: no policy file names a channel or reference")
      : line(
          "follows",
          `${source.kind} ${source.reference}${freshness.age === null ? "" : `, answered ${age(freshness.age)} ago`}`,
        ),
  );
  if (underway !== null) lines.push(line("now", `${describeUnderway(underway)}, since ${underway.at}`));
  // A look that something came of is told as that.
  if (lastCheck !== null && (lastResult === null || lastCheck.at > lastResult.at))
    lines.push(line("looked", `${lastCheck.at}: ${lastCheck.message}`));
  if (lastResult !== null) {
    const failed = lastResult.result === "error" ? " failed" : "";
    lines.push(line("last run", `${lastResult.at}: ${lastResult.verb}${failed}: ${lastResult.message}`));
  }
  const loader = firmware.loader === null ? "" : `, ${firmware.loader}`;
  lines.push(line("firmware", `Secure Boot ${firmware.secureBoot}${loader}`));
  for (const { imageVersion, message } of ashlar.refused) lines.push(line("refused", `${imageVersion}: ${message}`));
  for (const { message } of ashlar.problems) lines.push(line("problem", message));
  if (ashlar.seen !== "live")
    lines.push(line("seen", ashlar.seen === "never" ? "slots: never in this boot" : `slots: ${ashlar.seen}`));
  return lines;
}

export function upgradeLines({ message, staged, etc }: UpgradeReport): string[] {
  const contested = etc.map((conflict) => `conflict  ${conflict}`);
  if (staged === undefined) return [...contested, message];
  const { total, kept, copied } = staged.blocks;
  const there = total === 0 ? 0 : Math.round((100 * (kept + copied)) / total);
  const moved = `fetched ${formatBytes(staged.fetched)}; ${there} % of the root were on the disk`;
  return [moved, ...contested, message];
}

/** One line, and the details below it. */
export function eventLines({ at, event, message, detail }: MachineEvent): string[] {
  const details = detail === undefined ? [] : detail.split("\n").map((text) => `    ${text}`);
  return [`${at}  ${event.padEnd(11)} ${message}`, ...details];
}
