// A site without a network gets one file: channel, release, signatures, provenance and the container image. From an empty
// registry in there it verifies, follows the channel, and builds the same release again.
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";

import { readRelease } from "../support/ashlar.ts";
import { closedNetwork } from "../support/closed-network.ts";
import { debianLayout } from "../support/debian.ts";
import { missingPeers, startRegistry } from "../support/registry.ts";
import { assertOneLine, digests, isRoot, type RunOptions, run, workFolder } from "../support/samples.ts";

const SIZES = ["--esp-size", "128M", "--slot-size", "256M", "--var-size", "64M"];
const skip = isRoot || process.env["CI"] ? missingPeers("go-registry", "registry") : "network namespaces need root";

test("a site without a network", { skip }, async (t) => {
  const folder = workFolder(t);
  const outside = await startRegistry(t, { kind: "distribution" });
  const wrapper = await closedNetwork(t);
  const inside = await startRegistry(t, { kind: "go", wrapper });

  async function ashlar(args: readonly string[], options: RunOptions = {}) {
    const where = args.some((word) => word.includes("127.0.0.1")) ? ["--no-tls-verify"] : [];
    return run([...args, ...where], { cwd: folder, env: { HOME: folder }, ...options });
  }
  async function ok(args: readonly string[], options: RunOptions = {}): Promise<string> {
    const { status, stdout, stderr } = await ashlar(args, options);
    assert.equal(status, 0, `ashlar ${args.join(" ")}: ${stdout}${stderr}`);
    return stdout;
  }

  for (const key of ["root", "targets", "online", "release", "other"])
    await ok(["keygen", "-o", key, "--no-password", "--type", "ed25519"]);
  const image = `${outside.host}/site/os:image`;
  const release = `${outside.host}/site/os:1`;
  const channel = `${outside.host}/site/os:stable`;
  await ok(["copy", `oci:${await debianLayout("trixie")}`, image, "--quiet"]);
  await ok(["sign", image, "--key", "release.key", "--quiet"]);
  await ok(["build", image, "--verify-key", "release.pub", "-o", "out", ...SIZES, "--no-cache", "--quiet"]);
  await ok(["push", "out", release, "--quiet"]);
  await ok(["sign", release, "--key", "release.key", "--provenance", "--quiet"]);
  const keys = ["root", "targets", "online"].flatMap((name) => [`--${name}-key`, `${name}.key`]);
  await ok(["channel", "init", channel, "--product", "ashlar-test", ...keys]);
  await ok(["channel", "add", channel, release, "--key", "targets.key", "--key", "online.key"]);
  await ok(["channel", "show", channel, "--save-root", "root.json"]);
  await ok(["copy", "--all", channel, "oci-archive:site.tar", "--quiet"]);
  await outside.stop();

  const closed: RunOptions = { wrapper };
  const site = `${inside.host}/local/os`;
  await ok(["copy", "--all", "oci-archive:site.tar", `${site}:stable`, "--quiet"], closed);
  // The channel says which release, the release which image: digests all the way.
  const check = ["--root", "root.json", "--state", "state", "--architecture", "amd64", "--version", "0", "--json"];
  const newer = await ashlar(["channel", "check", `${site}:stable`, ...check], closed);
  assert.equal(newer.status, 10, newer.stderr);
  const { digest } = JSON.parse(newer.stdout).decision.release.manifest as { digest: string };
  const found = `${site}@${digest}`;
  const { inputs } = readRelease(join(folder, "out", releaseFile(join(folder, "out"))));
  const source = `${site}@${inputs.find(({ name }) => name === "image")!.digest}`;
  // The names that were signed are those of outside.
  const name = ["--identity", `${outside.host}/site/os`];
  const verified = await ok(["verify", found, "--key", "release.pub", ...name], closed);
  assert.match(verified, /signature/i);
  await ok(["verify", source, "--key", "release.pub", "--signature-only", ...name], closed);
  const refused = await ashlar(["verify", found, "--key", "other.pub", ...name], closed);
  assert.equal(refused.status, 6, refused.stdout);

  const trusted = ["--verify-key", "release.pub", ...name];
  await ok(["build", source, ...trusted, "-o", "again", ...SIZES, "--no-cache", "--quiet"], closed);
  const { [releaseFile(join(folder, "out"))]: _, ...artifacts } = digests(join(folder, "out"));
  const { [releaseFile(join(folder, "again"))]: __, ...again } = digests(join(folder, "again"));
  assert.deepEqual(again, artifacts);
  const away = await ashlar(["inspect", release, "--retry-times", "0"], closed);
  assert.equal(away.status, 7, away.stdout);
  assertOneLine(away.stderr, /127\.0\.0\.1/);
});

const releaseFile = (directory: string): string =>
  readdirSync(directory).find((name) => name.endsWith(".release.json"))!;
