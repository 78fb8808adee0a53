// What Ashlar stores in registries, read by other people's clients: images that it copied, what refers to them, and releases.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";

import { nodeHashes } from "../../core/src/node/index.ts";
import { PACK_TYPE, pushReleases, RELEASE_TYPE } from "../../core/src/ops/publish/index.ts";
import { type OracleResult, requireOracle, requirePeer } from "../support/oracle.ts";
import { missingPeers, PROGRAMS, type RegistryOptions, startRegistry } from "../support/registry.ts";
import { clientSettings } from "../support/registry-clients.ts";
import { startProxy } from "../support/registry-proxy.ts";
import { hurriedRepository } from "../support/registry-repository.ts";
import { publishEnvironment, sampleRelease } from "../support/releases.ts";
import { noise, runOk, SAMPLE_ENTRIES, sampleLayout, workFolder } from "../support/samples.ts";
import { tarBytes } from "../support/tar.ts";

const folder = workFolder({ after });
const layers = [{ tar: tarBytes(SAMPLE_ENTRIES) }, { tar: tarBytes([{ name: "more", content: "more\n" }]) }];
const layout = await sampleLayout(join(folder, "layout"), { layers });
const here = `oci:${layout.directory}:${layout.tag}`;
const digest = layout.top.digest;

const RIGS: readonly (RegistryOptions & { readonly title: string })[] = [
  { title: "docker-registry", kind: "distribution" },
  { title: "docker-registry with TLS and a password", kind: "distribution", tls: true, auth: "basic" },
  { title: "docker-registry with tokens", kind: "distribution", auth: "token" },
  { title: "go-containerregistry's", kind: "go" },
];

for (const { title, ...options } of RIGS)
  test(`${title}: an image that was copied is read by skopeo, crane and oras`, {
    skip: missingPeers("crane", "oras", PROGRAMS[options.kind]),
  }, async (t) => {
    const skopeo = requireOracle(t, "skopeo");
    const newSkopeo = requireOracle(t, "skopeo", { from: "tools" });
    const crane = requirePeer(t, "crane");
    const oras = requirePeer(t, "oras");
    if (skopeo === undefined || newSkopeo === undefined || crane === undefined || oras === undefined) return;
    const registry = await startRegistry(t, options);
    // oras goes to no token server at another address.
    const { host } = registry.tokens === undefined ? registry : await startProxy(t, registry);
    const settings = clientSettings(folder, registry, { host });
    const target = `${host}/site/os:42`;
    const copy = (...args: string[]) => runOk(["copy", ...settings.ashlar, "--json", ...args], settings);
    const { stdout } = await copy(here, `docker://${target}`);
    assert.equal(JSON.parse(stdout).digest, digest);

    for (const program of [skopeo, newSkopeo]) {
      const inspected = await program.ok(["inspect", ...settings.skopeo(), `docker://${target}`], settings);
      assert.equal(JSON.parse(inspected.stdout).Digest, digest);
      const to = join(folder, `${program.from}-${host.replace(":", "-")}`);
      await program.ok(["--insecure-policy", "copy", "-q", ...settings.skopeo("src-"), `docker://${target}`, `oci:${to}:x`], settings); // biome-ignore format: one line
      assert.equal(JSON.parse(readFileSync(join(to, "index.json"), "utf8")).manifests[0].digest, digest);
    }
    const manifest = await crane.ok(["manifest", ...settings.crane, target], settings);
    assert.deepEqual(manifest.bytes, readFileSync(join(layout.directory, "blobs", digest.replace(":", "/"))));
    await crane.ok(["validate", ...settings.crane, "--remote", target], settings); // every layer against its digests
    const back = join(folder, `oras-${host.replace(":", "-")}`);
    const flags = settings.oras.map((flag) =>
      flag === "--plain-http" ? "--from-plain-http" : flag.replace(/^--ca/, "--from-ca"),
    );
    await oras.ok(["cp", ...flags, target, "--to-oci-layout", `${back}:x`], settings);
    assert.equal(JSON.parse(readFileSync(join(back, "index.json"), "utf8")).manifests[0].digest, digest);

    // Again, to another name of the same registry: nothing travels.
    const again = JSON.parse((await copy(here, `docker://${target}`)).stdout);
    assert.deepEqual({ ...again.blobs, bytes: again.sentBytes }, { present: 3, mounted: 0, sent: 0, bytes: 0 });
    const other = JSON.parse((await copy(`docker://${target}`, `docker://${host}/other/os:1`)).stdout);
    assert.deepEqual({ sent: other.blobs.sent, bytes: other.sentBytes }, { sent: 0, bytes: 0 });
    assert.equal((await crane.ok(["digest", ...settings.crane, `${host}/other/os:1`], settings)).stdout.trim(), digest);
  });

