/** Reads the binary indexes. */
import { type ByteString, byteString } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import {
  INDEX_MAGIC,
  INDEX_VERSION,
  NODE_CHILDREN,
  NODE_OFFSET_MASK,
  NODE_PREFIX,
  NODE_VALUES,
  RawIndexHeader,
} from "./format.ts";
import { type IndexEntry, MAX_KEY } from "./write.ts";

/** Nodes and values of one index, at most. */
export const MAX_INDEX_ENTRIES = 2_000_000;
/** Bytes of all keys and values, at most: nodes may be shared, so that they can be far more than the index has. */
export const MAX_INDEX_TEXT = 64 * 1024 * 1024;

/** Every entry, by key. Throws FormatError `bad-magic`, `bad-index`, `truncated`, UnsupportedError `index-version`, `index-size`. */
export function parseIndex(bytes: Uint8Array): IndexEntry[] {
  const header = RawIndexHeader.view(bytes);
  if (header.magic !== INDEX_MAGIC) throw new FormatError("bad-magic", "not a module index", { offset: 0 });
  if (header.version >>> 16 !== INDEX_VERSION >>> 16)
    throw new UnsupportedError("index-version", `module index of version ${header.version >>> 16}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const entries: IndexEntry[] = [];
  let count = 0;
  let size = 0; // of the text so far

  function spend(length: number): void {
    size += length;
    if (size > MAX_INDEX_TEXT)
      throw new UnsupportedError("index-size", `module index with more than ${MAX_INDEX_TEXT} bytes of text`);
  }
  function u32(at: number): number {
    if (at + 4 > bytes.length) throw new FormatError("truncated", `module index: ends inside a node`, { offset: at });
    return view.getUint32(at);
  }
  function text(at: number): ByteString {
    const end = bytes.indexOf(0, at);
    if (at >= bytes.length || end < 0)
      throw new FormatError("truncated", "module index: text without end", { offset: at });
    spend(end - at);
    return byteString(bytes.subarray(at, end));
  }

  const pending: { readonly reference: number; readonly key: string }[] = [{ reference: header.root, key: "" }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (++count > MAX_INDEX_ENTRIES)
      throw new UnsupportedError("index-size", `module index with more than ${MAX_INDEX_ENTRIES} entries`);
    let { key } = next;
    const { reference } = next;
    let at = (reference & NODE_OFFSET_MASK) >>> 0;
    if ((reference & NODE_PREFIX) !== 0) {
      const prefix = text(at);
      key += prefix;
      at += prefix.length + 1;
    }
    if (key.length > MAX_KEY) throw new FormatError("bad-index", `module index: key of more than ${MAX_KEY} bytes`);
    const children: typeof pending = [];
    if ((reference & NODE_CHILDREN) !== 0) {
      const range = u32(at) >>> 16; // two bytes; more follow in any case
      const [first, last] = [range >>> 8, range & 0xff];
      at += 2;
      for (let character = first; character <= last; character++, at += 4) {
        const child = u32(at);
        if (child !== 0) children.push({ reference: child, key: key + String.fromCharCode(character) });
      }
    }
    if ((reference & NODE_VALUES) !== 0) {
      const values = u32(at);
      at += 4;
      for (let i = 0; i < values; i++) {
        if (++count > MAX_INDEX_ENTRIES)
          throw new UnsupportedError("index-size", `module index with more than ${MAX_INDEX_ENTRIES} entries`);
        const value = text(at + 4);
        spend(key.length);
        entries.push({ key: key as ByteString, value, priority: u32(at) });
        at += 4 + value.length + 1;
      }
    }
    pending.push(...children.reverse());
  }
  return entries;
}
