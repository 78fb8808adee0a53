/** A diff as a person reads it: packages first, then paths. */
import type { Count, Diff, FileChange, PackageChange, SideSummary, Totals } from "@ashlar/core/ops/diff";
import { formatTimestamp } from "./listing.ts";
import { formatBytes } from "./units.ts";

/** Packages and paths that are listed without `--all`. */
const MAX_LISTED = 40;
/** Columns up to which names are padded. */
const MAX_NAME = 56;

const MARKS = { added: "+", removed: "-", changed: "~", version: "~", same: " " } as const;

export function* diffLines(diff: Diff, { all }: { readonly all: boolean }): Generator<string> {
  yield* sideLines("A", diff.a);
  yield* sideLines("B", diff.b);
  yield "";
  if (diff.same) {
    yield "no difference";
    return;
  }
  yield* packageLines(diff, all);
  yield* fileLines(diff, all);
  yield blockLine(diff);
}

function sideLines(
  letter: string,
  { name, entries, bytes, imageSize, rootHash, packages, packageManagers }: SideSummary,
): string[] {
  const parts = [`${formatCount(entries)} names`, formatBytes(bytes)];
  if (imageSize !== null) parts.push(`image ${formatBytes(imageSize)}`);
  if (packages > 0) parts.push(`${formatCount(packages)} packages (${packageManagers.join(", ")})`);
  if (rootHash !== null) parts.push(`root hash ${rootHash.slice(0, 16)}…`);
  return [`${letter}  ${name}`, `   ${parts.join(", ")}`];
}

function* packageLines({ packages, a, b }: Diff, all: boolean): Generator<string> {
  if (a.packageManagers.length + b.packageManagers.length === 0) return;
  const known = packages.filter(({ id }) => id !== null);
  const count = (change: PackageChange["change"]): number => known.filter((entry) => entry.change === change).length;
  const same = known.filter((entry) => entry.change === "same" && isMoreThanTime(entry)).length;
  const rest = same > 0 ? `, ${formatCount(same)} with the same version and other files` : "";
  yield `packages: ${formatCount(count("added"))} added, ${formatCount(count("removed"))} removed, ${formatCount(count("version"))} with another version${rest}`;
  // Packages of which nothing but times differ say nothing.
  const listed = all ? packages : packages.filter((entry) => entry.change !== "same" || isMoreThanTime(entry));
  const shown = all
    ? listed
    : [...listed.filter(({ id }) => id !== null).slice(0, MAX_LISTED), ...listed.filter(({ id }) => id === null)];
  const names = shown.map(packageName);
  const width = widthOf(names);
  for (const [index, entry] of shown.entries()) {
    const amounts = [filesOf(entry), bytesOf(entry), entry.blocks === 0 ? "" : plural(entry.blocks, "block")];
    yield `  ${MARKS[entry.change]} ${names[index]!.padEnd(width)}  ${amounts.filter((text) => text !== "").join(", ")}`;
  }
  if (shown.length < listed.length) yield `    … and ${formatCount(listed.length - shown.length)} more (--all)`;
  yield "";
}

function isMoreThanTime({ added, removed, changed, changedTimeOnly }: Totals): boolean {
  return added.files + removed.files + changed.files > changedTimeOnly;
}

function packageName({ id, versions: [before, after] }: PackageChange): string {
  if (id === null) return "(no package)";
  if (before === after) return `${id} ${after ?? ""}`;
  return before === null ? `${id} ${after}` : after === null ? `${id} ${before}` : `${id} ${before} → ${after}`;
}

function filesOf({ added, removed, changed, changedTimeOnly }: Totals): string {
  const more = changed.files - changedTimeOnly;
  const parts = [];
  if (added.files > 0) parts.push(`+${formatCount(added.files)}`);
  if (removed.files > 0) parts.push(`-${formatCount(removed.files)}`);
  if (more > 0) parts.push(`~${formatCount(more)}`);
  if (parts.length === 0) return changedTimeOnly > 0 ? `${plural(changedTimeOnly, "file")} in time only` : "no files";
  const total = added.files + removed.files + more;
  return `${parts.join(" ")} ${total === 1 ? "file" : "files"}`;
}

function bytesOf({ added, removed, changed }: Totals): string {
  const parts = [];
  if (added.bytes + changed.bytes > 0) parts.push(`+${formatBytes(added.bytes + changed.bytes)}`);
  if (removed.bytes > 0) parts.push(`-${formatBytes(removed.bytes)}`);
  return parts.join(" ");
}

function* fileLines({ files, totals }: Diff, all: boolean): Generator<string> {
  const { added, removed, changed, changedContent, changedTimeOnly } = totals;
  const metadata = changed.files - changedContent - changedTimeOnly;
  const parts = [
    `${describe(added)} added`,
    `${describe(removed)} removed`,
    `${describe({ files: changedContent, bytes: changed.bytes })} changed`,
  ];
  if (metadata > 0) parts.push(`${formatCount(metadata)} changed in metadata`);
  if (changedTimeOnly > 0) parts.push(`${formatCount(changedTimeOnly)} in time only`);
  yield `files: ${parts.join(", ")}`;
  const listed = all ? files.map((file) => ({ file, below: undefined })) : collapsed(files);
  const shown = all ? listed : listed.slice(0, MAX_LISTED);
  const names = shown.map(({ file, below }) => (below === undefined ? file.path : `${file.path}/`));
  const width = widthOf(names);
  for (const [index, { file, below }] of shown.entries()) {
    const about = below === undefined ? aboutOf(file) : aboutTree(below);
    yield `  ${MARKS[file.change]} ${about === "" ? names[index]! : `${names[index]!.padEnd(width)}  ${about}`}`;
  }
  if (shown.length < listed.length) yield `    … and ${formatCount(listed.length - shown.length)} more (--all)`;
  else if (!all && changedTimeOnly > 0) yield "    (--all also lists what differs in time only)";
  yield "";
}

