import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { isAshlarError } from "../../errors/index.ts";
import { pureHashes } from "../../hash/index.ts";
import { compareVersions } from "../release/index.ts";
import { type DeviceFacts, decide, rolloutParts, rolloutPosition } from "./decide.ts";
import { ROLLOUT_PARTS } from "./format.ts";
import type { ChannelRelease, ChannelView } from "./view.ts";

const NOW = Date.parse("2026-11-23T12:00:00Z");
const ROLE = { version: 1, expires: "2027-01-01T00:00:00Z", threshold: 1, keyIds: [] };

const release = (version: string, rules: Partial<ChannelRelease> = {}): ChannelRelease => ({
  product: "os",
  architecture: "amd64",
  version,
  epoch: 0,
  rootHash: "00".repeat(32),
  manifest: { mediaType: "m", digest: `sha256:${"00".repeat(32)}`, size: 1 },
  barrier: false,
  minAgent: undefined,
  rollout: undefined,
  ...rules,
});

const channel = (releases: readonly ChannelRelease[], rest: Partial<ChannelView> = {}): ChannelView => ({
  product: "os",
  name: "stable",
  id: `sha256:${"00".repeat(32)}`,
  epoch: 0,
  floor: undefined,
  roles: { root: ROLE, timestamp: ROLE, snapshot: ROLE, targets: ROLE },
  releases,
  ...rest,
});

const device = (version: string | undefined, rest: Partial<DeviceFacts> = {}): DeviceFacts => ({
  product: "os",
  architecture: "amd64",
  epoch: 0,
  version,
  ...rest,
});

const choose = (view: ChannelView, facts: DeviceFacts, now = NOW) => decide(view, facts, { hashes: pureHashes, now });

/** `install 3`, `wait 3`, `none newest`, or the code of the refusal. */
function outcome(view: ChannelView, facts: DeviceFacts, now = NOW): string {
  try {
    const decision = choose(view, facts, now);
    if (decision.action === "none") return `none ${decision.reason}`;
    return `${decision.action} ${decision.release.version}${decision.action === "install" && decision.required ? "!" : ""}`;
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    return error.code;
  }
}

test("what a device does", () => {
  const plain = channel([release("2"), release("10"), release("1")]);
  assert.equal(outcome(plain, device("1")), "install 10");
  assert.equal(outcome(plain, device("10")), "none newest");
  assert.equal(outcome(plain, device("11")), "none ahead");
  assert.equal(outcome(plain, device("3")), "install 10");
  assert.equal(outcome(plain, device(undefined)), "install 10");
  assert.equal(outcome(plain, device("1", { product: "toaster" })), "wrong-product");
  assert.equal(outcome(plain, device("1", { architecture: "arm64" })), "wrong-architecture");
  assert.equal(outcome(channel([]), device("1")), "wrong-architecture");
});

test("barriers are not jumped over by updates, and do not hold a fresh disk", () => {
  const view = channel([
    release("1"),
    release("2", { barrier: true }),
    release("3"),
    release("4", { barrier: true }),
    release("5"),
  ]);
  assert.equal(outcome(view, device("1")), "install 2");
  assert.equal(outcome(view, device("2")), "install 4");
  assert.equal(outcome(view, device("3")), "install 4");
  assert.equal(outcome(view, device("4")), "install 5");
  assert.equal(outcome(view, device(undefined)), "install 5");
  const held = channel([release("2", { barrier: true, rollout: [{ parts: 0 }] }), release("3")]);
  assert.equal(outcome(held, device("1")), "wait 2");
  assert.equal(
    outcome(channel([release("2"), ...held.releases.map((r) => ({ ...r, version: `${r.version}.5` }))]), device("1")),
    "install 2",
  );
});

test("floor and epoch", () => {
  const view = channel([release("1"), release("5"), release("6", { rollout: [{ parts: 0 }] })], { floor: "5" });
  assert.equal(outcome(view, device("4")), "install 5!");
  assert.equal(outcome(view, device("5")), "wait 6");
  assert.equal(outcome(channel([release("1")], { floor: "5" }), device("0")), "channel-floor");
  const recovered = channel([release("999"), release("3", { epoch: 1 })], { epoch: 1 });
  assert.equal(outcome(recovered, device("999")), "install 3!");
  assert.equal(outcome(recovered, device("3", { epoch: 1 })), "none newest");
  assert.equal(outcome(recovered, device("3", { epoch: 2 })), "channel-epoch");
});

