// The attacks on a channel, to be played in any repository: in memory, and in registries that are processes.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { type ArtifactManifest, type Repository, readBlob } from "../../core/src/formats/oci/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import { type ChannelDocuments, ROLES, rotate } from "../../core/src/ops/channel/index.ts";
import type { AttackReport } from "../support/attack-report.ts";
import { asDocument, envelopeOf, forge, forgeOnline, serve } from "../support/channel-forgery.ts";
import { DAY, device, NOW, newKeys, newSigner, publisher, putJson, timeOf } from "../support/channels.ts";
import { playOnKeysAndTime } from "./key-attacks.ts";

export type OpenRepository = (t: TestContext) => Promise<Repository>;
/** Plays one attack in a repository of its own. */
export type Attack = (name: string, play: (repository: Repository) => Promise<void>) => void;

const POLICY = "PolicyError";
const FOLLOWERS = ["timestamp", "snapshot", "targets"] as const;

export function playAttacks(report: AttackReport, open: OpenRepository, options: { skip?: string | false } = {}): void {
  const attack: Attack = (name, play) =>
    void test(name, options, async (t) => {
      await play(await open(t));
    });
  playOnDocuments(attack, report);
  playOnKeysAndTime(attack, report);
}

function playOnDocuments(attack: Attack, report: AttackReport): void {
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
}
