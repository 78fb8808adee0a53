import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chownSync, linkSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { claimLeftover } from "./leftovers.ts";

/** Makes what a run that was killed leaves: a partial directory of a process that has ended. */
function killedRun(directory: string, name: string, text: string): string {
  const script = `
    import { newPartialName } from ${JSON.stringify(import.meta.resolve("./leftovers.ts"))};
    process.stdout.write(newPartialName());`;
  const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  assert.match(stdout, /^\.ashlar-partial-/);
  mkdirSync(join(directory, stdout));
  writeFileSync(join(directory, stdout, name), text);
  return join(directory, stdout, name);
}

test("what an earlier run has left is gone on with only where nobody else can change it", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "ashlar-leftovers-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const claimed = join(directory, "claimed");

  const linked = killedRun(directory, "linked", "x");
  linkSync(linked, join(directory, "other name"));
  assert.equal(await claimLeftover(directory, "linked", claimed), false);

  if (process.getuid?.() === 0) {
    chownSync(killedRun(directory, "foreign", "x"), 12345, 12345);
    assert.equal(await claimLeftover(directory, "foreign", claimed), false);
  }

  killedRun(directory, "ours", "the first half");
  assert.equal(await claimLeftover(directory, "ours", claimed), true);
  assert.equal(readFileSync(claimed, "utf8"), "the first half");
});
