/** Reads a variable structure front to back; every bound is checked here and nowhere else. */
import { FormatError } from "../errors/index.ts";

export interface Cursor {
  /** Bytes from the start. */
  readonly position: number;
  readonly remaining: number;
  /** A view of the next `length` bytes. Throws FormatError `truncated` where there are fewer. */
  take(length: number): Uint8Array;
  u8(): number;
  u16le(): number;
  u32le(): number;
  skip(length: number): void;
}

/** @param what names the thing in errors, such as `erofs xattr entry` */
export function cursor(bytes: Uint8Array, what: string, start = 0): Cursor {
  let position = start;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  function advance(length: number): number {
    if (length < 0 || length > bytes.length - position)
      throw new FormatError("truncated", `${what}: needs ${length} bytes at ${position}, ${bytes.length} are there`, {
        offset: position,
      });
    const at = position;
    position += length;
    return at;
  }
  return {
    get position() {
      return position;
    },
    get remaining() {
      return bytes.length - position;
    },
    take(length) {
      const at = advance(length);
      return bytes.subarray(at, at + length);
    },
    u8: () => view.getUint8(advance(1)),
    u16le: () => view.getUint16(advance(2), true),
    u32le: () => view.getUint32(advance(4), true),
    skip(length) {
      advance(length);
    },
  };
}
