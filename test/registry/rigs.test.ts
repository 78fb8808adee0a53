// The rigs of this folder, seen by other people's clients: what they push to one of our servers they read back, also through
// the proxy, and each fault looks as it is meant to.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { requireOracle, requirePeer } from "../support/oracle.ts";
import {
  missingPeers,
  PASSWORD,
  PROGRAMS,
  type Registry,
  type RegistryOptions,
  startRegistry,
  suiteLifetime,
  USER,
} from "../support/registry.ts";
import { clientSettings } from "../support/registry-clients.ts";
import * as faults from "../support/registry-faults.ts";
import { type RegistryProxy, startProxy } from "../support/registry-proxy.ts";
import { sampleLayout, workFolder } from "../support/samples.ts";

const folder = workFolder({ after });
const layout = await sampleLayout(join(folder, "layout"));
const layer = (JSON.parse(readFileSync(blobPath(layout.top.digest), "utf8")) as { layers: { digest: string }[] })
  .layers[0]!.digest;
const layerBytes = readFileSync(blobPath(layer));

function blobPath(digest: string): string {
  return join(folder, "layout/blobs", digest.replace(":", "/"));
}

const RIGS: readonly (RegistryOptions & { readonly title: string })[] = [
  { title: "docker-registry", kind: "distribution" },
  { title: "docker-registry with TLS", kind: "distribution", tls: true },
  { title: "docker-registry with TLS and a password", kind: "distribution", tls: true, auth: "basic" },
  { title: "docker-registry with tokens", kind: "distribution", auth: "token" },
  { title: "go-containerregistry's", kind: "go" },
];

for (const { title, ...options } of RIGS)
  test(`${title}: skopeo pushes, crane and oras read, through the proxy too`, {
    skip: missingPeers("crane", "oras", PROGRAMS[options.kind]),
  }, async (t) => {
    const skopeo = requireOracle(t, "skopeo");
    const crane = requirePeer(t, "crane");
    const oras = requirePeer(t, "oras");
    if (skopeo === undefined || crane === undefined || oras === undefined) return;
    const registry = await startRegistry(t, options);
    const settings = clientSettings(folder, registry);
    const { env } = settings;
    const source = `oci:${layout.directory}:${layout.tag}`;
    const target = `${registry.host}/library/os:1`;
    await skopeo.ok(["--insecure-policy", "copy", "-q", ...settings.skopeo("dest-"), source, `docker://${target}`], {
      env,
    });
    const { stdout } = await crane.ok(["digest", ...settings.crane, target], { env });
    assert.equal(stdout.trim(), layout.top.digest);

    const proxy = await startProxy(t, registry);
    const through = clientSettings(folder, registry, { host: proxy.host });
    const blob = await oras.ok(["blob", "fetch", ...through.oras, "--output", "-", `${proxy.host}/library/os@${layer}`], { env: through.env }); // biome-ignore format: one line
    assert.deepEqual(Buffer.from(blob.bytes), layerBytes);
    const sent = proxy.exchanges.filter((exchange) => exchange.kind === "blob" && exchange.status === 200);
    assert.deepEqual(
      sent.filter(({ method }) => method === "GET").map((exchange) => exchange.sent),
      [layerBytes.length],
    );
    assert.ok(proxy.wireBytes() > layerBytes.length);
    // And back in through the proxy, to another name.
    await crane.ok(["copy", ...through.crane, `${proxy.host}/library/os:1`, `${proxy.host}/other:2`], {
      env: through.env,
    });

    if (options.auth !== undefined) {
      const nobody = clientSettings(folder, registry, { login: false });
      const refused = await crane.run(["digest", ...nobody.crane, target], { env: nobody.env });
      assert.notEqual(refused.status, 0, "it lets in those who did not log in");
      assert.match(refused.stderr, /401|UNAUTHORIZED|unauthorized/i);
    }
    if (registry.tokens !== undefined) {
      const asked = registry.tokens.requests.filter(({ user }) => user === USER);
      assert.ok(asked.some(({ scopes }) => scopes.includes("repository:library/os:push,pull") || scopes.includes("repository:library/os:pull,push"))); // biome-ignore format: one line
    }
  });

