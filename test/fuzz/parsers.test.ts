// Spoiled bytes of every format: a value or one of our errors, in bounded time and memory. ASHLAR_LONG=true runs far more;
// ASHLAR_FUZZ=NAME runs one parser. A case is told by its number, and the same every time.
import assert from "node:assert/strict";
import process from "node:process";
import { after, test } from "node:test";
import { fuzz, type Outcome, reportOf } from "./harness.ts";
import { PARSERS } from "./parsers.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";
const only = process.env["ASHLAR_FUZZ"];
const CASES = Number(process.env["ASHLAR_FUZZ_CASES"] ?? (isLong ? 20_000 : 300));

const outcomes: Outcome[] = [];

for (const parser of PARSERS) {
  if (only !== undefined && parser.name !== only) continue;
  test(parser.name, async (t) => {
    const outcome = await fuzz(parser, CASES);
    outcomes.push(outcome);
    const { cases, values, refusals, escapes, slowest, slowestCase } = outcome;
    t.diagnostic(`${cases} cases: ${values} values, ${refusals} refusals, ${escapes.length} escapes`);
    t.diagnostic(`slowest: ${slowest.toFixed(1)} ms, ${slowestCase}`);
    assert.deepEqual(escapes.slice(0, 20), []);
    assert.ok(cases >= CASES);
    if (cases >= 100) assert.ok(values > 0, "not even one input is read: the seed itself is wrong");
  });
}

after(() => process.stdout.write(`The fuzz report\n${reportOf(outcomes).join("\n")}\n`));
