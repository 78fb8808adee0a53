/**
 * Reads rows of a table of an SQLite database in memory, in the order of their row ids: what rpm's database needs, no
 * more. Spec: sqlite.org/fileformat2.html.
 */
import { type ByteString, be, byteString, defineStruct, raw, u8 } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";

/** The database header, "1.3. The Database Header". */
const RawDatabaseHeader = /* @__PURE__ */ defineStruct("sqlite.header", 100, {
  magic: raw(0, 16),
  pageSize: be.u16(16), // bytes; 1 stands for 65536
  writeVersion: u8(18),
  readVersion: u8(19), // 1: rollback journal, 2: write-ahead log
  reservedSize: u8(20), // unused bytes at the end of each page
  fractions: raw(21, 3),
  changes: be.u32(24),
  pageCount: be.u32(28),
  freelist: raw(32, 8),
  schemaCookie: be.u32(40),
  schemaFormat: be.u32(44),
  cacheSize: be.u32(48),
  largestRoot: be.u32(52),
  encoding: be.u32(56), // 1: UTF-8
  rest: raw(60, 40),
});

const MAGIC = "SQLite format 3\0";
const UTF8 = 1;
const INTERIOR = 0x05;
const LEAF = 0x0d;
const INTERIOR_HEADER = 12; // bytes
const LEAF_HEADER = 8; // bytes

/** A value of a row: integers and reals are not told apart from null where nobody asks for them. */
type Value = Uint8Array | number | undefined;

interface Database {
  readonly bytes: Uint8Array;
  readonly pageSize: number;
  /** Bytes of a page that are used. */
  readonly usable: number;
  readonly pageCount: number;
}

function broken(what: string, page: number): FormatError {
  return new FormatError("bad-sqlite", `SQLite database: ${what} in page ${page}`);
}

function openDatabase(bytes: Uint8Array): Database {
  const header = RawDatabaseHeader.view(bytes);
  if (byteString(header.magic) !== MAGIC) throw new FormatError("bad-magic", "not an SQLite database");
  const pageSize = header.pageSize === 1 ? 65536 : header.pageSize;
  const usable = pageSize - header.reservedSize;
  if (pageSize < 512 || (pageSize & (pageSize - 1)) !== 0 || usable < 480)
    throw new FormatError("bad-sqlite", `SQLite database: page size ${pageSize}`);
  if (header.encoding !== UTF8 && header.encoding !== 0)
    throw new UnsupportedError("sqlite-encoding", "SQLite databases in UTF-16 are not implemented");
  return { bytes, pageSize, usable, pageCount: Math.floor(bytes.length / pageSize) };
}

function pageOf({ bytes, pageSize, pageCount }: Database, page: number): DataView {
  if (page < 1 || page > pageCount) throw broken("no such page", page);
  return new DataView(bytes.buffer, bytes.byteOffset + (page - 1) * pageSize, pageSize);
}

/** A variable-length integer; past 2^53 it is refused. */
function varint(view: DataView, at: number, page: number): readonly [value: number, next: number] {
  let value = 0;
  for (let i = 0; i < 9; i++) {
    if (at + i >= view.byteLength) throw broken("number past the end", page);
    const byte = view.getUint8(at + i);
    value = i === 8 ? value * 256 + byte : value * 128 + (byte & 0x7f);
    if (i === 8 || byte < 0x80) {
      if (!Number.isSafeInteger(value)) throw broken("number too large", page);
      return [value, at + i + 1];
    }
  }
  throw broken("number without end", page);
}