test("go-containerregistry's answers the referrers API, docker-registry does not", {
  skip: missingPeers("go-registry", "oras", "registry"),
}, async (t) => {
  const oras = requirePeer(t, "oras")!;
  for (const kind of ["go", "distribution"] as const) {
    const registry = await startRegistry(t, { kind });
    const { env, oras: flags } = clientSettings(folder, registry);
    const target = `${registry.host}/os:1`;
    await oras.ok(["cp", "--from-oci-layout", `${layout.directory}:${layout.tag}`, "--to-plain-http", target], { env });
    await oras.ok(["attach", ...flags, "--artifact-type", "test/note", "--annotation", "a=b", target], { env });
    const found = await oras.ok(["discover", ...flags, "--format", "json", target], { env });
    const { referrers } = JSON.parse(found.stdout) as { referrers: { annotations: Record<string, string> }[] };
    assert.deepEqual(
      referrers.map(({ annotations }) => annotations["a"]),
      ["b"],
    );
    const answer = await fetch(`${registry.url}/v2/os/referrers/${layout.top.digest}`);
    assert.equal(answer.status, kind === "go" ? 200 : 404);
    if (kind === "go") continue;
    const headers = { accept: "application/vnd.oci.image.index.v1+json" };
    const tag = await fetch(`${registry.url}/v2/os/manifests/${layout.top.digest.replace(":", "-")}`, { headers });
    assert.equal(tag.status, 200, "the tag that stands in for the API");
  }
});

test("token server: a name and a password, nobody, and the form of OAuth 2", {
  skip: missingPeers("registry"),
}, async (t) => {
  const registry = await startRegistry(t, { kind: "distribution", auth: "token", anonymous: true });
  const challenge = (await fetch(`${registry.url}/v2/`)).headers.get("www-authenticate") ?? "";
  assert.match(challenge, /^Bearer realm="http:\/\/localhost:\d+\/token",service="registry of the tests"/);
  const { realm, service } = registry.tokens!;
  const scope = "repository:os:pull,push";
  const query = new URLSearchParams({ service, scope });
  const start = (token: string) =>
    fetch(`${registry.url}/v2/os/blobs/uploads/`, { method: "POST", headers: { authorization: `Bearer ${token}` } });

  const basic = { authorization: `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString("base64")}` };
  const mine = (await (await fetch(`${realm}?${query}`, { headers: basic })).json()) as { token: string };
  assert.equal((await start(mine.token)).status, 202);
  const anybody = (await (await fetch(`${realm}?${query}`)).json()) as { token: string };
  assert.equal((await start(anybody.token)).status, 401);
  const form = new URLSearchParams({ grant_type: "password", service, scope, username: USER, password: PASSWORD });
  const granted = (await (await fetch(realm, { method: "POST", body: form })).json()) as { access_token: string };
  assert.equal((await start(granted.access_token)).status, 202);
  const wrong = { authorization: `Basic ${Buffer.from(`${USER}:wrong`).toString("base64")}` };
  assert.equal((await fetch(`${realm}?${query}`, { headers: wrong })).status, 401);
  registry.tokens!.lifetime = -61; // past the minute of grace
  const old = (await (await fetch(`${realm}?${query}`, { headers: basic })).json()) as { token: string };
  assert.equal((await start(old.token)).status, 401);
});