interface Listed {
  readonly file: FileChange;
  /** Everything that came or went with a directory, itself left out; undefined for a single line. */
  readonly below: readonly FileChange[] | undefined;
}

/** One line for a directory that came or went with all that is in it. What differs in time only is left out. */
function collapsed(files: readonly FileChange[]): Listed[] {
  const listed: Listed[] = [];
  for (let index = 0; index < files.length; index++) {
    const file = files[index]!; // below length
    if (isTimeOnly(file)) continue;
    let below: FileChange[] | undefined;
    if (file.change !== "changed" && file.type === "directory") {
      below = [];
      for (let next = files[index + 1]; next?.path.startsWith(`${file.path}/`) === true; next = files[index + 1]) {
        below.push(next);
        index++;
      }
    }
    listed.push({ file, below });
  }
  return listed;
}

function aboutTree(below: readonly FileChange[]): string {
  if (below.length === 0) return "directory";
  const bytes = below.reduce((sum, { sizes: [before, after] }) => sum + (after ?? before ?? 0), 0);
  const owners = new Set(below.map(({ package: owner }) => owner));
  const [owner] = owners;
  const suffix = owners.size === 1 && owner !== null && owner !== undefined ? `, [${owner}]` : "";
  return `${plural(below.length, "name")}, ${formatBytes(bytes)}${suffix}`;
}

function isTimeOnly({ change, aspects }: FileChange): boolean {
  return change === "changed" && aspects.every((aspect) => aspect === "mtime");
}

function aboutOf({ change, type, aspects, details, sizes: [before, after], package: owner }: FileChange): string {
  const parts: string[] = [];
  if (change === "changed") {
    for (const aspect of aspects) {
      const [from, to] = details[aspect] ?? ["", ""];
      if (aspect === "content") parts.push(`content ${size(after)}${growth(before ?? 0, after ?? 0)}`);
      else if (aspect === "mtime") {
        if (isTimeOnly({ change, aspects } as FileChange)) parts.push(`time ${timeText(from)} → ${timeText(to)}`);
      } else if (aspect === "links" || aspect === "xattrs") parts.push(aspect === "links" ? "hard links" : "xattrs");
      else parts.push(`${aspect} ${from} → ${to}`);
    }
  } else {
    const amount = change === "added" ? after : before;
    parts.push(type === "file" ? size(amount) : type);
  }
  if (owner !== null) parts.push(`[${owner}]`);
  return parts.join(", ");
}

/** ` (+1.2 kB)`, or nothing for the same size. */
function growth(before: number, after: number): string {
  if (before === after) return "";
  return ` (${after > before ? "+" : "-"}${formatBytes(Math.abs(after - before))})`;
}

function timeText(value: string): string {
  const [seconds = "0", fraction = ""] = value.split(".");
  return formatTimestamp(BigInt(seconds) * 1_000_000_000n + BigInt(fraction.padEnd(9, "0")));
}

function size(bytes: number | null): string {
  return bytes === null ? "" : formatBytes(bytes);
}

function blockLine({ blocks, b }: Diff): string {
  const { basis, moved, total, movedBytes, metadata, blockSize } = blocks;
  const share = total === 0 ? "" : ` (${formatPercent(moved / total)})`;
  const what = basis === "image" ? `of ${formatBytes(b.imageSize ?? 0)}` : "of file contents, metadata not counted";
  const rest = metadata > 0 ? `; ${formatCount(metadata)} of them hold metadata` : "";
  return `update: ${formatCount(moved)} of ${formatCount(total)} blocks of ${blockSize / 1024} KiB move, ${formatBytes(movedBytes)} ${what}${share}${rest}`;
}

function describe({ files, bytes }: Count): string {
  return bytes > 0 ? `${formatCount(files)} (${formatBytes(bytes)})` : formatCount(files);
}

/** `12 345`: digits in groups, the same everywhere. */
export function formatCount(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+(?!\d))/g, " ");
}

export function formatPercent(share: number): string {
  const percent = share * 100;
  if (percent === 0 || percent >= 99.95) return `${percent.toFixed(0)} %`;
  return percent < 0.01 ? "less than 0.01 %" : `${percent.toFixed(percent < 1 ? 2 : 1)} %`;
}

function plural(count: number, noun: string): string {
  return `${formatCount(count)} ${noun}${count === 1 ? "" : "s"}`;
}

function widthOf(texts: readonly string[]): number {
  return Math.min(MAX_NAME, Math.max(0, ...texts.map(({ length }) => length)));
}
