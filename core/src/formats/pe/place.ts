/** Gives the sections of a UKI their places in the file and in memory. */
import { alignUp, encodeUtf8 } from "../../bytes/index.ts";
import { bytesSource, piecewiseSource, type Source } from "../../source/index.ts";
import { SECTION_CODE, SECTION_INITIALIZED_DATA, SECTION_READ } from "./format.ts";
import type { StubSection } from "./stub.ts";

/** Updates compare blocks of this many bytes. */
export const BLOCK_SIZE = 4096;

/** Sections from this size on start at a multiple of {@link BLOCK_SIZE} of the file. */
const BIG_SECTION = 16 * 1024; // bytes

export interface Placing {
  readonly name: string;
  readonly nameBytes: Uint8Array;
  /** As in memory. */
  readonly content: Source;
  /** As in the file; what it lacks up to `rawSize` is zero. */
  readonly stored: Source;
  readonly characteristics: number;
  /** Relative to the image base. */
  virtualAddress: number;
  rawOffset: number;
  rawSize: number;
  /** File offset in the stub. */
  readonly movedFrom?: number;
}

/** Keeps `section.data`. */
export function fromStub(section: StubSection): Placing {
  const { name, nameBytes, data, virtualSize, virtualAddress, characteristics, rawOffset } = section;
  const stored = bytesSource(data);
  const content =
    data.length >= virtualSize
      ? bytesSource(data.subarray(0, virtualSize))
      : piecewiseSource(virtualSize, [{ at: 0, source: stored }]);
  const place = { virtualAddress, rawOffset: 0, rawSize: 0, movedFrom: rawOffset };
  return { name, nameBytes, content, stored, characteristics, ...place };
}

export function fromPayload({ name, content }: { readonly name: string; readonly content: Source }): Placing {
  // As ukify: what the firmware need not write to or run; the kernel counts as code for old ones that run in place.
  const kind = name === ".linux" ? SECTION_CODE : SECTION_INITIALIZED_DATA;
  const characteristics = kind | SECTION_READ;
  const place = { virtualAddress: 0, rawOffset: 0, rawSize: 0 };
  return { name, nameBytes: encodeUtf8(name), content, stored: content, characteristics, ...place };
}

/** The stub's sections follow the headers as they did in its file. Returns how its file offsets move. */
export function placeKept(
  kept: readonly Placing[],
  headersSize: number,
  fileAlignment: number,
): (rawOffset: number) => number {
  let end = headersSize;
  const inFileOrder = kept.toSorted((a, b) => (a.movedFrom ?? 0) - (b.movedFrom ?? 0));
  for (const section of inFileOrder) {
    if (section.stored.size === 0) continue; // nothing in the file: zeros in memory
    section.rawOffset = end;
    section.rawSize = alignUp(section.stored.size, fileAlignment);
    end += section.rawSize;
  }
  return (rawOffset) => {
    for (const { movedFrom = 0, stored, rawOffset: now } of inFileOrder)
      if (rawOffset >= movedFrom && rawOffset < movedFrom + stored.size) return rawOffset - movedFrom + now;
    return 0; // it pointed at nothing that is kept
  };
}

interface Placement {
  readonly headersSize: number;
  readonly fileAlignment: number;
  readonly addressAlignment: number;
}

/** Our sections follow in the order given, without gaps in the file and above every address in memory. */
export function placeNews(kept: readonly Placing[], news: readonly Placing[], placement: Placement): void {
  const { headersSize, fileAlignment, addressAlignment } = placement;
  let previous = kept.reduce<Placing | undefined>(
    (a, b) => (a === undefined || b.rawOffset > a.rawOffset ? b : a),
    undefined,
  );
  let end = previous === undefined ? headersSize : previous.rawOffset + previous.rawSize;
  const placed = [...kept];
  for (const section of news) {
    if (section.content.size >= BIG_SECTION) {
      const start = alignUp(end, BLOCK_SIZE);
      if (previous !== undefined) previous.rawSize += start - end;
      end = start;
    }
    section.rawOffset = end;
    section.rawSize = alignUp(section.content.size, fileAlignment);
    end += section.rawSize;
    previous = section;
  }
  for (const section of news) {
    // Above the raw data too, so that a loader that copies padding along does no harm.
    const top = placed.map(({ virtualAddress, content, rawSize }) => virtualAddress + Math.max(content.size, rawSize));
    section.virtualAddress = alignUp(Math.max(...top), addressAlignment);
    placed.push(section);
  }
}