describe("faults", { skip: missingPeers("go-registry") }, () => {
  let registry: Registry;
  let proxy: RegistryProxy;
  const path = `/v2/os/blobs/${layer}`;
  const get = (headers: Record<string, string> = {}) => fetch(`${proxy.url}${path}`, { headers, redirect: "manual" });
  const bytesOf = async (answer: Response) => Buffer.from(await answer.arrayBuffer());

  const suite = suiteLifetime();
  before(async () => {
    registry = await startRegistry(suite, { kind: "go" });
    proxy = await startProxy(suite, registry);
    const form = await fetch(`${registry.url}/v2/os/blobs/uploads/`, { method: "POST" });
    const place = new URL(form.headers.get("location")!, registry.url);
    place.searchParams.set("digest", layer);
    assert.equal((await fetch(place, { method: "PUT", body: layerBytes })).status, 201);
  });

  test("none", async () => {
    const answer = await get();
    assert.deepEqual(await bytesOf(answer), layerBytes);
    const part = await get({ range: "bytes=10-19" });
    assert.equal(part.status, 206);
    assert.deepEqual(await bytesOf(part), layerBytes.subarray(10, 20));
    assert.equal(proxy.sent("blob"), layerBytes.length + 10);
  });

  test("answers in place of the registry's", async () => {
    proxy.reset();
    const filter = { kind: "blob", times: 1 } as const;
    const injected = proxy.inject(faults.tooManyRequests(3), filter);
    proxy.inject(faults.loginPage(), filter);
    proxy.inject(faults.redirectTo("http://127.0.0.1:9"), filter);
    proxy.inject(faults.redirectLoop(), { ...filter, times: 2 });
    const slow = await get();
    assert.equal(slow.status, 429);
    assert.equal(slow.headers.get("retry-after"), "3");
    await slow.text();
    assert.match(await (await get()).text(), /<!DOCTYPE html>/);
    assert.equal((await get()).headers.get("location"), `http://127.0.0.1:9${path}`);
    assert.equal((await get()).headers.get("location"), `${path}?round=1`);
    assert.equal((await get()).headers.get("location"), `${path}?round=2`);
    assert.equal(injected.hits, 1);
    assert.deepEqual(await bytesOf(await get()), layerBytes);
  });

  test("connections that break", async () => {
    for (const [fault, sent] of [
      [faults.resetAt(-1), 0],
      [faults.resetAt(0), 0],
      [faults.resetAt(1000), 1000],
      [faults.endAt(1000), 1000],
    ] as const) {
      proxy.reset();
      proxy.inject(fault, { times: 1 });
      await assert.rejects(async () => bytesOf(await get()), /fetch failed|terminated|aborted/);
      assert.equal(proxy.exchanges[0]!.sent, sent);
    }
  });

  test("bytes that are not the right ones", async () => {
    const seen = async (fault: Parameters<RegistryProxy["inject"]>[0], headers?: Record<string, string>) => {
      proxy.reset();
      proxy.inject(fault, { times: 1 });
      const answer = await get(headers);
      return { answer, bytes: await bytesOf(answer) };
    };
    assert.deepEqual((await seen(faults.cutAt(1000))).bytes, layerBytes.subarray(0, 1000));
    const { bytes } = await seen(faults.flipAt(1234));
    assert.equal(bytes.length, layerBytes.length);
    assert.deepEqual(
      [...bytes.entries()].filter(([at, byte]) => byte !== layerBytes[at]).map(([at]) => at),
      [1234],
    );
    const whole = await seen(faults.ignoreRange(), { range: "bytes=10-19" });
    assert.equal(whole.answer.status, 200);
    assert.deepEqual(whole.bytes, layerBytes);
    const lie = await seen(faults.wrongContentRange(5), { range: "bytes=10-19" });
    assert.equal(lie.answer.headers.get("content-range"), `bytes 15-24/${layerBytes.length}`);
    assert.deepEqual(lie.bytes, layerBytes.subarray(10, 20));
    const moved = await seen(faults.otherRange(5), { range: "bytes=10-19" });
    assert.equal(moved.answer.headers.get("content-range"), `bytes 10-19/${layerBytes.length}`);
    assert.deepEqual(moved.bytes, layerBytes.subarray(15, 25));
  });

  test("odd ways to send the right ones", async () => {
    proxy.reset();
    proxy.inject(faults.drip(10_000, 1), { times: 1 });
    proxy.inject(faults.gzipContent(), { times: 1 });
    proxy.inject(faults.http10(), { times: 1 });
    assert.deepEqual(await bytesOf(await get()), layerBytes);
    const packed = await get();
    assert.equal(packed.headers.get("content-encoding"), "gzip");
    assert.deepEqual(await bytesOf(packed), layerBytes); // fetch unpacks it
    const plain = await get();
    assert.equal(plain.headers.get("content-length"), null);
    assert.deepEqual(await bytesOf(plain), layerBytes);
  });

  test("bodies without end, and silence", async () => {
    proxy.reset();
    proxy.inject(faults.endless(), { times: 1 });
    proxy.inject(faults.stallAt(100), { times: 1 });
    const hash = createHash("sha256");
    let size = 0;
    for await (const chunk of (await get()).body!) {
      hash.update(chunk.subarray(0, Math.max(0, layerBytes.length - size)));
      size += chunk.length;
      if (size > 1 << 24) break;
    }
    assert.equal(`sha256:${hash.digest("hex")}`, layer);
    const abort = new AbortController();
    const silent = await fetch(`${proxy.url}${path}`, { signal: abort.signal });
    const reader = silent.body!.getReader();
    assert.equal((await reader.read()).value?.length, 100);
    const next = reader.read();
    abort.abort();
    await assert.rejects(next);
  });
});
