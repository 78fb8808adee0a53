/** Reading alone, for programs that begin often: checking and writing are as many modules again. */
export type { Encoding, Extent, Space } from "./extent.ts";
export { deviceNumbers, type ErofsInode } from "./inode.ts";
export * from "./read.ts";
export type { DirectoryEntry } from "./read-directory.ts";
export { resolveInode } from "./resolve.ts";
export { type DeviceSlot, isErofs, type Superblock } from "./superblock.ts";
export * from "./walk.ts";
