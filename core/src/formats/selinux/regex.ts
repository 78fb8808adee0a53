/**
 * Regular expressions of file contexts, over bytes: what policies use of PCRE2 (pcre2pattern(3)), parsed into a tree.
 * They are not given to the host's engine: a hostile one may take for ever there, and JavaScript means other things by
 * some of it. What is not implemented is refused by name: back references, look-behind, atomic groups and possessive
 * quantifiers, inline options.
 */
import { UnsupportedError } from "../../errors/index.ts";

/** A set of bytes: 256 bits. */
export type ByteSet = Uint32Array;

export type Regex =
  | { readonly kind: "set"; readonly set: ByteSet }
  | { readonly kind: "sequence"; readonly parts: readonly Regex[] }
  | { readonly kind: "choice"; readonly options: readonly Regex[] }
  | { readonly kind: "repeat"; readonly part: Regex; readonly min: number; readonly max: number }
  | { readonly kind: "start" | "end" }
  | { readonly kind: "ahead"; readonly part: Regex; readonly negated: boolean };

/** Bytes of one pattern, as libselinux bounds it. */
export const MAX_PATTERN = 4095;
/** Groups within each other. */
const MAX_GROUPS = 100;
/** Counts of a quantifier; PCRE2 allows 65535, and each is a copy of what is repeated. */
const MAX_REPEAT = 1000;

export const has = (set: ByteSet, byte: number): boolean => ((set[byte >>> 5]! >>> (byte & 31)) & 1) === 1; // 256 bits

function setOf(ranges: readonly (readonly [from: number, to: number])[], negated = false): ByteSet {
  const set = new Uint32Array(8);
  for (const [from, to] of ranges) for (let byte = from; byte <= to; byte++) set[byte >>> 5]! |= 1 << (byte & 31);
  return negated ? set.map((word) => ~word) : set;
}

/** Of one byte each, made once: most of a pattern are such. */
const SINGLES: readonly ByteSet[] = /* @__PURE__ */ Array.from({ length: 256 }, (_, byte) => setOf([[byte, byte]]));
const single = (byte: number): ByteSet => SINGLES[byte & 255]!; // 256 of them
const ANY = /* @__PURE__ */ setOf([[0, 255]]); // PCRE2_DOTALL
const DIGITS = [[0x30, 0x39]] as const;
const UPPER = [[0x41, 0x5a]] as const;
const LOWER = [[0x61, 0x7a]] as const;
const WORDS = [...DIGITS, ...UPPER, ...LOWER, [0x5f, 0x5f]] as const;
const SPACES = [
  [0x09, 0x0d],
  [0x20, 0x20],
] as const;

type Ranges = readonly (readonly [number, number])[];
const ESCAPED_SETS: Readonly<Record<string, Ranges>> = { d: DIGITS, w: WORDS, s: SPACES };
const ESCAPED_BYTES: Readonly<Record<string, number>> = { n: 10, r: 13, t: 9, f: 12, a: 7, e: 27 };
const POSIX_CLASSES: Readonly<Record<string, Ranges>> = {
  alnum: [...DIGITS, ...UPPER, ...LOWER],
  alpha: [...UPPER, ...LOWER],
  blank: [
    [0x09, 0x09],
    [0x20, 0x20],
  ],
  cntrl: [
    [0, 31],
    [127, 127],
  ],
  digit: DIGITS,
  graph: [[33, 126]],
  lower: LOWER,
  print: [[32, 126]],
  punct: [
    [33, 47],
    [58, 64],
    [91, 96],
    [123, 126],
  ],
  space: SPACES,
  upper: UPPER,
  word: WORDS,
  xdigit: [...DIGITS, [0x41, 0x46], [0x61, 0x66]],
};

