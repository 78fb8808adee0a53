// Images that other people's programs pushed, sealed from where they are: the same root as from the layout they came from,
// also behind TLS, passwords and tokens.
import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, type TestContext, test } from "node:test";

import { readRelease } from "../support/ashlar.ts";
import { type Oracle, requireOracle, requirePeer } from "../support/oracle.ts";
import { missingPeers, PASSWORD, type Registry, startRegistry, suiteLifetime, USER } from "../support/registry.ts";
import { type ClientSettings, clientSettings } from "../support/registry-clients.ts";
import { startProxy } from "../support/registry-proxy.ts";
import {
  assertOneLine,
  isRoot,
  run,
  runOk,
  SAMPLE_ENTRIES,
  SAMPLE_LABELS,
  sampleLayout,
  workFolder,
} from "../support/samples.ts";
import { type TarEntry, tarBytes } from "../support/tar.ts";

const folder = workFolder({ after });
const identity = ["--image-id", SAMPLE_LABELS["org.opencontainers.image.title"], "--image-version", "1"];

/** Two layers, so that order and whiteouts count. */
const UPPER: readonly TarEntry[] = [
  { name: "etc/.wh.old" },
  { name: "etc/motd", content: "of the upper layer\n" },
  { name: "usr/bin/more", content: "more\n", mode: 0o755 },
];
const layout = await sampleLayout(join(folder, "layout"), {
  layers: [{ tar: tarBytes(SAMPLE_ENTRIES) }, { tar: tarBytes(UPPER), compression: "zstd" }],
});
const here = `oci:${layout.directory}:${layout.tag}`;
let count = 0;

/** Root hash and digest of the manifest that `ashlar seal` comes to. */
async function seal(reference: string, env: Readonly<Record<string, string>> = {}, flags: readonly string[] = []) {
  const out = join(folder, `out-${count++}`);
  await runOk(["seal", reference, "-o", out, "--name", "x", ...identity, "--quiet", "--no-cache", ...flags], { env });
  const { rootHash, inputs } = readRelease(join(out, "x.release.json"));
  return { rootHash, manifest: inputs.find(({ name }) => name === "image")?.digest };
}

let ofLayout: ReturnType<typeof seal> | undefined;
const sealHere = (): ReturnType<typeof seal> => {
  ofLayout ??= seal(here);
  return ofLayout;
};

interface Bench {
  readonly t: TestContext;
  readonly registry: Registry;
  readonly settings: ClientSettings;
  /** `HOST/NAME:TAG` to push to. */
  readonly target: string;
}

/** Pushes what is in the layout, or makes an image itself; yields the reference of what to compare with. */
type Producer = (bench: Bench) => Promise<string | undefined>;

function storageFlags(): string[] {
  const store = join(folder, `store-${count++}`);
  return ["--storage-driver", "vfs", "--root", join(store, "root"), "--runroot", join(store, "run")];
}

