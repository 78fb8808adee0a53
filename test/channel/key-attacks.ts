// Attacks with stolen keys, with the clock, and by doing nothing; and how a channel recovers.
import assert from "node:assert/strict";
import { nodeHashes } from "../../core/src/node/index.ts";
import { tufVerifier } from "../../core/src/node/tuf.ts";
import {
  type ChannelDocuments,
  type ChannelSigner,
  type ChannelState,
  checkChannel,
  effectiveTime,
  keyIdOf,
  type Rotation,
  removeReleases,
  rotate,
  type TufKey,
} from "../../core/src/ops/channel/index.ts";
import type { AttackReport } from "../support/attack-report.ts";
import { asDocument, envelopeOf, forge, forgeOnline, serve } from "../support/channel-forgery.ts";
import { DAY, device, NOW, newKeys, newSigner, newSigners, publisher, timeOf } from "../support/channels.ts";
import type { Attack } from "./attacks.ts";

const POLICY = "PolicyError";

export function playOnKeysAndTime(attack: Attack, report: AttackReport): void {
  attack("indefinite freeze", async (repository) => {
    const channel = await publisher(repository);
    await channel.release({ version: "1" });
    const machine = device(repository, channel.pin);
    assert.equal((await machine.follow()).result, "current");
    for (const days of [7, 60, 400]) {
      machine.clock = NOW + days * DAY;
      const result = await machine.follow();
      assert.ok(result.result === "stale");
      report.add({
        attack: "indefinite freeze",
        done: `the same state for ${days} days`,
        said: `stale since ${result.expired.since}, first expired: ${result.expired.role}`,
      });
    }
    // Nothing is lost by it: the next refresh is believed.
    machine.clock = NOW + 8 * DAY;
    channel.now = machine.clock;
    await channel.refresh();
    assert.equal((await machine.follow()).result, "current");
  });

  attack("fast-forward: the highest version that there is, by a stolen online key", async (repository) => {
    const channel = await publisher(repository);
    await channel.release({ version: "1" });
    const machine = device(repository, channel.pin);
    const stolen = channel.keys.online;
    const before = await channel.read();
    const version = Number.MAX_SAFE_INTEGER;
    await serve(repository, await forgeOnline(before, stolen, { snapshot: version, timestamp: version }));
    assert.equal((await machine.follow()).result, "current"); // it is signed: nobody can know
    await serve(repository, before);
    await report.refused(
      "fast-forward",
      "a stolen online key signed version 2^53-1; then the honest state",
      machine.follow,
      {
        kind: POLICY,
        code: "channel-rollback",
      },
    );
    channel.keys = { ...channel.keys, online: [await newSigner()] };
    await channel.change((current) =>
      rotate(current, replaceOnline(current, channel.keys.online[0]!.key), timeOf(channel), nodeHashes),
    );
    const found = await machine.follow();
    assert.equal(found.result, "current");
    report.add({
      attack: "fast-forward",
      done: "the online key rotated by the root keys",
      said: `current: timestamp ${found.view.roles.timestamp.version} is believed again`,
    });
    await serve(repository, await forgeOnline(await channel.read(), stolen, {}));
    await report.refused("fast-forward", "the stolen key once more", machine.follow, {
      kind: POLICY,
      code: "channel-signature",
    });
  });

  attack("fast-forward: a stolen online key, and a signature that another key never made", async (repository) => {
    const online = await newSigners(2);
    const [stolen, kept] = online as [ChannelSigner, ChannelSigner];
    const channel = await publisher(repository, { keys: { ...(await newKeys()), online } });
    await channel.release({ version: "1" });
    const machine = device(repository, channel.pin);
    assert.equal((await machine.follow()).result, "current");
    // Were the other key remembered for it, taking out the stolen one would not end what it has done.
    const version = Number.MAX_SAFE_INTEGER;
    const forged = await forgeOnline(await channel.read(), [stolen], { snapshot: version, timestamp: version });
    const { signed, signatures } = envelopeOf(forged.timestamp);
    const lie = { keyid: keyIdOf(kept.key, nodeHashes), sig: "00".repeat(64) };
    const timestamp = asDocument<"timestamp">("timestamp", { signed, signatures: [...signatures, lie] });
    await serve(repository, { ...forged, timestamp });
    await report.refused("fast-forward", "a stolen online key and a false signature of the other one", machine.follow, {
      kind: POLICY,
      code: "channel-signature",
      message: /^timestamp: /,
    });
  });

  attack("fast-forward: a release 999, by stolen targets and online keys", async (repository) => {
    const channel = await publisher(repository);
    await channel.release({ version: "1" });
    await channel.release({ version: "999" });
    const machine = device(repository, channel.pin);
    assert.equal((await machine.follow()).result, "newer");
    machine.facts = { ...machine.facts, version: "999" };
    const honest = await channel.read();
    const { signed } = envelopeOf(honest.targets);
    const raised = structuredClone(signed);
    for (const target of Object.values(raised.targets)) target.custom.epoch = 1;
    const targets = await forge("targets", { ...raised, version: 50 }, channel.keys.targets);
    await serve(repository, await forgeOnline(honest, channel.keys.online, { targets }));
    await report.refused("fast-forward", "an epoch raised by the targets key", machine.follow, {
      kind: POLICY,
      code: "channel-epoch",
    });
    await serve(repository, honest);
    const fresh = await newSigner();
    const old = honest.roots[0].signed.roles.targets.keyids[0]!;
    channel.keys = { ...channel.keys, targets: [fresh] };
    await channel.change((current) =>
      rotate(
        current,
        {
          add: [{ role: "targets", key: fresh.key }],
          remove: [{ role: "targets", keyId: old }],
          newEpoch: true,
          drop: ["999"],
        },
        timeOf(channel),
        nodeHashes,
      ),
    );
    await channel.release({ version: "2" });
    const found = await machine.follow();
    assert.ok(found.result === "newer" && found.decision.action === "install" && found.decision.required);
    assert.equal(found.decision.release.version, "2");
    report.add({
      attack: "fast-forward",
      done: "a new epoch by the root keys, 999 taken out",
      said: "newer: version 2 of epoch 1 replaces version 999 of epoch 0",
    });
  });

  attack("key compromise: 1 of 2, 2 of 3, expired and forked roots", async (repository) => {
    const keys = { ...(await newKeys()), root: await newSigners(3) };
    const channel = await publisher(repository, { keys, thresholds: { root: 2 } });
    await channel.release({ version: "1" });
    const machine = device(repository, channel.pin);
    assert.equal((await machine.follow()).result, "current");
    const first = await channel.read();
    const attacker = await newSigner();
    const nextRoot = (state: ChannelState, fields: object) => ({
      ...state.roots.at(-1)!.signed,
      version: state.roots.length + 1,
      ...fields,
    });
    const evil = nextRoot(first, { ashlar: { ...first.roots[0].signed.ashlar, id: first.roots[0].fingerprint } });
    const append = (state: ChannelDocuments, root: ChannelDocuments["roots"][0]): ChannelDocuments => ({
      ...state,
      roots: [...state.roots, root] as unknown as ChannelDocuments["roots"],
    });
    for (const [done, signers] of [
      ["one of three root keys stolen, two needed", [keys.root[0]!]],
      ["one root key stolen, and a stranger's", [keys.root[0]!, attacker]],
    ] as const) {
      await serve(repository, append(first, await forge("root", evil, signers)));
      await report.refused("key compromise", done, machine.follow, {
        kind: POLICY,
        code: "channel-signature",
        message: /1\/2/,
      });
    }
    // The same key counted twice.
    const twice = envelopeOf(await forge("root", evil, [keys.root[0]!]));
    await serve(
      repository,
      append(first, asDocument("root", { ...twice, signatures: [...twice.signatures, ...twice.signatures] })),
    );
    await report.refused("key compromise", "one signature given twice", machine.follow, {
      kind: "FormatError",
      code: "bad-metadata",
    });

    // One key under several ids: its text can be written in more than one way.
    for (const type of ["ed25519", "ecdsa-p256"] as const) {
      const [one] = (await newSigners(1, type)) as [ChannelSigner];
      const { keyval } = one.key;
      const spelt = type === "ed25519" ? keyval.public.toUpperCase() : keyval.public.replace(/\n(?=.)/, "\n\n");
      const other = { ...one.key, keyval: { public: spelt } };
      const doubled = [one.key, other].map((key) => [keyIdOf(key, nodeHashes), key] as const);
      const { keys: before, roles } = evil as unknown as ChannelState["roots"][0]["signed"];
      const next = {
        ...evil,
        keys: { ...before, ...Object.fromEntries(doubled) },
        roles: { ...roles, targets: { keyids: doubled.map(([id]) => id), threshold: 2 } },
      };
      const { signed, signatures } = envelopeOf(await forge("targets", { ...first.targets.signed, version: 9 }, [one]));
      const { sig } = signatures[0]!;
      const targets = asDocument<"targets">("targets", {
        signed,
        signatures: doubled.map(([keyid]) => ({ keyid, sig })),
      });
      const around = await forgeOnline(first, keys.online, { targets });
      await serve(repository, append(around, await forge("root", next, keys.root.slice(0, 2))));
      await report.refused("key compromise", `one ${type} key under two ids`, machine.follow, {
        kind: [POLICY, "FormatError"],
        code: ["channel-key", "bad-metadata"],
      });
    }

    // Two honest holders take the stolen key out.
    await serve(repository, first);
    const fresh = await newSigner();
    const stolen = keys.root[0]!;
    const stolenId = first.roots[0].signed.roles.root.keyids.find(
      (id) => first.roots[0].signed.keys[id]!.keyval.public === stolen.key.keyval.public,
    )!;
    channel.keys = { ...keys, root: [keys.root[1]!, keys.root[2]!, fresh] };
    await channel.change((current) =>
      rotate(
        current,
        { add: [{ role: "root", key: fresh.key }], remove: [{ role: "root", keyId: stolenId }] },
        timeOf(channel),
        nodeHashes,
      ),
    );
    assert.equal((await machine.follow()).result, "current");
    assert.equal(machine.state?.root.version, 2);
    const second = await channel.read();
    await serve(repository, append(second, await forge("root", nextRoot(second, {}), [stolen, fresh])));
    await report.refused("key compromise", "the key that was rotated out signs the next root", machine.follow, {
      kind: POLICY,
      code: "channel-signature",
    });
    // Those who had two old keys make another second root: who has seen the real one knows.
    const fork = await forge("root", { ...evil, expires: "2030-01-01T00:00:00Z" }, [stolen, keys.root[1]!]);
    await serve(repository, append(first, fork));
    await report.refused("key compromise", "a second root 2, signed with two old root keys", machine.follow, {
      kind: POLICY,
      code: "channel-root",
    });
    // A root that has expired is stale, and its successor is believed.
    await serve(repository, second);
    machine.clock = NOW + 366 * DAY;
    channel.now = machine.clock;
    await report.refused("key compromise", "a refresh under a root that has expired", () => channel.refresh(), {
      kind: POLICY,
      code: "channel-expired",
    });
    const stale = await machine.follow();
    assert.ok(stale.result === "stale");
    await channel.change((current) => ({
      ...rotate(current, {}, timeOf(channel), nodeHashes),
      targets: removeReleases(current, [], timeOf(channel)).targets,
    }));
    assert.equal((await machine.follow()).result, "current");
    report.add({
      attack: "key compromise",
      done: "root expired after a year",
      said: `stale since ${stale.expired.since}; current after the next root`,
    });
  });

  attack("clock in 1970 and in 2100", async (repository) => {
    const channel = await publisher(repository);
    await channel.release({ version: "1" });
    const machine = device(repository, channel.pin);
    machine.clock = 0;
    assert.equal((await machine.follow()).result, "current"); // the image was built before the state expires
    machine.notBefore = NOW + 10 * DAY;
    machine.state = undefined;
    const old = await machine.follow();
    assert.ok(old.result === "stale");
    report.add({
      attack: "clock",
      done: "1970, with a state older than the image",
      said: `stale since ${old.expired.since}`,
    });
    machine.notBefore = NOW - DAY;
    machine.clock = Date.parse("2100-01-01T00:00:00Z");
    const future = await machine.follow();
    assert.ok(future.result === "stale");
    assert.equal(future.state.seen, undefined);
    machine.clock = NOW;
    const again = await machine.follow();
    assert.ok(again.result === "current");
    assert.equal(again.state.seen, "2026-11-23T12:00:00Z");
    assert.equal(effectiveTime(0, 0, again.state), NOW);
    report.add({
      attack: "clock",
      done: "2100, then right again",
      said: `stale since ${future.expired.since}; then current: the wrong time was not remembered`,
    });
    machine.clock = 0;
    machine.notBefore = 0;
    assert.equal((await machine.follow()).result, "current"); // not below what was seen
  });

  attack("no root to trust", async (repository) => {
    const channel = await publisher(repository);
    await channel.release({ version: "1" });
    const machine = device(repository, channel.pin);
    const environment = { hashes: nodeHashes, verifier: tufVerifier, clock: NOW, notBefore: 0 };
    const noTrust = await checkChannel(repository, { tag: "stable" }, { pins: [] }, machine.facts, environment);
    assert.ok(noTrust.result === "error" && noTrust.error.code === "no-trusted-root");
    report.add({
      attack: "arbitrary software",
      done: "no root is trusted beforehand",
      said: `${noTrust.error.kind} ${noTrust.error.code}: ${noTrust.error.message}`,
    });
  });
}

function replaceOnline(current: ChannelDocuments, key: TufKey): Rotation {
  const { roles } = current.roots.at(-1)!.signed;
  const both = ["snapshot", "timestamp"] as const;
  return {
    add: both.map((role) => ({ role, key })),
    remove: both.flatMap((role) => roles[role].keyids.map((keyId) => ({ role, keyId }))),
  };
}
