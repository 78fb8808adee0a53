// The attacks on a channel, to be played in any repository: in memory, and in registries that are processes.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type ArtifactManifest, type Repository, readBlob } from "../../core/src/formats/oci/index.ts";
import { nodeHashes, tufVerifier } from "../../core/src/node/index.ts";
import {
  type ChannelDocuments,
  type ChannelState,
  checkChannel,
  effectiveTime,
  ROLES,
  type Rotation,
  removeReleases,
  rotate,
  type TufKey,
} from "../../core/src/ops/channel/index.ts";
import type { AttackReport } from "../support/attack-report.ts";
import { asDocument, envelopeOf, forge, forgeOnline, serve } from "../support/channel-forgery.ts";
import { DAY, device, NOW, newKeys, newSigner, newSigners, publisher, putJson, timeOf } from "../support/channels.ts";

export type OpenRepository = (t: TestContext) => Promise<Repository>;

const POLICY = "PolicyError";
const FOLLOWERS = ["timestamp", "snapshot", "targets"] as const;

export function playAttacks(report: AttackReport, open: OpenRepository, options: { skip?: string | false } = {}): void {
  const attack = (name: string, play: (repository: Repository) => Promise<void>) =>
    test(name, options, async (t) => {
      await play(await open(t));
    });

  attack("arbitrary software: unsigned, changed, or signed by a stranger", async (repository) => {
    const channel = await publisher(repository);
    await channel.release({ version: "1" });
    await channel.release({ version: "2" });
    const honest = await channel.read();
    const machine = device(repository, channel.pin);
    const stranger = await newSigner();
    const expected = { kind: POLICY, code: "channel-signature" } as const;
    for (const role of ROLES) {
      const root = role === "root";
      const document = root ? honest.roots[0] : honest[role];
      const swap = (changed: ReturnType<typeof asDocument>): ChannelDocuments =>
        root ? { ...honest, roots: [changed as ChannelDocuments["roots"][0]] } : { ...honest, [role]: changed };
      const refused = async (done: string, changed: ReturnType<typeof asDocument>, codes: string | string[]) => {
        await serve(repository, swap(changed));
        await report.refused("arbitrary software", `${role}: ${done}`, machine.follow, {
          kind: [POLICY, "IntegrityError"],
          code: codes,
        });
      };
      const envelope = envelopeOf(document);
      // A root that is not the trusted one is refused by name; what is named by hash, as another than the one named.
      const codes = root ? "channel-root" : role === "timestamp" ? expected.code : ["channel-mix"];
      const unsigned = asDocument(role, { ...envelope, signatures: [] });
      if (root) await refused("signature removed", unsigned, expected.code);
      else await refused("signature removed", unsigned, codes);
      const later = { ...envelope.signed, expires: "2099-01-01T00:00:00Z" };
      await refused("expiry changed", asDocument(role, { ...envelope, signed: later }), codes);
      await refused("signed by a stranger's key", await forge(role, later, [stranger]), codes);
      const [signature] = envelope.signatures;
      const flipped = `${(Number.parseInt(signature!.sig[0]!, 16) ^ 1).toString(16)}${signature!.sig.slice(1)}`;
      await refused(
        "a bit of the signature flipped",
        asDocument(role, { ...envelope, signatures: [{ ...signature, sig: flipped }] }),
        root ? expected.code : codes,
      );
    }
    await serve(repository, honest);
    assert.equal((await machine.follow()).result, "newer");
  });

  attack(
    "arbitrary software: every signed field of the targets, hashes and online signatures made to fit",
    async (repository) => {
      const channel = await publisher(repository);
      await channel.release({ version: "2" });
      const honest = await channel.read();
      const { signed, signatures } = envelopeOf(honest.targets);
      const [path, target] = Object.entries(signed.targets)[0]!;
      const changed = (fields: object) => ({ ...signed, targets: { [path]: { ...target, ...fields } } });
      const custom = (fields: object) => changed({ custom: { ...target.custom, ...fields } });
      const machine = device(repository, channel.pin);
      for (const [done, forged] of [
        ["digest", changed({ hashes: { sha256: "ab".repeat(32) } })],
        ["size", changed({ length: 1 })],
        ["root hash", custom({ rootHash: "ab".repeat(32) })],
        ["version", custom({ version: "3" })],
        ["architecture", custom({ architecture: "arm64" })],
        ["epoch", custom({ epoch: 1 })],
        ["barrier", custom({ barrier: true })],
        ["minimum agent", custom({ minAgent: "1" })],
        ["rollout", custom({ rollout: [{ parts: 1 }] })],
        ["floor", { ...signed, ashlar: { ...signed.ashlar, floor: "1" } }],
        ["version of the document", { ...signed, version: 77 }],
      ] as const) {
        const targets = asDocument("targets", { signed: forged, signatures });
        await serve(repository, await forgeOnline(honest, channel.keys.online, { targets }));
        await report.refused(
          "arbitrary software",
          `targets: ${done} changed with a stolen online key`,
          machine.follow,
          {
            kind: POLICY,
            code: "channel-signature",
            message: /^targets: /,
          },
        );
      }
    },
  );

  attack("arbitrary software: the tag holds something else", async (repository) => {
    const channel = await publisher(repository);
    await channel.release({ version: "1" });
    const machine = device(repository, channel.pin);
    const config = {
      mediaType: "application/vnd.oci.empty.v1+json",
      digest: `sha256:${"44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}`,
      size: 2,
    };
    await putJson(
      repository,
      {
        schemaVersion: 2,
        mediaType: "application/vnd.oci.image.manifest.v1+json",
        artifactType: "application/vnd.example",
        config,
        layers: [],
      },
      "stable",
    );
    await report.refused("arbitrary software", "the tag moved to another artifact", machine.follow, {
      kind: POLICY,
      code: "not-a-channel",
    });
  });

  attack("rollback", async (repository) => {
    const channel = await publisher(repository);
    await channel.release({ version: "1" });
    const old = await channel.read();
    await channel.release({ version: "2" });
    const today = await channel.read();
    const machine = device(repository, channel.pin);
    assert.equal((await machine.follow()).result, "newer");
    await serve(repository, old);
    const expected = { kind: POLICY, code: "channel-rollback" } as const;
    await report.refused("rollback", "yesterday's state after today's", machine.follow, expected);
    machine.clock = NOW + 30 * DAY;
    await report.refused(
      "rollback",
      "an old state, expired meanwhile: still a rollback, not only stale",
      machine.follow,
      expected,
    );
    machine.clock = Date.parse("1970-01-01T00:00:00Z");
    await report.refused("rollback", "an old state, and the clock set back", machine.follow, expected);
    machine.clock = NOW;
    const signer = channel.keys.online;
    await serve(repository, await forgeOnline(old, signer, { timestamp: 1000, snapshot: 1000 }));
    await report.refused("rollback", "old targets under new timestamps by a stolen online key", machine.follow, {
      ...expected,
      message: /^targets 2 is offered, targets 3 was seen/,
    });
    // A device that has lost its state has its image's root, and refuses a chain that ends before it.
    await serve(repository, today);
    await channel.change((current) => rotate(current, {}, timeOf(channel), nodeHashes));
    const rotated = await channel.read();
    const wiped = device(repository, { version: 2, fingerprint: rotated.roots[1]!.fingerprint });
    assert.equal((await wiped.follow()).result, "newer");
    wiped.state = undefined;
    await serve(repository, old);
    await report.refused("rollback", "state wiped, roots from before the image's", wiped.follow, expected);
  });

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

  attack(
    "mix-and-match: every document of one state in every other, and of a channel with the same keys",
    async (repository) => {
      const keys = await newKeys();
      const channel = await publisher(repository, { keys });
      await channel.release({ version: "1" });
      const old = await channel.read();
      await channel.release({ version: "2" });
      const now = await channel.read();
      const other = await publisher(repository, { keys, tag: "edge" });
      await other.release({ version: "7" });
      await other.release({ version: "8" });
      await other.release({ version: "9" });
      const edge = await other.read();
      const machine = device(repository, channel.pin);
      for (const [name, from] of [
        ["an older state", old],
        ["another channel with the same keys", edge],
      ] as const)
        for (let mask = 1; mask < 7; mask++) {
          const taken = FOLLOWERS.filter((_, i) => (mask >> i) & 1);
          const mixed = { ...now, ...Object.fromEntries(taken.map((role) => [role, from[role]])) };
          await serve(repository, mixed);
          await report.refused("mix-and-match", `${taken.join(" and ")} of ${name}`, machine.follow, {
            kind: [POLICY, "IntegrityError"],
            code: ["channel-mix", "channel-identity"],
          });
        }
      await serve(repository, { ...edge, roots: now.roots });
      await report.refused("mix-and-match", "all but the root of another channel with the same keys", machine.follow, {
        kind: POLICY,
        code: "channel-identity",
      });
      await serve(repository, edge);
      await report.refused("mix-and-match", "another channel whole", machine.follow, {
        kind: POLICY,
        code: "channel-root",
      });
    },
  );

  attack("wrong target", async (repository) => {
    const channel = await publisher(repository);
    await channel.release([{ version: "1" }, { version: "2", architecture: "arm64" }]);
    const machine = device(repository, channel.pin);
    machine.facts = { ...machine.facts, product: "toaster" };
    await report.refused("wrong target", "a channel of another product", machine.follow, {
      kind: POLICY,
      code: "wrong-product",
    });
    machine.facts = { ...machine.facts, product: "os", architecture: "riscv64" };
    await report.refused("wrong target", "a channel without the device's architecture", machine.follow, {
      kind: POLICY,
      code: "wrong-architecture",
    });
    machine.facts = { ...machine.facts, architecture: "amd64" };
    assert.equal((await machine.follow()).result, "current"); // version 2 is for arm64
    const honest = await channel.read();
    const { signed } = envelopeOf(honest.targets);
    const moved = { ...signed, version: 9, targets: { "os/amd64/2": signed.targets["os/arm64/2"] } };
    const targets = await forge("targets", moved, channel.keys.targets);
    await serve(repository, await forgeOnline(honest, channel.keys.online, { targets }));
    await report.refused("wrong target", "an arm64 release under an amd64 name", machine.follow, {
      kind: POLICY,
      code: "channel-target",
    });
    await report.refused(
      "wrong target",
      "a release of another product added by mistake",
      async () => channel.release({ version: "3", product: "toaster" }),
      { kind: POLICY, code: ["wrong-product", "channel-target"] },
    );
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

  attack("partial state and endless data: what the manifest says", async (repository) => {
    const channel = await publisher(repository);
    await channel.release({ version: "1" });
    const machine = device(repository, channel.pin);
    const { digest } = await repository.resolve({ tag: "stable" });
    const whole = new TextDecoder().decode(
      await readBlob(repository, await repository.resolve({ digest }), nodeHashes, "channel"),
    );
    const count = (JSON.parse(whole) as ArtifactManifest).layers.length;
    type Layers = { mediaType: string; size: number }[];
    const put = async (change: (layers: Layers) => Layers) => {
      const manifest = JSON.parse(whole) as { mediaType: string; layers: Layers };
      await putJson(repository, { ...manifest, layers: change(manifest.layers) }, "stable");
    };
    for (let left = 0; left < count; left++) {
      await put((layers) => layers.filter((_, i) => i !== left));
      await report.refused("partial state", `document ${left + 1} of ${count} left out`, machine.follow, {
        kind: POLICY,
        code: "channel-incomplete",
      });
    }
    await put((layers) => [...layers, layers.at(-1)!]);
    await report.refused("partial state", "two lists of releases", machine.follow, {
      kind: POLICY,
      code: "channel-incomplete",
    });
  });

  attack("equivocation: two states of one version", async (repository) => {
    const channel = await publisher(repository);
    await channel.release({ version: "1" });
    const machine = device(repository, channel.pin);
    await machine.follow();
    const state = await channel.read();
    const { timestamp, snapshot } = state;
    await serve(
      repository,
      await forgeOnline(state, channel.keys.online, {
        timestamp: timestamp.signed.version,
        snapshot: snapshot.signed.version,
        expires: "2027-06-01T00:00:00Z",
      }),
    );
    await report.refused("mix-and-match", "another timestamp of the version that was seen", machine.follow, {
      kind: POLICY,
      code: "channel-equivocation",
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
