export { authenticodeDigest, checksumOffset, peChecksum } from "./checksum.ts";
export type { Architecture } from "./format.ts";
export { type MeasureOptions, measureUki, type PcrValue, PHASE_PATHS } from "./measure.ts";
export {
  type DataDirectory,
  findSection,
  type LoaderInfo,
  openPe,
  type PeImage,
  type PeSection,
  parsePe,
} from "./read.ts";
export { mergeSbat } from "./sbat.ts";
export { MEASURED_SECTIONS } from "./sections.ts";
export {
  assembleUki,
  type PlacedSection,
  SPARE_HEADERS,
  type Uki,
  type UkiOptions,
  type UkiSection,
} from "./write.ts";