/** Parses the pattern, a byte string. Throws UnsupportedError `selinux-regex` for what is wrong or not implemented. */
export function parseRegex(pattern: string): Regex {
  if (pattern.length > MAX_PATTERN) throw refuse(pattern, `has more than ${MAX_PATTERN} bytes`);
  return new Parser(pattern).parse();
}

function refuse(pattern: string, why: string): UnsupportedError {
  const shown = JSON.stringify(pattern.length > 100 ? `${pattern.slice(0, 100)}…` : pattern);
  return new UnsupportedError("selinux-regex", `file context pattern ${shown} ${why}`);
}

class Parser {
  private readonly text: string;
  private at = 0;
  private depth = 0;

  constructor(text: string) {
    this.text = text;
  }

  parse(): Regex {
    const whole = this.choice();
    if (this.at < this.text.length) throw this.refuse("has a ) too many");
    return whole;
  }

  private refuse(why: string): UnsupportedError {
    return refuse(this.text, why);
  }

  private choice(): Regex {
    const options = [this.sequence()];
    while (this.text[this.at] === "|") {
      this.at++;
      options.push(this.sequence());
    }
    return options.length === 1 ? options[0]! : { kind: "choice", options };
  }

  private sequence(): Regex {
    const parts: Regex[] = [];
    for (;;) {
      const character = this.text[this.at];
      if (character === undefined || character === "|" || character === ")") return { kind: "sequence", parts };
      parts.push(this.repeated(this.item(character)));
    }
  }

  private item(character: string): Regex {
    this.at++;
    switch (character) {
      case "(":
        return this.group();
      case "[":
        return { kind: "set", set: this.bracket() };
      case ".":
        return { kind: "set", set: ANY };
      case "^":
        return { kind: "start" };
      case "$":
        return { kind: "end" };
      case "\\":
        return { kind: "set", set: this.escape() };
      case "*":
      case "+":
      case "?":
        throw this.refuse(`has a ${character} after nothing`);
      default:
        return { kind: "set", set: single(character.charCodeAt(0)) };
    }
  }

  private group(): Regex {
    if (++this.depth > MAX_GROUPS) throw this.refuse(`has more than ${MAX_GROUPS} groups within each other`);
    let ahead: boolean | undefined; // whether a look-ahead is negated
    if (this.text[this.at] === "?") {
      const next = this.text[this.at + 1];
      if (next === ":") this.at += 2;
      else if (next === "=" || next === "!") {
        ahead = next === "!";
        this.at += 2;
      } else throw this.refuse(`has a group (?${next ?? ""}, which is not implemented`);
    } else if (this.text[this.at] === "*") throw this.refuse("has a verb (*, which is not implemented");
    const part = this.choice();
    if (this.text[this.at] !== ")") throw this.refuse("has a ( without its )");
    this.at++;
    this.depth--;
    return ahead === undefined ? part : { kind: "ahead", part, negated: ahead };
  }

  private repeated(part: Regex): Regex {
    let result = part;
    for (;;) {
      const range = this.quantifier();
      if (range === undefined) return result;
      if (result.kind === "start" || result.kind === "end") throw this.refuse("repeats an anchor");
      // What is taken first makes no difference to whether all matches, but what is never given back does.
      if (this.text[this.at] === "+") throw this.refuse("has a possessive quantifier, which is not implemented");
      if (this.text[this.at] === "?") this.at++;
      result = { kind: "repeat", part: result, ...range };
      if (this.isQuantifier()) throw this.refuse("has a quantifier after a quantifier");
    }
  }

  private isQuantifier(): boolean {
    const next = this.text[this.at];
    return next === "*" || next === "+" || next === "?";
  }

