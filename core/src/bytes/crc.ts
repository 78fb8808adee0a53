/** The two CRC-32s of our formats: IEEE 802.3 (GPT, gzip) and Castagnoli (EROFS). Both reflected. */

function makeTable(polynomial: number): Uint32Array {
  const table = new Uint32Array(256);
  for (let i = 0; i < 256; i++) {
    let value = i;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ polynomial : value >>> 1;
    table[i] = value;
  }
  return table;
}

const IEEE = /* @__PURE__ */ makeTable(0xedb88320);
const CASTAGNOLI = /* @__PURE__ */ makeTable(0x82f63b78);

function update(table: Uint32Array, register: number, bytes: Uint8Array): number {
  let value = register;
  for (let i = 0; i < bytes.length; i++) value = table[(value ^ bytes[i]!) & 0xff]! ^ (value >>> 8);
  return value >>> 0;
}

/** CRC-32 as GPT, zip and gzip use it; pass the previous result to continue. */
export function crc32(bytes: Uint8Array, previous = 0): number {
  return ~update(IEEE, ~previous, bytes) >>> 0;
}

/** The bare CRC-32C register: seeded by the caller, not inverted at the end (EROFS seeds ~0 and stores it so). */
export function crc32cRegister(bytes: Uint8Array, seed: number): number {
  return update(CASTAGNOLI, seed, bytes);
}
