/** Hexadecimal, always lower case on the way out. */
import { FormatError } from "../errors/index.ts";
import { byteString } from "./text.ts";

/** Half of the time of a string that grows by two characters a byte (measured). */
export function toHex(bytes: Uint8Array): string {
  const digits = new Uint8Array(2 * bytes.length);
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i]!; // below the length
    digits[2 * i] = digit(byte >> 4);
    digits[2 * i + 1] = digit(byte & 15);
  }
  return byteString(digits);
}

function digit(value: number): number {
  return value + (value < 10 ? 0x30 : 0x57);
}

/** Throws FormatError `bad-hex` for an odd length or a foreign character. Both cases of letters are accepted. */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(text))
    throw new FormatError("bad-hex", `not hexadecimal: ${JSON.stringify(text.slice(0, 80))}`);
  const bytes = new Uint8Array(text.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return bytes;
}
