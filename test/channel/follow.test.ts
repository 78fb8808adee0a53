// A channel from its first root to its rotations, as a device sees it. In memory: the same code runs against registries.
import assert from "node:assert/strict";
import { test } from "node:test";
import { nodeHashes } from "../../core/src/node/index.ts";
import { rotate } from "../../core/src/ops/channel/index.ts";
import { DAY, device, NOW, newKeys, newSigner, publisher, timeOf } from "../support/channels.ts";
import { memoryRepository } from "../support/memory-repository.ts";

for (const type of ["ed25519", "ecdsa-p256", "rsa-3072"] as const)
  test(`a channel with ${type} keys`, async () => {
    const repository = memoryRepository();
    const channel = await publisher(repository, { keys: await newKeys(type) });
    await channel.release({ version: "1" });
    const machine = device(repository, channel.pin);
    assert.equal((await machine.follow()).result, "current");
    await channel.release({ version: "2" });
    const found = await machine.follow();
    assert.ok(found.result === "newer" && found.decision.action === "install");
    assert.equal(found.decision.release.version, "2");
    assert.equal(found.decision.release.manifest.digest, repository.tagged.get("2"));
    await channel.change((current) => rotate(current, {}, timeOf(channel), nodeHashes));
    assert.equal((await machine.follow()).result, "newer");
    assert.equal(machine.state?.root.version, 2);
  });

test("a channel that nobody refreshes is stale, and is current again after a refresh", async () => {
  const repository = memoryRepository();
  const channel = await publisher(repository);
  await channel.release({ version: "1" });
  const machine = device(repository, channel.pin);
  machine.clock = NOW + 8 * DAY;
  const stale = await machine.follow();
  assert.ok(stale.result === "stale");
  assert.deepEqual(stale.expired.since, "2026-11-30T12:00:00Z");
  channel.now = machine.clock;
  await channel.refresh();
  assert.equal((await machine.follow()).result, "current");
  channel.keys = { ...channel.keys, online: [await newSigner()] };
  await assert.rejects(channel.refresh(), { code: "channel-threshold" });
});
