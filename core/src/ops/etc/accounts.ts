/**
 * Three-way merge of the account databases by entries: whoever was added here stays, whoever the image adds comes, and of an entry
 * that both changed each field is merged on its own. Spec: passwd(5), group(5), shadow(5), gshadow(5), subuid(5), subgid(5).
 */
import type { ByteString } from "../../bytes/index.ts";

interface Database {
  /** Fields between colons; a line with another number of them is kept as it is. */
  readonly fields: number;
  /** The field that holds a number which only one entry may have. */
  readonly id?: number;
  /** First number and how many: these may not overlap between entries. */
  readonly range?: readonly [first: number, count: number];
  /** Fields that hold a list between commas. */
  readonly lists?: readonly number[];
  /** A field that goes along with another one: the day when a password was changed, with the password. */
  readonly follows?: readonly [follower: number, leader: number];
}

/** By the name of the file in /etc. */
const DATABASES: Readonly<Record<string, Database>> = {
  passwd: { fields: 7, id: 2 },
  group: { fields: 4, id: 2, lists: [3] },
  shadow: { fields: 9, follows: [2, 1] },
  gshadow: { fields: 4, lists: [2, 3] },
  subuid: { fields: 3, range: [1, 2] },
  subgid: { fields: 3, range: [1, 2] },
};

/** Bytes of a database that is merged by entries; a larger one is merged as a whole. */
export const MAX_DATABASE_SIZE = 1024 * 1024;

export function isDatabase(name: string): boolean {
  return Object.hasOwn(DATABASES, name);
}

export type AccountConflictKind =
  /** Both changed the same field, or both added the entry with other values. */
  | "both-changed"
  | "removed-here"
  | "removed-in-image"
  /** The image gives a number to an entry that another one has here. */
  | "number-taken"
  /** Nothing to decide: the image has given another number to an entry, and files in /var keep the old one. */
  | "number-changed";

export interface AccountConflict {
  readonly kind: AccountConflictKind;
  readonly entry: string;
  /** What is contested, in words: `field 7`, `number 998`. Never the value of a field: it may be a password. */
  readonly what: string;
}

export interface MergedAccounts {
  readonly text: ByteString;
  readonly conflicts: readonly AccountConflict[];
}

interface Entry {
  /** What the same entry is found by in other versions of the file. */
  readonly key: string;
  readonly name: string;
  /** One, the whole line, for what is no entry: a comment, or a line with another number of fields. */
  readonly fields: readonly string[];
}

/** Which of the two wins where both changed the same. */
export type Winner = "local" | "image";

