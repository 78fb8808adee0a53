export { type Closure, closeModules, type ModuleSet } from "./closure.ts";
export { parseIndex } from "./read.ts";
export {
  type Module,
  type ModuleAlias,
  moduleName,
  normaliseName,
  parseModulesAlias,
  parseModulesBuiltin,
  parseModulesDep,
  parseModulesSoftdep,
} from "./text.ts";
export { depLine, encodeAliasIndex, encodeDepIndex, encodeIndex, type IndexEntry } from "./write.ts";
