/**
 * Text and byte strings. File names, xattr names and link targets are bytes, not text: they travel as *byte strings*,
 * JavaScript strings whose every code unit is one byte (0 to 255). Such strings compare and sort as bytes with `<`,
 * serve as map keys and cost one byte a byte in memory.
 */

/** A string whose code units are bytes. Make it with {@link byteString} or {@link fromUtf8}; never from user text as is. */
export type ByteString = string & { readonly __bytes: true };

const encoder = /* @__PURE__ */ new TextEncoder();
const strictDecoder = /* @__PURE__ */ new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const looseDecoder = /* @__PURE__ */ new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

const CHUNK = 8192; // code units per fromCharCode call; more overflows the argument stack in some hosts

/**
 * Bytes → byte string. `apply` takes the array as it is: a quarter of what a spread costs, and unlike a loop it makes
 * flat strings (measured).
 */
export function byteString(bytes: Uint8Array): ByteString {
  if (bytes.length <= CHUNK) return fromCodes(bytes) as ByteString;
  let text = "";
  for (let at = 0; at < bytes.length; at += CHUNK) text += fromCodes(bytes.subarray(at, at + CHUNK));
  return text as ByteString;
}

function fromCodes(bytes: Uint8Array): string {
  return String.fromCharCode.apply(null, bytes as unknown as number[]); // any array-like does
}

/** Byte string → bytes. Throws RangeError for a code unit above 255: that string was never a byte string. */
export function bytesOf(text: ByteString): Uint8Array {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 255) throw new RangeError("not a byte string");
    bytes[i] = unit;
  }
  return bytes;
}

/** Text → the byte string of its UTF-8 form. ASCII text is returned as it is. */
export function fromUtf8(text: string): ByteString {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return byteString(encoder.encode(text));
  return text as ByteString;
}

export function encodeUtf8(text: string): Uint8Array {
  return encoder.encode(text);
}

/** UTF-8 → text; malformed input becomes U+FFFD. For display and for files whose digest does not matter. */
export function decodeUtf8(bytes: Uint8Array): string {
  return looseDecoder.decode(bytes);
}

/** UTF-8 → text, or undefined where the bytes are not UTF-8. */
export function decodeUtf8Strict(bytes: Uint8Array): string | undefined {
  try {
    return strictDecoder.decode(bytes);
  } catch {
    return undefined;
  }
}

/**
 * The text up to the last character that is none of `characters`. Not by a pattern: `/x+$/` takes the square of a long run
 * that does not stand at the end.
 */
export function trimEndOf<T extends string>(text: T, characters: string): T {
  let end = text.length;
  while (end > 0 && characters.includes(text[end - 1]!)) end--; // end > 0
  return text.slice(0, end) as T;
}

/** Controls, line separators, and the marks that change the direction of what follows. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const UNPRINTABLE = /[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

/** Text of somebody else inside a message of ours: at most 200 characters, control characters as `\uNNNN`. */
export function oneLine(text: string): string {
  const short = text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
  return short.replaceAll(new RegExp(UNPRINTABLE, "g"), (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

const MAX_SHOWN = 200;

/** For people: UTF-8 where it is UTF-8, `\xNN` for other bytes and for control characters; a backslash is doubled. */
export function showBytes(text: ByteString): string {
  let ascii = true;
  for (let i = 0; i < text.length && ascii; i++) {
    const unit = text.charCodeAt(i);
    ascii = unit >= 32 && unit < 127 && unit !== 92;
  }
  if (ascii) return text;
  const decoded = decodeUtf8Strict(bytesOf(text));
  let shown = "";
  for (const character of decoded ?? text) {
    const code = character.codePointAt(0)!; // iterating a string never yields an empty piece
    if (character === "\\") shown += "\\\\";
    else if (decoded === undefined ? code < 32 || code > 126 : UNPRINTABLE.test(character))
      for (const byte of decoded === undefined ? [code] : encoder.encode(character))
        shown += `\\x${byte.toString(16).padStart(2, "0")}`;
    else shown += character;
  }
  return shown;
}
