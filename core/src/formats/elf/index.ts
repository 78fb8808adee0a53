export { type DlopenNote, type Elf, isElf, parseElf } from "./read.ts";
