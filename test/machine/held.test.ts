// What `upgrade --download-only` has put onto the disk is staged later without asking anybody, unless something has changed since.
import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeUtf8 } from "../../core/src/bytes/index.ts";
import { SourceError } from "../../core/src/errors/index.ts";
import { machineStatus, recordBoot, upgrade } from "../../core/src/ops/machine/index.ts";
import { ENTRY_FOLDER, readSlots } from "../../core/src/ops/update/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { attributes, getNode, putNode, regularFile } from "../../core/src/tree/index.ts";
import { DAY } from "../support/channels.ts";
import { fatFiles } from "../support/fat-files.ts";
import { CHANNEL_POLICY, type Fleet, fleet } from "../support/fleet.ts";
import { memoryGenerations } from "../support/memory-generations.ts";
import { noise } from "../support/samples.ts";

const POLICY = "/usr/lib/ashlar/update.toml";

const withoutRegistry = ({ environment }: Fleet) => {
  const open = async () => {
    throw new SourceError("network", "registry.example: not to be reached");
  };
  return { ...environment, repositories: { open } };
};

test("what was downloaded is staged without a registry", async () => {
  const one = await fleet();
  const { machine, environment } = one;
  const running = (await machine.facts()).root!.rootHash;
  const store = memoryGenerations(running);
  machine.etc = store;
  putNode(store.uppers.get(running)!, "hostname", regularFile(attributes(0o644), bytesSource(encodeUtf8("one\n"))));
  const { release } = await one.release("2");
  assert.equal((await upgrade(machine, environment, { mode: "download" })).result, "downloaded");
  await machine.boot();
  await recordBoot(machine);
  const report = await upgrade(machine, withoutRegistry(one));
  assert.deepEqual([report.result, report.staged?.fetched, report.rebootNeeded], ["staged", 0, true]);
  assert.equal((await machineStatus(machine)).ashlar.downloaded, null);
  assert.ok(getNode(store.uppers.get(release.rootHash)!, "hostname") !== undefined, "local changes go along");
  await assert.rejects(upgrade(machine, withoutRegistry(one)), { code: "network" });
  assert.equal((await machine.boot()).version, "2");
  await recordBoot(machine);
  assert.equal((await machineStatus(machine)).ashlar.booted?.verified?.channel, "sample stable");
});

test("what was downloaded is asked for again where it may not be what the machine should run", async () => {
  const cases: readonly [string, (one: Fleet) => unknown][] = [
    [
      "another source",
      ({ machine }) =>
        machine.sealed.set(POLICY, '[source]\nreference = "registry.example/os:2"\n[trust]\nunsigned = "accept"\n'),
    ],
    ["another trust", ({ machine }) => machine.sealed.set(POLICY, `${CHANNEL_POLICY}[trust]\nkeys = ["other.pub"]\n`)],
    ["a channel that is stale now", ({ machine }) => Object.assign(machine, { time: machine.time + 30 * DAY })],
    ["no document", ({ machine }) => machine.records.remove("held.release.json")],
    ["a damaged document", ({ machine }) => machine.records.write("held.release.json", encodeUtf8("{"))],
    [
      "a slot that others have written to",
      async ({ machine }) =>
        machine.device.put((await readSlots(machine.device, "x86-64")).slots[1].root.start + 8192, noise(4096, "x")),
    ],
    [
      "a UKI that is gone",
      async ({ machine }) => {
        const esp = await fatFiles(machine.device, (await readSlots(machine.device, "x86-64")).esp);
        for (const { name } of await esp.list(ENTRY_FOLDER))
          if (name.endsWith(".new")) await esp.remove(`${ENTRY_FOLDER}/${name}`);
      },
    ],
  ];
  for (const [what, change] of cases) {
    const one = await fleet();
    await one.release("2");
    await upgrade(one.machine, one.environment, { mode: "download" });
    await change(one);
    await assert.rejects(upgrade(one.machine, withoutRegistry(one)), { code: "network" }, what);
    assert.equal((await one.machine.boot()).version, "1", what);
  }
  const one = await fleet();
  const { machine } = one;
  await one.release("2");
  await upgrade(machine, one.environment, { mode: "download" });
  machine.device.put((await readSlots(machine.device, "x86-64")).slots[1].root.start + 8192, noise(4096, "x"));
  const report = await upgrade(machine, one.environment);
  assert.equal(report.result, "staged");
  assert.ok(report.staged!.blocks.fetched <= 4096, "only what is wrong is fetched");
  assert.equal((await machine.boot()).version, "2");
});
