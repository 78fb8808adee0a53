/** GUIDs and UUIDs. GPT stores the first three fields little-endian (UEFI 2.10, appendix A), everything else big-endian. */
import { FormatError } from "../errors/index.ts";
import { fromHex, toHex } from "./hex.ts";

/** `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx`, lower case. */
export type Uuid = string;

/** The 16 bytes in the order of the text (RFC 9562). */
export function parseUuid(text: Uuid): Uint8Array {
  if (!/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i.test(text))
    throw new FormatError("bad-uuid", `not a UUID: ${JSON.stringify(text.slice(0, 80))}`);
  return fromHex(text.replaceAll("-", ""));
}

/** The text of 16 bytes in text order; no version or variant bits are forced. */
export function formatUuid(bytes: Uint8Array): Uuid {
  if (bytes.length !== 16) throw new RangeError(`a UUID has 16 bytes, got ${bytes.length}`);
  return toHex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** Text order ↔ the mixed order of GPT and UEFI; its own inverse. */
export function swapGuid(bytes: Uint8Array): Uint8Array {
  const [a, b, c, d, e, f, g, h, ...rest] = bytes;
  return Uint8Array.from([d, c, b, a, f, e, h, g, ...rest] as number[]);
}

/** Sets the version nibble and the variant bits of RFC 9562 on a copy of the first 16 bytes of `hash`. */
export function uuidFromHash(hash: Uint8Array, version: 4 | 8 = 8): Uuid {
  const bytes = new Uint8Array(hash.subarray(0, 16)); // a copy even of a Buffer, whose slice is a view
  bytes[6] = (bytes[6]! & 0x0f) | (version << 4);
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return formatUuid(bytes);
}
