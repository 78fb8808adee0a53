export { GENERATIONS, openGenerations } from "./etc-generations.ts";
export { resetEtc } from "./etc-reset.ts";
export { healthHost } from "./health.ts";
export { thisMachine } from "./host.ts";
export { recordFiles } from "./record-files.ts";
