/** Takes a stub apart into what a UKI keeps of it: sections, without what only its own file needed. */
import { copyFields, isZero } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import {
  type Architecture,
  DIRECTORY_CERTIFICATES,
  DIRECTORY_DEBUG,
  RawDebugEntry,
  RawSectionHeader,
  SUBSYSTEM_EFI_APPLICATION,
  SYMBOL_SIZE,
} from "./format.ts";
import { findSection, type LoaderInfo, type PeImage, type PeSection, parsePe } from "./read.ts";

export interface StubSection extends PeSection {
  /** Raw data, padding included; ours to change. */
  readonly data: Uint8Array;
}

export interface Stub extends PeImage {
  readonly bytes: Uint8Array;
  readonly architecture: Architecture;
  readonly loaderInfo: LoaderInfo;
  /** In the order of the section table. */
  readonly sections: readonly StubSection[];
}

/**
 * Throws UnsupportedError `not-a-stub` for a PE image that is none of systemd's stubs or a whole UKI already,
 * `wrong-machine` for one of another architecture, `pe-overlay` for bytes that belong to nothing,
 * and what {@link parsePe} throws.
 */
export async function parseStub(stub: Uint8Array, architecture: Architecture | undefined): Promise<Stub> {
  const bytes = new Uint8Array(stub); // a true copy: `slice` of a host's subclass may share memory
  const image = await parsePe(bytes);
  const refuse = (why: string) => new UnsupportedError("not-a-stub", `UKI stub: ${why}`);
  if (image.optionalHeader.subsystem !== SUBSYSTEM_EFI_APPLICATION)
    throw refuse(`subsystem ${image.optionalHeader.subsystem} is not that of an EFI application`);
  const { loaderInfo } = image;
  if (loaderInfo?.name !== "systemd-stub")
    throw refuse(
      `it is ${loaderInfo?.name ?? "not marked as systemd-stub by a section .sdmagic (252 has none on arm64)"}`,
    );
  for (const name of [".linux", ".initrd", ".cmdline"])
    if (findSection(image, name) !== undefined) throw refuse(`it has a section ${name}: it is a UKI already`);
  const found = image.architecture;
  if (found === undefined || (architecture !== undefined && found !== architecture))
    throw new UnsupportedError(
      "wrong-machine",
      `UKI stub is for ${found ?? `machine 0x${image.fileHeader.machine.toString(16)}`}, expected ${architecture ?? "a known one"}`,
    );
  const { sectionAlignment, fileAlignment } = image.optionalHeader;
  for (const [what, value] of [
    ["section alignment", sectionAlignment],
    ["file alignment", fileAlignment],
  ] as const)
    if (value < 512 || value > 65536 || (value & (value - 1)) !== 0)
      throw new FormatError("pe-alignment", `UKI stub: ${what} is ${value}, not a power of two from 512 to 65536`);
  assertNothingElse(image, bytes);
  const sections = image.sections.map((section) => ({
    ...section,
    data: bytes.slice(section.rawOffset, section.rawOffset + section.rawSize),
  }));
  return { ...image, bytes, architecture: found, loaderInfo, sections };
}

/** Every byte that is not zero belongs to headers, a section, the symbol table or the certificates. */
function assertNothingElse(image: PeImage, bytes: Uint8Array): void {
  const rest = new Uint8Array(bytes);
  rest.fill(0, 0, image.sectionTable + image.sections.length * RawSectionHeader.size);
  for (const { rawOffset, rawSize } of image.sections) rest.fill(0, rawOffset, rawOffset + rawSize);
  // Symbols are for debuggers; no loader reads them. Old stubs (252) still carry theirs behind the sections, where ours
  // go: dropped, as ukify does. So are certificates: they sign the stub, not what is made of it.
  const { symbolTable, symbolCount } = image.fileHeader;
  if (symbolTable !== 0) {
    const strings = symbolTable + symbolCount * SYMBOL_SIZE;
    const hasStrings = strings + 4 <= bytes.length;
    const size = hasStrings ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(strings, true) : 0;
    rest.fill(0, symbolTable, strings + size);
  }
  const certificates = image.directories[DIRECTORY_CERTIFICATES];
  if (certificates !== undefined && certificates.size > 0)
    rest.fill(0, certificates.address, certificates.address + certificates.size);
  if (!isZero(rest)) {
    const offset = rest.findIndex((byte) => byte !== 0);
    throw new UnsupportedError("pe-overlay", `UKI stub: the byte at ${offset} belongs to no section`, { offset });
  }
}

/** Debug entries hold file offsets: moves them along with the section that they point into. `moved` is old → new offset. */
export function moveDebugEntries(stub: Stub, moved: (rawOffset: number) => number): void {
  const directory = stub.directories[DIRECTORY_DEBUG];
  if (directory === undefined || directory.size === 0) return;
  const { address, size } = directory;
  const section = stub.sections.find(
    ({ virtualAddress, data }) => address >= virtualAddress && address + size <= virtualAddress + data.length,
  );
  if (section === undefined)
    throw new FormatError("pe-range", `UKI stub: debug directory at ${address} is in no section`);
  for (let at = 0; at + RawDebugEntry.size <= size; at += RawDebugEntry.size) {
    const start = address - section.virtualAddress + at;
    const entry = RawDebugEntry.view(section.data, start);
    if (entry.rawOffset === 0) continue;
    section.data.set(
      RawDebugEntry.encode({ ...copyFields(RawDebugEntry, entry), rawOffset: moved(entry.rawOffset) }),
      start,
    );
  }
}
