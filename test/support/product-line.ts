// A product with releases: built from one image that has the agent, signed, and pushed to a registry that its machines follow.
import { createPrivateKey, createPublicKey } from "node:crypto";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { openReleaseFiles } from "../../cli/src/run/release-files.ts";
import type { ReleaseFiles } from "../../core/src/ops/publish/index.ts";
import { agentExecutable } from "./agent.ts";
import { type ReleaseFile, readRelease } from "./ashlar.ts";
import { debianLayout, type Suite } from "./debian.ts";
import { type GuestNetwork, guestNetwork } from "./guest-network.ts";
import { type Registry, startRegistry } from "./registry.ts";
import { runOk } from "./samples.ts";
import type { TarEntry } from "./tar.ts";

const MIB = 1024 * 1024;
const SIZES = ["--esp-size", "256M", "--slot-size", "512M", "--var-size", "256M"];
const DISK_SIZE = 2048 * MIB;
/** Where machines look: the tag moves from release to release. */
const FOLLOWED = "latest";
const NAME = "site/os";

/** An Ed25519 key that is the same in every run, so that the image that trusts it is built once. */
const KEY = createPrivateKey({
  key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.alloc(32, "ashlar test")]),
  format: "der",
  type: "pkcs8",
});

/** On the kernel command line of a release: its health check fails. */
export const SICK = "ashlar-test.sick";

const HEALTH_CHECK = `#!/bin/sh
if grep -qw ${SICK} /proc/cmdline; then
  echo "the test says that this release is sick"
  exit 1
fi
`;

/** What makes a machine of the image: whom it trusts, what it follows, and how it finds out that it is well. */
function machineLayer(host: string, isUnattended: boolean): TarEntry[] {
  const policy = `[source]\nreference = "${host}/${NAME}:${FOLLOWED}"\n\n[trust]\nkeys = ["/usr/lib/ashlar/release.pub"]\n`;
  const publicKey = createPublicKey(KEY).export({ format: "pem", type: "spki" });
  const followed: TarEntry[] = [
    { name: "usr/lib/ashlar/update.toml", content: policy },
    { name: "usr/lib/ashlar/release.pub", content: publicKey },
    // Nothing happens but what a test says.
    { name: "etc/systemd/system/ashlar-upgrade.timer", type: "symlink", target: "/dev/null" },
  ];
  return [
    ...(isUnattended ? [] : followed),
    { name: "usr/lib/ashlar/health.d/50-test", content: HEALTH_CHECK, mode: 0o755 },
    {
      name: "etc/containers/registries.conf.d/50-test.conf",
      content: `[[registry]]\nlocation = "${host}"\ninsecure = true\n`,
    },
  ];
}

export interface ProductLine {
  readonly folder: string;
  readonly registry: Registry;
  readonly network: GuestNetwork;
  /** Builds a version, once. */
  build(version: string, flags?: readonly string[]): Promise<ReleaseFile>;
  /** What was built, as files. */
  files(version: string): Promise<ReleaseFiles>;
  /** Pushes and signs it; machines that look find it from then on. */
  release(version: string): Promise<void>;
  /** `HOST/NAME` where this machine's tools find the releases, and where guests do. */
  readonly repository: { readonly here: string; readonly inGuests: string };
  /** A disk on which it is installed. */
  install(version: string, disk: string): Promise<void>;
}

/** Of a Debian suite; everything goes when the test ends. `isUnattended`: the image follows nothing, and its timer runs. */
export async function productLine(
  t: TestContext,
  suite: Suite,
  { isUnattended = false }: { readonly isUnattended?: boolean } = {},
): Promise<ProductLine> {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-line-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const registry = await startRegistry(t, { kind: "go" });
  const network = guestNetwork(folder, Number(registry.host.split(":").at(-1)));
  const layout = await debianLayout(suite, { extraLayers: [machineLayer(network.host, isUnattended)] });
  const agent = await agentExecutable();
  const key = join(folder, "release.key");
  writeFileSync(key, KEY.export({ format: "pem", type: "pkcs8" }), { mode: 0o600 });
  const at = (version: string): string => join(folder, `v${version}`);
  const built = new Map<string, ReleaseFile>();

  return {
    folder,
    registry,
    network,
    repository: { here: `${registry.host}/${NAME}`, inGuests: `${network.host}/${NAME}` },
    async build(version, flags = []) {
      // A boot that is slow because the machine does much else is no failed one.
      const patience = flags.includes("--root-timeout") ? [] : ["--root-timeout", "600"];
      const names = ["--image-version", version, ...SIZES, "--agent", agent, ...patience];
      await runOk(["build", `oci:${layout}`, "-o", at(version), ...names, "--quiet", ...flags]);
      const release = readRelease(join(at(version), `ashlar-test_${version}.release.json`));
      built.set(version, release);
      return release;
    },
    files: (version) => openReleaseFiles(at(version)),
    async release(version) {
      const reference = `docker://${registry.host}/${NAME}:${FOLLOWED}`;
      await runOk(["push", at(version), reference, "--quiet", "--no-tls-verify"]);
      const identity = `${network.host}/${NAME}`;
      await runOk(["sign", reference, "--key", key, "--identity", identity, "--quiet", "--no-tls-verify"]);
    },
    async install(version, disk) {
      writeFileSync(disk, "");
      truncateSync(disk, DISK_SIZE);
      await runOk(["install", at(version), disk, "--slot-size", `${512 * MIB}`, "--quiet"]);
    },
  };
}
