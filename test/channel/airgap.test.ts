// A channel brought to a site without a network: to a file, and from the file into an empty registry that cannot be left.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { generateKey } from "../../core/src/node/trust/index.ts";
import { closedNetwork } from "../support/closed-network.ts";
import { missingPeers, startRegistry } from "../support/registry.ts";
import { isRoot, type RunOptions, run, sampleLayout, workFolder } from "../support/samples.ts";

const skip = isRoot || process.env["CI"] ? missingPeers("go-registry") : "network namespaces need root";

test("a channel in a closed network", { skip }, async (t) => {
  const folder = workFolder(t);
  const outside = await startRegistry(t, { kind: "go" });
  const wrapper = await closedNetwork(t);
  const inside = await startRegistry(t, { kind: "go", wrapper });
  const keys = ["root", "targets", "online"];
  for (const name of [...keys, "release"]) {
    const { privatePem, publicPem } = await generateKey("ed25519", undefined, name);
    writeFileSync(join(folder, `${name}.key`), privatePem);
    writeFileSync(join(folder, `${name}.pub`), publicPem);
  }

  const ok = async (args: readonly string[], options: RunOptions = {}): Promise<string> => {
    const { status, stdout, stderr } = await run(args, { cwd: folder, env: {}, ...options });
    assert.equal(status, 0, `ashlar ${args.join(" ")}: ${stdout}${stderr}`);
    return stdout;
  };
  for (const version of ["1", "2"]) {
    const labels = { "org.opencontainers.image.title": "os", "org.opencontainers.image.version": version };
    await sampleLayout(join(folder, version), { labels });
    await ok(["seal", `oci:${version}`, "-o", version, "--quiet"]);
    const where = [`${outside.host}/os:${version}`, "--no-tls-verify", "--quiet"];
    await ok(["push", `${version}/os_${version}.release.json`, ...where]);
    await ok(["sign", ...where, "--key", "release.key"]);
  }
  const stable = `${outside.host}/os:stable`;
  const made = keys.flatMap((name) => [`--${name}-key`, `${name}.key`]);
  await ok(["channel", "init", stable, "--product", "os", ...made, "--no-tls-verify"]);
  const signing = ["--key", "targets.key", "--key", "online.key", "--no-tls-verify"];
  for (const version of ["1", "2"]) await ok(["channel", "add", stable, `${outside.host}/os:${version}`, ...signing]);
  await ok(["channel", "show", stable, "--save-root", "root.json", "--no-tls-verify"]);
  await ok(["copy", "--all", stable, "oci-archive:site.tar", "--no-tls-verify"]);
  await outside.stop();

  const closed: RunOptions = { wrapper };
  const local = `${inside.host}/mirror/os:stable`;
  await ok(["copy", "--all", "oci-archive:site.tar", local, "--no-tls-verify"], closed);
  const check = ["--root", "root.json", "--state", "state", "--architecture", "amd64", "--no-tls-verify", "--json"];
  const newer = await run(["channel", "check", local, ...check, "--version", "1"], { cwd: folder, env: {}, ...closed });
  assert.equal(newer.status, 10, newer.stderr);
  await ok(["channel", "check", local, ...check, "--version", "2"], closed);
  // The releases came along, and a copy is a channel of its own: it can be refreshed and changed where it is.
  await ok(["channel", "refresh", local, "--root", "root.json", "--key", "online.key", "--no-tls-verify"], closed);
  const { decision } = JSON.parse(newer.stdout) as { decision: { release: { manifest: { digest: string } } } };
  const release = `${inside.host}/mirror/os@${decision.release.manifest.digest}`;
  await ok(["channel", "add", local, release, "--rollout", "0%", ...signing], closed);
  await ok(["verify", release, "--key", "release.pub", "--identity", `${outside.host}/os`, "--no-tls-verify"], closed);
  assert.equal(await ok(["cat", release, "/etc/motd", "--no-tls-verify"], closed), "hello\n");
  // From the file itself, too.
  await ok(["channel", "show", "oci-archive:site.tar:stable", "--root", "root.json"], closed);
  const away = await run(["channel", "check", stable, ...check, "--version", "1"], { cwd: folder, env: {}, ...closed });
  assert.equal(away.status, 7, away.stdout); // there is no way out
});
