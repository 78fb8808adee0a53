/** Hexadecimal, always lower case on the way out. */
import { FormatError } from "../errors/index.ts";

const DIGITS = "0123456789abcdef";

export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += DIGITS[byte >> 4]! + DIGITS[byte & 15]!; // both indices are below 16
  return text;
}

/** Throws FormatError `bad-hex` for an odd length or a foreign character. Both cases of letters are accepted. */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text))
    throw new FormatError("bad-hex", `not hexadecimal: ${JSON.stringify(text.slice(0, 80))}`);
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
