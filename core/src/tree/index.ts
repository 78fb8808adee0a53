export * from "./edit.ts";
export * from "./glob.ts";
export * from "./tree.ts";
export * from "./walk.ts";
