// Health checks: real programs in real folders, and what is written down of them.
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type TestContext, test } from "node:test";
import { encodeUtf8 } from "../../core/src/bytes/index.ts";
import { SinkError, SourceError } from "../../core/src/errors/index.ts";
import { healthHost } from "../../core/src/node/machine/index.ts";
import {
  checkHealth,
  type HealthHost,
  MAX_HEALTH_OUTPUT,
  type MachineFacts,
  type MachineHost,
  readHistory,
  recordHealth,
} from "../../core/src/ops/machine/index.ts";
import { memoryRecords } from "../support/machine-model.ts";

function folders(t: TestContext, programs: Record<string, string>): string[] {
  const root = mkdtempSync(join(tmpdir(), "ashlar-health-"));
  t.after(() => rmSync(root, { recursive: true }));
  for (const [name, text] of Object.entries(programs)) {
    mkdirSync(join(root, name, ".."), { recursive: true });
    writeFileSync(join(root, name), text);
    chmodSync(join(root, name), 0o755);
  }
  return [join(root, "image"), join(root, "local")];
}

const policyOf = (sealed: string, local = "") => ({
  policyFiles: async () => ({
    sealed: [{ path: "/usr/lib/ashlar/a.toml", bytes: encodeUtf8(sealed) }],
    local: [{ path: "/etc/ashlar/a.toml", bytes: encodeUtf8(local) }],
  }),
});

const shown = ({ checks }: Awaited<ReturnType<typeof checkHealth>>) =>
  checks.map(({ name, passed, message }) => `${basename(name)} ${passed ? "ok" : "failed"} ${message ?? ""}`.trim());

test("programs run in the order of folders and names, and all of them, whatever one says", async (t) => {
  const places = folders(t, {
    "image/20-b": "#!/bin/sh\necho fine\n",
    "image/10-a": "#!/bin/sh\necho first; echo second >&2; exit 3\n",
    "local/05-c": "#!/bin/sh\nkill -9 $$\n",
    "local/07-d": "no program at all",
    "local/.hidden": "#!/bin/sh\nexit 1\n",
    "local/08-e~": "#!/bin/sh\nexit 1\n",
    "local/09-f": "#!/bin/sh\nexit 0\n",
  });
  chmodSync(join(places[1]!, "09-f"), 0o644);
  symlinkSync("nowhere", join(places[1]!, "10-g"));
  symlinkSync("/dev/null", join(places[1]!, "11-h"));
  const report = await checkHealth(policyOf(""), healthHost(places));
  assert.deepEqual(shown(report), [
    "10-a failed exit status 3",
    "20-b ok",
    "05-c failed ended by SIGKILL",
    "07-d failed exit status 127", // taken for a script, as a shell does it
    "09-f failed is not executable",
    "10-g failed leads nowhere",
    "11-h failed is not a program",
  ]);
  assert.deepEqual(report.checks[0]?.output.split("\n").sort(), ["", "first", "second"]);
  assert.equal(report.healthy, false);
});

test("without any program a machine is healthy", async (t) => {
  const report = await checkHealth(policyOf(""), healthHost(folders(t, {})));
  assert.deepEqual(report, { healthy: true, checks: [] });
});

test("one that hangs is ended with all that it has started", async (t) => {
  const hang = "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\nwhile :; do sleep 1000; done\n";
  const report = await checkHealth(
    policyOf('[health]\ntimeout = "1s"\n'),
    healthHost(folders(t, { "image/hang": hang })),
  );
  assert.deepEqual(shown(report), ["hang failed no answer in 1 s"]);
});

test("one that has answered is done, whatever it leaves behind, and says no more than it may", async (t) => {
  const places = folders(t, {
    "image/20-flood": "#!/bin/sh\nhead -c 1000000 /dev/zero | tr '\\0' x\necho the end\n",
    // Leaves its group and keeps the outputs open.
    "image/30-stray": "#!/bin/sh\nsetsid sleep 30 &\nsleep 0.2\necho said\n",
  });
  const report = await checkHealth(policyOf(""), healthHost(places));
  assert.deepEqual(shown(report), ["20-flood ok", "30-stray ok"]);
  assert.equal(report.checks[0]?.output.length, MAX_HEALTH_OUTPUT);
  assert.match(report.checks[0]?.output ?? "", /xthe end\n$/);
  assert.equal(report.checks[1]?.output, "said\n");
});

