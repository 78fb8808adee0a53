// Channels: every document as it comes, and signed by the right keys, since those may be in the wrong hands.
import { decodeUtf8 } from "../../../core/src/bytes/index.ts";
import { isAshlarError } from "../../../core/src/errors/index.ts";
import { nodeHashes } from "../../../core/src/node/index.ts";
import { tufVerifier } from "../../../core/src/node/tuf.ts";
import {
  authenticate,
  type ChannelDocuments,
  countDraft,
  decide,
  encodeClientState,
  encodeDraft,
  expiry,
  MAX_METADATA_SIZE,
  nextClientState,
  parseClientState,
  parseDraft,
  parseMetadata,
  type Role,
  readChannel,
  releasesOf,
  rotate,
} from "../../../core/src/ops/channel/index.ts";
import { forge, forgeOnline, meta } from "../../support/channel-forgery.ts";
import { allOf, DEVICE, NOW, newKeys, publisher, putJson, timeOf } from "../../support/channels.ts";
import { memoryRepository } from "../../support/memory-repository.ts";
import { mutateJson } from "../../support/mutate.ts";
import type { Parser } from "../harness.ts";
import { runOf, shape } from "./common.ts";

const repository = memoryRepository();
const keys = await newKeys();
const channel = await publisher(repository, { keys });
await channel.release({ version: "1" }, { barrier: true, minAgent: "1" });
await channel.release(
  { version: "2" },
  { rollout: [{ parts: 500 }, { parts: 9000, from: "2026-11-20T00:00:00Z" }] },
  "1",
);
await channel.change((current) => rotate(current, {}, timeOf(channel), nodeHashes));
const honest = await channel.read();
const state = nextClientState(honest, undefined, NOW);

/** As far as a device goes with documents that it was given. */
function follow(documents: ChannelDocuments): unknown {
  const view = authenticate(documents, { pins: [channel.pin] }, tufVerifier, nodeHashes);
  expiry(documents, tufVerifier, NOW);
  releasesOf(documents);
  return ["1", "2", undefined].map((version) =>
    decide(view, { ...DEVICE, version, agentVersion: "3", rolloutKey: "a" }, { hashes: nodeHashes, now: NOW }),
  );
}

const parsed = <R extends Role>(role: R, bytes: Uint8Array) => parseMetadata(role, bytes, nodeHashes);

function withDocument(role: Role, bytes: Uint8Array, base: ChannelDocuments): ChannelDocuments {
  if (role === "root") return { ...base, roots: [base.roots[0], parsed("root", bytes)] };
  return { ...base, [role]: parsed(role, bytes) };
}

/** The same content, by whoever has all keys. */
async function signed(role: Role, bytes: Uint8Array): Promise<ChannelDocuments> {
  const { signed: content } = parsed(role, bytes); // what is no document is refused here
  const { bytes: again } = await forge(role, content, allOf(keys));
  if (role === "snapshot") {
    const snapshot = parsed("snapshot", again);
    const around = { ...honest.timestamp.signed, meta: { "snapshot.json": meta(snapshot, snapshot.signed.version) } };
    const timestamp = parsed("timestamp", (await forge("timestamp", around, keys.online)).bytes);
    return { ...honest, snapshot, timestamp };
  }
  if (role !== "targets") return withDocument(role, again, honest);
  const forged = await forgeOnline(honest, keys.online, { targets: parsed("targets", again) });
  return {
    ...forged,
    snapshot: parsed("snapshot", forged.snapshot.bytes),
    timestamp: parsed("timestamp", forged.timestamp.bytes),
  };
}

const documentOf = (role: Role) => (role === "root" ? honest.roots[1]! : honest[role]);

const documents = (["root", "timestamp", "snapshot", "targets"] as const).map(
  (role): Parser => ({
    name: `channel ${role}`,
    mutants: (random) => mutateJson(decodeUtf8(documentOf(role).bytes), random),
    *shapes() {
      const text = decodeUtf8(documentOf(role).bytes);
      yield shape("deep", `{"signatures":[],"signed":${runOf("[", MAX_METADATA_SIZE[role] - 40)}`);
      yield shape("deep field", text.replace('"signed": {', `"signed": {"x": ${"[".repeat(5000)}${"]".repeat(5000)},`));
      yield shape(
        "__proto__",
        text.replace('"signed": {', '"signed": {"__proto__": {"expires": "2099-01-01T00:00:00Z"},'),
      );
      yield shape("fraction", text.replace(/"version": \d+/, '"version": 1.5'));
      yield shape("year 9999", text.replace(/"expires": "[^"]*"/, '"expires": "9999-12-31T23:59:59Z"'));
      yield shape("no such day", text.replace(/"expires": "[^"]*"/, '"expires": "2026-02-31T00:00:00Z"'));
      yield shape("lone surrogate", text.replace('"signed": {', '"signed": {"\\ud800": 1,'));
    },
    async read(bytes) {
      try {
        follow(withDocument(role, bytes, honest));
      } catch (error) {
        if (!isAshlarError(error)) throw error;
      }
      return follow(await signed(role, bytes));
    },
  }),
);

const manifest = decodeUtf8([...repository.manifests.values()].at(-1)!.bytes);
const draft = await (async () => {
  const made = rotate(honest, { newEpoch: true }, timeOf(channel), nodeHashes);
  return decodeUtf8(encodeDraft(made));
})();

export const CHANNEL_PARSERS: readonly Parser[] = [
  ...documents,
  {
    name: "channel manifest",
    mutants: (random) => mutateJson(manifest, random),
    async read(bytes) {
      const text = decodeUtf8(bytes);
      const tag = "fuzz";
      let value: unknown;
      try {
        value = JSON.parse(text);
      } catch {
        return undefined; // such a thing is refused before it is asked what it is
      }
      if (typeof value !== "object" || value === null) return undefined;
      await putJson(repository, { ...value, mediaType: "application/vnd.oci.image.manifest.v1+json" }, tag).catch(
        () => {},
      );
      const digest = repository.tagged.get(tag);
      try {
        return await readChannel(repository, { digest }, nodeHashes);
      } finally {
        if (digest !== undefined && digest !== honest.digest) repository.manifests.delete(digest);
      }
    },
  },
  {
    name: "channel draft",
    mutants: (random) => mutateJson(draft, random),
    read: async (bytes) => countDraft(parseDraft(bytes, nodeHashes, "draft.json")),
  },
  {
    name: "channel client state",
    mutants: (random) => mutateJson(decodeUtf8(encodeClientState(state)), random),
    async read(bytes) {
      const kept = parseClientState(bytes, "state");
      authenticate(honest, { pins: [channel.pin], state: kept }, tufVerifier, nodeHashes);
      return kept;
    },
  },
];