test("what oras attached comes along: through a layout and a file, into registries with and without the referrers API", {
  skip: missingPeers("oras", "registry", "go-registry"),
}, async (t) => {
  const oras = requirePeer(t, "oras");
  if (oras === undefined) return;
  const registries = [
    await startRegistry(t, { kind: "go" }),
    await startRegistry(t, { kind: "distribution" }),
  ] as const;
  const note = join(folder, "note.txt");
  writeFileSync(note, "a note\n");
  for (const from of registries)
    for (const to of registries) {
      const settings = clientSettings(folder, from);
      const source = `docker://${from.host}/os:1`;
      const run = (...args: string[]) => runOk([...args, "--no-tls-verify", "--quiet"], settings);
      await run("copy", here, source);
      const attach = ["attach", "--plain-http", "--disable-path-validation", "--artifact-type", "test/note"];
      await oras.ok([...attach, "--annotation", "a=b", `${from.host}/os:1`, `${note}:text/plain`], settings);
      const file = join(folder, `air-${from.kind}-${to.kind}.tar`);
      const directory = join(folder, `air-${from.kind}-${to.kind}`);
      await run("copy", "--all", source, `oci:${directory}:1`);
      await run("copy", "--all", `oci:${directory}:1`, `oci-archive:${file}:1`);
      const arrived = `${to.host}/arrived-from-${from.kind}`;
      await run("copy", "--all", `oci-archive:${file}:1`, `docker://${arrived}:1`);
      const found = await oras.ok(["discover", "--plain-http", "--format", "json", `${arrived}:1`], settings);
      const { referrers } = JSON.parse(found.stdout) as {
        referrers: { digest: string; annotations: Record<string, string> }[];
      };
      assert.ok(referrers.length >= 1, `${from.kind} to ${to.kind}`);
      assert.equal(referrers[0]!.annotations["a"], "b");
      const pulled = join(folder, `pulled-${from.kind}-${to.kind}`);
      await oras.ok(["pull", "--plain-http", "-o", pulled, "--allow-path-traversal", `${arrived}@${referrers[0]!.digest}`], settings); // biome-ignore format: one line
    }
});

test("a release that was pushed is read by skopeo, crane and oras, and refers to its image", {
  skip: missingPeers("crane", "oras", "registry", "go-registry"),
}, async (t) => {
  const skopeo = requireOracle(t, "skopeo", { from: "tools" });
  const crane = requirePeer(t, "crane");
  const oras = requirePeer(t, "oras");
  if (skopeo === undefined || crane === undefined || oras === undefined) return;
  const environment = await publishEnvironment();
  for (const kind of ["go", "distribution"] as const) {
    const registry = await startRegistry(t, { kind });
    const settings = clientSettings(folder, registry);
    const name = `${registry.host}/os`;
    await runOk(["copy", here, `docker://${name}:image`, "--quiet", ...settings.ashlar], settings);
    const inputs = [{ name: "image", digest }];
    const release = await sampleRelease({ "usr/data": noise(300_000, "written") }, environment, { inputs });
    const { repository, close } = hurriedRepository(registry.host, "os");
    const pushed = await pushReleases([release], repository, { tag: "42" }, environment);
    close();
    assert.equal(pushed.releases[0]!.subject, digest);

    const raw = await skopeo.ok(["inspect", "--raw", ...settings.skopeo(), `docker://${name}:42`], settings);
    const manifest = JSON.parse(raw.stdout) as {
      artifactType: string;
      config: { digest: string };
      layers: { mediaType: string; digest: string; size: number }[];
    };
    assert.equal(manifest.artifactType, RELEASE_TYPE);
    assert.equal(
      (await crane.ok(["digest", ...settings.crane, `${name}:42`], settings)).stdout.trim(),
      pushed.descriptor.digest,
    );
    assert.deepEqual((await crane.ok(["manifest", ...settings.crane, `${name}:42`], settings)).bytes, raw.bytes);
    const config = await crane.ok(["blob", ...settings.crane, `${name}@${manifest.config.digest}`], settings);
    assert.deepEqual(Buffer.from(config.bytes), Buffer.from(release.bytes));
    // A pack is a zstd file: whoever has zstd has the blocks.
    const pack = manifest.layers.find(({ mediaType }) => mediaType === PACK_TYPE)!;
    const fetched: OracleResult = await oras.ok(
      ["blob", "fetch", ...settings.oras, "--output", "-", `${name}@${pack.digest}`],
      settings,
    );
    assert.equal(`sha256:${Buffer.from(nodeHashes.hash("sha256", fetched.bytes)).toString("hex")}`, pack.digest);
    const zstd = requireOracle(t, "zstd");
    if (zstd !== undefined) {
      const { bytes: blocks } = await zstd.ok(["-d", "-c"], { input: fetched.bytes });
      const root = release.files.get("sample_1.root.erofs")!;
      const known = new Set(Array.from({ length: root.length / 4096 }, (_, i) => Buffer.from(root.subarray(i * 4096, i * 4096 + 4096)).toString("latin1"))); // biome-ignore format: one line
      assert.ok(blocks.length > 0 && blocks.length % 4096 === 0);
      for (let at = 0; at < blocks.length; at += 4096) assert.ok(known.has(Buffer.from(blocks.subarray(at, at + 4096)).toString("latin1"))); // biome-ignore format: one line
    }
    const found = await oras.ok(["discover", ...settings.oras, "--format", "json", `${name}:image`], settings);
    const { referrers } = JSON.parse(found.stdout) as { referrers: { digest: string; artifactType: string }[] };
    assert.deepEqual(
      referrers.map((one) => [one.digest, one.artifactType]),
      [[pushed.descriptor.digest, RELEASE_TYPE]],
    );
    // All of it to somewhere else with other people's tools, and it is a release there.
    await oras.ok(
      ["cp", "--from-plain-http", `${name}:42`, "--to-oci-layout", `${join(folder, `release-${kind}`)}:42`],
      settings,
    );
    await skopeo.ok(["--insecure-policy", "copy", "-q", ...settings.skopeo("src-"), `docker://${name}:42`, `oci:${join(folder, `skopeo-${kind}`)}:42`], settings); // biome-ignore format: one line
    for (const directory of [`release-${kind}`, `skopeo-${kind}`]) {
      const index = JSON.parse(readFileSync(join(folder, directory, "index.json"), "utf8"));
      assert.equal(index.manifests[0].digest, pushed.descriptor.digest);
    }
  }
});
