/** What is wrong with the partition table of a disk, as far as that can be said without looking into partitions. */
import type { Finding } from "../../errors/index.ts";
import type { ReadOptions, Source } from "../../source/index.ts";
import { MBR_PROTECTIVE_TYPE, MBR_SIGNATURE, RawMbr, RawMbrPartition, type SectorSize } from "./format.ts";
import { type Gpt, type GptTable, openGpt } from "./read.ts";

/**
 * - `gpt-primary`, `gpt-backup`: that table is damaged;
 * - `gpt-backup-place`: the backup is not at the end of the disk;
 * - `gpt-tables-differ`: both are valid and say different things;
 * - `gpt-mbr`: the first sector does not protect the disk;
 * - `gpt-overlap`: partitions share bytes with each other or with a table;
 * - `gpt-duplicate-guid`: two partitions have the same GUID.
 */
export type GptFinding = Finding<
  | "gpt-primary"
  | "gpt-backup"
  | "gpt-backup-place"
  | "gpt-tables-differ"
  | "gpt-mbr"
  | "gpt-overlap"
  | "gpt-duplicate-guid"
>;

export interface GptReport {
  readonly gpt: Gpt;
  readonly findings: readonly GptFinding[];
}

function checkMbr(bytes: Uint8Array, sectors: number): GptFinding[] {
  const mbr = RawMbr.view(bytes);
  const findings: GptFinding[] = [];
  const add = (message: string) => findings.push({ code: "gpt-mbr", message: `protective MBR: ${message}` });
  if (mbr.signature !== MBR_SIGNATURE) {
    add("the signature is missing");
    return findings;
  }
  const records = [mbr.partition0, mbr.partition1, mbr.partition2, mbr.partition3].map((at) =>
    RawMbrPartition.view(at),
  );
  const protective = records.find((record) => record.osType === MBR_PROTECTIVE_TYPE);
  if (protective === undefined) add("there is no partition of type 0xee");
  else {
    const wanted = Math.min(sectors - 1, 0xffffffff);
    if (protective.startingLba !== 1) add(`it starts at sector ${protective.startingLba}, not at 1`);
    if (protective.sizeInLba !== wanted) add(`it covers ${protective.sizeInLba} sectors, not ${wanted}`);
  }
  if (records.some((record) => record.osType !== 0 && record.osType !== MBR_PROTECTIVE_TYPE))
    add("there are other partitions beside the protective one (a hybrid MBR)");
  return findings;
}

/** Everything of a table that both copies must share, as text. */
function essence({ diskGuid, usableStart, usableEnd, partitions }: GptTable): string {
  return JSON.stringify([diskGuid, usableStart, usableEnd, partitions], (_, value: unknown) =>
    typeof value === "bigint" ? value.toString() : value,
  );
}

function checkTable(table: GptTable, sectorSize: SectorSize): GptFinding[] {
  const findings: GptFinding[] = [];
  const spans = table.partitions.map(({ number, start, size }) => ({
    what: `partition ${number}`,
    start,
    end: start + size,
  }));
  const { entriesStart, entriesSize, headerLba } = table;
  spans.push(
    { what: "the entries", start: entriesStart, end: entriesStart + entriesSize },
    { what: "the header", start: headerLba * sectorSize, end: (headerLba + 1) * sectorSize },
  );
  spans.sort((a, b) => a.start - b.start || a.end - b.end);
  let reach = spans[0]; // the span that ends last so far
  for (const span of spans.slice(1)) {
    if (reach !== undefined && span.start < reach.end)
      findings.push({ code: "gpt-overlap", message: `${reach.what} and ${span.what} overlap at byte ${span.start}` });
    if (reach === undefined || span.end > reach.end) reach = span;
  }
  const seen = new Map<string, number>();
  for (const { number, partitionGuid } of table.partitions) {
    const other = seen.get(partitionGuid);
    if (other === undefined) seen.set(partitionGuid, number);
    else
      findings.push({
        code: "gpt-duplicate-guid",
        message: `partitions ${other} and ${number} both have GUID ${partitionGuid}`,
      });
  }
  return findings;
}

/** Reads the table and collects what is wrong with it. Throws as {@link openGpt} where there is no table to speak of. */
export async function checkGpt(source: Source, options?: ReadOptions): Promise<GptReport> {
  const gpt = await openGpt(source, options);
  const { sectorSize, primary, backup } = gpt;
  const sectors = Math.floor(source.size / sectorSize);
  const findings = checkMbr(await source.read(0, RawMbr.size, options), sectors);
  if (!primary.valid) findings.push({ code: "gpt-primary", message: `primary table: ${primary.error.message}` });
  if (!backup.valid) findings.push({ code: "gpt-backup", message: `backup table: ${backup.error.message}` });
  if (primary.valid && primary.table.alternateLba !== sectors - 1)
    findings.push({
      code: "gpt-backup-place",
      message: `the backup header is in sector ${primary.table.alternateLba}, not in the last sector ${sectors - 1}`,
    });
  if (primary.valid && backup.valid && essence(primary.table) !== essence(backup.table))
    findings.push({ code: "gpt-tables-differ", message: "primary and backup table say different things" });
  for (const state of [primary, backup]) {
    if (!state.valid) continue;
    findings.push(...checkTable(state.table, sectorSize));
    break; // where both are valid and differ, that is said above
  }
  return { gpt, findings };
}
