// A tar writer for test input, independent of the product's reader: ustar headers, PAX records as bytes where asked.
// It writes what it is told, also what no sane archiver would: hostile names, links to nothing, entries without parents.

export type TarType =
  | "file"
  | "link" // hard link to the name in `target`
  | "symlink"
  | "character"
  | "block"
  | "directory"
  | "fifo";

export interface TarEntry {
  readonly name: string | Uint8Array;
  /** Directory for a name that ends in "/", else file, when absent. */
  readonly type?: TarType;
  readonly content?: string | Uint8Array;
  readonly target?: string | Uint8Array;
  readonly mode?: number; // 0o755 for directories and 0o644 otherwise, when absent
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number; // seconds; fractions go into a PAX record
  readonly device?: readonly [major: number, minor: number];
  /** Written as SCHILY.xattr records. */
  readonly xattrs?: Readonly<Record<string, string | Uint8Array>>;
  /** More PAX records, as they are. */
  readonly pax?: Readonly<Record<string, string | Uint8Array>>;
}

export const TEST_MTIME = 1_735_689_600; // 2025-01-01T00:00:00Z

export function tarBytes(entries: readonly TarEntry[]): Uint8Array {
  return concat([...entries.flatMap(entryBlocks), new Uint8Array(1024)]);
}

/** A whiteout: removes `path` of the layers below. */
export function whiteout(path: string): TarEntry {
  const slash = path.lastIndexOf("/") + 1;
  return { name: `${path.slice(0, slash)}.wh.${path.slice(slash)}` };
}

/** Hides what the layers below have in the directory `path`, and makes it. */
export function opaque(path: string): TarEntry[] {
  return [{ name: `${path}/` }, { name: `${path}/.wh..wh..opq` }];
}

const TYPE_FLAGS = {
  file: "0",
  link: "1",
  symlink: "2",
  character: "3",
  block: "4",
  directory: "5",
  fifo: "6",
} as const;
const OCTAL_SIZE_LIMIT = 0o77777777777;

function entryBlocks(entry: TarEntry): Uint8Array[] {
  const name = toBytes(entry.name);
  const target = toBytes(entry.target ?? "");
  const content = toBytes(entry.content ?? "");
  const type = entry.type ?? (name.at(-1) === 0x2f ? "directory" : "file");
  const mtime = entry.mtime ?? TEST_MTIME;
  const records: [string, Uint8Array][] = [];
  if (name.length > 100) records.push(["path", name]);
  if (target.length > 100) records.push(["linkpath", target]);
  if (!Number.isInteger(mtime) || mtime < 0 || mtime > OCTAL_SIZE_LIMIT)
    records.push(["mtime", toBytes(String(mtime))]);
  for (const [key, value] of Object.entries(entry.xattrs ?? {})) records.push([`SCHILY.xattr.${key}`, toBytes(value)]);
  for (const [key, value] of Object.entries(entry.pax ?? {})) records.push([key, toBytes(value)]);

  const blocks: Uint8Array[] = [];
  if (records.length > 0) {
    const body = concat(records.map(([key, value]) => paxRecord(key, value)));
    blocks.push(
      header({ name: toBytes("PaxHeaders/entry"), flag: "x", size: body.length }),
      body,
      padding(body.length),
    );
  }
  blocks.push(
    header({
      name: name.slice(0, 100),
      flag: TYPE_FLAGS[type],
      size: content.length,
      target: target.slice(0, 100),
      mode: entry.mode ?? (type === "directory" ? 0o755 : 0o644),
      uid: entry.uid ?? 0,
      gid: entry.gid ?? 0,
      mtime: Math.min(Math.max(Math.floor(mtime), 0), OCTAL_SIZE_LIMIT),
      device: entry.device ?? [0, 0],
    }),
    content,
    padding(content.length),
  );
  return blocks;
}

interface Header {
  readonly name: Uint8Array;
  readonly flag: string;
  readonly size: number;
  readonly target?: Uint8Array;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly device?: readonly [number, number];
}

/** POSIX ustar header block. */
function header({
  name,
  flag,
  size,
  target,
  mode = 0o644,
  uid = 0,
  gid = 0,
  mtime = 0,
  device = [0, 0],
}: Header): Uint8Array {
  const block = new Uint8Array(512);
  const octal = (at: number, length: number, value: number): void => {
    const digits = value.toString(8).padStart(length - 1, "0");
    if (digits.length >= length)
      throw new RangeError(`${value} does not fit a tar field of ${length} bytes; use a PAX record`);
    block.set(toBytes(digits), at);
  };
  block.set(name, 0);
  octal(100, 8, mode);
  octal(108, 8, uid);
  octal(116, 8, gid);
  octal(124, 12, size);
  octal(136, 12, mtime);
  block.fill(0x20, 148, 156); // the checksum counts itself as spaces
  block.set(toBytes(flag), 156);
  if (target !== undefined) block.set(target, 157);
  block.set(toBytes("ustar\x0000"), 257);
  octal(329, 8, device[0]);
  octal(337, 8, device[1]);
  octal(
    148,
    7,
    block.reduce((sum, byte) => sum + byte, 0),
  );
  block[154] = 0;
  return block;
}

function paxRecord(key: string, value: Uint8Array): Uint8Array {
  const rest = concat([toBytes(` ${key}=`), value, toBytes("\n")]);
  // The length counts its own digits.
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  return concat([toBytes(String(length)), rest]);
}

const padding = (size: number): Uint8Array => new Uint8Array((512 - (size % 512)) % 512);

const toBytes = (text: string | Uint8Array): Uint8Array =>
  typeof text === "string" ? new TextEncoder().encode(text) : text;

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
