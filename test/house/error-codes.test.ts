/** The list of error codes is what the sources throw. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { errorCodes, FILE } from "../../scripts/lib/error-codes.ts";

test("docs/error-codes.md is up to date (npm run codes writes it)", () => {
  assert.equal(readFileSync(FILE, "utf8"), errorCodes());
});
