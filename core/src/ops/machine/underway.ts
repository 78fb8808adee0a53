/**
 * A run that ends without a word: killed, or with the power gone. Each step is written down before it begins, so that `status`
 * can say which one it was; what of it is done the next run finds out from the disk.
 */
import type { StageStep } from "../update/index.ts";
import type { MachineEvent } from "./history.ts";
import type { AgentRecord, RunOutcome, UnderwayRun } from "./record.ts";

/** `look`: at the source, before anything is decided. */
export type RunStep = "look" | StageStep;

const MEANINGS: Readonly<Record<string, string>> = {
  look: "looking at the source",
  preflight: "comparing the release with the disk",
  invalidate: "freeing the slot",
  blocks: "writing blocks",
  tree: "writing the hash tree",
  "read-back": "reading back what was written",
  label: "labelling the slot",
  entry: "writing the boot loader's entry",
} satisfies Record<RunStep, string>;

/** What a run is doing, for people. */
export function describeUnderway({ verb, step, imageVersion }: UnderwayRun): string {
  const what = MEANINGS[step] ?? step;
  return `${verb}: ${what}${imageVersion === undefined ? "" : `, release ${imageVersion}`}`;
}

/** What is told of a run that ended while `underway` was written. */
export function interruptedOutcome({ verb, step, at, imageVersion }: UnderwayRun): RunOutcome {
  const what = MEANINGS[step] ?? step;
  const release = imageVersion === undefined ? "" : ` of release ${imageVersion}`;
  return {
    at,
    verb,
    result: "interrupted",
    message: `it was interrupted in step ${step}${release} (${what}); the next upgrade goes on`,
    ...(imageVersion === undefined ? {} : { imageVersion }),
  };
}

/** A run that nobody ended is its last result. @param at of now */
export function settleInterrupted(
  { underway, ...record }: AgentRecord,
  at: string,
): { readonly record: AgentRecord; readonly events: readonly MachineEvent[] } {
  if (underway === undefined) return { record, events: [] };
  const lastResult = interruptedOutcome(underway);
  const { imageVersion } = underway;
  const event = {
    at,
    event: "interrupted",
    message: `${underway.verb}, begun at ${underway.at}: ${lastResult.message}`,
    ...(imageVersion === undefined ? {} : { imageVersion }),
  };
  return { record: { ...record, lastResult }, events: [event] };
}
