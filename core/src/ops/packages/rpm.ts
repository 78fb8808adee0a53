/**
 * rpm's database in its SQLite form (rpm 4.16 and later; Fedora, RHEL 9): a table of package headers. Spec of headers:
 * rpm's docs/manual/format_header.md; tags: include/rpm/rpmtag.h.
 */
import { type ByteString, be, byteString, defineStruct } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { type DatabaseFiles, type FoundPackage, fieldText } from "./packages.ts";
import { readSqliteTable } from "./sqlite.ts";

/** The first is where image-based systems keep it, out of `/var`. */
const PLACES = ["usr/lib/sysimage/rpm", "var/lib/rpm", "usr/share/rpm"];
/** Other forms of the database: SUSE's own, and Berkeley DB of old systems. */
const FOREIGN = ["Packages.db", "Packages"];

export async function readRpm(files: DatabaseFiles): Promise<readonly FoundPackage[] | undefined> {
  for (const place of PLACES) {
    const folder = files.directory(place);
    if (folder === undefined) continue;
    const path = `${place}/rpmdb.sqlite`;
    const bytes = await files.read(path);
    if (bytes !== undefined) {
      const log = folder.entries.get("rpmdb.sqlite-wal" as ByteString);
      if (log?.type === "file" && log.content.size > 0)
        throw new UnsupportedError("sqlite-wal", `/${path} has changes in a write-ahead log`);
      return parseDatabase(bytes);
    }
    const foreign = FOREIGN.find((name) => folder.entries.has(name as ByteString));
    if (foreign !== undefined)
      throw new UnsupportedError("rpm-database", `/${place}/${foreign} is no SQLite database, which alone is read`);
  }
  return undefined;
}

function parseDatabase(bytes: Uint8Array): FoundPackage[] {
  const found: FoundPackage[] = [];
  for (const [, header] of readSqliteTable(bytes, "Packages") ?? [])
    if (header instanceof Uint8Array) {
      const entry = parseHeader(header);
      if (entry !== undefined) found.push(entry);
    }
  return found;
}

const RawHeaderIntro = /* @__PURE__ */ defineStruct("rpm.header", 8, {
  entryCount: be.u32(0),
  dataSize: be.u32(4), // bytes
});

const RawHeaderEntry = /* @__PURE__ */ defineStruct("rpm.header entry", 16, {
  tag: be.u32(0),
  type: be.u32(4),
  offset: be.u32(8), // bytes from the start of the data
  count: be.u32(12), // values
});

const TAG = {
  name: 1000,
  version: 1001,
  release: 1002,
  epoch: 1003,
  architecture: 1022,
  directoryIndexes: 1116,
  baseNames: 1117,
  directoryNames: 1118,
} as const;
const TYPE_INT32 = 4;
const TYPE_STRING = 6;
const TYPE_STRING_ARRAY = 8;
const TYPE_I18N_STRING = 9;

/** Undefined for what is no package: `gpg-pubkey`, keys that rpm keeps as such. */
function parseHeader(bytes: Uint8Array): FoundPackage | undefined {
  const { entryCount, dataSize } = RawHeaderIntro.view(bytes);
  const start = RawHeaderIntro.size + entryCount * RawHeaderEntry.size;
  if (start + dataSize > bytes.length)
    throw new FormatError("truncated", `rpm header of ${start + dataSize} bytes, ${bytes.length} are there`);
  const data = bytes.subarray(start, start + dataSize);
  const wanted = new Set<number>(Object.values(TAG));
  const values = new Map<number, readonly (ByteString | number)[]>();
  for (let i = 0; i < entryCount; i++) {
    const { tag, type, offset, count } = RawHeaderEntry.view(bytes, RawHeaderIntro.size + i * RawHeaderEntry.size);
    if (wanted.has(tag) && !values.has(tag)) values.set(tag, readValues(data, type, offset, count, tag));
  }
  const text = (tag: number): string | undefined => {
    const value = values.get(tag)?.[0];
    return value === undefined ? undefined : String(value);
  };
  const name = text(TAG.name);
  const architecture = text(TAG.architecture);
  if (name === undefined || name === "gpg-pubkey") return undefined;
  const epoch = text(TAG.epoch);
  const version = `${epoch === undefined ? "" : `${epoch}:`}${text(TAG.version) ?? ""}-${text(TAG.release) ?? ""}`;
  return {
    name: fieldText(name),
    version: fieldText(version),
    architecture: architecture === undefined ? undefined : fieldText(architecture),
    paths: pathsOf(values),
    records: [],
  };
}

function readValues(
  data: Uint8Array,
  type: number,
  offset: number,
  count: number,
  tag: number,
): readonly (ByteString | number)[] {
  const cut = (): FormatError => new FormatError("truncated", `rpm header: values of tag ${tag} are past its end`);
  if (type === TYPE_INT32) {
    if (offset + count * 4 > data.length) throw cut();
    const view = new DataView(data.buffer, data.byteOffset + offset, count * 4);
    return Array.from({ length: count }, (_, index) => view.getUint32(index * 4));
  }
  if (type !== TYPE_STRING && type !== TYPE_STRING_ARRAY && type !== TYPE_I18N_STRING)
    throw new FormatError("bad-rpm-header", `rpm header: tag ${tag} has type ${type}`);
  const texts: ByteString[] = [];
  for (let at = offset; texts.length < count; ) {
    const end = at < data.length ? data.indexOf(0, at) : -1;
    if (end < 0) throw cut();
    texts.push(byteString(data.subarray(at, end)));
    at = end + 1;
  }
  return texts;
}

/** A file is a base name and the number of its directory. */
function* pathsOf(values: ReadonlyMap<number, readonly (ByteString | number)[]>): Generator<ByteString> {
  const folders = values.get(TAG.directoryNames) ?? [];
  const indexes = values.get(TAG.directoryIndexes) ?? [];
  for (const [index, name] of (values.get(TAG.baseNames) ?? []).entries()) {
    const folder = folders[Number(indexes[index])];
    if (folder !== undefined) yield `${folder}${name}` as ByteString;
  }
}
