/** The examples run. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";

const FOLDER = join(import.meta.dirname, "../../examples");

for (const name of readdirSync(FOLDER).filter((file) => file.endsWith(".ts")))
  test(`examples/${name} runs`, () => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [join(FOLDER, name)], { encoding: "utf8" });
    assert.equal(status, 0, stderr);
    assert.notEqual(stdout, "");
  });
