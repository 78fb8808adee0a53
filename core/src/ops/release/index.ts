export * from "./compare-versions.ts";
export * from "./describe.ts";
export * from "./identity.ts";
export * from "./release.ts";
