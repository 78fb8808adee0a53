export * from "./artifacts.ts";
export * from "./environment.ts";
export * from "./report.ts";
