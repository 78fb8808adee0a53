/** As much DER (X.690) as public keys and ECDSA signatures are made of. */
import { concatBytes } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";

export const DER = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  null: 0x05,
  oid: 0x06,
  sequence: 0x30,
} as const;

export interface DerReader {
  readonly isAtEnd: boolean;
  /** The content of the next value, which must have this tag. Throws FormatError `bad-der`. */
  next(tag: number): Uint8Array;
}

export function derReader(bytes: Uint8Array, what: string): DerReader {
  let at = 0;
  const fail = (message: string): never => {
    throw new FormatError("bad-der", `${what}: ${message}`, { offset: at });
  };
  const byte = (): number => bytes[at++] ?? fail("ends within a value");
  function length(): number {
    const first = byte();
    if (first < 0x80) return first;
    if (first !== 0x81 && first !== 0x82) return fail("a length is not in its shortest form, or too large");
    const size = first === 0x81 ? byte() : byte() * 256 + byte();
    return size < (first === 0x81 ? 0x80 : 0x100) ? fail("a length is not in its shortest form") : size;
  }
  return {
    get isAtEnd() {
      return at === bytes.length;
    },
    next(tag) {
      const found = byte();
      if (found !== tag) fail(`expected tag ${tag}, got ${found}`);
      const size = length();
      if (at + size > bytes.length) fail("ends within a value");
      at += size;
      return bytes.subarray(at - size, at);
    },
  };
}

/** A positive INTEGER without its sign byte. */
export function derUnsigned(content: Uint8Array, what: string): Uint8Array {
  const [first, second] = content;
  if (first === undefined || first >= 0x80 || (first === 0 && second !== undefined && second < 0x80))
    throw new FormatError("bad-der", `${what}: an integer is negative or not in its shortest form`);
  return first === 0 ? content.subarray(1) : content;
}

function derValue(tag: number, content: Uint8Array): Uint8Array {
  if (content.length > 0xff) throw new RangeError("longer than is written here");
  const size = content.length < 0x80 ? [content.length] : [0x81, content.length];
  return concatBytes(new Uint8Array([tag, ...size]), content);
}

/** `r` and `s` of ECDSA, each `size` bytes, from the SEQUENCE of two INTEGERs that X9.62 has; undefined where it is none. */
export function ecdsaFromDer(signature: Uint8Array, size: number): Uint8Array | undefined {
  try {
    const whole = derReader(signature, "signature");
    const pair = derReader(whole.next(DER.sequence), "signature");
    const numbers = [pair.next(DER.integer), pair.next(DER.integer)].map((n) => derUnsigned(n, "signature"));
    if (!whole.isAtEnd || !pair.isAtEnd) return undefined;
    const plain = new Uint8Array(2 * size);
    for (const [i, number] of numbers.entries()) {
      if (number.length > size) return undefined;
      plain.set(number, (i + 1) * size - number.length);
    }
    return plain;
  } catch {
    return undefined; // FormatError: not a signature
  }
}

/** The other way: `r ‖ s` → DER. */
export function ecdsaToDer(plain: Uint8Array): Uint8Array {
  const half = plain.length / 2;
  const integers = [plain.subarray(0, half), plain.subarray(half)].map((number) => {
    let from = 0;
    while (from < half - 1 && number[from] === 0) from++;
    const short = number.subarray(from);
    return derValue(DER.integer, short[0]! >= 0x80 ? concatBytes(new Uint8Array(1), short) : short); // never empty
  });
  return derValue(DER.sequence, concatBytes(...integers));
}