const PRODUCERS: Readonly<Record<string, Producer>> = {
  skopeo: ({ t, ...bench }) => pushWithSkopeo(requireOracle(t, "skopeo"), here, bench),
  "skopeo of sid": ({ t, ...bench }) => pushWithSkopeo(requireOracle(t, "skopeo", { from: "tools" }), here, bench),
  "skopeo, as Docker's schema 2": async ({ t, ...bench }) => {
    // Docker's format has no zstd.
    const gzip = await sampleLayout(join(folder, "gzip"));
    const from = `oci:${gzip.directory}:${gzip.tag}`;
    return pushWithSkopeo(requireOracle(t, "skopeo"), from, bench, "--format", "v2s2");
  },
  "umoci and skopeo": async ({ t, ...bench }) => {
    const umoci = requireOracle(t, "umoci", { from: "tools" });
    if (umoci === undefined) return undefined;
    const made = join(folder, "umoci");
    writeFileSync(join(folder, "layer.tar"), tarBytes(SAMPLE_ENTRIES));
    await umoci.ok(["init", "--layout", made]);
    await umoci.ok(["new", "--image", `${made}:1`]);
    await umoci.ok(["raw", "add-layer", "--image", `${made}:1`, join(folder, "layer.tar")]);
    return pushWithSkopeo(requireOracle(t, "skopeo"), `oci:${made}:1`, bench);
  },
  buildah: async ({ t, settings, target }) => pushFromStore(requireOracle(t, "buildah"), settings, target),
  podman: async ({ t, settings, target }) => pushFromStore(requireOracle(t, "podman"), settings, target),
  "crane push": async ({ t, settings, target }) => {
    const crane = requirePeer(t, "crane");
    await crane?.ok(["push", ...settings.crane, layout.directory, target], settings);
    return crane && here;
  },
  "crane append": async ({ t, settings, target }) => {
    const crane = requirePeer(t, "crane");
    if (crane === undefined) return undefined;
    const tar = join(folder, "append.tar");
    writeFileSync(tar, tarBytes(SAMPLE_ENTRIES));
    await crane.ok(["append", ...settings.crane, "-f", tar, "-t", target], settings);
    const pulled = join(folder, "crane");
    await crane.ok(["pull", ...settings.crane, "--format=oci", target, pulled], settings);
    return `oci:${pulled}`;
  },
  oras: async ({ t, settings, target }) => {
    const oras = requirePeer(t, "oras");
    const flags = settings.oras.map((flag) => (flag === "--plain-http" ? "--to-plain-http" : flag));
    await oras?.ok(["cp", "--from-oci-layout", `${layout.directory}:${layout.tag}`, ...flags, target], settings);
    return oras && here;
  },
};

async function pushWithSkopeo(
  skopeo: Oracle | undefined,
  from: string,
  { settings, target }: Omit<Bench, "t">,
  ...flags: string[]
): Promise<string | undefined> {
  if (skopeo === undefined) return undefined;
  const all = ["--insecure-policy", "copy", "-q", ...flags, ...settings.skopeo("dest-"), from, `docker://${target}`];
  await skopeo.ok(all, settings);
  return from;
}

/** Into a store of podman's and from there: layers are unpacked, and packed again on their way out. */
async function pushFromStore(program: Oracle | undefined, settings: ClientSettings, target: string) {
  if (program === undefined) return undefined;
  const store = storageFlags();
  const policy = join(folder, "policy.json");
  writeFileSync(policy, '{"default":[{"type":"insecureAcceptAnything"}]}');
  // The path becomes a name, which has no capital letters; that of the temporary folder may have some.
  const relative = `oci:layout:${layout.tag}`;
  const pulled = await program.ok([...store, "pull", "-q", "--signature-policy", policy, relative], { cwd: folder });
  const id = pulled.stdout.trim();
  await program.ok([...store, "push", "-q", "--signature-policy", policy, ...settings.buildah, id, target], settings);
  return here;
}

