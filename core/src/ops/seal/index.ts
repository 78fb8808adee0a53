export type { CompressionOptions } from "./compression.ts";
export { chooseForm, type FormOptions, type RootForm, type Tails } from "./form.ts";
export type { Landing } from "./landing.ts";
export * from "./seal.ts";
export * from "./seal-content.ts";