test("a release that needs a newer agent is reached over one that brings it", () => {
  const view = channel([release("1"), release("2"), release("3", { minAgent: "0.2.0" })]);
  assert.equal(outcome(view, device("1", { agentVersion: "0.1.0" })), "install 2");
  assert.equal(outcome(view, device("2", { agentVersion: "0.1.0" })), "agent-too-old");
  assert.equal(outcome(view, device("2", { agentVersion: "0.2.0~rc1" })), "agent-too-old");
  assert.equal(outcome(view, device("2", { agentVersion: "0.10.0" })), "install 3");
});

test("a rollout admits its share of devices, more with time, never fewer", () => {
  const rollout = [
    { parts: 500 },
    { parts: 5000, from: "2026-11-24T00:00:00Z" },
    { parts: 10_000, from: "2026-11-25T00:00:00Z" },
  ];
  assert.equal(rolloutParts({ rollout }, NOW), 500);
  assert.equal(rolloutParts({ rollout }, Date.parse("2026-11-24T00:00:00Z")), 5000);
  assert.equal(rolloutParts({ rollout: [{ parts: 1, from: "2027-01-01T00:00:00Z" }] }, NOW), 0);
  const view = channel([release("2", { rollout })]);
  const admitted = (now: number) =>
    Array.from({ length: 2000 }, (_, i) => `machine ${i}`).filter(
      (rolloutKey) => outcome(view, device("1", { rolloutKey }), now) === "install 2",
    );
  const first = admitted(NOW);
  const second = admitted(Date.parse("2026-11-24T12:00:00Z"));
  assert.ok(first.length > 60 && first.length < 140, `${first.length} of 2000 at 5 %`);
  assert.ok(second.length > 900 && second.length < 1100, `${second.length} of 2000 at 50 %`);
  assert.ok(first.every((key) => second.includes(key)));
  assert.equal(admitted(Date.parse("2026-11-25T00:00:00Z")).length, 2000);
  assert.equal(outcome(view, device("1")), "wait 2");
  // Another release, other devices first.
  const position = (version: string) => rolloutPosition(release(version), { rolloutKey: "machine 1" }, pureHashes);
  assert.notEqual(position("2"), position("3"));
});

test("whatever a channel says, a device never goes back, below the floor, over a barrier or past its agent", () => {
  const version = fc.constantFrom("1", "1.1", "2~rc1", "2", "3", "10");
  const anyRelease = fc.record({
    version,
    architecture: fc.constantFrom("amd64", "arm64"),
    epoch: fc.constantFrom(0, 1),
    barrier: fc.boolean(),
    minAgent: fc.constantFrom(undefined, "1", "2"),
    rollout: fc.constantFrom(undefined, [{ parts: 0 }], [{ parts: 5000 }]),
  });
  fc.assert(
    fc.property(
      fc.array(anyRelease, { maxLength: 6 }),
      fc.record({ epoch: fc.constantFrom(0, 1), floor: fc.constantFrom(undefined, "2", "3") }),
      fc.record({
        version: fc.option(version, { nil: undefined }),
        epoch: fc.constantFrom(0, 1),
        agentVersion: fc.constantFrom("1", "2"),
        rolloutKey: fc.constantFrom("a", "b", "c"),
      }),
      (rules, rest, facts) => {
        const view = channel(
          rules.map((rule) => release(rule.version, rule)),
          rest,
        );
        const machine = device(facts.version, facts);
        if (!outcome(view, machine).startsWith("install")) return;
        const decision = choose(view, machine);
        assert.ok(decision.action === "install");
        const { release: chosen } = decision;
        assert.ok(chosen.epoch === view.epoch && view.epoch >= facts.epoch && chosen.architecture === "amd64");
        if (view.floor !== undefined) assert.ok(compareVersions(chosen.version, view.floor) >= 0);
        if (chosen.minAgent !== undefined) assert.ok(compareVersions(facts.agentVersion, chosen.minAgent) >= 0);
        assert.ok(rolloutParts(chosen, NOW) > 0);
        const { version: running } = facts;
        if (running === undefined || facts.epoch < view.epoch) return;
        assert.ok(compareVersions(chosen.version, running) > 0);
        for (const { version: other, barrier, epoch, architecture } of view.releases)
          if (
            barrier &&
            epoch === view.epoch &&
            architecture === "amd64" &&
            (view.floor === undefined || compareVersions(other, view.floor) >= 0)
          )
            assert.ok(!(compareVersions(other, running) > 0 && compareVersions(other, chosen.version) < 0), other);
      },
    ),
    { numRuns: 2000 },
  );
});

test("positions lie in the range", () => {
  fc.assert(
    fc.property(fc.string(), (rolloutKey) => {
      const position = rolloutPosition(release("1"), { rolloutKey }, pureHashes);
      assert.ok(position >= 0 && position < ROLLOUT_PARTS);
    }),
  );
});