  private quantifier(): { readonly min: number; readonly max: number } | undefined {
    const max = Number.POSITIVE_INFINITY;
    switch (this.text[this.at]) {
      case "*":
        this.at++;
        return { min: 0, max };
      case "+":
        this.at++;
        return { min: 1, max };
      case "?":
        this.at++;
        return { min: 0, max: 1 };
      case "{": {
        // Braces that hold no counts stand for themselves.
        const match = /^\{(\d{1,5})(,(\d{0,5}))?\}/.exec(this.text.slice(this.at, this.at + 16));
        if (match === null) return undefined;
        this.at += match[0].length;
        const min = Number(match[1]);
        const upper = match[2] === undefined ? min : match[3] === "" ? max : Number(match[3]);
        if (min > MAX_REPEAT || (upper !== max && upper > MAX_REPEAT) || upper < min)
          throw this.refuse(`repeats ${match[0]} times, at most ${MAX_REPEAT} are implemented`);
        return { min, max: upper };
      }
      default:
        return undefined;
    }
  }

  /** Behind a backslash. */
  private escape(): ByteSet {
    const character = this.text[this.at++];
    if (character === undefined) throw this.refuse("ends in a backslash");
    const ranges = ESCAPED_SETS[character.toLowerCase()];
    if (ranges !== undefined) return setOf(ranges, character < "a");
    return single(this.escapedByte(character));
  }

  private escapedByte(character: string): number {
    const known = ESCAPED_BYTES[character];
    if (known !== undefined) return known;
    if (character === "x") {
      const match = /^[0-9a-fA-F]{1,2}/.exec(this.text.slice(this.at, this.at + 2));
      if (match === null) throw this.refuse("has a bad \\x");
      this.at += match[0].length;
      return Number.parseInt(match[0], 16);
    }
    if (/[0-9A-Za-z]/.test(character)) throw this.refuse(`has \\${character}, which is not implemented`);
    return character.charCodeAt(0);
  }

  /** Behind a bracket. */
  private bracket(): ByteSet {
    const negated = this.text[this.at] === "^";
    if (negated) this.at++;
    const ranges: (readonly [number, number])[] = [];
    const sets: ByteSet[] = [];
    for (let first = true; ; first = false) {
      const character = this.text[this.at];
      if (character === undefined) throw this.refuse("has a [ without its ]");
      if (character === "]" && !first) break;
      const from = this.bracketItem(sets);
      if (from === undefined) continue;
      if (this.text[this.at] !== "-" || this.text[this.at + 1] === "]" || this.text[this.at + 1] === undefined) {
        ranges.push([from, from]);
        continue;
      }
      this.at++;
      const to = this.bracketItem(sets);
      if (to === undefined || to < from) throw this.refuse("has a bad range in brackets");
      ranges.push([from, to]);
    }
    this.at++;
    const all = setOf(ranges);
    for (const set of sets) for (const [i, word] of set.entries()) all[i]! |= word;
    return negated ? all.map((word) => ~word) : all;
  }

  /** One byte; undefined for a class, which goes into `sets`. */
  private bracketItem(sets: ByteSet[]): number | undefined {
    const character = this.text[this.at++];
    if (character === undefined) throw this.refuse("has a [ without its ]");
    if (character === "[") {
      const match = /^:(\^?)([a-z]+):\]/.exec(this.text.slice(this.at, this.at + 12));
      if (match !== null) {
        const known = POSIX_CLASSES[match[2]!]; // the group always takes part
        if (known === undefined) throw this.refuse(`has no class [:${match[2]}:]`);
        this.at += match[0].length;
        sets.push(setOf(known, match[1] === "^"));
        return undefined;
      }
      if (this.text[this.at] === "." || this.text[this.at] === "=") throw this.refuse("has a collating element");
      return 0x5b;
    }
    if (character !== "\\") return character.charCodeAt(0);
    const escaped = this.text[this.at++];
    if (escaped === undefined) throw this.refuse("ends in a backslash");
    const ranges = ESCAPED_SETS[escaped.toLowerCase()];
    if (ranges !== undefined) {
      sets.push(setOf(ranges, escaped < "a"));
      return undefined;
    }
    return escaped === "b" ? 8 : this.escapedByte(escaped);
  }
}