describe("pushed by others", { skip: missingPeers("registry") }, () => {
  const lifetime = suiteLifetime();
  let registry: Registry;
  let settings: ClientSettings;
  before(async () => {
    registry = await startRegistry(lifetime, { kind: "distribution" });
    settings = clientSettings(folder, registry);
  });

  for (const [name, produce] of Object.entries(PRODUCERS))
    test(name, { skip: /buildah|podman/.test(name) && !isRoot && "needs root" }, async (t) => {
      const target = `${registry.host}/${name
        .toLowerCase()
        .match(/[a-z0-9]+/g)!
        .join("-")}/os:42`;
      const from = await produce({ t, registry, settings, target });
      if (from === undefined) return;
      const expected = await (from === here ? sealHere() : seal(from));
      const actual = await seal(`docker://${target}`, settings.env, settings.ashlar);
      assert.equal(actual.rootHash, expected.rootHash);
      // The bytes of the manifest are those of the registry, whoever asks.
      const answer = await fetch(
        `${registry.url}/v2/${target.slice(target.indexOf("/") + 1).replace(":", "/manifests/")}`,
        {
          headers: {
            accept: "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json",
          },
        },
      );
      assert.equal(actual.manifest, answer.headers.get("docker-content-digest"));
    });

  test("by digest, without docker://", async (t) => {
    const target = `${registry.host}/pinned:1`;
    if ((await pushWithSkopeo(requireOracle(t, "skopeo"), here, { registry, settings, target })) === undefined) return;
    const other = `${registry.host}/pinned@${layout.top.digest}`;
    assert.deepEqual(await seal(other, settings.env, settings.ashlar), await sealHere());
  });

  test("without TLS: refused, unless registries.conf or a flag says that it is meant to be", async (t) => {
    const target = `${registry.host}/plain:1`;
    if ((await pushWithSkopeo(requireOracle(t, "skopeo"), here, { registry, settings, target })) === undefined) return;
    const refused = await run(["seal", target, "-o", join(folder, "plain")], {
      env: { HOME: join(folder, "no-home") },
    });
    assert.equal(refused.status, 7);
    assertOneLine(refused.stderr, /no encrypted connection/);
    assert.deepEqual(await seal(target, { HOME: settings.home }), await sealHere());
  });

  test("an index of two platforms", async (t) => {
    const skopeo = requireOracle(t, "skopeo");
    if (skopeo === undefined) return;
    const both = join(folder, "both");
    const layers = [{ tar: tarBytes(SAMPLE_ENTRIES) }];
    const labels = SAMPLE_LABELS;
    const { writeLayout } = await import("../support/oci.ts");
    await writeLayout(both, [
      { layers, labels },
      { layers: [{ tar: tarBytes(UPPER) }], labels, architecture: "arm64" },
    ]);
    const target = `docker://${registry.host}/both:1`;
    const flags = ["--insecure-policy", "copy", "-q", "--all", ...settings.skopeo("dest-")];
    await skopeo.ok([...flags, `oci:${both}:latest`, target], settings);
    for (const platform of ["linux/amd64", "linux/arm64"])
      assert.deepEqual(
        await seal(target, settings.env, [...settings.ashlar, "--platform", platform]),
        await seal(`oci:${both}:latest`, {}, ["--platform", platform]),
      );
    const refused = await run(
      ["seal", target, "-o", join(folder, "none"), "--platform", "linux/s390x", ...settings.ashlar],
      settings,
    );
    assert.notEqual(refused.status, 0);
    assertOneLine(refused.stderr, /s390x/);
  });
});

