/** The man pages are what the commands say of themselves. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { app } from "../../cli/src/app.ts";
import { manPages } from "../../cli/src/manual.ts";

const FOLDER = join(import.meta.dirname, "../../docs/man");

test("docs/man is up to date (npm run man writes it)", () => {
  const pages = manPages(app);
  assert.deepEqual(readdirSync(FOLDER).sort(), pages.map(({ name }) => name).sort());
  for (const { name, content } of pages) assert.equal(readFileSync(join(FOLDER, name), "utf8"), content, name);
});

test("every command's description shows how it is called", () => {
  for (const { name, content } of manPages(app))
    if (name !== "ashlar.1") assert.match(content.replaceAll("\\-", "-"), /^ {2}.*ashlar [a-z]/m, name);
});
