// Runs that do not come to their end: nothing half-written under a final name, and the next run finds a clean place.
import assert from "node:assert/strict";
import { createCipheriv } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { newMark } from "../../core/src/node/process-mark.ts";
import {
  assertOneLine,
  digests,
  ended,
  run,
  runOk,
  sampleLayout,
  startAshlar,
  workFolder,
} from "../support/samples.ts";
import { tarBytes } from "../support/tar.ts";

const folder = workFolder({ after });
const reference = `oci:${join(folder, "layout")}`;
let expected: Record<string, string>;
let duration: number; // milliseconds of an undisturbed run
let count = 0;

before(async () => {
  const content = createCipheriv("aes-128-ctr", Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(48 << 20));
  await sampleLayout(join(folder, "layout"), { layers: [{ tar: tarBytes([{ name: "data", content }]) }] });
  const begun = performance.now();
  await runOk(["seal", reference, "-o", join(folder, "expected"), "--quiet"]);
  duration = performance.now() - begun;
  expected = digests(join(folder, "expected"));
});

const seal = (out: string, ...flags: string[]) => startAshlar(["seal", reference, "-o", out, "--quiet", ...flags]);
const output = (): string => join(folder, `out-${count++}`);
/** Moments spread over a run, in parts of its duration. */
const MOMENTS = [0.15, 0.35, 0.5, 0.65, 0.85];

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)
  test(`${signal} at several moments: exit code ${code}, nothing left behind`, async (t) => {
    const seen: string[] = [];
    for (const moment of MOMENTS) {
      const out = output();
      const child = seal(out);
      const result = ended(child);
      await sleep(moment * duration);
      const before = performance.now();
      child.kill(signal);
      const { status, signal: died, stderr, stdout } = await result;
      assert.ok(performance.now() - before < 5000, "it did not end soon");
      const left = existsSync(out) ? readdirSync(out) : [];
      // It was done already, or so nearly gone that nobody took the signal any more.
      if (status === 0 || (died === signal && left.length > 0)) assert.deepEqual(digests(out), expected);
      else {
        assert.deepEqual(left, []);
        assert.equal(stdout, "");
        if (died === null) {
          assert.equal(status, code, stderr);
          assertOneLine(stderr, /interrupted, nothing was left behind/);
        } else assert.equal(died, signal); // before the command was loaded
      }
      seen.push(`${moment}: ${status ?? died}`);
    }
    t.diagnostic(seen.join(", "));
    assert.ok(
      seen.some((text) => text.endsWith(String(code))),
      seen.join(", "),
    );
  });

test("an interrupted run with --json says so in JSON", async () => {
  const child = startAshlar(["seal", reference, "-o", output(), "--json"]);
  const result = ended(child);
  await sleep(0.5 * duration);
  child.kill("SIGINT");
  const { status, stderr } = await result;
  if (status === 0) return;
  assert.equal(status, 130);
  assert.equal(JSON.parse(stderr).code, "interrupted");
});

test("SIGKILL at several moments: no artifact unless whole, and the next run cleans up", async (t) => {
  const seen: string[] = [];
  for (const moment of MOMENTS) {
    const out = output();
    const child = seal(out);
    const result = ended(child);
    await sleep(moment * duration);
    child.kill("SIGKILL");
    await result;
    const left = existsSync(out) ? readdirSync(out) : [];
    seen.push(`${moment}: ${left.join(" ") || "nothing"}`);
    for (const name of left) {
      assert.match(name, /^(\.ashlar-|sample_1\.)/);
      if (!name.startsWith("."))
        assert.ok(readFileSync(join(out, name)).equals(readFileSync(join(folder, "expected", name))));
    }
    await runOk(["seal", reference, "-o", out, "--quiet", "--overwrite"]);
    assert.deepEqual(digests(out), expected);
  }
  t.diagnostic(seen.join("; "));
});

test("two runs into the same directory at the same time: one wins, the other says so or agrees", async () => {
  for (const flags of [[], ["--overwrite"]]) {
    const out = output();
    const results = await Promise.all([seal(out, ...flags), seal(out, ...flags), seal(out, ...flags)].map(ended));
    assert.ok(results.some(({ status }) => status === 0));
    for (const { status, stderr } of results) {
      if (status === 0) continue;
      assert.equal(status, 8, stderr);
      assertOneLine(stderr, /exists already|no such file/);
    }
    assert.deepEqual(digests(out), expected);
  }
});

test("a run that extracts and is interrupted leaves the directory as it was", async () => {
  const out = output();
  const child = startAshlar(["extract", join(folder, "expected/sample_1.root.erofs"), out, "--quiet"]);
  const result = ended(child);
  for (let i = 0; i < 500 && !existsSync(join(out, "data")); i++) await sleep(2);
  child.kill("SIGTERM");
  const { status } = await result;
  if (status === 0) return; // it was faster
  assert.equal(status, 143);
  assert.equal(existsSync(out), false);
});

test("leftovers of a process that still runs are not touched, those of a dead one are removed", async () => {
  const out = output();
  const live = `.ashlar-partial-${newMark()}`;
  mkdirSync(join(out, live), { recursive: true });
  const [host] = newMark().split("-");
  mkdirSync(join(out, `.ashlar-partial-${host}-4194305-1-00000000`)); // above the greatest process id of Linux
  mkdirSync(join(out, ".ashlar-partial-not-ours"));
  const { status } = await run(["seal", reference, "-o", out, "--quiet"]);
  assert.equal(status, 0);
  const hidden = readdirSync(out).filter((name) => name.startsWith("."));
  assert.deepEqual(hidden, [".ashlar-partial-not-ours", live].sort());
});
