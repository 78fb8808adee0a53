/** SBAT: which generation of each component an EFI program holds (rhboot/shim, SBAT.md). CSV, one component a line. */
import { FormatError } from "../../errors/index.ts";

/** The line that says which version of the table this is; it comes first. */
const HEADER = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md";

interface Row {
  readonly component: string;
  readonly generation: number;
  readonly line: string;
}

/** Throws FormatError `sbat` for a line without a component or a generation. */
function parseRows(text: string): Row[] {
  const lines = text.split("\0", 1)[0]!.split(/\r?\n/); // split always gives one piece
  return lines
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const match = /^([^,]+),([0-9]{1,9})(?:,|$)/.exec(line);
      if (match === null)
        throw new FormatError("sbat", `SBAT line without component and generation: ${JSON.stringify(line)}`);
      const [, component, generation] = match as unknown as [string, string, string];
      return { component, generation: Number(generation), line };
    });
}

/**
 * The tables as one: components in the order in which they first come, each once. Where two lines name the same
 * component the lower generation stays, since that is the one that a revocation would have to look at.
 */
export function mergeSbat(tables: readonly string[]): string {
  const rows = new Map<string, Row>();
  for (const row of tables.flatMap(parseRows)) {
    const known = rows.get(row.component);
    if (known === undefined || row.generation < known.generation) rows.set(row.component, row);
  }
  const header = rows.get("sbat")?.line ?? HEADER;
  rows.delete("sbat");
  return `${[header, ...[...rows.values()].map(({ line }) => line)].join("\n")}\n`;
}
