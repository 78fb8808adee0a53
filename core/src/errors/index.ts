export * from "./errors.ts";
export type * from "./finding.ts";