describe("behind TLS, passwords and tokens", { skip: missingPeers("registry") }, () => {
  const refusedAs = async (
    reference: string,
    env: Readonly<Record<string, string>>,
    status: number,
    pattern: RegExp,
  ) => {
    const out = join(folder, `refused-${count++}`);
    const result = await run(["seal", reference, "-o", out, "--name", "x", ...identity, "--quiet"], { env });
    assert.equal(result.status, status, result.stderr);
    assertOneLine(result.stderr, pattern);
    assert.doesNotMatch(result.stderr, new RegExp(PASSWORD));
  };

  test("TLS: certs.d is trusted, and nothing without it", async (t) => {
    const bench = await pushed(t, { kind: "distribution", tls: true });
    if (bench === undefined) return;
    const { settings, reference, expected } = bench;
    const { SSL_CERT_FILE: _, ...env } = settings.env;
    assert.deepEqual(await seal(reference, env), expected);
    const elsewhere = { ...env, HOME: join(folder, "no-home") };
    await refusedAs(reference, elsewhere, 7, /certificate/);
    assert.deepEqual(await seal(reference, elsewhere, ["--no-tls-verify"]), expected);
  });

  test("a password: auth.json, config.json of Docker, --authfile, a helper", async (t) => {
    const bench = await pushed(t, { kind: "distribution", tls: true, auth: "basic" });
    if (bench === undefined) return;
    const { settings, reference, expected, registry } = bench;
    const { HOME, REGISTRY_AUTH_FILE } = settings.env as Record<"HOME" | "REGISTRY_AUTH_FILE", string>;
    assert.deepEqual(await seal(reference, { HOME, REGISTRY_AUTH_FILE }), expected);
    const docker = join(folder, "docker-only");
    mkdirSync(join(docker, ".config/containers"), { recursive: true });
    await import("node:fs/promises").then(({ cp }) =>
      cp(join(HOME, ".config/containers/certs.d"), join(docker, ".config/containers/certs.d"), { recursive: true }),
    );
    await refusedAs(reference, { HOME: docker }, 7, /unauthorized|credentials|401/i);
    assert.deepEqual(await seal(reference, { HOME: docker }, ["--authfile", REGISTRY_AUTH_FILE]), expected);
    mkdirSync(join(docker, ".docker"), { recursive: true });
    writeFileSync(join(docker, ".docker/config.json"), readFileSync(REGISTRY_AUTH_FILE));
    assert.deepEqual(await seal(reference, { HOME: docker }), expected);
    // A program that keeps the password, as Docker Desktop and the clouds bring it.
    const bin = join(folder, "bin");
    mkdirSync(bin, { recursive: true });
    const answer = JSON.stringify({ ServerURL: registry.host, Username: USER, Secret: PASSWORD });
    const helper = `#!/bin/sh\nread -r host\n[ "$1 $host" = "get ${registry.host}" ] && echo '${answer}'\n`;
    writeFileSync(join(bin, "docker-credential-tests"), helper);
    chmodSync(join(bin, "docker-credential-tests"), 0o755);
    writeFileSync(join(docker, ".docker/config.json"), JSON.stringify({ credHelpers: { [registry.host]: "tests" } }));
    const path = `${bin}:${process.env["PATH"]}`;
    assert.deepEqual(await seal(reference, { HOME: docker, PATH: path }), expected);
    const wrong = JSON.stringify({
      auths: { [registry.host]: { auth: Buffer.from(`${USER}:wrong`).toString("base64") } },
    });
    writeFileSync(join(docker, ".docker/config.json"), wrong);
    await refusedAs(reference, { HOME: docker }, 7, /unauthorized|credentials|401/i);
  });

  test("tokens: with a password, as nobody, and one that runs out on the way", async (t) => {
    const bench = await pushed(t, { kind: "distribution", auth: "token", anonymous: true });
    if (bench === undefined) return;
    const { settings, expected, registry } = bench;
    const tokens = registry.tokens!;
    tokens.requests.length = 0;
    assert.deepEqual(await seal(bench.reference, settings.env, settings.ashlar), expected);
    assert.ok(tokens.requests.every(({ user }) => user === USER));
    assert.ok(tokens.requests.every(({ scopes }) => scopes.join() === "repository:os:pull"));
    assert.ok(tokens.requests.length <= 2, `asked ${tokens.requests.length} times for one token`);
    const nobody = clientSettings(folder, registry, { login: false });
    assert.deepEqual(await seal(bench.reference, nobody.env, nobody.ashlar), expected);
    assert.equal(tokens.requests.at(-1)?.user, undefined);

    // Tokens are good for some requests, and the registry says no in the middle of the work.
    const proxy = await startProxy(t, registry);
    const { withoutToken } = await import("../support/registry-faults.ts");
    const through = clientSettings(folder, registry, { host: proxy.host });
    const injected = proxy.inject(withoutToken(), { kind: "blob", times: 2 });
    assert.deepEqual(await seal(`docker://${proxy.host}/os:1`, through.env, through.ashlar), expected);
    assert.equal(injected.hits, 2);
  });

  async function pushed(t: TestContext, options: Parameters<typeof startRegistry>[1]) {
    const skopeo = requireOracle(t, "skopeo");
    if (skopeo === undefined) return undefined;
    const registry = await startRegistry(t, options);
    const settings = clientSettings(folder, registry);
    const target = `${registry.host}/os:1`;
    await pushWithSkopeo(skopeo, here, { registry, settings, target });
    return { registry, settings, reference: `docker://${target}`, expected: await sealHere() };
  }
});
