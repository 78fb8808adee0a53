export type { Difference } from "./locate.ts";
export {
  type ArtifactComparison,
  type InputComparison,
  type Original,
  type Reproduction,
  reproduceRelease,
} from "./reproduce.ts";
