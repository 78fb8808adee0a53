export {
  type ChannelCheck,
  type CheckEnvironment,
  checkChannel,
  judgeChannel,
  type OpenedChannel,
  openChannel,
} from "./check.ts";
export { type DecideEnvironment, type Decision, type DeviceFacts, decide, rolloutParts } from "./decide.ts";
export {
  authenticateBase,
  countDraft,
  type Draft,
  draftRequirements,
  encodeDraft,
  MAX_DRAFT_SIZE,
  parseDraft,
  signDraft,
} from "./draft.ts";
export {
  addReleases,
  baseOf,
  type EditTime,
  type Lifetimes,
  newChannel,
  type ReleaseRules,
  type RoleKeys,
  type Rotation,
  removeReleases,
  rotate,
} from "./edit.ts";
export { CHANNEL_ARTIFACT_TYPE, isRole, MAX_METADATA_SIZE, ROLES, ROLLOUT_PARTS, type Role } from "./format.ts";
export { channelSigner, tufKeyOf } from "./keys.ts";
export { canonicalBytes, keyIdOf, type Metadata, parseMetadata } from "./metadata.ts";
export { type PublishEnvironment, type Published, publishDraft } from "./publish.ts";
export { type DescribedRelease, describeReleases, referencesOf, releasesOf } from "./releases.ts";
export type { RolloutStep, SignedOf, TufKey } from "./schema.ts";
export type { ChannelSigner, SignatureCount } from "./sign.ts";
export {
  type ChannelDocuments,
  type ChannelState,
  type ReadChannelOptions,
  readChannel,
  tagDigest,
  type WriteChannelOptions,
  writeChannel,
} from "./state.ts";
export {
  CLIENT_STATE_SCHEMA,
  type ClientState,
  effectiveTime,
  encodeClientState,
  MAX_CLIENT_STATE_SIZE,
  nextClientState,
  parseClientState,
  type RootPin,
} from "./trust.ts";
export { authenticate, type ChannelTrust, type Expiry, expiry, type TufVerifier } from "./verify.ts";
export { type ChannelRelease, type ChannelView, lastRoot, type RoleView, releaseOf } from "./view.ts";
