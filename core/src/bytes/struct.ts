/**
 * Fixed binary structures as one field table: from it come the overlay, the encoder, the dump and the boundaries
 * that fuzzing sets. Offsets appear nowhere else.
 */
import { FormatError } from "../errors/index.ts";

export interface Field<T> {
  /** Bytes from the start of the structure. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
  read(view: DataView): T;
  write(view: DataView, value: T): void;
}

// biome-ignore lint/suspicious/noExplicitAny: a table mixes field types; `unknown` would reject every writer (variance).
export type Fields = Record<string, Field<any>>;
export type ValuesOf<F extends Fields> = { readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never };

export interface Struct<F extends Fields> {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly fields: F;
  /** Overlays the structure on `bytes` without copying; each property reads its bytes when asked. */
  view(bytes: Uint8Array, at?: number): ValuesOf<F>;
  encode(values: ValuesOf<F>): Uint8Array;
}

const BYTES = Symbol("bytes");

/**
 * Declares a structure. The fields must tile `[0, size)` in order, without gap or overlap;
 * a table that does not is a bug in this library and throws when the module loads.
 */
export function defineStruct<F extends Fields>(name: string, size: number, fields: F): Struct<F> {
  class Overlay {
    readonly [BYTES]: DataView; // a symbol, so that no field name can collide with it
    constructor(bytes: DataView) {
      this[BYTES] = bytes;
    }
  }
  let end = 0;
  for (const [key, field] of Object.entries(fields)) {
    if (field.offset !== end) throw new TypeError(`${name}.${key}: expected offset ${end}, got ${field.offset}`);
    end += field.size;
    Object.defineProperty(Overlay.prototype, key, {
      enumerable: true,
      get(this: Overlay) {
        return field.read(this[BYTES]);
      },
    });
  }
  if (end !== size) throw new TypeError(`${name}: fields end at ${end}, size is ${size}`);
  return {
    name,
    size,
    fields,
    view(bytes, at = 0) {
      if (at < 0 || at + size > bytes.length)
        throw new FormatError("truncated", `${name}: needs ${size} bytes at ${at}, buffer has ${bytes.length}`, {
          offset: at,
        });
      return new Overlay(new DataView(bytes.buffer, bytes.byteOffset + at, size)) as unknown as ValuesOf<F>;
    },
    encode(values) {
      const bytes = new Uint8Array(size);
      const view = new DataView(bytes.buffer);
      for (const [key, field] of Object.entries(fields)) field.write(view, values[key as keyof F]);
      return bytes;
    },
  };
}

function checkFits(value: number, limit: number, what: string): void {
  if (!Number.isSafeInteger(value) || value < 0 || value > limit)
    throw new RangeError(`${what} field: ${value} does not fit`);
}

function checkFitsBig(value: bigint, bits: number): void {
  if (BigInt.asUintN(bits, value) !== value) throw new RangeError(`u${bits} field: ${value} does not fit`);
}

/** One byte. */
export function u8(offset: number): Field<number> {
  return {
    offset,
    size: 1,
    read: (view) => view.getUint8(offset),
    write(view, value) {
      checkFits(value, 0xff, "u8");
      view.setUint8(offset, value);
    },
  };
}

/** Bytes as they are; reading gives a view, writing takes at most `size` bytes and zero-fills. */
export function raw(offset: number, size: number): Field<Uint8Array> {
  return {
    offset,
    size,
    read: (view) => new Uint8Array(view.buffer, view.byteOffset + offset, size),
    write(view, value) {
      if (value.length > size) throw new RangeError(`raw field of ${size} bytes: ${value.length} bytes do not fit`);
      new Uint8Array(view.buffer, view.byteOffset + offset, size).set(value);
    },
  };
}

function integers(little: boolean) {
  return {
    u16: (offset: number): Field<number> => ({
      offset,
      size: 2,
      read: (view) => view.getUint16(offset, little),
      write(view, value) {
        checkFits(value, 0xffff, "u16");
        view.setUint16(offset, value, little);
      },
    }),
    u32: (offset: number): Field<number> => ({
      offset,
      size: 4,
      read: (view) => view.getUint32(offset, little),
      write(view, value) {
        checkFits(value, 0xffffffff, "u32");
        view.setUint32(offset, value, little);
      },
    }),
    /** A size, offset or count; refused past 2^53-1. */
    u64: (offset: number): Field<number> => ({
      offset,
      size: 8,
      read(view) {
        const value = view.getBigUint64(offset, little);
        if (value > BigInt(Number.MAX_SAFE_INTEGER))
          throw new FormatError("too-large", `64-bit value ${value} is past 2^53-1`, { offset });
        return Number(value);
      },
      write(view, value) {
        checkFits(value, Number.MAX_SAFE_INTEGER, "u64");
        view.setBigUint64(offset, BigInt(value), little);
      },
    }),
    /** A bit pattern or signed time; always unsigned in memory (`BigInt.asIntN` where a sign is meant). */
    u64Bits: (offset: number): Field<bigint> => ({
      offset,
      size: 8,
      read: (view) => view.getBigUint64(offset, little),
      write(view, value) {
        checkFitsBig(value, 64);
        view.setBigUint64(offset, value, little);
      },
    }),
  };
}

export const le = /* @__PURE__ */ integers(true);
export const be = /* @__PURE__ */ integers(false);

/** A copy of an overlay that can be spread: an overlay's fields are getters of its prototype. */
export function copyFields<F extends Fields>(struct: Struct<F>, overlay: ValuesOf<F>): ValuesOf<F> {
  return Object.fromEntries(Object.keys(struct.fields).map((key) => [key, overlay[key]])) as ValuesOf<F>;
}
