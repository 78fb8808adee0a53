/**
 * TUF's client workflow by tuf-js. Its Updater wants directories and a server; what it decides with is its trusted
 * metadata store, which takes bytes. That is a file inside the package and not of its index: the version is pinned, and
 * the tests of channels fail where a new one behaves otherwise. It needs Node's Buffer and crypto, so it lives here.
 */
import { MetadataKind, Metadata as Model } from "@tufjs/models";
import { LengthOrHashMismatchError, UnsignedMetadataError } from "@tufjs/models/dist/error.js";
import { BadVersionError, ExpiredMetadataError } from "tuf-js/dist/error.js";
import { TrustedMetadataStore } from "tuf-js/dist/store.js";
import { oneLine } from "../bytes/index.ts";
import { FormatError, IntegrityError, isAshlarError, PolicyError } from "../errors/index.ts";
import type { ChannelDocuments, Metadata, Role, TufVerifier } from "../ops/channel/index.ts";

export const tufVerifier: TufVerifier = {
  verify({ roots: [trusted, ...newer], timestamp, snapshot, targets }: ChannelDocuments, now: number): void {
    const store = step("root", () => openStore(trusted.bytes, now));
    for (const root of newer) step("root", () => store.updateRoot(buffer(root.bytes)));
    step("timestamp", () => store.updateTimestamp(buffer(timestamp.bytes)));
    step("snapshot", () => store.updateSnapshot(buffer(snapshot.bytes)));
    step("targets", () => store.updateDelegatedTargets(buffer(targets.bytes), "targets", "root"));
    for (const document of [timestamp, snapshot, targets])
      step(document.role, () => assertNoneFalse(newer.at(-1) ?? trusted, document));
  },
  verifySignatures(root, document): void {
    step(document.role, () => modelOf(root).verifyDelegate(document.role, modelOf(document)));
  },
};

/**
 * TUF counts the valid signatures and passes over the others. Here who has signed is remembered as well, by what the
 * document says: a false signature of a key that is trusted must not be in it.
 */
function assertNoneFalse(root: Metadata<"root">, document: Metadata): void {
  const { keyids } = root.signed.roles[document.role];
  const rootModel = Model.fromJSON(MetadataKind.Root, JSON.parse(buffer(root.bytes).toString()));
  const model = modelOf(document);
  for (const { keyid } of document.signatures)
    if (keyids.includes(keyid)) rootModel.signed.keys[keyid]?.verifySignature(model);
}

function modelOf({ role, bytes }: Metadata) {
  const json = JSON.parse(buffer(bytes).toString());
  // Overloads by the kind: one call for each.
  if (role === "root") return Model.fromJSON(MetadataKind.Root, json);
  if (role === "targets") return Model.fromJSON(MetadataKind.Targets, json);
  if (role === "snapshot") return Model.fromJSON(MetadataKind.Snapshot, json);
  return Model.fromJSON(MetadataKind.Timestamp, json);
}

function openStore(root: Uint8Array, now: number): TrustedMetadataStore {
  const store = new TrustedMetadataStore(buffer(root));
  // It reads the machine's clock when made; ours is injected, since a device's clock may not be believed.
  return Object.assign(store, { referenceTime: new Date(now) }) as TrustedMetadataStore;
}

function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function step<T>(role: Role, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw translated(role, error);
  }
}

function translated(role: Role, error: unknown): unknown {
  if (isAshlarError(error) || !(error instanceof Error)) return error;
  const cause = error;
  const message = oneLine(error.message); // it may quote the document
  if (error instanceof ExpiredMetadataError)
    return new PolicyError("channel-expired", `the channel has expired at its ${role} or before`, { cause });
  if (error instanceof UnsignedMetadataError)
    return new PolicyError("channel-signature", `${role}: not enough valid signatures: ${message}`, { cause });
  if (error instanceof LengthOrHashMismatchError)
    return new IntegrityError("channel-mix", `${role} is not the one that the channel names: ${message}`, {
      cause,
    });
  if (error instanceof BadVersionError)
    return role === "root"
      ? new PolicyError("channel-rollback", `root: ${message}`, { cause })
      : new IntegrityError("channel-mix", `${role} is not of the version that the channel names`, { cause });
  return new FormatError("bad-metadata", `${role}: ${message}`, { cause });
}
