/** Puts a UKI together: systemd's stub, then the sections that it looks for. */
import { alignUp, copyFields, decodeUtf8, encodeUtf8 } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { bytesSource, piecewiseSource, type ReadOptions, type Source } from "../../source/index.ts";
import { checksumOffset, peChecksum } from "./checksum.ts";
import {
  type Architecture,
  DIRECTORY_CERTIFICATES,
  FILE_LOCAL_SYMBOLS_STRIPPED,
  RawDataDirectory,
  RawFileHeader,
  RawOptionalHeader,
  RawSectionHeader,
  SUBSYSTEM_EFI_APPLICATION,
} from "./format.ts";
import { BLOCK_SIZE, fromPayload, fromStub, type Placing, placeKept, placeNews } from "./place.ts";
import { type LoaderInfo, openPe } from "./read.ts";
import { mergeSbat } from "./sbat.ts";
import { orderSections } from "./sections.ts";
import { moveDebugEntries, parseStub, type Stub } from "./stub.ts";

/** Free places in the section table, at least: signing adds `.pcrsig` and `.pcrpkey`, others add their own. */
export const SPARE_HEADERS = 8;

export interface UkiSection {
  /** With its leading full stop. */
  readonly name: string;
  readonly content: Source | Uint8Array;
}

export interface UkiOptions extends ReadOptions {
  /** systemd's `linux*.efi.stub`. Not changed. */
  readonly stub: Uint8Array;
  /** `.linux` among them, in any order. */
  readonly sections: readonly UkiSection[];
  /** SBAT tables to merge into the stub's own. */
  readonly sbat?: readonly string[] | undefined;
  /** What the image is for; refuses a stub of another machine. */
  readonly architecture?: Architecture | undefined;
}

/** Where a section is. */
export interface PlacedSection {
  readonly name: string;
  /** Relative to the image base. */
  readonly virtualAddress: number;
  /** Bytes, exactly the payload's. */
  readonly virtualSize: number;
  /** File offset. */
  readonly rawOffset: number;
  /** Bytes in the file, padding included. */
  readonly rawSize: number;
  readonly content: Source;
}

export interface Uki {
  /** The whole file; contents are read when it is. */
  readonly source: Source;
  readonly architecture: Architecture;
  readonly stub: LoaderInfo;
  /** All sections, the stub's first, in the order of the section table. */
  readonly sections: readonly PlacedSection[];
  /** Free places in the section table. */
  readonly spareHeaders: number;
  readonly checksum: number;
}

/**
 * The stub keeps its bytes and addresses; headers grow in the file where the table needs room. Our sections follow the
 * highest address and the last byte. Raw data leaves no gaps (Authenticode tools disagree about those): where a section
 * moves to a block boundary, the raw size of the one before it takes the padding, its virtual size stays exact.
 *
 * Reads all contents once, for the checksum. Throws what `parseStub`, `orderSections` and `openPe` throw, and
 * UnsupportedError `no-linux`, `kernel-not-efi`, `wrong-machine`, `uki-section`, `pe-headers`, `uki-size`.
 */
export async function assembleUki(options: UkiOptions): Promise<Uki> {
  const stub = await parseStub(options.stub, options.architecture);
  const added = orderSections(options.sections).map(({ name, content }) => ({
    name,
    content: content instanceof Uint8Array ? bytesSource(content) : content,
  }));
  const linux = added.find(({ name }) => name === ".linux");
  if (linux === undefined) throw new UnsupportedError("no-linux", "UKI without a section .linux");
  await assertKernel(linux.content, stub.architecture, options);

  const kept = stub.sections.map(fromStub);
  const news = added.map(fromPayload);
  mergeStubSbat(stub, kept, news, options.sbat ?? []);
  for (const { name } of news)
    if (kept.some((section) => section.name === name))
      throw new UnsupportedError("uki-section", `UKI section ${name} is the stub's own`);

  const { fileAlignment, sectionAlignment, headersSize: stubHeadersSize } = stub.optionalHeader;
  const tableEnd = (count: number): number => stub.sectionTable + count * RawSectionHeader.size;
  const count = kept.length + news.length;
  const headersSize = Math.max(stubHeadersSize, alignUp(tableEnd(count + SPARE_HEADERS), fileAlignment));
  const firstAddress = Math.min(...kept.map(({ virtualAddress }) => virtualAddress));
  if (headersSize > firstAddress)
    throw new UnsupportedError(
      "pe-headers",
      `UKI stub: ${count + SPARE_HEADERS} section headers end at ${headersSize}, its first section is at ${firstAddress}`,
    );
  moveDebugEntries(stub, placeKept(kept, headersSize, fileAlignment));
  const sections = [...kept, ...news];
  placeNews(kept, news, { headersSize, fileAlignment, addressAlignment: Math.max(sectionAlignment, BLOCK_SIZE) });

  const size = Math.max(...sections.map(({ rawOffset, rawSize }) => rawOffset + rawSize));
  const imageSize = alignUp(
    Math.max(...sections.map(({ virtualAddress, content }) => virtualAddress + content.size)),
    sectionAlignment,
  );
  if (Math.max(size, imageSize) > 0xffffffff)
    throw new UnsupportedError("uki-size", `UKI of ${size} bytes, ${imageSize} in memory: 4 GiB are too many`);
  const headers = encodeHeaders(stub, sections, {
    headersSize,
    imageSize,
    addedSize: news.reduce((sum, { rawSize }) => sum + rawSize, 0),
  });
  const source = piecewiseSource(size, [
    { at: 0, source: bytesSource(headers) },
    ...sections
      .filter(({ stored }) => stored.size > 0)
      .toSorted((a, b) => a.rawOffset - b.rawOffset)
      .map(({ rawOffset, stored }) => ({ at: rawOffset, source: stored })),
  ]);
  const checksumAt = checksumOffset(stub);
  const checksum = await peChecksum(source, checksumAt, options);
  new DataView(headers.buffer).setUint32(checksumAt, checksum, true); // `source` reads through to it
  return {
    source,
    architecture: stub.architecture,
    stub: stub.loaderInfo,
    sections: sections.map(({ name, virtualAddress, content, rawOffset, rawSize }) => ({
      name,
      virtualAddress,
      virtualSize: content.size,
      rawOffset,
      rawSize,
      content,
    })),
    spareHeaders: Math.floor((headersSize - tableEnd(count)) / RawSectionHeader.size),
    checksum,
  };
}

