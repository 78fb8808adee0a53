export { newestTime } from "../seal/times.ts";
export { type BuildOptions, type Built, buildSystem, type SystemInput } from "./build.ts";
export { type Geometry, type GeometryOptions, planGeometry } from "./geometry.ts";
