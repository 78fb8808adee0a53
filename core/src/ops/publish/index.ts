export type { PublishEnvironment, PullEnvironment } from "./environment.ts";
export { fetchBlocks, fetchRoot } from "./fetch-root.ts";
export { guessRecipe, type KnownRoot } from "./known-leaves.ts";
export type { SectionRoot } from "./make-section.ts";
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
export { type RootData, type RootSources, rootDataSource } from "./root-source.ts";
export {
  type ForwardOptions,
  openStoredRelease,
  readStoredRelease,
  type StoredEnvironment,
  type StoredRelease,
} from "./stored.ts";
export { assertRootHash, readVerifiedTree, verityOf, zeroDigest } from "./stored-root.ts";
export type { StoredSection } from "./stored-section.ts";
