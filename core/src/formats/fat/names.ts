/** Names on FAT: what is allowed, the short name beside a long one, and equality without case. */
import { type ByteString, bytesOf, decodeUtf8Strict } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { MAX_NAME_UNITS } from "./format.ts";

/** Characters no FAT name may hold. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused.
const FORBIDDEN = /[\u0000-\u001f"*/:<>?\\|\u007f]/;
/** Names that are their own short name: nothing else needs to be written. */
const EXACT_SHORT = /^[A-Z0-9!#$%&'()@^_`{}~-]{1,8}(?:\.[A-Z0-9!#$%&'()@^_`{}~-]{1,3})?$/;
const SHORT_CHARACTER = /[A-Z0-9!#$%&'()@^_`{}~-]/;

/** Text of a name from a tree. Throws FormatError `fat-name` with `path` where FAT cannot hold it. */
export function longName(name: ByteString, path: string): string {
  const text = decodeUtf8Strict(bytesOf(name));
  const refuse = (why: string) => new FormatError("fat-name", `${path}: FAT cannot hold this name: ${why}`, { path });
  if (text === undefined) throw refuse("it is not UTF-8");
  const forbidden = FORBIDDEN.exec(text);
  if (forbidden !== null) throw refuse(`it contains ${JSON.stringify(forbidden[0])}`);
  if (/[. ]$|^ /.test(text)) throw refuse("it begins with a space or ends in a space or full stop");
  if (text.length > MAX_NAME_UNITS) throw refuse(`it has ${text.length} UTF-16 units, at most ${MAX_NAME_UNITS} fit`);
  return text;
}

/** The form under which two names are one, as FAT compares them: each character in upper case by itself. */
export function foldName(name: string): string {
  let folded = "";
  for (const character of name) {
    const upper = character.toUpperCase();
    folded += upper.length === character.length ? upper : character;
  }
  return folded;
}

/** Base and extension of a short name, without padding. */
interface Parts {
  readonly base: string;
  readonly extension: string;
}

/** What is left of `name` in a short name, and whether that is all of it but for case. */
function shortParts(name: string): Parts & { readonly whole: boolean } {
  const dot = name.lastIndexOf(".");
  const split = dot > 0 ? dot : name.length;
  let whole = dot !== 0;
  function reduce(text: string, length: number): string {
    let reduced = "";
    for (const character of foldName(text)) {
      if (character === " " || character === ".") whole = false;
      else if (SHORT_CHARACTER.test(character)) reduced += character;
      else {
        reduced += "_";
        whole = false;
      }
    }
    if (reduced.length > length) whole = false;
    return reduced.slice(0, length);
  }
  const base = reduce(name.slice(0, split), 8);
  const extension = reduce(name.slice(split + 1), 3);
  return { base: base === "" ? "_" : base, extension, whole: whole && base !== "" };
}

function pack({ base, extension }: Parts): string {
  return base.padEnd(8) + extension.padEnd(3);
}

export interface ShortName {
  /** 11 ASCII characters, padded with spaces. */
  readonly packed: string;
  /** Whether it says the name completely, so that no long name is written. */
  readonly exact: boolean;
}

/**
 * Short names for the names of one directory, in the same order. A name that fits but for its case keeps its letters;
 * the others get `~1`, `~2`, … in the order given, never the short name of another entry. No case flags of Windows NT:
 * a long name is read alike by Linux, EDK2 and mtools.
 */
export function shortNames(names: readonly string[]): ShortName[] {
  const parts = names.map(shortParts);
  const taken = new Set<string>();
  for (const part of parts) if (part.whole) taken.add(pack(part));
  const next = new Map<string, number>(); // first number to try, by what stands before the tail
  return parts.map((part, i) => {
    if (part.whole) return { packed: pack(part), exact: EXACT_SHORT.test(names[i]!) }; // parts and names are parallel
    const key = pack(part);
    for (let number = next.get(key) ?? 1; ; number++) {
      const tail = `~${number}`; // at most 65536 names in a directory: five digits
      const packed = pack({ base: part.base.slice(0, 8 - tail.length) + tail, extension: part.extension });
      if (taken.has(packed)) continue;
      taken.add(packed);
      next.set(key, number + 1);
      return { packed, exact: false };
    }
  });
}
