import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openArtifacts } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "ashlar-artifacts-"));
after(() => rmSync(folder, { recursive: true, force: true }));

test("folders that were made for results go where there are none, and stay where somebody uses them", async () => {
  const output = join(folder, "new/output");
  const gone = await openArtifacts(output, { overwrite: false });
  await gone.create("a");
  await gone.discard();
  assert.deepEqual(readdirSync(folder), []);

  const used = await openArtifacts(output, { overwrite: false });
  writeFileSync(join(folder, "new/other"), "");
  await used.discard();
  assert.deepEqual(readdirSync(join(folder, "new")), ["other"]);

  const made = await openArtifacts(join(folder, "new"), { overwrite: false });
  await made.discard();
  assert.ok(existsSync(join(folder, "new/other")), "what was there before is not ours to remove");
});

test("what is published stays when the store is let go of", async () => {
  const output = join(folder, "published");
  const store = await openArtifacts(output, { overwrite: false });
  await store.create("a");
  await store.publish();
  await store.discard();
  assert.deepEqual(readdirSync(output), ["a"]);
});
