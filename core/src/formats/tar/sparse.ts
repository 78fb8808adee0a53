/** Sparse files in their four forms. GNU tar manual, "Storing Sparse Files" (formats oldgnu, 0.0, 0.1, 1.0). */
import { type ByteString, byteString } from "../../bytes/index.ts";
import { MAX_SPARSE_SEGMENTS, RawSparse } from "./format.ts";
import { parseNumber, parsePaxNumber } from "./numbers.ts";
import type { PaxRecord } from "./pax.ts";

/** A run of stored bytes; the runs stand in the archive one after the other, without gaps. */
export interface SparseSegment {
  /** Bytes from the start of the file. */
  readonly offset: number;
  /** Bytes. */
  readonly size: number;
}

/** Entries of an old GNU map, up to the first unused one. A string says what is wrong. */
export function parseSparseTable(table: Uint8Array, into: SparseSegment[]): string | undefined {
  for (let at = 0; at < table.length; at += RawSparse.size) {
    const entry = RawSparse.view(table, at);
    if (entry.numbytes[0] === 0) return undefined;
    const offset = parseNumber(entry.offset);
    const size = parseNumber(entry.numbytes);
    if (offset === undefined || size === undefined) return "sparse map holds what is no number";
    into.push({ offset, size });
    if (into.length > MAX_SPARSE_SEGMENTS) return `sparse map has more than ${MAX_SPARSE_SEGMENTS} segments`;
  }
  return undefined;
}

/** What PAX records say of a sparse file. */
export interface PaxSparse {
  /** 0 for formats 0.0 and 0.1, where the map is in the records; 1 for 1.0, where it starts the content. */
  readonly major: 0 | 1;
  readonly name: ByteString | undefined;
  /** Bytes of the file with its holes. */
  readonly realSize: number;
  /** Empty in format 1.0. */
  readonly segments: SparseSegment[];
}

/** Undefined where the records are of no sparse file; a string says what is wrong. */
export function parsePaxSparse(records: readonly PaxRecord[]): PaxSparse | string | undefined {
  const last = new Map<string, ByteString>();
  const numbers: number[] = []; // offset, size, offset, size …
  let invalid = false;
  const collect = (text: string, isSize: boolean) => {
    const value = parsePaxNumber(text);
    if (value === undefined || (numbers.length % 2 === 1) !== isSize || numbers.length >= 2 * MAX_SPARSE_SEGMENTS)
      invalid = true;
    else numbers.push(value);
  };
  for (const { key, value } of records) {
    if (!key.startsWith("GNU.sparse.")) continue;
    const text = byteString(value);
    const field = key.slice("GNU.sparse.".length);
    if (field === "offset" || field === "numbytes") collect(text, field === "numbytes");
    else last.set(field, text);
  }
  const version = `${last.get("major") ?? "0"}.${last.get("minor") ?? "0"}`;
  const name = last.get("name");
  if (version === "1.0") {
    const realSize = parsePaxNumber(last.get("realsize") ?? "");
    if (realSize === undefined) return "GNU.sparse.realsize is no number";
    return { major: 1, name, realSize, segments: [] };
  }
  const map = last.get("map");
  if (map === undefined && numbers.length === 0 && !invalid && !last.has("size")) return undefined;
  if (version !== "0.0" && version !== "0.1") return `sparse format ${JSON.stringify(version.slice(0, 20))} is unknown`;
  if (map !== undefined) {
    numbers.length = 0;
    const texts = map === "" ? [] : map.split(",", 2 * MAX_SPARSE_SEGMENTS + 2);
    for (const [index, text] of texts.entries()) collect(text, index % 2 === 1);
  }
  if (invalid || numbers.length % 2 === 1) return "sparse map is not pairs of numbers";
  const realSize = parsePaxNumber(last.get("size") ?? last.get("realsize") ?? "");
  if (realSize === undefined) return "GNU.sparse.size is no number";
  const segments: SparseSegment[] = [];
  for (let i = 0; i < numbers.length; i += 2) segments.push({ offset: numbers[i]!, size: numbers[i + 1]! }); // even length
  return { major: 0, name, realSize, segments };
}

/**
 * Checks that segments ascend, stay inside the file and account for every stored byte; empty ones (which mark a hole
 * at the end) are left out of the result. A string says what is wrong.
 */
export function checkSegments(
  segments: readonly SparseSegment[],
  realSize: number,
  storedSize: number,
): SparseSegment[] | string {
  let end = 0;
  let stored = 0;
  for (const { offset, size } of segments) {
    if (size < 0 || offset < end || offset + size > realSize)
      return `sparse segment of ${size} bytes at ${offset} overlaps or passes the end at ${realSize}`;
    end = offset + size;
    stored += size;
  }
  if (stored !== storedSize) return `sparse map names ${stored} stored bytes, the entry has ${storedSize}`;
  return segments.filter(({ size }) => size > 0);
}
