// PE images: UKIs and stubs.
import { concatBytes, encodeUtf8 } from "../../../core/src/bytes/index.ts";
import {
  RawDataDirectory,
  RawDebugEntry,
  RawDosHeader,
  RawFileHeader,
  RawOptionalHeader,
  RawSectionHeader,
} from "../../../core/src/formats/pe/format.ts";
import { assembleUki } from "../../../core/src/formats/pe/index.ts";
import { readUki } from "../../../core/src/ops/disk/index.ts";
import { bytesSource } from "../../../core/src/source/index.ts";
import type { Parser } from "../harness.ts";
import { at, binary, every, pad, runOf, type Seed, sample, shape } from "./common.ts";

/** A PE32+ image as small as a stub can be. */
export function peImage(sections: readonly (readonly [name: string, content: Uint8Array])[]): Uint8Array {
  const headersSize = 0x600;
  let rawOffset = headersSize;
  const table = sections.map(([name, content], index) => {
    const rawSize = Math.ceil(content.length / 512) * 512;
    const place = { virtualAddress: 0x1000 * (index + 1), virtualSize: content.length, rawSize, rawOffset };
    rawOffset += rawSize;
    const none = { relocations: 0, lineNumbers: 0, relocationCount: 0, lineNumberCount: 0 };
    return RawSectionHeader.encode({ name: encodeUtf8(name), characteristics: 0x40000040, ...place, ...none });
  });
  const debug = sections.findIndex(([name]) => name === ".rdata");
  const headers = concatBytes(
    RawDosHeader.encode({ magic: 0x5a4d, dos: new Uint8Array(0), peOffset: 64 }),
    RawFileHeader.encode({
      ...{
        signature: 0x4550,
        machine: 0x8664,
        sectionCount: sections.length,
        timestamp: 1,
        symbolTable: 0,
        symbolCount: 0,
      },
      ...{ optionalHeaderSize: RawOptionalHeader.size + 8 * 16, characteristics: 0x206 },
    }),
    RawOptionalHeader.encode({
      ...{
        magic: 0x20b,
        linkerMajor: 0,
        linkerMinor: 0,
        codeSize: 0,
        initializedDataSize: 0,
        uninitializedDataSize: 0,
      },
      ...{ entryPoint: 0x1000, codeBase: 0x1000, imageBase: 0x14df90000n, sectionAlignment: 4096, fileAlignment: 512 },
      ...{
        osMajor: 0,
        osMinor: 0,
        imageMajor: 257,
        imageMinor: 1,
        subsystemMajor: 1,
        subsystemMinor: 1,
        win32Version: 0,
      },
      ...{ imageSize: 0x10000, headersSize, checksum: 0, subsystem: 10, dllCharacteristics: 0x160 },
      ...{ stackReserve: 0n, stackCommit: 0n, heapReserve: 0n, heapCommit: 0n, loaderFlags: 0, directoryCount: 16 },
    }),
    ...Array.from({ length: 16 }, (_, i) =>
      RawDataDirectory.encode(
        i === 6 && debug >= 0 ? { address: 0x1000 * (debug + 1), size: 28 } : { address: 0, size: 0 },
      ),
    ),
    ...table,
  );
  const padded = new Uint8Array(headersSize);
  padded.set(headers);
  return concatBytes(padded, ...sections.map(([, content]) => pad(content, 512)));
}

const SBAT = "sbat,1,SBAT Version,sbat,1,https://example.org\nsystemd,1,S,systemd,257,https://example.org\n\0";
const MAGIC = "#### LoaderInfo: systemd-stub 257.1-2 ####\0";

function stubBytes(): Uint8Array {
  const debug = {
    characteristics: 0,
    timestamp: 0,
    major: 0,
    minor: 0,
    type: 2,
    size: 4,
    address: 0x1000,
    rawOffset: 0x600,
  };
  return peImage([
    [".text", new Uint8Array(700).fill(0x90)],
    [".sbat", encodeUtf8(SBAT)],
    [".sdmagic", encodeUtf8(MAGIC)],
    [".rdata", RawDebugEntry.encode(debug)],
  ]);
}

function ukiBytes(commandLine: Uint8Array = encodeUtf8(`quiet roothash=${"ab".repeat(32)}`)): Uint8Array {
  return peImage([
    [".text", new Uint8Array(700).fill(0x90)],
    [".sdmagic", encodeUtf8(MAGIC)],
    [".osrel", encodeUtf8("ID=x\n")],
    [".cmdline", commandLine],
    [".linux", new Uint8Array(600).fill(3)],
  ]);
}

function peSeed(bytes: Uint8Array): Seed {
  const optional = 64 + RawFileHeader.size;
  const table = optional + RawOptionalHeader.size + 16 * RawDataDirectory.size;
  const count = RawFileHeader.view(bytes, 64).sectionCount;
  const placements = [
    ...[at(RawDosHeader, 0), at(RawFileHeader, 64), at(RawOptionalHeader, optional)],
    ...every(RawDataDirectory, optional + RawOptionalHeader.size + 32, 3),
    ...every(RawSectionHeader, table, count),
  ];
  return { bytes, placements };
}

export const PE_PARSERS: readonly Parser[] = [
  {
    name: "PE, UKI",
    mutants: binary(() => [peSeed(ukiBytes())]),
    *shapes() {
      yield shape("NULs in the command line", ukiBytes(encodeUtf8(runOf("\0", 65_000))));
    },
    async read(bytes) {
      const { image } = await readUki(bytesSource(bytes), "uki");
      for (const { content } of image.sections) await sample(content);
    },
  },
  {
    name: "PE, stub",
    mutants: binary(() => [peSeed(stubBytes())]),
    async read(stub) {
      const { source } = await assembleUki({
        stub,
        sections: [
          { name: ".linux", content: peImage([[".text", new Uint8Array(5000)]]) },
          { name: ".cmdline", content: encodeUtf8("quiet") },
        ],
      });
      await sample(source);
    },
  },
];
