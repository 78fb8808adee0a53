/** What happened on a machine, for people: one line of JSON an event, the newest last, in one bounded file. */
import * as v from "valibot";
import { decodeUtf8, encodeUtf8 } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import type { RecordStore } from "./record.ts";

export const HISTORY_FILE = "history.jsonl";
/** Events that are kept, and characters of one: together 2 MB at most. */
export const MAX_EVENTS = 500;
export const MAX_EVENT_TEXT = 4000;

const EventSchema = v.object({
  at: v.string(),
  event: v.string(),
  message: v.string(),
  imageVersion: v.optional(v.string()),
  rootHash: v.optional(v.string()),
  /** Output of a health check and the like; cut. */
  detail: v.optional(v.string()),
});

/**
 * `staged`, `downloaded`, `booted` (a release for the first time, on trial), `confirmed` (it was blessed), `failed` (its tries
 * are used up), `rolled-back`, `switched`, `lost` (what was staged is no longer there), `refused`, `error`, `health`, `record`.
 */
export type MachineEvent = v.InferOutput<typeof EventSchema>;

/** Lines that are no events, such as a torn one, are passed over. */
export function parseHistory(bytes: Uint8Array): MachineEvent[] {
  const events: MachineEvent[] = [];
  for (const line of decodeUtf8(bytes)
    .split("\n")
    .slice(-MAX_EVENTS - 1)) {
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      continue;
    }
    const result = v.safeParse(EventSchema, value);
    if (result.success) events.push(result.output);
  }
  return events;
}

const cut = (text: string) => (text.length > MAX_EVENT_TEXT ? `${text.slice(0, MAX_EVENT_TEXT)}…` : text);

export function encodeHistory(events: readonly MachineEvent[]): Uint8Array {
  const lines = events.slice(-MAX_EVENTS).map((event) =>
    JSON.stringify({
      ...event,
      message: cut(event.message),
      ...(event.detail === undefined ? {} : { detail: cut(event.detail) }),
    }),
  );
  return encodeUtf8(lines.map((line) => `${line}\n`).join(""));
}

export async function readHistory(store: RecordStore): Promise<MachineEvent[]> {
  const bytes = await store.read(HISTORY_FILE);
  return bytes === undefined ? [] : parseHistory(bytes);
}

/** The whole file is written anew, so that there is no half of a line. One that cannot be read is put aside. */
export async function appendHistory(store: RecordStore, ...events: readonly MachineEvent[]): Promise<void> {
  if (events.length === 0) return;
  let before: MachineEvent[] = [];
  try {
    before = await readHistory(store);
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    await store.setAside(HISTORY_FILE);
  }
  await store.write(HISTORY_FILE, encodeHistory([...before, ...events]));
}
