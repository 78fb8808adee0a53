/** Base64 with padding (RFC 4648, section 4), as JSON documents and PEM carry bytes. */
import { FormatError } from "../errors/index.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const VALUES: ReadonlyMap<string, number> = /* @__PURE__ */ new Map(
  [...ALPHABET].map((letter, value) => [letter, value]),
);

export function toBase64(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const bits = (bytes[i]! << 16) | ((bytes[i + 1] ?? 0) << 8) | (bytes[i + 2] ?? 0); // i < length
    for (let j = 0; j < 4; j++) text += i + j > bytes.length ? "=" : ALPHABET[(bits >> (18 - 6 * j)) & 63];
  }
  return text;
}

/**
 * Throws FormatError `bad-base64` for anything that {@link toBase64} would not have written: two texts never mean the same
 * bytes, so that what is compared as text and what is compared as bytes agree.
 */
export function fromBase64(text: string, what = "text"): Uint8Array {
  const end = text.length - (text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0);
  const fail = (): never => {
    throw new FormatError("bad-base64", `${what}: is not base64`);
  };
  if (text.length % 4 !== 0) fail();
  const bytes = new Uint8Array((text.length / 4) * 3 - (text.length - end));
  let bits = 0;
  let at = 0;
  for (let i = 0; i < text.length; i++) {
    bits = (bits << 6) | (i < end ? (VALUES.get(text[i]!) ?? fail()) : 0); // i < length
    if (i % 4 !== 3) continue;
    for (let shift = 16; shift >= 0; shift -= 8)
      if (at < bytes.length) bytes[at++] = (bits >> shift) & 255;
      else if (((bits >> shift) & 255) !== 0) fail(); // bits that no byte holds
    bits = 0;
  }
  return bytes;
}