/** The stub starts it with LoadImage: an EFI application for the same machine. */
async function assertKernel(linux: Source, architecture: Architecture, options: ReadOptions): Promise<void> {
  let kernel: Awaited<ReturnType<typeof openPe>>;
  try {
    kernel = await openPe(linux, options);
  } catch (cause) {
    if (!(cause instanceof FormatError || cause instanceof UnsupportedError)) throw cause;
    throw new UnsupportedError("kernel-not-efi", `UKI kernel cannot be started by EFI: ${cause.message}`, { cause });
  }
  if (kernel.optionalHeader.subsystem !== SUBSYSTEM_EFI_APPLICATION)
    throw new UnsupportedError(
      "kernel-not-efi",
      `UKI kernel: subsystem ${kernel.optionalHeader.subsystem} is not EFI's`,
    );
  if (kernel.architecture !== architecture)
    throw new UnsupportedError(
      "wrong-machine",
      `UKI kernel is for machine 0x${kernel.fileHeader.machine.toString(16)}, the stub for ${architecture}`,
    );
}

/**
 * The merged table takes the place of the stub's where it fits before the next section in memory (257: 4 KiB), else
 * the old section goes and a new one comes with ours (252: 256 bytes). Nobody finds `.sbat` but by its name.
 */
function mergeStubSbat(stub: Stub, kept: Placing[], news: Placing[], tables: readonly string[]): void {
  if (tables.length === 0) return;
  const at = kept.findIndex(({ name }) => name === ".sbat");
  const own = stub.sections[at];
  const merged = encodeUtf8(`${mergeSbat([...(own === undefined ? [] : [decodeUtf8(own.data)]), ...tables])}\0`);
  const replacement = fromPayload({ name: ".sbat", content: bytesSource(merged) });
  if (own !== undefined) {
    const above = stub.sections.map(({ virtualAddress }) => virtualAddress).filter((it) => it > own.virtualAddress);
    if (above.length > 0 && own.virtualAddress + merged.length <= Math.min(...above)) {
      kept[at] = { ...replacement, virtualAddress: own.virtualAddress, movedFrom: own.rawOffset };
      return;
    }
    kept.splice(at, 1);
  }
  news.unshift(replacement);
}

interface HeaderValues {
  readonly headersSize: number;
  readonly imageSize: number;
  /** Bytes of raw data that are ours. */
  readonly addedSize: number;
}

/** The stub's headers with the new sizes and table; checksum 0. */
function encodeHeaders(stub: Stub, sections: readonly Placing[], values: HeaderValues): Uint8Array<ArrayBuffer> {
  const headers = new Uint8Array(values.headersSize);
  headers.set(stub.bytes.subarray(0, stub.sectionTable));
  const { fileHeader, optionalHeader } = stub;
  let at = stub.peOffset;
  headers.set(
    RawFileHeader.encode({
      ...copyFields(RawFileHeader, fileHeader),
      sectionCount: sections.length,
      symbolTable: 0,
      symbolCount: 0,
      characteristics: fileHeader.characteristics | FILE_LOCAL_SYMBOLS_STRIPPED,
    }),
    at,
  );
  at += RawFileHeader.size;
  headers.set(
    RawOptionalHeader.encode({
      ...copyFields(RawOptionalHeader, optionalHeader),
      initializedDataSize: Math.min(optionalHeader.initializedDataSize + values.addedSize, 0xffffffff), // for show
      imageSize: values.imageSize,
      headersSize: values.headersSize,
      checksum: 0,
    }),
    at,
  );
  at += RawOptionalHeader.size;
  if (stub.directories.length > DIRECTORY_CERTIFICATES)
    headers.fill(
      0,
      at + DIRECTORY_CERTIFICATES * RawDataDirectory.size,
      at + (DIRECTORY_CERTIFICATES + 1) * RawDataDirectory.size,
    );
  sections.forEach((section, i) => {
    const { virtualAddress, rawSize, rawOffset, characteristics } = section;
    const header = RawSectionHeader.encode({
      name: section.nameBytes,
      virtualSize: section.content.size,
      virtualAddress,
      rawSize,
      rawOffset,
      relocations: 0,
      lineNumbers: 0,
      relocationCount: 0,
      lineNumberCount: 0,
      characteristics,
    });
    headers.set(header, stub.sectionTable + i * RawSectionHeader.size);
  });
  return headers;
}
