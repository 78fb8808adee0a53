export { minimumFatSize, type SectorSize } from "./geometry.ts";
export { type FatHeader, parseBootSector } from "./header.ts";
export { checkFat, type FatMedium, type MendPolicy, type MendReport, mendFat } from "./mend.ts";
export { type FatVolume, openFat } from "./read.ts";
export {
  type EmitOptions,
  emitFat,
  type FatExtent,
  type FatOptions,
  type FatPlan,
  fatSource,
  planFat,
} from "./write.ts";
