export * from "./check.ts";
export { type DataRun, flatRuns } from "./content.ts";
export * from "./dump.ts";
export { splitTime } from "./inodes.ts";
export * from "./read.ts";
export type { DirectoryEntry } from "./read-directory.ts";
export { resolveInode } from "./resolve.ts";
export * from "./walk.ts";
export * from "./write.ts";