test("whoever asks may stop asking", async (t) => {
  const places = folders(t, { "image/10-hang": "#!/bin/sh\nexec sleep 1000\n" });
  const controller = new AbortController();
  const running = checkHealth(policyOf('[health]\ntimeout = "1h"\n'), healthHost(places), controller.signal);
  setTimeout(() => controller.abort(new Error("stop")), 50);
  await assert.rejects(running, /stop/);
});

const noPrograms: HealthHost = {
  programs: async () => [],
  run: () => assert.fail("there is none"),
  failedUnits: async () => ["a.service", "b.mount"],
  elapsed: () => 0,
};

test("failed units count where the policy asks for it", async () => {
  assert.equal((await checkHealth(policyOf(""), noPrograms)).healthy, true);
  const asks = policyOf('[health]\nfailed-units = "fail"\n');
  assert.deepEqual(shown(await checkHealth(asks, noPrograms)), ["failed units failed a.service, b.mount"]);
  const none = { ...noPrograms, failedUnits: async () => [] };
  assert.equal((await checkHealth(asks, none)).healthy, true);
  const broken: HealthHost = {
    ...noPrograms,
    async failedUnits() {
      throw new SourceError("no-units", "systemd did not list its failed units");
    },
  };
  assert.equal((await checkHealth(asks, broken)).healthy, false);
});

test("a release whose own policy cannot be read is not good; a mistake of the owner is none of its", async () => {
  const report = await checkHealth(policyOf("[health]\ntimeout = 5\n"), noPrograms);
  assert.equal(report.healthy, false);
  assert.match(report.checks[0]?.message ?? "", /\/usr\/lib\/ashlar\/a.toml/);
  const local = await checkHealth(policyOf('[health]\nfailed-units = "fail"\n', "nonsense"), noPrograms);
  assert.deepEqual(
    local.checks.map(({ name, passed }) => [name, passed]),
    [
      ["policy", true],
      ["failed units", false],
    ],
  );
});

function machine(facts: { readonly bootCountPath: string | undefined }, busyFor = 0) {
  const records = memoryRecords();
  let busy = busyFor;
  const host = {
    records,
    clock: () => Date.parse("2026-11-23T10:00:00Z"),
    facts: async () => ({ loader: facts, builtAt: 0, imageVersion: "3", root: undefined }) as unknown as MachineFacts,
    async lock() {
      if (busy-- > 0) throw new SinkError("busy", "another run changes this machine");
      return { release: async () => {} };
    },
  } as unknown as MachineHost;
  return { host, records };
}

test("what failed is in the history with what it said; what went well while the boot is on trial", async () => {
  const check = { name: "/usr/lib/ashlar/health.d/db", seconds: 1 };
  const failed = { ...check, passed: false, message: "exit status 1", output: "no table\n" };
  const fine = { ...check, name: "/etc/ashlar/health.d/x", passed: true, message: undefined, output: "" };
  const sleep = async () => {};
  const bad = machine({ bootCountPath: undefined });
  await recordHealth(bad.host, { healthy: false, checks: [failed, fine] }, sleep);
  assert.deepEqual(await readHistory(bad.records), [
    {
      at: "2026-11-23T10:00:00.000Z",
      event: "health",
      message: "not healthy: /usr/lib/ashlar/health.d/db: exit status 1",
      imageVersion: "3",
      detail: "/usr/lib/ashlar/health.d/db:\nno table",
    },
  ]);
  const usual = machine({ bootCountPath: undefined });
  await recordHealth(usual.host, { healthy: true, checks: [fine] }, sleep);
  assert.deepEqual(await readHistory(usual.records), []);
  const trial = machine({ bootCountPath: "\\EFI\\Linux\\os_3+2-1.efi" }, 5);
  await recordHealth(trial.host, { healthy: true, checks: [fine] }, sleep);
  assert.deepEqual(
    (await readHistory(trial.records)).map(({ message }) => message),
    ["1 health check passed"],
  );
  const stuck = machine({ bootCountPath: undefined }, 1000);
  await recordHealth(stuck.host, { healthy: false, checks: [failed] }, sleep);
  assert.equal((await readHistory(stuck.records)).length, 1);
});
