/** One run of the agent: alone on the machine, with what it remembers and what it sees, and the duty to say how it went. */
import { isAshlarError } from "../../errors/index.ts";
import { type RunningSlot, runningSlot, type Slots } from "../update/index.ts";
import { believedTime, type MachineFacts } from "./facts.ts";
import { appendHistory, type MachineEvent } from "./history.ts";
import type { MachineDisk, MachineHost, OpenedEspFiles } from "./host.ts";
import { settle } from "./outcome.ts";
import { readPolicyFiles, type UpdatePolicy } from "./policy.ts";
import { type AgentRecord, RECORD_FILE, type RunOutcome, readRecord, writeRecord } from "./record.ts";
import { saveView } from "./saved-view.ts";
import { type RunStep, settleInterrupted } from "./underway.ts";
import { assertMachine, type MachineView, viewDisk } from "./view.ts";

export interface Run {
  readonly host: MachineHost;
  readonly facts: MachineFacts;
  /** Read when it is needed: a mistake in it must not keep a boot from being written down. Errors: FormatError `bad-policy`. */
  policy(): Promise<UpdatePolicy>;
  readonly disk: MachineDisk;
  readonly slots: Slots;
  /** The two of them, by what runs. */
  readonly pair: RunningSlot;
  /** Undefined where it cannot be opened; the view says why. */
  readonly esp: OpenedEspFiles | undefined;
  /** As it was when the run began. */
  readonly view: MachineView;
  /** What had become of what was staged before. */
  readonly settled: readonly MachineEvent[];
  /** Milliseconds since 1970; see {@link believedTime}. */
  readonly now: number;
  /** What is remembered now. */
  record(): AgentRecord;
  /** Remembers what is done from now on, for the case that this run is killed. @param record as it is to be from now on */
  begin(step: RunStep, imageVersion?: string, record?: AgentRecord): Promise<void>;
  /** Remembers it, and then tells what happened. */
  save(record: AgentRecord, ...events: readonly Omit<MachineEvent, "at">[]): Promise<void>;
}

export interface RunOptions {
  /** Milliseconds to wait for another run to end; default 0. */
  readonly wait?: number | undefined;
  /** Leave the ESP alone: when the machine goes down, nothing is mounted any more. */
  readonly withoutEsp?: boolean | undefined;
}

export const timeText = (time: number): string => new Date(time).toISOString();

/**
 * Runs `work` alone. What became of what was staged before is settled first. An error of ours is remembered as the last result
 * before it is thrown.
 */
export async function withRun<T>(
  host: MachineHost,
  verb: string,
  work: (run: Run) => Promise<T>,
  { wait = 0, withoutEsp = false }: RunOptions = {},
): Promise<T> {
  const facts = await host.facts();
  const root = assertMachine(facts);
  const lock = await host.lock(verb, wait);
  try {
    const now = believedTime(host.clock(), facts);
    const at = timeText(now);
    const memory = await openMemory(host, at);
    try {
      const disk = await host.openDisk(root, "write");
      try {
        const { view, slots, esp } = await viewDisk(facts, disk, { mend: true, withoutEsp });
        try {
          for (const name of esp?.mended ?? [])
            await memory.save(memory.record(), { event: "mended", message: `the ESP was mended: ${name}` });
          const stopped = settleInterrupted(memory.record(), at);
          if (stopped.events.length > 0) await memory.save(stopped.record, ...stopped.events);
          const settled = settle(memory.record(), view, at);
          if (settled.record !== memory.record()) await memory.save(settled.record, ...settled.events);
          const pair = runningSlot(slots, root.rootHash);
          const policy = async () => {
            const files = await host.policyFiles();
            return readPolicyFiles(files.sealed, files.local);
          };
          const begin: Run["begin"] = (step, imageVersion, record = memory.record()) => {
            const release = imageVersion === undefined ? {} : { imageVersion };
            const since = timeText(believedTime(host.clock(), facts));
            return memory.save({ ...record, underway: { verb, step, at: since, ...release } });
          };
          const state = { begin, disk, slots, pair, esp, view, settled: settled.events };
          return await work({ host, facts, policy, now, ...state, ...memory });
        } finally {
          await esp?.close();
          if (!withoutEsp) await saveView(host, disk, facts, at);
        }
      } finally {
        await disk.close();
      }
    } catch (error) {
      await rememberFailure(memory, verb, at, error);
      throw error;
    }
  } finally {
    await lock.release();
  }
}

/** Verbs that look at the source: a failure of theirs counts as a look, so that the timer waits before it tries again. */
const LOOKING: readonly string[] = ["upgrade", "switch", "auto"];

type Memory = Pick<Run, "record" | "save">;

async function openMemory(host: MachineHost, at: string): Promise<Memory> {
  const { records } = host;
  const read = await readRecord(records);
  let current = read.record;
  async function save(record: AgentRecord, ...events: readonly Omit<MachineEvent, "at">[]): Promise<void> {
    await writeRecord(records, record);
    current = record;
    await appendHistory(records, ...events.map((event) => ({ at, ...event })));
  }
  if (read.damage !== undefined) {
    await records.setAside(RECORD_FILE);
    await save(current, { event: "record", message: `what the agent remembered could not be read: ${read.damage}` });
  }
  return { record: () => current, save };
}

/** The same failure again and again, as of a registry that is away for a day, is one event. */
async function rememberFailure({ record, save }: Memory, verb: string, at: string, error: unknown): Promise<void> {
  if (!isAshlarError(error)) return;
  const { code, message } = error;
  const before = record().lastResult;
  const outcome: RunOutcome = { at, verb, result: "error", message, code };
  const isNew = before?.result !== "error" || before.message !== message;
  const looks = LOOKING.includes(verb) ? { lastCheck: outcome } : {};
  const { underway: _, ...ended } = record();
  try {
    await save(
      { ...ended, ...looks, lastResult: outcome },
      ...(isNew ? [{ event: "error", message: `${verb}: ${message}` }] : []),
    );
  } catch (second) {
    if (!isAshlarError(second)) throw second; // a full or read-only /var: the first error says more
  }
}
