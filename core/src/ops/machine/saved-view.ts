/** The last look of somebody who may look, for those who may not: `status` works without privileges. */
import { decodeUtf8, encodeUtf8 } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import type { MachineFacts } from "./facts.ts";
import type { MachineDisk, MachineHost } from "./host.ts";
import { type MachineView, viewDisk } from "./view.ts";

export const VIEW_FILE = "view.json";
const VIEW_SCHEMA = "ashlar.machine-view/v1";

export interface SavedView {
  /** RFC 3339. */
  readonly at: string;
  readonly view: MachineView;
}

/** Looks again, since a run has changed things, and saves what it sees. A place that takes nothing is no failure. */
export async function saveView(host: MachineHost, disk: MachineDisk, facts: MachineFacts, at: string): Promise<void> {
  try {
    const { view, esp } = await viewDisk(facts, disk);
    await esp?.close();
    const saved = { schema: VIEW_SCHEMA, at, view };
    await host.volatile.write(VIEW_FILE, encodeUtf8(`${JSON.stringify(saved)}\n`));
  } catch (error) {
    if (!isAshlarError(error)) throw error;
  }
}

/** Of this boot; undefined where there is none. It was written by this program, in a place that root alone writes to. */
export async function readSavedView(host: MachineHost, { bootId }: MachineFacts): Promise<SavedView | undefined> {
  const bytes = await host.volatile.read(VIEW_FILE);
  if (bytes === undefined) return undefined;
  try {
    const saved = JSON.parse(decodeUtf8(bytes)) as SavedView & { readonly schema?: unknown };
    return saved.schema === VIEW_SCHEMA && saved.view.facts.bootId === bootId ? saved : undefined;
  } catch {
    return undefined; // of another version, or damaged: as good as none
  }
}
