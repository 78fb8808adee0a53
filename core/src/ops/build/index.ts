export { newestTime } from "../seal/times.ts";
export { AGENT_INPUT, AGENT_PATH, type Agent, copyAgent, findAgent } from "./agent/index.ts";
export { type BuildOptions, type Built, buildSystem, type SystemInput } from "./build.ts";
export { type Geometry, type GeometryOptions, planGeometry } from "./geometry.ts";
export { ROOT_TIMEOUTS } from "./initrd/index.ts";
