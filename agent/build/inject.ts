/**
 * Puts a blob into a copy of Node's program, where `node:sea` looks for it: a note named NODE_SEA_BLOB in a segment of its
 * own, and a fuse that says that it is there (Node's documentation, "Single executable applications", Linux; ELF: System V
 * ABI, chapters 4 and 5). Postject does the same with a whole ELF library; this much needs none, leaves out what only a
 * debugger reads (18 MB), and gives the same bytes each time.
 *
 *     file    [ segments as they were ][ … ][ table of segments | note ]
 *     memory  [ segments as they were, .bss ][ table of segments | note ]
 */
import { alignUp, encodeUtf8, equalBytes } from "../../core/src/bytes/index.ts";
import { FormatError } from "../../core/src/errors/index.ts";
import {
  IDENT_SIZE,
  RawIdent,
  SEGMENT_HEADERS,
  SEGMENT_LOAD,
  SEGMENT_NOTE,
  SEGMENT_READABLE,
  TABLES_64_LE,
} from "../../core/src/formats/elf/format.ts";

const { header: Header, segment: Segment, note: Note } = TABLES_64_LE;
type Header = ReturnType<typeof Header.view>;
type Segment = ReturnType<typeof Segment.view>;

const MAGIC = Uint8Array.of(0x7f, 0x45, 0x4c, 0x46);
const NOTE_NAME = encodeUtf8("NODE_SEA_BLOB\0");
const FUSE = encodeUtf8("NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:0");
const NOTE_ALIGNMENT = 4; // bytes
/** Bytes; what the code cache in the blob is read at best. */
const BLOB_ALIGNMENT = 8;
/** Bytes; the largest pages that arm64 has. */
const PAGE_SIZE = 65536;

const endInFile = ({ offset, fileSize }: Segment): number => offset + fileSize;
const endInMemory = ({ address, memorySize }: Segment): number => address + Number(memorySize);

function readSegments(program: Uint8Array): { header: Header; segments: Segment[] } {
  const ident = RawIdent.view(program);
  if (!equalBytes(ident.magic, MAGIC) || ident.class !== 2 || ident.order !== 1)
    throw new FormatError("bad-magic", "not an ELF program of 64 bits, little-endian", { offset: 0 });
  const header = Header.view(program, IDENT_SIZE);
  const segments = Array.from({ length: header.programHeaderCount }, (_, index) =>
    Segment.view(program, header.programHeaders + index * Segment.size),
  );
  return { header, segments };
}

/** Where in `program` the only fuse is. */
function findFuse(program: Buffer): number {
  const at = program.indexOf(FUSE);
  if (at < 0 || program.indexOf(FUSE, at + 1) >= 0)
    throw new FormatError("bad-elf", "not a Node that takes a single executable: its fuse is not there once");
  return at;
}

/** Node's program with `blob` in it; what is not loaded into memory (symbols, debugging information) is left out. */
export function injectBlob(program: Uint8Array, blob: Uint8Array): Uint8Array {
  const { header, segments } = readSegments(program);
  const loaded = segments.filter(({ type }) => type === SEGMENT_LOAD);
  const [first] = loaded;
  const last = loaded.at(-1);
  if (first === undefined || last === undefined) throw new FormatError("bad-elf", "ELF file with nothing to load");
  const fileEnd = Math.max(...segments.map(endInFile));
  const base = first.address - first.offset;

  // The same distance between file and memory as the first segment: kernels before 5.18 count on it to find the table.
  const offset = alignUp(Math.max(fileEnd, endInMemory(last) - base), PAGE_SIZE);
  const tableSize = (segments.length + 2) * Segment.size;
  const nameSize = alignUp(NOTE_NAME.length, NOTE_ALIGNMENT);
  const blobAt = alignUp(tableSize + Note.size + nameSize, BLOB_ALIGNMENT); // in the new segment
  const noteAt = blobAt - nameSize - Note.size;
  const size = alignUp(blobAt + blob.length, NOTE_ALIGNMENT); // of the new segment

  const part = (type: number, at: number, size: number, alignment: number): Segment => ({
    type,
    flags: SEGMENT_READABLE,
    offset: offset + at,
    address: base + offset + at,
    physicalAddress: BigInt(base + offset + at),
    fileSize: size,
    memorySize: BigInt(size),
    alignment: BigInt(alignment),
  });
  const table = segments.flatMap((segment): Segment[] => {
    if (segment.type === SEGMENT_HEADERS) return [part(SEGMENT_HEADERS, 0, tableSize, Number(segment.alignment))];
    return segment === last ? [segment, part(SEGMENT_LOAD, 0, size, PAGE_SIZE)] : [segment];
  });
  table.push(part(SEGMENT_NOTE, noteAt, size - noteAt, NOTE_ALIGNMENT));

  const result = Buffer.alloc(offset + size);
  result.set(program.subarray(0, fileEnd));
  result[findFuse(result) + FUSE.length - 1] = "1".charCodeAt(0);
  const changed = {
    programHeaders: offset,
    programHeaderCount: table.length,
    sectionHeaders: 0n,
    sectionHeaderCount: 0,
    sectionNames: 0,
  };
  result.set(Header.encode({ ...fieldsOf(header), ...changed }), IDENT_SIZE);
  for (const [index, segment] of table.entries()) result.set(Segment.encode(segment), offset + index * Segment.size);
  result.set(Note.encode({ nameSize: NOTE_NAME.length, descriptionSize: blob.length, type: 0 }), offset + noteAt);
  result.set(NOTE_NAME, offset + noteAt + Note.size);
  result.set(blob, offset + blobAt);
  return result;
}

/** The fields of a view, which reads them from its bytes when asked. */
function fieldsOf(header: Header): Header {
  return Object.fromEntries(
    Object.keys(Header.fields).map((key) => [key, header[key as keyof Header]]),
  ) as unknown as Header;
}