function parseEntries(text: string, { fields: count }: Database): Map<string, Entry> {
  const entries = new Map<string, Entry>();
  for (const line of text.split("\n")) {
    if (line === "") continue;
    const split = line.split(":");
    // `+` and `-` lines of NIS have any number of fields.
    const fields = split.length === count && !/^[#+-]/.test(line) ? split : [line];
    const name = fields[0]!; // split never gives none
    let key = name;
    for (let again = 1; entries.has(key); again++) key = `${name}\0${again}`;
    entries.set(key, { key, name, fields });
  }
  return entries;
}

/** What was in the list here and is not contested: the image's list, with what was added here and without what was removed. */
function mergeList(base: string, local: string, next: string): string {
  const items = (text: string) => text.split(",").filter((item) => item !== "");
  const before = new Set(items(base));
  const here = new Set(items(local));
  const kept = items(next).filter((item) => here.has(item) || !before.has(item));
  const added = [...here].filter((item) => !before.has(item) && !kept.includes(item));
  return [...kept, ...added].join(",");
}

/**
 * @param name of the file: `passwd`, `group`, …
 * The order is the image's; what was added here comes behind it, and lines for NIS last.
 */
export function mergeAccounts(
  name: string,
  base: ByteString,
  local: ByteString,
  next: ByteString,
  winner: Winner,
): MergedAccounts {
  const database = DATABASES[name];
  if (database === undefined) throw new RangeError(`${name} is no database of accounts`);
  const [before, here, there] = [base, local, next].map((text) => parseEntries(text, database)) as [
    Map<string, Entry>,
    Map<string, Entry>,
    Map<string, Entry>,
  ];
  const conflicts: AccountConflict[] = [];
  const result = new Map<string, Entry>();
  for (const key of new Set([...there.keys(), ...here.keys()])) {
    const merged = mergeEntry(before.get(key), here.get(key), there.get(key));
    if (merged !== undefined) result.set(key, merged);
  }
  // Again, since a number that is given back may be one that the image has given to somebody else.
  for (let taken = takenNumbers(); taken.size > 0; taken = takenNumbers())
    for (const [entry, what] of taken) {
      const known = here.get(entry.key);
      if (known === undefined) result.delete(entry.key);
      else result.set(entry.key, known);
      conflicts.push({ kind: "number-taken", entry: entry.name, what });
    }
  const lines = [...result.values()].map(({ fields }) => fields.join(":"));
  const isForNis = (line: string) => /^[+-]/.test(line);
  const ordered = [...lines.filter((line) => !isForNis(line)), ...lines.filter(isForNis)];
  return { text: ordered.map((line) => `${line}\n`).join("") as ByteString, conflicts };

  function mergeEntry(b: Entry | undefined, l: Entry | undefined, n: Entry | undefined): Entry | undefined {
    const same = (x: Entry | undefined, y: Entry | undefined) => x?.fields.join(":") === y?.fields.join(":");
    if (same(b, l)) {
      noteNewNumber(l, n);
      return n;
    }
    if (same(b, n) || same(l, n)) return l;
    const contested = (kind: AccountConflictKind, entry: Entry): Entry | undefined => {
      conflicts.push({ kind, entry: entry.name, what: "the entry" });
      return winner === "local" ? l : n;
    };
    if (l === undefined) return contested("removed-here", n!); // not both are undefined: they would be the same
    if (n === undefined) return contested("removed-in-image", l);
    if (l.fields.length === 1 || n.fields.length === 1) return contested("both-changed", l);
    return mergeFields(b?.fields.length === l.fields.length ? b : undefined, l, n);
  }

  function mergeFields(b: Entry | undefined, l: Entry, n: Entry): Entry {
    const { lists = [], follows: [follower, leader] = [-1, -1] } = database!; // thrown above
    const pick = (index: number): string => {
      const [was, mine, theirs] = [b?.fields[index], l.fields[index]!, n.fields[index]!]; // all have as many fields
      if (lists.includes(index)) return mergeList(was ?? "", mine, theirs);
      if (mine === theirs || theirs === was) return mine;
      if (mine === was) return theirs;
      conflicts.push({ kind: "both-changed", entry: l.name, what: `field ${index + 1}` });
      return winner === "local" ? mine : theirs;
    };
    const fields = l.fields.map((_, index) => (index === follower ? "" : pick(index)));
    if (follower >= 0) fields[follower] = (fields[leader] === l.fields[leader] ? l : n).fields[follower]!; // as many fields
    const merged = { ...l, fields };
    noteNewNumber(l, merged);
    return merged;
  }

  function noteNewNumber(l: Entry | undefined, merged: Entry | undefined): void {
    const { id } = database!; // thrown above
    const [was, is] = id === undefined ? [] : [l?.fields[id], merged?.fields[id]];
    if (was !== undefined && is !== undefined && was !== is)
      conflicts.push({ kind: "number-changed", entry: merged!.name, what: `number ${was} is ${is} in the image` });
  }

  /**
   * Entries that get a number from the image which somebody else has here: with the same number two accounts are one. Entries
   * that share a number in the image, or here, are meant to.
   */
  function takenNumbers(): Map<Entry, string> {
    const found = new Map<Entry, string>();
    const sorted = [...result.values()]
      .map((entry) => ({ entry, span: numbersOf(entry) }))
      .filter(({ span: [from, to] }) => from < to)
      .sort((a, b) => a.span[0] - b.span[0]);
    // Two that have their numbers from here share what they shared here, two that have them from the image what they shared
    // there: only those of different origin are compared.
    const open = { here: [] as typeof sorted, image: [] as typeof sorted };
    for (const one of sorted) {
      const isOurs = hasNumbersOf(here, one.entry);
      const [own, others] = isOurs ? (["here", "image"] as const) : (["image", "here"] as const);
      open[others] = open[others].filter(({ span }) => one.span[0] < span[1]);
      const other = open[others].find(
        ({ entry }) => !shareNumbers(here, one.entry, entry) && !shareNumbers(there, one.entry, entry),
      );
      if (other !== undefined) {
        const [loser, owner] = isOurs ? [other, one] : [one, other];
        found.set(loser.entry, `number ${loser.span[0]} is ${owner.entry.name} here`);
      }
      open[own].push(one);
    }
    return found;
  }

  function shareNumbers(entries: ReadonlyMap<string, Entry>, a: Entry, b: Entry): boolean {
    const [[start, end], [from, to]] = [numbersOf(entries.get(a.key)), numbersOf(entries.get(b.key))];
    return start < to && from < end;
  }

  function hasNumbersOf(entries: ReadonlyMap<string, Entry>, entry: Entry): boolean {
    return String(numbersOf(entries.get(entry.key))) === String(numbersOf(entry));
  }

  /** `[first, end)`; NaN where the entry has no number. */
  function numbersOf({ fields }: Pick<Entry, "fields"> = { fields: [] }): readonly [number, number] {
    const { id, range } = database!; // thrown above
    const numberAt = (index: number) => (/^\d{1,15}$/.test(fields[index] ?? "") ? Number(fields[index]) : Number.NaN);
    if (id !== undefined) return [numberAt(id), numberAt(id) + 1];
    if (range !== undefined) return [numberAt(range[0]), numberAt(range[0]) + numberAt(range[1])];
    return [Number.NaN, Number.NaN];
  }
}
