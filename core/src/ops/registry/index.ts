export {
  type AuthFile,
  credentialKeys,
  editAuthFile,
  helperKey,
  MAX_AUTH_FILE,
  parseAuthFile,
  parseHelperAnswer,
} from "./auth-file.ts";
export { type BlobCache, withBlobCache } from "./cached.ts";
export type { Credentials } from "./credentials.ts";
export { type LayoutFiles, openLayoutRepository, type PendingFile } from "./layout-repository.ts";
export { MAX_REFERRERS } from "./limits.ts";
export { type Mirror, withMirrors } from "./mirrors.ts";
export { chooseProxy, type ProxySettings } from "./proxy.ts";
export {
  DOCKER_HUB,
  DOCKER_HUB_API,
  formatName,
  formatReference,
  namesHost,
  parseRegistryName,
  parseRegistryReference,
  type RegistryReference,
  type RepositoryName,
} from "./reference.ts";
export { referrersTag } from "./referrers.ts";
export {
  MAX_REGISTRIES_CONF,
  mergeRules,
  parseRegistriesConf,
  placesOf,
  type RegistryRule,
  type RepositoryPlace,
} from "./registries-conf.ts";
export {
  checkCredentials,
  openRegistryRepository,
  type RegistryEnvironment,
  type RegistryOptions,
} from "./registry-repository.ts";
export type { HttpBody, HttpRequest, HttpResponse, Timing, Transport } from "./transport.ts";
