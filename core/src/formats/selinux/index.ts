export {
  type ContextSpec,
  MAX_CONTEXTS_SIZE,
  parseFileContexts,
  parseSubstitutions,
  policyName,
  type Substitution,
} from "./contexts.ts";
export { compileContexts, type FileContexts, type PolicyFiles, type PolicyReading } from "./policy.ts";
