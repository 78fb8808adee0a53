export { MAX_NAME_SIZE, RawCpioHeader, TRAILER } from "./format.ts";
export { type CpioEntry, type CpioHeader, cpioTree, MAX_ENTRIES, parseCpio } from "./read.ts";
export { cpioArchives, encodeCpio, MAX_FILE_SIZE } from "./write.ts";
