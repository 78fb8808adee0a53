/** What the outside of a zstd frame says, without decoding it. Spec: RFC 8878, section 3.1.1. */
const MAGIC = 0xfd2fb528;
/** Block_Type of RLE: one byte is stored, whatever it stands for. */
const BLOCK_RLE = 1;

export interface ZstdFrameHeader {
  /** Frame_Content_Size; undefined where it does not say. */
  readonly contentSize: number | undefined;
  readonly hasDictionary: boolean;
  readonly hasChecksum: boolean;
  /** Bytes of the header, magic included. */
  readonly size: number;
}

/** The header that `bytes` begin with; undefined where that is none, or not all of one. */
export function zstdFrameHeader(bytes: Uint8Array): ZstdFrameHeader | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < 5 || view.getUint32(0, true) !== MAGIC) return undefined;
  const descriptor = view.getUint8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const dictionaryField = [0, 1, 2, 4][descriptor & 3]!; // two bits
  const sizeField = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!; // two bits
  const at = (isSingleSegment ? 5 : 6) + dictionaryField; // else a window descriptor stands there
  const size = at + sizeField;
  if (size > bytes.length) return undefined;
  const contentSize = readSize(view, at, sizeField);
  return { contentSize, hasDictionary: dictionaryField > 0, hasChecksum: (descriptor & 4) !== 0, size };
}

function readSize(view: DataView, at: number, field: number): number | undefined {
  if (field === 0) return undefined;
  if (field === 1) return view.getUint8(at);
  if (field === 2) return view.getUint16(at, true) + 256;
  return field === 4 ? view.getUint32(at, true) : Number(view.getBigUint64(at, true)); // to be held against a limit
}

/** Bytes of the frame that `bytes` begin with; undefined where that is none, or not all of one. */
export function zstdFrameSize(bytes: Uint8Array): number | undefined {
  const header = zstdFrameHeader(bytes);
  if (header === undefined) return undefined;
  let at = header.size;
  for (let isLast = false; !isLast; ) {
    if (at + 3 > bytes.length) return undefined;
    const word = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16); // as just seen
    isLast = (word & 1) === 1;
    at += 3 + (((word >> 1) & 3) === BLOCK_RLE ? 1 : word >> 3);
  }
  if (header.hasChecksum) at += 4;
  return at <= bytes.length ? at : undefined;
}
