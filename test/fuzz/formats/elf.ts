// ELF programs and libraries.
import { concatBytes, encodeUtf8 } from "../../../core/src/bytes/index.ts";
import { IDENT_SIZE, RawIdent, TABLES } from "../../../core/src/formats/elf/format.ts";
import { parseElf } from "../../../core/src/formats/elf/index.ts";
import { type SampleElf, sampleElf } from "../../../core/src/formats/elf/sample.ts";
import type { Table } from "../../support/mutate.ts";
import type { Parser } from "../harness.ts";
import { at, binary, every, pad, runOf, type Seed, shape } from "./common.ts";

const DLOPEN = JSON.stringify([{ feature: "x", priority: "suggested", soname: ["libx.so.1", "libx.so"] }]);
const PROGRAM: SampleElf = {
  ...{ interpreter: "/lib64/ld-linux-x86-64.so.2", soname: "libme.so.1", needed: ["libc.so.6", "libm.so.6"] },
  ...{ runpath: "$ORIGIN/../lib:/opt/lib", dlopen: DLOPEN },
};

function elfSeeds(): Seed[] {
  return (
    [
      [2, 1],
      [1, 2],
    ] as const
  ).map(([bits, order]) => {
    const bytes = sampleElf({ ...PROGRAM, bits, order });
    const { header, segment, dynamic, note } = TABLES[bits][order];
    const segments = IDENT_SIZE + header.size;
    const ofType = (type: number): number => {
      for (let i = 0; i < 4; i++) {
        const found = segment.view(bytes, segments + i * segment.size);
        if (found.type === type) return found.offset;
      }
      return 0;
    };
    const placements = [
      ...[at(RawIdent, 0), at(header as Table, IDENT_SIZE), ...every(segment as Table, segments, 4)],
      ...[...every(dynamic as Table, ofType(2), 6), at(note as Table, ofType(4))],
    ];
    return { bytes, placements };
  });
}

/** A file whose `count` note segments are all the same note: NULs, and something behind them. */
function noteElf(count: number, name: Uint8Array, description: Uint8Array = new Uint8Array(0)): Uint8Array {
  const { header, segment, note } = TABLES[2][1];
  const owner = pad(name, 4);
  const content = concatBytes(
    note.encode({ nameSize: name.length, descriptionSize: description.length, type: 0x407c0c0a }),
    owner,
    pad(description, 4),
  );
  const start = IDENT_SIZE + header.size + count * segment.size;
  const sample = sampleElf({});
  const { size, programHeaderCount } = { size: content.length, programHeaderCount: count };
  const headers = concatBytes(sample.subarray(0, IDENT_SIZE + header.size));
  new DataView(headers.buffer).setUint16(
    IDENT_SIZE + header.fields.programHeaderCount.offset,
    programHeaderCount,
    true,
  );
  const one = segment.encode({
    ...{ type: 4, flags: 4, offset: start, address: 0, fileSize: size },
    ...{ physicalAddress: 0n as never, memorySize: 0n as never, alignment: 0n as never },
  });
  return concatBytes(headers, ...Array.from({ length: count }, () => one), content);
}

export const ELF_PARSERS: readonly Parser[] = [
  {
    name: "ELF",
    mutants: binary(elfSeeds),
    *shapes() {
      yield shape("NULs in a note's name", noteElf(1, encodeUtf8(runOf("\0", 400_000))));
      yield shape("one note many times", noteElf(1000, new Uint8Array(2 ** 21).fill(0x41)));
      const json = `[]${runOf("\0", 400_000)}`;
      yield shape("NULs in a note's JSON", noteElf(1, encodeUtf8("FDO\0"), encodeUtf8(json)));
      const large = JSON.stringify([{ soname: "x".repeat(2 ** 20) }]);
      yield shape("one list many times", noteElf(1000, encodeUtf8("FDO\0"), encodeUtf8(large)));
    },
    read: async (bytes) => parseElf(bytes),
  },
];
