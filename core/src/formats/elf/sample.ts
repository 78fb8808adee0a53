/** Small ELF files for tests: headers, strings and notes without a single instruction. */
import { concatBytes, encodeUtf8 } from "../../bytes/index.ts";
import { DLOPEN_TYPE, IDENT_SIZE, RawIdent, TABLES } from "./format.ts";

export interface SampleElf {
  /** 1: 32 bits, 2: 64 bits (default). */
  readonly bits?: 1 | 2;
  /** 1: little-endian (default), 2: big-endian. */
  readonly order?: 1 | 2;
  /** Default 62, x86-64. */
  readonly machine?: number;
  readonly interpreter?: string;
  readonly soname?: string;
  readonly needed?: readonly string[];
  /** Directories with colons between them. */
  readonly runpath?: string;
  /** JSON of one `.note.dlopen`. */
  readonly dlopen?: string;
}

const BASE_ADDRESS = 0x10000;
const CLASS_32 = 1;

export function sampleElf(sample: SampleElf): Uint8Array {
  const { bits = 2, order = 1, needed = [] } = sample;
  const tables = TABLES[bits][order];
  const word = (value: number) => (bits === CLASS_32 ? value : BigInt(value)) as never;
  const text = (value: string | undefined) => (value === undefined ? new Uint8Array() : encodeUtf8(`${value}\0`));

  let strings = "\0";
  const place = (value: string): number => {
    const at = strings.length;
    strings += `${value}\0`;
    return at;
  };
  const entries: [tag: number, value: number][] = [
    ...needed.map((name): [number, number] => [1, place(name)]),
    ...(sample.soname === undefined ? [] : ([[14, place(sample.soname)]] as [number, number][])),
    ...(sample.runpath === undefined ? [] : ([[29, place(sample.runpath)]] as [number, number][])),
  ];
  const interpreter = text(sample.interpreter);
  const note = sample.dlopen === undefined ? new Uint8Array() : encodeNote(tables.note, sample.dlopen);
  const parts = [interpreter, encodeUtf8(strings)];
  const start = IDENT_SIZE + tables.header.size + 4 * tables.segment.size;
  const stringsAt = start + interpreter.length;
  const dynamicAt = stringsAt + strings.length;
  // The entry behind the null one must not be looked at.
  entries.push([5, BASE_ADDRESS + stringsAt], [10, strings.length], [0x6ffffffb, 1], [0, 0], [1, 9999]);
  const dynamic = concatBytes(
    ...entries.map(([tag, value]) => tables.dynamic.encode({ tag: word(tag), value: word(value) })),
  );
  parts.push(dynamic, note);
  const size = dynamicAt + dynamic.length + note.length;
  const segment = (type: number, offset: number, fileSize: number) =>
    tables.segment.encode({
      // Segment type 0 is none.
      type: fileSize === 0 ? 0 : type,
      flags: 4,
      offset,
      address: BASE_ADDRESS + offset,
      physicalAddress: word(0),
      fileSize,
      memorySize: word(fileSize),
      alignment: word(4),
    });
  return concatBytes(
    RawIdent.encode({
      magic: Uint8Array.of(0x7f, 0x45, 0x4c, 0x46),
      class: bits,
      order,
      version: 1,
      abi: 0,
      abiVersion: 0,
      padding: new Uint8Array(7),
    }),
    tables.header.encode({
      type: 3,
      machine: sample.machine ?? 62,
      version: 1,
      entry: word(0),
      programHeaders: IDENT_SIZE + tables.header.size,
      sectionHeaders: word(0),
      flags: 0,
      headerSize: IDENT_SIZE + tables.header.size,
      programHeaderSize: tables.segment.size,
      programHeaderCount: 4,
      sectionHeaderSize: 0,
      sectionHeaderCount: 0,
      sectionNames: 0,
    }),
    segment(3, start, interpreter.length),
    segment(1, 0, size),
    segment(2, dynamicAt, dynamic.length),
    segment(4, dynamicAt + dynamic.length, note.length),
    ...parts,
  );
}

function encodeNote(note: (typeof TABLES)[1][1]["note"], json: string): Uint8Array {
  const description = encodeUtf8(json);
  return concatBytes(
    note.encode({ nameSize: 4, descriptionSize: description.length, type: DLOPEN_TYPE }),
    encodeUtf8("FDO\0"),
    description,
    new Uint8Array(-description.length & 3),
  );
}
