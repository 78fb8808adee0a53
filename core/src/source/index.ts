export * from "./cached.ts";
export * from "./sink.ts";
export * from "./source.ts";
