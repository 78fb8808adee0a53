export type { PublishEnvironment, PullEnvironment } from "./environment.ts";
export { fetchRoot } from "./fetch-root.ts";
export * from "./media-types.ts";
export {
  type HostRepositories,
  isRepositoryReference,
  type OpenReleaseEnvironment,
  openIfRelease,
  openRelease,
  type ReleaseAccess,
} from "./open.ts";
export { type PulledRelease, pullRelease, releaseNameOf } from "./pull.ts";
export {
  type Pushed,
  type PushedBlob,
  type PushedRelease,
  type PushOptions,
  pushReleases,
  type ReleaseFiles,
} from "./push.ts";
export { type ResolveOptions, releasesIn, resolveRelease } from "./resolve.ts";
export type { RootSources } from "./root-source.ts";
export { openStoredRelease, readStoredRelease, type StoredEnvironment, type StoredRelease } from "./stored.ts";
export { assertRootHash, readVerifiedTree, verityOf } from "./stored-root.ts";
