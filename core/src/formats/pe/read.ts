/** Reads PE images: stubs, kernels, boot loaders and UKIs. Headers at once, sections when asked. */
import { byteString, showBytes } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { bytesSource, piecewiseSource, type ReadOptions, type Source, sliceSource } from "../../source/index.ts";
import {
  ARCHITECTURES,
  type Architecture,
  DIRECTORY_CERTIFICATES,
  DOS_MAGIC,
  MAX_DIRECTORIES,
  PE_SIGNATURE,
  PE32_MAGIC,
  PE32_PLUS_MAGIC,
  RawDataDirectory,
  RawDosHeader,
  RawFileHeader,
  RawOptionalHeader,
  RawSectionHeader,
} from "./format.ts";

/** Sections of one image, at most. A UKI of many profiles has tens. */
export const MAX_SECTIONS = 512;

/** Bytes from the start of the file to the end of the section table, at most. */
const MAX_HEADERS = 1024 * 1024;

/** Bytes that are searched for the name and version of systemd's programs. */
const MAX_LOADER_INFO = 4096;

export interface DataDirectory {
  /** Relative to the image base; of certificates: file offset. */
  readonly address: number;
  /** Bytes. */
  readonly size: number;
}

export interface PeSection {
  /** Up to the first NUL, other than ASCII escaped. */
  readonly name: string;
  /** The 8 bytes of the table. */
  readonly nameBytes: Uint8Array;
  readonly virtualAddress: number;
  /** Bytes. */
  readonly virtualSize: number;
  /** File offset. */
  readonly rawOffset: number;
  /** Bytes in the file, padding included. */
  readonly rawSize: number;
  readonly characteristics: number;
  /** Exactly `virtualSize` bytes, as they are in memory: without padding, zeros after the end of the raw data. */
  readonly content: Source;
}

/** Which program and version systemd's stub or boot loader says that it is. */
export interface LoaderInfo {
  /** `systemd-stub`, `systemd-boot`, … */
  readonly name: string;
  /** As it stands there, such as `257.13-1~deb13u1`. */
  readonly version: string;
  /** Its leading number. */
  readonly major: number;
}

export type FileHeader = ReturnType<typeof RawFileHeader.view>;
export type OptionalHeader = ReturnType<typeof RawOptionalHeader.view>;

export interface PeImage {
  readonly source: Source;
  /** Undefined for a machine that Ashlar has no name for. */
  readonly architecture: Architecture | undefined;
  readonly fileHeader: FileHeader;
  readonly optionalHeader: OptionalHeader;
  readonly directories: readonly DataDirectory[];
  /** In the order of the section table. */
  readonly sections: readonly PeSection[];
  /** Bytes from the start of the file to the `PE\0\0` signature. */
  readonly peOffset: number;
  /** Bytes from the start of the file to the section table. */
  readonly sectionTable: number;
  /** Undefined for what is not systemd's. */
  readonly loaderInfo: LoaderInfo | undefined;
}

/**
 * Throws FormatError for what is no PE image or has parts outside the file, UnsupportedError `pe32` for 32-bit images
 * and `pe-sections` for more than {@link MAX_SECTIONS} sections. Section contents are not read, but for the
 * name and version in `.sdmagic`.
 */
export async function openPe(source: Source, options: ReadOptions = {}): Promise<PeImage> {
  const dos = RawDosHeader.view(await readUpTo(source, 0, RawDosHeader.size, options));
  if (dos.magic !== DOS_MAGIC) throw new FormatError("bad-magic", "not a PE image: it does not begin with MZ");
  const { peOffset } = dos;
  const fileHeader = RawFileHeader.view(await readUpTo(source, peOffset, RawFileHeader.size, options));
  if (fileHeader.signature !== PE_SIGNATURE)
    throw new FormatError("bad-magic", `not a PE image: no PE signature at ${peOffset}`, { offset: peOffset });
  const { sectionCount, optionalHeaderSize } = fileHeader;
  if (sectionCount > MAX_SECTIONS)
    throw new UnsupportedError("pe-sections", `PE image with ${sectionCount} sections, at most ${MAX_SECTIONS}`);
  const optionalAt = peOffset + RawFileHeader.size;
  const sectionTable = optionalAt + optionalHeaderSize;
  const tableSize = sectionCount * RawSectionHeader.size;
  if (sectionTable + tableSize > MAX_HEADERS)
    throw new UnsupportedError("pe-headers", `PE image with headers up to ${sectionTable + tableSize}`);
  const bytes = await readUpTo(source, optionalAt, optionalHeaderSize + tableSize, options);
  const optionalHeader = parseOptionalHeader(bytes.subarray(0, optionalHeaderSize));
  const directories = parseDirectories(bytes.subarray(0, optionalHeaderSize), optionalHeader);
  const sections: PeSection[] = [];
  for (let i = 0; i < sectionCount; i++)
    sections.push(parseSection(RawSectionHeader.view(bytes, optionalHeaderSize + i * RawSectionHeader.size), source));
  const certificates = directories[DIRECTORY_CERTIFICATES];
  if (certificates !== undefined && certificates.size > 0)
    assertInside(source, certificates.address, certificates.size, "certificate table");
  return {
    source,
    architecture: ARCHITECTURES[fileHeader.machine],
    fileHeader,
    optionalHeader,
    directories,
    sections,
    peOffset,
    sectionTable,
    loaderInfo: await readLoaderInfo(sections, options),
  };
}

