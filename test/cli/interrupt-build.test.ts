// A whole build of a real system that does not come to its end, at random moments of it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { debianLayout } from "../support/debian.ts";
import { totalWritten, whenWritten } from "../support/moments.ts";
import { seededRandom } from "../support/mutate.ts";
import { assertOneLine, ended, startAshlar, workFolder } from "../support/samples.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";
const MOMENTS = isLong ? 40 : 2;
const SIZES = ["--esp-size", "300M", "--slot-size", "512M", "--var-size", "64M"];

const folder = workFolder({ after });
const expected = join(folder, "expected");
let reference: string;
let total: number; // bytes that an undisturbed run writes

const build = (out: string, ...flags: string[]) =>
  startAshlar(["build", reference, "-o", out, "--quiet", ...SIZES, ...flags]);

before(async () => {
  reference = `oci:${await debianLayout("trixie")}`;
  const child = build(expected);
  const result = ended(child);
  total = await totalWritten(child);
  const { status, stderr } = await result;
  assert.equal(status, 0, stderr);
});

/** Every file under a final name is the one of an undisturbed run. */
function assertWhole(out: string): string[] {
  const left = existsSync(out) ? readdirSync(out) : [];
  for (const name of left.filter((name) => !name.startsWith(".ashlar-partial-"))) {
    const { status, stderr } = spawnSync("cmp", [join(out, name), join(expected, name)], { encoding: "utf8" });
    assert.equal(status, 0, `${name}: ${stderr}`);
  }
  return left;
}

/** Parts of what a run writes, the same every time. */
function moments(name: string): number[] {
  const random = seededRandom(name);
  return Array.from({ length: MOMENTS }, () => random.below(1000) / 1000);
}

test("SIGINT at random moments: nothing is left behind", async (t) => {
  const out = join(folder, "interrupted");
  const seen: string[] = [];
  for (const moment of moments("SIGINT")) {
    const child = build(out, "--overwrite");
    const result = ended(child);
    await whenWritten(child, moment * total);
    child.kill("SIGINT");
    const { status, signal, stderr } = await result;
    seen.push(`${moment}: ${status ?? signal}`);
    if (status === 0) continue; // it was done
    if (signal === null) {
      assert.equal(status, 130, stderr);
      assertOneLine(stderr, /interrupted, nothing was left behind/);
    } else assert.equal(signal, "SIGINT"); // before the command was loaded
    // What an earlier run has made stays, or goes when it begins to be replaced: never is a part of it there.
    const left = assertWhole(out);
    assert.ok([0, 5].includes(left.length), left.join(" "));
  }
  t.diagnostic(seen.join(", "));
});

test("SIGKILL at random moments, one run after the other: nothing half-written, and the last one succeeds", async (t) => {
  const out = join(folder, "killed");
  const seen: string[] = [];
  for (const moment of moments("SIGKILL")) {
    const child = build(out, "--overwrite");
    const result = ended(child);
    await whenWritten(child, moment * total);
    child.kill("SIGKILL");
    await result;
    const left = assertWhole(out);
    // Each run removes what the one before has left.
    assert.ok(left.filter((name) => name.startsWith(".")).length <= 1, left.join(" "));
    seen.push(`${moment}: ${left.length}`);
  }
  t.diagnostic(seen.join(", "));
  const { status, stderr } = await ended(build(out, "--overwrite"));
  assert.equal(status, 0, stderr);
  assert.deepEqual(assertWhole(out), readdirSync(expected));
});
