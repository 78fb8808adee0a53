/**
 * Patterns of paths, as people know them from .gitattributes: `*` and `?` stay within a name, a part `**` stands for any
 * number of directories, `[a-z]` and `[!a-z]` for a character. A pattern without a slash means a name anywhere, one
 * with a slash the path from the root; one that ends in a slash means all below. Time is bounded by the product of lengths.
 */
import { type ByteString, fromUtf8 } from "../bytes/index.ts";
import { PolicyError } from "../errors/index.ts";

export interface Glob {
  /** As it was written. */
  readonly text: string;
  /** The path that it means where it means a single one. */
  readonly path: ByteString | undefined;
  matches(path: ByteString): boolean;
}

/** One character, or any run of them. */
type Token =
  | "*"
  | "?"
  | { readonly isNegated: boolean; readonly ranges: readonly (readonly [number, number])[] }
  | number;
type Part = "**" | readonly Token[];

const SPECIAL = /[*?[\\]/;

/** Throws PolicyError `bad-pattern`. */
export function parseGlob(text: string): Glob {
  const bad = (what: string): PolicyError => new PolicyError("bad-pattern", `pattern ${JSON.stringify(text)}: ${what}`);
  const isRooted = text.replace(/\/+$/, "").includes("/");
  const names = text.split("/").filter((name) => name !== "");
  if (names.length === 0) throw bad("is empty");
  if (names.some((name) => name === "." || name === "..")) throw bad("has . or .. in it");
  const parts: Part[] = names.map((name) => (name === "**" ? name : parseName(fromUtf8(name), bad)));
  if (!isRooted) parts.unshift("**");
  if (text.endsWith("/")) parts.push("**");
  const isPlain = isRooted && !SPECIAL.test(text) && !text.endsWith("/");
  const path = isPlain ? fromUtf8(names.join("/")) : undefined;
  return {
    text,
    path,
    matches: (candidate) => (path === undefined ? matchParts(parts, candidate.split("/")) : candidate === path),
  };
}

function parseName(name: ByteString, bad: (what: string) => PolicyError): readonly Token[] {
  const tokens: Token[] = [];
  for (let i = 0; i < name.length; i++) {
    const character = name[i]!; // below the length
    if (character === "*" || character === "?") tokens.push(character);
    else if (character === "\\") {
      if (++i === name.length) throw bad("ends in a backslash");
      tokens.push(name.charCodeAt(i));
    } else if (character === "[") {
      const end = name.indexOf("]", name[i + 1] === "!" ? i + 3 : i + 2);
      if (end < 0) throw bad("has no ] for its [");
      tokens.push(parseSet(name.slice(i + 1, end)));
      i = end;
    } else tokens.push(name.charCodeAt(i));
  }
  return tokens;
}

function parseSet(text: string): Token {
  const isNegated = text.startsWith("!");
  const members = isNegated ? text.slice(1) : text;
  const ranges: [number, number][] = [];
  for (let i = 0; i < members.length; i++) {
    const from = members.charCodeAt(i);
    const isRange = members[i + 1] === "-" && i + 2 < members.length;
    ranges.push([from, isRange ? members.charCodeAt(i + 2) : from]);
    if (isRange) i += 2;
  }
  return { isNegated, ranges };
}

function matchParts(parts: readonly Part[], names: readonly string[]): boolean {
  return matchRuns(
    parts,
    (part) => part === "**",
    names.length,
    (part, at) => (part !== "**" && matchName(part, names[at]!) ? 1 : 0), // below the length
  );
}

function matchName(tokens: readonly Token[], name: string): boolean {
  return matchRuns(
    tokens,
    (token) => token === "*",
    name.length,
    (token, at) => {
      const byte = name.charCodeAt(at);
      if (typeof token === "number") return token === byte ? 1 : 0;
      if (token === "?") return characterSize(name, at);
      if (token === "*") return 0;
      return token.ranges.some(([from, to]) => from <= byte && byte <= to) !== token.isNegated ? 1 : 0;
    },
  );
}

/** Bytes of the UTF-8 character at `at`; 1 where it is none. */
function characterSize(name: string, at: number): number {
  if (name.charCodeAt(at) < 0xc0) return 1;
  let end = at + 1;
  while (end < name.length && end - at < 4 && (name.charCodeAt(end) & 0xc0) === 0x80) end++;
  return end - at;
}

/**
 * Whether all of `length` items fit a pattern, of which some parts stand for any run of items. Only the last run is gone
 * back to: a longer earlier one would leave less for what follows.
 *
 * @param fits how many items from `at` on a part takes; 0 where it does not fit
 */
function matchRuns<P>(
  pattern: readonly P[],
  isRun: (part: P) => boolean,
  length: number,
  fits: (part: P, at: number) => number,
): boolean {
  let next = 0;
  let run = -1;
  let runEnd = 0;
  for (let at = 0; at < length; ) {
    const part = pattern[next];
    if (part !== undefined && isRun(part)) {
      run = next++;
      runEnd = at;
      continue;
    }
    const taken = part === undefined ? 0 : fits(part, at);
    if (taken > 0) {
      next++;
      at += taken;
    } else if (run < 0) return false;
    else {
      next = run + 1;
      at = ++runEnd;
    }
  }
  while (next < pattern.length && isRun(pattern[next]!)) next++; // below the length
  return next === pattern.length;
}
