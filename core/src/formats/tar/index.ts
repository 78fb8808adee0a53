export { type AclEntry, encodeAcl, isPlainMode, modeOfAcl, type NumberedAclEntry, parseAcl } from "./acl.ts";
export type { TarEntry, TarType } from "./header.ts";
export { readTar, readTarEntries, type TarMember } from "./members.ts";
export { type TarOptions, type TarParser, tarParser } from "./read.ts";
export type { SparseSegment } from "./sparse.ts";
export type { TarEvent } from "./steps.ts";
export { encodeTar, encodeTarHeader, TAR_END, type TarInput, tarPadding } from "./write.ts";
