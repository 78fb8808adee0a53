/**
 * Which label a path gets. There are two readings of the same files: that of libselinux (setfiles, restorecon, the rpm
 * plugin), and that of composefs-rs, on which bootc's digests rest.
 */
import type { ByteString } from "../../bytes/index.ts";
import type { NodeType } from "../../tree/index.ts";
import { Automaton, type NodeBudget } from "./automaton.ts";
import { looksAhead, matchesByTrying } from "./backtrack.ts";
import { type ContextSpec, type Substitution, TYPE_CHARACTERS } from "./contexts.ts";
import { parseRegex, type Regex } from "./regex.ts";

/** The parsed files; an absent one is empty. */
export interface PolicyFiles {
  readonly base: readonly ContextSpec[];
  readonly homedirs: readonly ContextSpec[];
  readonly local: readonly ContextSpec[];
  readonly subs: readonly Substitution[];
  readonly subsDist: readonly Substitution[];
}

/**
 * `libselinux`: base, homedirs, local; a path that a line spells out beats every pattern, else the last line that
 * matches counts. `composefs-rs`: base, local, homedirs, and the last line that matches counts, whatever it is.
 */
export type PolicyReading = "libselinux" | "composefs-rs";

export interface FileContexts {
  /** @param path absolute; undefined where no label is to be set */
  lookup(path: ByteString, type: NodeType): ByteString | undefined;
}

/** Throws UnsupportedError `selinux-regex` for patterns that are wrong or not implemented. */
export function compileContexts(files: PolicyFiles, reading: PolicyReading): FileContexts {
  const { base, homedirs, local, subs, subsDist } = files;
  const specs = reading === "libselinux" ? [...base, ...homedirs, ...local] : [...base, ...local, ...homedirs];
  const literals = new Map<string, number>();
  // A deeper <<none>> ends the search of libselinux, although a later line may match.
  const patterns = new PatternTree(
    (order) => reading === "libselinux" && specs[order]!.context === undefined, // orders are indexes
  );
  for (const [i, spec] of specs.entries()) {
    const literal = reading === "libselinux" ? literalPath(spec.pattern) : undefined;
    if (literal === undefined) addPattern(patterns, spec, i, reading);
    else for (const type of spec.type ?? ALL_TYPES) literals.set(literal + type, i);
  }
  return {
    lookup(path, type) {
      const character = TYPE_CHARACTERS[type];
      const key = (reading === "libselinux" ? substitute(path, subs, subsDist) : path) + character;
      const index = literals.get(key) ?? patterns.match(key);
      return specs[index]?.context; // -1 where nothing matches
    },
  };
}

const ALL_TYPES = /* @__PURE__ */ Object.values(TYPE_CHARACTERS).join("");

/** Escapes that stand for themselves in a path that a line spells out (libselinux, regex_simplify). */
const PLAIN_ESCAPES = ".^$?*+|[({])}-_,";

/** The path that a pattern without meta characters means; undefined for any other. */
function literalPath(pattern: string): string | undefined {
  let path = "";
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i]!; // below the length
    if (".^$?*+|[({])}".includes(character)) return undefined;
    if (character !== "\\") path += character;
    else {
      const next = pattern[++i];
      if (next === undefined || !PLAIN_ESCAPES.includes(next)) return undefined;
      path += next;
    }
  }
  return path;
}

/** The pattern with a type behind it goes in as one expression over path and type. */
function addPattern(
  patterns: PatternTree,
  { pattern, type }: ContextSpec,
  order: number,
  reading: PolicyReading,
): void {
  const kind = type === undefined ? "." : type === "-" ? "\\-" : type;
  const stem = textualStem(pattern);
  if (reading === "composefs-rs") {
    const regex = parseRegex(`(${pattern})${kind}`);
    patterns.add(startsWith(regex, stem) ? stem : "/", regex, order);
    return;
  }
  // libselinux puts a ^ in front and a $ behind without a group: alternatives at the top are anchored on one side only.
  // Its $ also stands before a newline.
  const hasChoice = topBars(pattern).length > 0;
  patterns.add(stem, parseRegex(hasChoice ? anchorChoice(pattern, kind) : `(${pattern})\n?${kind}`), order);
}

/** Directories within each other that libselinux tells apart. */
const MAX_STEM_DEPTH = 3;

/**
 * The directories under which libselinux files a pattern: it looks at the letters alone. So `(/a/b|/c)/.*` is found below
 * /a only, which a policy that means something avoids.
 */
function textualStem(pattern: string): string {
  let stem = "/";
  for (let at = 0, depth = 0; depth < MAX_STEM_DEPTH; depth++) {
    let next = pattern.indexOf("/", at + 1);
    while (next === at + 1) {
      at = next;
      next = pattern.indexOf("/", at + 1);
    }
    const literal = next < 0 ? undefined : literalPath(pattern.slice(at + 1, next));
    if (literal === undefined) break;
    stem += `${literal}/`;
    at = next;
  }
  return stem;
}

