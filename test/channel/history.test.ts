// Whatever an honest publisher does in whatever order, a device that looks now and then follows, and never goes back.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Repository } from "../../core/src/formats/oci/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import { tufVerifier } from "../../core/src/node/tuf.ts";
import {
  type ChannelSigner,
  type ChannelState,
  decide,
  encodeClientState,
  encodeDraft,
  parseClientState,
  parseDraft,
  publishDraft,
  type Role,
  removeReleases,
  rotate,
  tagDigest,
  writeChannel,
} from "../../core/src/ops/channel/index.ts";
import { fromBytes, serve } from "../support/channel-forgery.ts";
import {
  DEVICE,
  device,
  draftOf,
  emptyDraft,
  NOW,
  newKeys,
  newSigner,
  type Publisher,
  publisher,
  timeOf,
} from "../support/channels.ts";
import { memoryRepository } from "../support/memory-repository.ts";

const ACTIONS = [
  "release",
  "refresh",
  "remove",
  "new year",
  "new online key",
  "new targets key",
  "new root key",
  "new epoch",
] as const;
type Action = (typeof ACTIONS)[number] | "look";

async function act(channel: Publisher, action: Action, version: number): Promise<void> {
  const current = await channel.read();
  const { roles } = current.roots.at(-1)!.signed;
  switch (action) {
    case "release":
      await channel.release({ version: `${version}` });
      return;
    case "refresh":
      await channel.refresh();
      return;
    case "remove": {
      const [target] = Object.values(current.targets.signed.targets);
      if (target !== undefined)
        await channel.change((state) => removeReleases(state, [target.custom.version], timeOf(channel)));
      return;
    }
    case "new year":
      await channel.change((state) => rotate(state, {}, timeOf(channel), nodeHashes));
      return;
    case "new epoch":
      await channel.change((state) => rotate(state, { newEpoch: true }, timeOf(channel), nodeHashes));
      return;
    case "new online key":
    case "new targets key":
    case "new root key": {
      const kind = action === "new online key" ? "online" : action === "new targets key" ? "targets" : "root";
      const signer = await newSigner();
      const names: readonly Role[] = kind === "online" ? ["snapshot", "timestamp"] : [kind];
      const rotation = {
        add: names.map((role) => ({ role, key: signer.key })),
        remove: names.flatMap((role) => roles[role].keyids.map((keyId) => ({ role, keyId }))),
      };
      // A new root needs the old key and the new one.
      const before = channel.keys;
      channel.keys = { ...before, [kind]: kind === "root" ? [...before.root, signer] : [signer] };
      await channel.change((state) => rotate(state, rotation, timeOf(channel), nodeHashes));
      channel.keys = { ...channel.keys, [kind]: [signer] };
    }
  }
}

test("a device follows every honest history, and takes nothing of it back", async () => {
  const keys = await newKeys();
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom<Action>(...ACTIONS, "look", "look", "release"), { minLength: 3, maxLength: 10 }),
      async (actions) => {
        const repository = memoryRepository();
        const channel = await publisher(repository, { keys });
        await channel.release({ version: "1" });
        const machine = device(repository, channel.pin);
        const seen: ChannelState[] = [];
        for (const [i, action] of [...actions, "look" as const].entries()) {
          if (action !== "look") {
            await act(channel, action, i + 2);
            continue;
          }
          const found = await machine.check();
          const now = await channel.read();
          if (found.result === "error") {
            // The only refusal of an honest channel: nothing in it is for this device.
            assert.equal(found.error.code, "wrong-architecture");
            assert.deepEqual(Object.keys(now.targets.signed.targets), []);
            continue;
          }
          assert.notEqual(found.result, "stale");
          if (found.result === "stale") continue;
          if (found.decision.action === "install") {
            const { version, epoch } = found.decision.release;
            machine.facts = { ...machine.facts, version, epoch };
          }
          for (const old of seen) {
            if (old.digest === now.digest) continue;
            await serve(repository, old);
            const refused = await device(repository, channel.pin).check();
            assert.notEqual(refused.result, "error"); // authentic in its time
            const kept = machine.state;
            const again = await machine.check();
            assert.ok(again.result === "error", `${actions.join(", ")}: took an older state`);
            assert.deepEqual(machine.state, kept);
          }
          await serve(repository, now);
          seen.push(now);
        }
      },
    ),
    { numRuns: 25 },
  );
});

test("a byte changed anywhere in a document is refused, or says the same", async () => {
  const repository = memoryRepository();
  const channel = await publisher(repository);
  await channel.release({ version: "1" }, {}, "1");
  await channel.change((state) => rotate(state, {}, timeOf(channel), nodeHashes));
  await channel.release({ version: "2" });
  const honest = await channel.read();
  const expected = (await device(repository, channel.pin).follow()).view;
  const documents = [...honest.roots, honest.timestamp, honest.snapshot, honest.targets];
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.nat(documents.length - 1),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      async (which, where, change) => {
        const bytes = Uint8Array.from(documents[which]!.bytes);
        bytes[where % bytes.length]! ^= change;
        const forged = fromBytes(documents[which]!.role, bytes);
        const roots = honest.roots.map((root, i) => (i === which ? forged : root)) as unknown as ChannelState["roots"];
        const one = which < roots.length ? {} : { [forged.role]: forged };
        await serve(repository, { ...honest, roots, ...one });
        const found = await device(repository, channel.pin).check();
        if (found.result === "error") refused++;
        else assert.deepEqual(found.result === "stale" ? undefined : found.view, expected); // white space
      },
    ),
    { numRuns: 400 },
  );
  assert.ok(refused > 300, `${refused} of 400`);
});

