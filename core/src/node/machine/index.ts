export { thisMachine } from "./host.ts";
export { recordFiles } from "./record-files.ts";
