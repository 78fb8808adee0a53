export * from "./check.ts";
export * from "./dps.ts";
export * from "./edit.ts";
export {
  MAX_NAME_LENGTH,
  PARTITION_ALIGNMENT,
  RawGptEntry,
  RawGptHeader,
  RawMbr,
  RawMbrPartition,
  SECTOR_SIZES,
  type SectorSize,
} from "./format.ts";
export {
  type Gpt,
  type GptPartitionEntry,
  type GptTable,
  type GptTableState,
  openGpt,
  parseGptEntries,
  parseGptHeader,
} from "./read.ts";
export {
  type EncodedGpt,
  encodeGpt,
  type GptOptions,
  type GptPartition,
  type UsableArea,
  usableArea,
} from "./write.ts";