test("what is stored as a file comes back the same", async () => {
  const keys = await newKeys();
  await fc.assert(
    fc.asyncProperty(
      fc.stringMatching(/^[a-z][a-z0-9.-]{0,20}[a-z]$/),
      fc.integer({ min: 0, max: Date.parse("9000-01-01T00:00:00Z") }),
      async (product, now) => {
        const draft = draftOf(keys, "stable", product, {}, now);
        const again = parseDraft(encodeDraft(draft), nodeHashes, "draft");
        assert.deepEqual(again, draft);
      },
    ),
    { numRuns: 50 },
  );
  const repository = memoryRepository();
  const channel = await publisher(repository, { keys });
  await channel.release({ version: "1" });
  const machine = device(repository, channel.pin);
  await machine.follow();
  assert.deepEqual(parseClientState(encodeClientState(machine.state!), "state"), machine.state);
});

test("a key that goes and comes back: a device that slept meanwhile follows", async () => {
  const repository = memoryRepository();
  const channel = await publisher(repository);
  for (const version of ["1", "2", "3"]) await channel.release({ version });
  const machine = device(repository, channel.pin);
  assert.equal((await machine.follow()).result, "newer");
  const [old] = channel.keys.online;
  const fresh = await newSigner();
  const swap = async (signer: ChannelSigner): Promise<void> => {
    channel.keys = { ...channel.keys, online: [signer] };
    await channel.change((current) => {
      const { roles } = current.roots.at(-1)!.signed;
      const both = ["snapshot", "timestamp"] as const;
      const add = both.map((role) => ({ role, key: signer.key }));
      const remove = both.flatMap((role) => roles[role].keyids.map((keyId) => ({ role, keyId })));
      return rotate(current, { add, remove }, timeOf(channel), nodeHashes);
    });
  };
  await swap(fresh);
  await swap(old!);
  const found = await machine.follow();
  assert.equal(found.result, "newer");
  assert.deepEqual([found.view.roles.root.version, found.view.roles.timestamp.version], [3, 1]);
});

/** Lets `meanwhile` happen before the nth look at the tag. */
function interrupted(repository: Repository, nth: number, meanwhile: () => Promise<void>): Repository {
  let looks = 0;
  return {
    ...repository,
    async resolve(selector, options) {
      if (selector.tag === "stable" && ++looks === nth) await meanwhile();
      return repository.resolve(selector, options);
    },
  };
}

test("two writers: the second is told, and what was there stays", async () => {
  const repository = memoryRepository();
  const channel = await publisher(repository);
  await channel.release({ version: "1" });
  const current = await channel.read();
  const environment = {
    hashes: nodeHashes,
    verifier: tufVerifier,
    time: timeOf(channel),
    signers: channel.keys.online,
  };
  // Between reading and moving: nothing is changed.
  const before = interrupted(repository, 1, async () => void (await channel.refresh()));
  await assert.rejects(publishDraft(before, "stable", emptyDraft(current), current, environment), {
    code: "channel-moved",
  });
  assert.equal((await channel.read()).timestamp.signed.version, 3);
  // In the moment between the last look and the move there is no help, but it is told.
  const now = await channel.read();
  const after = interrupted(repository, 2, () => serve(repository, current));
  await assert.rejects(publishDraft(after, "stable", emptyDraft(now), now, environment), { code: "channel-moved" });
  // A tag that is taken is not overwritten by a new channel, and a registry that fails is no free tag.
  await assert.rejects(writeChannel(repository, now, "stable", nodeHashes, { replaces: undefined }), {
    code: "channel-moved",
  });
  const failing: Repository = { ...repository, resolve: () => Promise.reject(Object.assign(new Error("500"))) };
  await assert.rejects(tagDigest(failing, "stable"), /500/);
});

test("a release must be where the channel is", async () => {
  const repository = memoryRepository();
  const channel = await publisher(repository);
  await channel.release({ version: "1" });
  const elsewhere = memoryRepository("elsewhere");
  const other = await publisher(elsewhere);
  await other.release({ version: "2" });
  const { targets } = (await other.read()).targets.signed;
  await assert.rejects(
    channel.change((current) => {
      const next = {
        ...current.targets.signed,
        version: 3,
        targets: { ...current.targets.signed.targets, ...targets },
      };
      return { ...emptyDraft(current), targets: { signed: next, signatures: [] } };
    }),
    { code: "release-elsewhere" },
  );
});

test("what a device would refuse is not published", async () => {
  const repository = memoryRepository();
  const channel = await publisher(repository);
  await channel.release({ version: "1" });
  const before = await tagDigest(repository, "stable");
  channel.lifetimes = { targets: 1 };
  await channel.release({ version: "2" });
  channel.now = NOW + 2000;
  await assert.rejects(channel.refresh(), { code: "channel-expired" });
  assert.notEqual(await tagDigest(repository, "stable"), before);
  const keys = await newKeys();
  assert.throws(() => draftOf(keys, "Stable"), { code: "bad-metadata" });
  assert.equal(
    decide((await device(repository, channel.pin).follow()).view, DEVICE, { hashes: nodeHashes, now: NOW }).action,
    "install",
  );
});
