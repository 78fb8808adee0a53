// The verbs of a machine on one that runs no release of Ashlar, as this one: they say so, and change nothing.
import assert from "node:assert/strict";
import { test } from "node:test";
import { assertOneLine, run, runOk } from "../support/samples.ts";

test("status says what runs here is no release, in the shape that programs know", async () => {
  const { stdout } = await runOk(["status"]);
  assert.match(stdout, /does not run from a sealed root/);
  const status = JSON.parse((await runOk(["status", "--json"])).stdout);
  assert.equal(status.apiVersion, "org.containers.bootc/v1");
  assert.deepEqual([status.status.type, status.status.booted, status.ashlar.root], [null, null, null]);
});

test("what would change a machine is refused on one that is none", async () => {
  for (const args of [
    ["upgrade"],
    ["upgrade", "--check"],
    ["rollback"],
    ["gc"],
    ["agent", "booted"],
    ["agent", "carry-etc"],
  ]) {
    const { status, stdout, stderr } = await run(args);
    assert.equal(status, 4, args.join(" "));
    assert.equal(stdout, "");
    assertOneLine(stderr, /does not run from a sealed root/);
  }
});

test("flags of upgrade that exclude each other", async () => {
  const { status, stderr } = await run(["upgrade", "--check", "--apply"]);
  assert.equal(status, 6);
  assert.match(stderr, /exclude each other/);
});

test("the agent's own verbs are not listed", async () => {
  const { stdout } = await runOk(["--help"]);
  assert.match(stdout, /rollback/);
  assert.doesNotMatch(stdout, /^\s+agent\s/m);
});