/** {@link openPe} on bytes in memory. */
export function parsePe(bytes: Uint8Array): Promise<PeImage> {
  return openPe(bytesSource(bytes));
}

/** The first section of that name, as UEFI tools look sections up. */
export function findSection(image: Pick<PeImage, "sections">, name: string): PeSection | undefined {
  return image.sections.find((section) => section.name === name);
}

async function readUpTo(source: Source, offset: number, length: number, options: ReadOptions): Promise<Uint8Array> {
  if (offset + length > source.size)
    throw new FormatError("truncated", `PE image: needs ${length} bytes at ${offset}, the file has ${source.size}`, {
      offset,
    });
  return source.read(offset, length, options);
}

function parseOptionalHeader(bytes: Uint8Array): OptionalHeader {
  const magic = bytes.length < 2 ? 0 : bytes[0]! | (bytes[1]! << 8); // two bytes are there
  if (magic === PE32_MAGIC) throw new UnsupportedError("pe32", "32-bit PE images are not implemented");
  if (magic !== PE32_PLUS_MAGIC)
    throw new FormatError("bad-magic", `not a PE32+ image: magic of the optional header is 0x${magic.toString(16)}`);
  return RawOptionalHeader.view(bytes);
}

function parseDirectories(bytes: Uint8Array, { directoryCount }: OptionalHeader): DataDirectory[] {
  const directories: DataDirectory[] = [];
  for (let i = 0; i < Math.min(directoryCount, MAX_DIRECTORIES); i++) {
    const { address, size } = RawDataDirectory.view(bytes, RawOptionalHeader.size + i * RawDataDirectory.size);
    directories.push({ address, size });
  }
  return directories;
}

function assertInside(source: Source, offset: number, size: number, what: string): void {
  if (offset + size > source.size)
    throw new FormatError("pe-range", `PE ${what}: ${size} bytes at ${offset} are past the end at ${source.size}`, {
      offset,
    });
}

function parseSection(raw: ReturnType<typeof RawSectionHeader.view>, source: Source): PeSection {
  const end = raw.name.indexOf(0);
  const name = showBytes(byteString(end < 0 ? raw.name : raw.name.subarray(0, end)));
  const { virtualAddress, rawSize, rawOffset, characteristics } = raw;
  if (rawSize > 0) assertInside(source, rawOffset, rawSize, `section ${name}`);
  // Old linkers leave the virtual size 0 and mean the raw one.
  const virtualSize = raw.virtualSize === 0 ? rawSize : raw.virtualSize;
  const stored = Math.min(virtualSize, rawSize);
  const data = stored > 0 ? sliceSource(source, rawOffset, stored) : bytesSource(new Uint8Array(0));
  const content = stored === virtualSize ? data : piecewiseSource(virtualSize, [{ at: 0, source: data }]);
  return { name, nameBytes: raw.name, virtualAddress, virtualSize, rawOffset, rawSize, characteristics, content };
}

async function readLoaderInfo(sections: readonly PeSection[], options: ReadOptions): Promise<LoaderInfo | undefined> {
  const section = findSection({ sections }, ".sdmagic");
  if (section === undefined) return undefined;
  const bytes = await section.content.read(0, Math.min(section.virtualSize, MAX_LOADER_INFO), options);
  const match = /#### LoaderInfo: ([^\s#]+) (([0-9]{1,6})[^\s#]*) ####/.exec(byteString(bytes));
  if (match === null) return undefined;
  const [, name, version, major] = match as unknown as [string, string, string, string];
  return { name, version, major: Number(major) };
}
