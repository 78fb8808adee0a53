/** What an extraction leaves out, in as many notes as there are kinds. */
import type { ByteString } from "../bytes/index.ts";
import type { Note } from "../ops/report.ts";
import { showPath } from "../tree/index.ts";

/** Counts what could not be done, by kind, with the first example. */
export function omissions() {
  const kinds = new Map<string, { count: number; readonly example: string }>();
  return {
    add(kind: string, path: ByteString): void {
      const known = kinds.get(kind);
      if (known === undefined) kinds.set(kind, { count: 1, example: showPath(path) });
      else known.count++;
    },
    notes: (): Note[] =>
      [...kinds].map(([kind, { count, example }]) => ({
        code: "not-restored",
        message: `${kind} of ${count} ${count === 1 ? "entry" : "entries"} not restored, such as ${example}`,
      })),
  };
}