/** Where the alternatives at the top of a pattern are parted. */
function topBars(pattern: string): number[] {
  const bars: number[] = [];
  let depth = 0;
  let inBrackets = false;
  for (let i = 0; i < pattern.length; i++) {
    const character = pattern[i];
    if (character === "\\") i++;
    else if (inBrackets) inBrackets = character !== "]";
    else if (character === "[") {
      inBrackets = true;
      if (pattern[i + 1] === "^") i++;
      if (pattern[i + 1] === "]") i++;
    } else if (character === "(") depth++;
    else if (character === ")") depth--;
    else if (character === "|" && depth === 0) bars.push(i);
  }
  return bars;
}

function anchorChoice(pattern: string, kind: string): string {
  const bars = topBars(pattern);
  const options = [...bars, pattern.length].map((end, i) => pattern.slice(i === 0 ? 0 : bars[i - 1]! + 1, end)); // i > 0
  const last = options.length - 1;
  const anchored = options.map((option, i) => `${i > 0 ? ".*" : ""}(${option})${i < last ? ".*" : "\n?"}`);
  return `(${anchored.join("|")})${kind}`;
}

/** What is at or below `from`, moved; the last such line of a file counts. The result of .subs goes through .subs_dist. */
function substitute(path: string, subs: readonly Substitution[], subsDist: readonly Substitution[]): string {
  return applyFirst(applyFirst(path, subs), subsDist);
}

function applyFirst(path: string, substitutions: readonly Substitution[]): string {
  for (let i = substitutions.length - 1; i >= 0; i--) {
    const { from, to } = substitutions[i]!; // below the length
    if (!path.startsWith(from)) continue;
    const rest = path.slice(from.length);
    if (rest !== "" && !rest.startsWith("/")) continue;
    return to === "/" && rest !== "" ? rest : to + rest;
  }
  return path;
}

/**
 * Patterns by the directories that they begin with in so many letters: a path is tried only against those of the
 * directories above it, a few hundred instead of thousands.
 */
class PatternTree {
  private readonly budget: NodeBudget = { used: 0 };
  private readonly stems = new Map<string, Stem>();
  private readonly ends: (order: number) => boolean;

  /** @param ends whether a match of this order is final for all stems above it */
  constructor(ends: (order: number) => boolean) {
    this.ends = ends;
  }

  /** @param regex over the whole path; tried only below `stem` */
  add(stem: string, regex: Regex, order: number): void {
    const entry = this.stem(stem);
    if (looksAhead(regex)) entry.tried.push({ regex, order });
    else if (startsWith(regex, stem))
      entry.below.add({ kind: "sequence", parts: flatten(regex).slice(stem.length) }, order);
    else entry.whole.add(regex, order);
  }

  private stem(stem: string): Stem {
    let entry = this.stems.get(stem);
    if (entry === undefined) {
      entry = { below: new Automaton(this.budget), whole: new Automaton(this.budget), tried: [] };
      this.stems.set(stem, entry);
    }
    return entry;
  }

  /** The greatest order whose pattern matches, from the deepest stem upwards; -1 where none does. */
  match(key: string): number {
    let best = -1;
    for (let end = key.lastIndexOf("/") + 1; ; end = end < 2 ? 0 : key.lastIndexOf("/", end - 2) + 1) {
      const stem = this.stems.get(key.slice(0, end));
      const found = stem === undefined ? -1 : matchStem(stem, key, end, best);
      if (found > best) {
        if (this.ends(found)) return found;
        best = found;
      }
      if (end === 0) return best;
    }
  }
}

function matchStem({ below, whole, tried }: Stem, key: string, end: number, best: number): number {
  let found = Math.max(below.match(key, end), whole.match(key, 0));
  for (let i = tried.length - 1; i >= 0; i--) {
    const { regex, order } = tried[i]!; // below the length
    if (order <= Math.max(best, found)) break; // in ascending order
    if (matchesByTrying(regex, key, 0)) found = order;
  }
  return found;
}

interface Stem {
  /** Over what is behind the stem. */
  readonly below: Automaton;
  /** Over the whole path. */
  readonly whole: Automaton;
  /** What an automaton cannot do, in ascending order. */
  readonly tried: { readonly regex: Regex; readonly order: number }[];
}

/** Whether the first things that `regex` takes are the bytes of `stem`, one by one. */
function startsWith(regex: Regex, stem: string): boolean {
  const parts = flatten(regex);
  for (let i = 0; i < stem.length; i++) {
    const part = parts[i];
    if (part?.kind !== "set" || onlyByte(part.set) !== stem.charCodeAt(i)) return false;
  }
  return true;
}

function flatten(regex: Regex): readonly Regex[] {
  return regex.kind === "sequence" ? regex.parts.flatMap(flatten) : [regex];
}

function onlyByte(set: Uint32Array): number | undefined {
  let found: number | undefined;
  for (const [i, word] of set.entries()) {
    if (word === 0) continue;
    const bit = 31 - Math.clz32(word);
    if (found !== undefined || word !== (1 << bit) >>> 0) return undefined;
    found = i * 32 + bit;
  }
  return found;
}
