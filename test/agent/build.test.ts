// `ashlar build --agent`: the executable and its units in a real image, recorded, and built again by who has neither.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { AGENT_FILES, AGENT_LINKS } from "../../core/src/ops/build/agent/units.ts";
import { agentExecutable } from "../support/agent.ts";
import { readRelease } from "../support/ashlar.ts";
import { debianLayout } from "../support/debian.ts";
import { writeLayout } from "../support/oci.ts";
import { requireOracle } from "../support/oracle.ts";
import { makeRoot } from "../support/roots.ts";
import { assertOneLine, run, runOk, workFolder } from "../support/samples.ts";
import { tarBytes } from "../support/tar.ts";

const SIZES = ["--esp-size", "128M", "--slot-size", "512M", "--var-size", "64M"];

test("an image with the agent, from an image by its digest: recorded, and reproduced without it", async (t) => {
  const folder = workFolder(t);
  const at = (name: string): string => join(folder, name);
  const executable = await agentExecutable();
  const layout = `oci:${await debianLayout("trixie")}`;
  const { top } = await writeLayout(at("agent"), {
    architecture: "amd64",
    layers: [{ tar: tarBytes([{ name: "usr/bin/ashlar", content: readFileSync(executable), mode: 0o755 }]) }],
  });
  const pinned = `oci:${at("agent")}@${top.digest}`;
  await runOk(["build", layout, "-o", at("out"), ...SIZES, "--quiet", "--agent", pinned]);
  const name = "ashlar-test_1.release.json";
  const release = readRelease(at(`out/${name}`));
  const digest = `sha256:${createHash("sha256").update(readFileSync(executable)).digest("hex")}`;
  assert.equal(release.inputs.find((input) => input.name === "agent")?.digest, digest);

  const root = at("out/ashlar-test_1.root.erofs");
  const { stdout: listed } = await runOk(["ls", root, "/usr/lib/systemd/system/boot-complete.target.requires"]);
  assert.match(listed, /ashlar-health\.service/);
  const { stdout: printed } = await runOk(["cat", root, "/usr/lib/systemd/system/ashlar-upgrade.timer"]);
  assert.equal(printed, AGENT_FILES["usr/lib/systemd/system/ashlar-upgrade.timer"]);

  // Nobody needs to bring the agent again: it is in the release. Another one makes another release.
  const again = await runOk(["reproduce", at(`out/${name}`), "--source", layout]);
  assert.match(again.stdout, /identical/);
  const other = at("other");
  writeFileSync(other, Buffer.concat([readFileSync(executable), Buffer.alloc(1)]));
  const different = await run(["reproduce", at(`out/${name}`), "--source", layout, "--agent", other]);
  assert.equal(different.status, 9, different.stderr);
  assert.match(different.stdout, /\/usr\/bin\/ashlar/);
});

test("what is no agent, or would be another one tomorrow, is refused before anything is written", async (t) => {
  const folder = workFolder(t);
  const layout = await debianLayout("trixie");
  const refused = async (agent: string, status: number, pattern: RegExp): Promise<void> => {
    const result = await run(["build", `oci:${layout}`, "-o", join(folder, "out"), "--quiet", "--agent", agent]);
    assert.equal(result.status, status, result.stderr);
    assertOneLine(result.stderr, pattern);
  };
  await refused(join(folder, "nothing"), 7, /no such file/);
  await refused(import.meta.filename, 3, /is not an executable/);
  await refused(`oci:${layout}:latest`, 6, /without a digest/);
});

test("systemd finds nothing wrong with the units", async (t) => {
  const analyze = requireOracle(t, "systemd-analyze", { from: "tools" });
  if (analyze === undefined) return;
  const folder = workFolder(t);
  const units = ["./usr/lib/systemd/system", "./usr/lib/systemd/systemd", "./usr/bin"];
  const { status, stderr } = spawnSync("tar", ["-C", folder, "-xf", makeRoot("trixie"), ...units], {
    encoding: "utf8",
  });
  assert.equal(status, 0, stderr);
  writeFileSync(join(folder, "usr/bin/ashlar"), "#!/bin/sh\n", { mode: 0o755 });
  for (const [path, text] of Object.entries(AGENT_FILES)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  const named = Object.keys(AGENT_LINKS);
  const { stderr: said } = await analyze.ok(["verify", "--man=no", `--root=${folder}`, ...named]);
  assert.doesNotMatch(said, /ashlar/);
  writeFileSync(join(folder, "usr/lib/systemd/system/ashlar-booted.service"), "[Service]\nType=never\n");
  const { stderr: wrong } = await analyze.run(["verify", "--man=no", `--root=${folder}`, "ashlar-booted.service"]);
  assert.match(wrong, /ashlar-booted/);
});
