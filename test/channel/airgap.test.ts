// A channel brought to a site without a network: to a file, and from the file into an empty registry that cannot be left.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { generateKey, openRegistries } from "../../core/src/node/index.ts";
import { pushRelease } from "../support/channels.ts";
import { missingPeers, startRegistry } from "../support/registry.ts";
import { isRoot, type RunOptions, run, workFolder } from "../support/samples.ts";

const skip = isRoot || process.env["CI"] ? missingPeers("go-registry") : "network namespaces need root";

/** What enters a network namespace that has nothing but a loopback interface. */
async function closedNetwork(t: TestContext): Promise<string[]> {
  const child = spawn("unshare", ["--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  return ["nsenter", `--target=${child.pid}`, "--net"];
}

test("a channel in a closed network", { skip }, async (t) => {
  const folder = workFolder(t);
  const outside = await startRegistry(t, { kind: "go" });
  const wrapper = await closedNetwork(t);
  const inside = await startRegistry(t, { kind: "go", wrapper });
  const registries = openRegistries({ tlsVerify: false, environment: {} });
  t.after(() => registries.close());
  const repository = await registries.open({ host: outside.host, repository: "os" });
  const keys = ["root", "targets", "online"];
  for (const name of keys)
    writeFileSync(join(folder, `${name}.key`), (await generateKey("ed25519", undefined, name)).privatePem);
  const digest = await pushRelease(repository, { version: "1" });
  await pushRelease(repository, { version: "2" });

  const ok = async (args: readonly string[], options: RunOptions = {}): Promise<string> => {
    const { status, stdout, stderr } = await run(args, { cwd: folder, env: {}, ...options });
    assert.equal(status, 0, `ashlar ${args.join(" ")}: ${stdout}${stderr}`);
    return stdout;
  };
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
  await ok(["channel", "add", local, `${inside.host}/mirror/os@${digest}`, "--rollout", "0%", ...signing], closed);
  // From the file itself, too.
  await ok(["channel", "show", "oci-archive:site.tar:stable", "--root", "root.json"], closed);
  const away = await run(["channel", "check", stable, ...check, "--version", "1"], { cwd: folder, env: {}, ...closed });
  assert.equal(away.status, 7, away.stdout); // there is no way out
});
