/** Small operations on byte arrays. */

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let size = 0;
  for (const part of parts) size += part.length;
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Whether every byte is zero. Reads eight bytes at a time where the alignment allows it. */
export function isZero(bytes: Uint8Array): boolean {
  let at = 0;
  while (at < bytes.length && (bytes.byteOffset + at) % 8 !== 0) if (bytes[at++] !== 0) return false;
  if (at === bytes.length) return true; // a short view may end before it is aligned
  const words = new Float64Array(bytes.buffer, bytes.byteOffset + at, Math.floor((bytes.length - at) / 8));
  // A float is +0 or -0 only for two patterns; -0 (sign bit alone) must not pass.
  for (let i = 0; i < words.length; i++) if (!Object.is(words[i], 0)) return false;
  for (at += words.length * 8; at < bytes.length; at++) if (bytes[at] !== 0) return false;
  return true;
}

/** The least multiple of `alignment` that is not below `value`. A division, so that it is right past 2^31. */
export function alignUp(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

export function isPowerOfTwo(value: number): boolean {
  return Number.isSafeInteger(value) && value > 0 && Number.isInteger(Math.log2(value));
}
