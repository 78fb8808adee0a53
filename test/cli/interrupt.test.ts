// Runs that do not come to their end: nothing half-written under a final name, and the next run finds a clean place.
import assert from "node:assert/strict";
import { createCipheriv } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { after, before, test } from "node:test";
import { newMark } from "../../core/src/node/process-mark.ts";
import { totalWritten, whenever, whenWritten } from "../support/moments.ts";
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

const isLong = process.env["ASHLAR_LONG"] === "true";
const folder = workFolder({ after });
const reference = `oci:${join(folder, "layout")}`;
let expected: Record<string, string>;
let total: number; // bytes that an undisturbed run writes
let count = 0;

before(async () => {
  const content = createCipheriv("aes-128-ctr", Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(48 << 20));
  await sampleLayout(join(folder, "layout"), { layers: [{ tar: tarBytes([{ name: "data", content }]) }] });
  const child = seal(join(folder, "expected"));
  const result = ended(child);
  total = await totalWritten(child);
  assert.equal((await result).status, 0);
  expected = digests(join(folder, "expected"));
});

const seal = (out: string, ...flags: string[]) => startAshlar(["seal", reference, "-o", out, "--quiet", ...flags]);
const output = (): string => join(folder, `out-${count++}`);
/** Moments spread over a run, in parts of what it writes; 0 is before it has begun. */
const MOMENTS = isLong ? Array.from({ length: 40 }, (_, i) => i / 40) : [0, 0.05, 0.3, 0.6, 0.95];
/** Points at the end of a run: flushing, closing and naming three artifacts, and what is closed after. */
const STEPS_OF_PUBLISHING = 14;

for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
  ["SIGHUP", 129],
] as const)
  test(`${signal} at several moments: exit code ${code}, nothing left behind`, async (t) => {
    const seen: string[] = [];
    for (const moment of MOMENTS) {
      const out = output();
      const child = seal(out);
      const result = ended(child);
      await whenWritten(child, moment * total);
      child.kill(signal);
      const { status, signal: died, stderr, stdout } = await result;
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
  await whenWritten(child, 0.3 * total);
  child.kill("SIGINT");
  const { status, stderr } = await result;
  if (status === 0) return;
  assert.equal(status, 130);
  assert.equal(JSON.parse(stderr).code, "interrupted");
});

/** What is in a directory after a kill: nothing under a final name that is not whole. */
function assertWhole(out: string, whole = join(folder, "expected")): string[] {
  const left = existsSync(out) ? readdirSync(out) : [];
  for (const name of left) {
    assert.match(name, /^(\.ashlar-|sample_1\.)/);
    if (!name.startsWith(".")) assert.ok(readFileSync(join(out, name)).equals(readFileSync(join(whole, name))), name);
  }
  return left.map((name) => (name.startsWith(".") ? "partial" : name.replace("sample_1.", "")));
}

test("SIGKILL at several moments: no artifact unless whole, and the next run cleans up", async (t) => {
  const seen: string[] = [];
  for (const moment of MOMENTS) {
    const out = output();
    const child = seal(out);
    const result = ended(child);
    await whenWritten(child, moment * total);
    child.kill("SIGKILL");
    await result;
    seen.push(`${moment}: ${assertWhole(out).join(" ") || "nothing"}`);
    await runOk(["seal", reference, "-o", out, "--quiet", "--overwrite"]);
    assert.deepEqual(digests(out), expected);
  }
  t.diagnostic(seen.join("; "));
});

test("SIGKILL at each step of publishing: no artifact unless whole, and the next run cleans up", async (t) => {
  const { directory } = await sampleLayout(join(folder, "small"));
  const whole = join(folder, "small-expected");
  const small = (out: string, env: Record<string, string>, ...flags: string[]) => {
    const NODE_OPTIONS = `--import=${join(import.meta.dirname, "../support/die-at.ts")}`;
    return run(["seal", `oci:${directory}`, "-o", out, "--quiet", ...flags], { env: { NODE_OPTIONS, ...env } });
  };
  const counted = join(folder, "points");
  assert.equal((await small(whole, { ASHLAR_TEST_POINTS: counted })).status, 0);
  const points = Number(readFileSync(counted, "utf8"));
  assert.ok(points > STEPS_OF_PUBLISHING);
  const seen: string[] = [];
  for (const flags of [[], ["--overwrite"]]) {
    let out = output();
    await small(out, {});
    for (let point = isLong ? 0 : points - STEPS_OF_PUBLISHING; point < points; point++) {
      if (flags.length === 0) out = output();
      const { signal } = await small(out, { ASHLAR_TEST_DIE_AT: String(point) }, ...flags);
      assert.equal(signal, "SIGKILL", `point ${point} of ${points}`);
      const left = assertWhole(out, whole);
      seen.push(left.join(" "));
      // The release says that all of it is there.
      if (left.includes("release.json")) assert.equal(left.filter((name) => name !== "partial").length, 3);
      if (isLong || point === points - 1) {
        assert.equal((await small(out, {}, "--overwrite")).status, 0);
        assert.deepEqual(digests(out), digests(whole));
      }
    }
  }
  t.diagnostic(`${points} points; ${seen.join("; ")}`);
  assert.ok(seen.includes("partial root.erofs"), "no kill came between two names");
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

test("runs of different images under one name: what is there at the end is of one of them", async () => {
  const layouts = ["one", "two"].map((name) => join(folder, `race-${name}`));
  const wholes: Record<string, string>[] = [];
  for (const layout of layouts) {
    await sampleLayout(layout, { layers: [{ tar: tarBytes([{ name: "name", content: layout }]) }] });
    await runOk(["seal", `oci:${layout}`, "-o", `${layout}-whole`, "--quiet"]);
    wholes.push(digests(`${layout}-whole`));
  }
  for (const flags of [[], ["--overwrite"]]) {
    const out = output();
    const runs = [...layouts, ...layouts].map((layout) =>
      run(["seal", `oci:${layout}`, "-o", out, "--quiet", ...flags]),
    );
    const results = await Promise.all(runs);
    for (const { status, stderr } of results) if (status !== 0) assertOneLine(stderr, /exists already/);
    assert.equal(results.filter(({ status }) => status === 0).length, flags.length === 0 ? 1 : 4);
    const found = JSON.stringify(digests(out));
    assert.ok(
      wholes.some((whole) => JSON.stringify(whole) === found),
      found,
    );
  }
});

test("a run that extracts and is interrupted leaves the directory as it was", async () => {
  const out = output();
  const child = startAshlar(["extract", join(folder, "expected/sample_1.root.erofs"), out, "--quiet"]);
  const result = ended(child);
  await whenever(child, () => existsSync(join(out, "data")));
  child.kill("SIGTERM");
  const { status, signal } = await result;
  if (status === 0 || signal === "SIGTERM") return; // it was faster
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
