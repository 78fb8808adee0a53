// A third party checks that a bootable image is what its container image says: both in one registry, nothing else known.
import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";

import { BLOBS, blobContent, debianLayout, TEST_FOLDER } from "../support/debian.ts";
import { missingPeers, PROGRAMS, startRegistry } from "../support/registry.ts";
import { clientSettings } from "../support/registry-clients.ts";
import { run, runOk, workFolder } from "../support/samples.ts";

const SIZES = ["--esp-size", "128M", "--slot-size", "256M", "--var-size", "64M"];

test("build, push, reproduce; and a file of which one byte is another", {
  skip: missingPeers(PROGRAMS.distribution),
}, async (t) => {
  const folder = workFolder(t);
  const registry = await startRegistry(t, { kind: "distribution", auth: "token", anonymous: true });
  const owner = clientSettings(folder, registry);
  const ashlar = (...args: string[]) => runOk([...args, ...owner.ashlar, "--quiet"], owner);
  const name = `${registry.host}/site/os`;
  const file = `${TEST_FOLDER}/${BLOBS[0]}`;
  const content = Uint8Array.from(blobContent(BLOBS[0]));
  content[12_345]! ^= 1;
  const changed = await debianLayout("trixie", { extraLayers: [[{ name: file, content }]] });
  await ashlar("copy", `oci:${await debianLayout("trixie")}`, `docker://${name}:image`);
  await ashlar("copy", `oci:${changed}`, `docker://${name}:changed`);
  await ashlar("build", `docker://${name}:image`, "-o", join(folder, "out"), ...SIZES, "--no-cache");
  await ashlar("push", join(folder, "out"), `docker://${name}:1`);

  // Somebody who may pull, and has nothing.
  const anybody = clientSettings(folder, registry, { login: false });
  const reproduce = (...args: string[]) =>
    run(["reproduce", `docker://${name}:1`, ...args, ...anybody.ashlar], anybody);
  const same = await reproduce();
  assert.equal(same.status, 0, same.stdout + same.stderr);
  assert.match(same.stdout, /identical/);

  const other = await reproduce("--source", `docker://${name}:changed`, "--json");
  assert.equal(other.status, 9, other.stdout + other.stderr);
  const { identical, differences, artifacts } = JSON.parse(other.stdout) as {
    identical: boolean;
    differences: { path?: string }[];
    artifacts: { role: string; expected: string; actual: string | null }[];
  };
  assert.equal(identical, false);
  assert.equal(JSON.stringify(differences[0]).includes(`/${file}`), true, JSON.stringify(differences));
  const named = differences.filter((difference) => JSON.stringify(difference).includes("/usr/"));
  assert.equal(named.length, 1, JSON.stringify(differences));
  // One byte of one file reaches everything that is signed or booted.
  assert.ok(
    artifacts.every(({ expected, actual }) => actual !== null && actual !== expected),
    JSON.stringify(artifacts),
  );
});
