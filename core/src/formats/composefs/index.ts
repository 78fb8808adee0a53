export { splitTime } from "../erofs/inodes.ts";
export { ExternalContent, InlineContent, objectPath } from "./content.ts";
export * from "./dump-read.ts";
export { type DumpOptions, dumpLine, dumpLines, listLines, sizeOf } from "./dump-write.ts";
export { type FormatVersion, INLINE_LIMIT, RawComposefsHeader } from "./format.ts";
export * from "./read.ts";
export { type Home, type Homes, isWhiteout } from "./survey.ts";
export * from "./write.ts";
