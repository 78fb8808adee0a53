export type { TarEntry, TarType } from "./header.ts";
export { readTar, type TarEvent, type TarMember, type TarOptions, type TarParser, tarParser } from "./read.ts";
export type { SparseSegment } from "./sparse.ts";
export { encodeTar, encodeTarHeader, TAR_END, type TarInput, tarPadding } from "./write.ts";
