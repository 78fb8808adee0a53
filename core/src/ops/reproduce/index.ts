export { agentOfRelease } from "./agent.ts";
export type { Difference } from "./locate.ts";
export {
  type ArtifactComparison,
  type InputComparison,
  type Original,
  type Reproduction,
  type ReproductionInputs,
  reproduceRelease,
} from "./reproduce.ts";
