export * from "./blob.ts";
export * from "./cached.ts";
export * from "./http.ts";
export * from "./sink.ts";
export * from "./source.ts";
export * from "./steps.ts";