/** Payloads of a table's rows. Each page is visited once: a tree that goes round is broken. */
function* payloads(database: Database, root: number): Generator<Uint8Array> {
  const visited = new Set<number>();
  const pending = [root];
  for (let page = pending.pop(); page !== undefined; page = pending.pop()) {
    if (visited.has(page)) throw broken("page is there twice", page);
    visited.add(page);
    const view = pageOf(database, page);
    const start = page === 1 ? RawDatabaseHeader.size : 0;
    const type = view.getUint8(start);
    if (type !== LEAF && type !== INTERIOR) throw broken(`type ${type} is no table`, page);
    const count = view.getUint16(start + 3);
    const cells = start + (type === LEAF ? LEAF_HEADER : INTERIOR_HEADER);
    if (cells + 2 * count > database.usable) throw broken("more cells than fit", page);
    const places = Array.from({ length: count }, (_, index) => view.getUint16(cells + 2 * index));
    if (type === LEAF) for (const place of places) yield payloadAt(database, view, place, page, visited);
    else {
      const children = places.map((place) => {
        if (place + 4 > database.usable) throw broken("cell past the end", page);
        return view.getUint32(place);
      });
      pending.push(view.getUint32(start + 8), ...children.reverse()); // the rightmost last
    }
  }
}

/** "1.5. B-tree Pages": how much of a payload is in the cell; the rest is in a chain of pages. */
function payloadAt(database: Database, view: DataView, place: number, page: number, visited: Set<number>): Uint8Array {
  const { usable, bytes } = database;
  const [size, afterSize] = varint(view, place, page);
  const [, at] = varint(view, afterSize, page);
  if (size > bytes.length) throw broken(`row of ${size} bytes`, page);
  const most = usable - 35;
  const least = Math.floor(((usable - 12) * 32) / 255) - 23;
  const wished = least + ((size - least) % (usable - 4));
  const local = size <= most ? size : wished <= most ? wished : least;
  if (at + local + (local < size ? 4 : 0) > usable) throw broken("row past the end", page);
  const start = view.byteOffset + at;
  if (local === size) return new Uint8Array(view.buffer, start, size);
  const whole = new Uint8Array(size);
  whole.set(new Uint8Array(view.buffer, start, local));
  let next = view.getUint32(at + local);
  for (let filled = local; filled < size; ) {
    if (visited.has(next)) throw broken("page is there twice", next);
    visited.add(next);
    const overflow = pageOf(database, next);
    const length = Math.min(usable - 4, size - filled);
    whole.set(new Uint8Array(overflow.buffer, overflow.byteOffset + 4, length), filled);
    filled += length;
    next = overflow.getUint32(0);
  }
  return whole;
}

const INTEGER_SIZES = [0, 1, 2, 3, 4, 6, 8] as const;

/** "2.1. Record Format" */
function parseRecord(payload: Uint8Array): Value[] {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const [headerSize, first] = varint(view, 0, 0);
  if (headerSize > payload.length) throw broken("row header past the end", 0);
  const values: Value[] = [];
  let at = headerSize;
  for (let header = first; header < headerSize; ) {
    const [type, next] = varint(view, header, 0);
    header = next;
    const size = type >= 12 ? Math.floor((type - 12) / 2) : type === 7 ? 8 : (INTEGER_SIZES[type] ?? 0);
    if (at + size > payload.length) throw broken("value past the end", 0);
    if (type >= 12) values.push(payload.subarray(at, at + size));
    else if (type === 8 || type === 9) values.push(type - 8);
    else if (type >= 1 && type <= 6) values.push(integer(view, at, size));
    else values.push(undefined);
    at += size;
  }
  return values;
}

function integer(view: DataView, at: number, size: number): number | undefined {
  if (size === 8) return undefined; // nothing that is read here needs them
  let value = view.getInt8(at);
  for (let i = 1; i < size; i++) value = value * 256 + view.getUint8(at + i);
  return value;
}

/** Rows of a table; undefined where there is no such table. Throws FormatError `bad-sqlite`, `bad-magic`, `truncated`. */
export function readSqliteTable(bytes: Uint8Array, table: string): Generator<readonly Value[]> | undefined {
  const database = openDatabase(bytes);
  for (const payload of payloads(database, 1)) {
    const [type, name, , root] = parseRecord(payload);
    if (textOf(type) === "table" && textOf(name) === table && typeof root === "number") return rows(database, root);
  }
  return undefined;
}

function* rows(database: Database, root: number): Generator<readonly Value[]> {
  for (const payload of payloads(database, root)) yield parseRecord(payload);
}

function textOf(value: Value): ByteString | undefined {
  return value instanceof Uint8Array ? byteString(value) : undefined;
}
