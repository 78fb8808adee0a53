// As reading-faults, for what is stored: an image that is copied to a registry, and a release that is pushed. Where it fails the
// tag is what it was; where it succeeds everything is there.
import assert from "node:assert/strict";
import { createCipheriv } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, test } from "node:test";

import { type Repository, readBlob } from "../../core/src/formats/oci/index.ts";
import type { Digest } from "../../core/src/hash/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import { openLocation, openRegistries } from "../../core/src/node/registry/index.ts";
import { copyImage } from "../../core/src/ops/copy/index.ts";
import { parseReference } from "../../core/src/ops/image/index.ts";
import { pullRelease, pushReleases, resolveRelease } from "../../core/src/ops/publish/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { memoryArtifacts } from "../support/memory-artifacts.ts";
import { missingPeers, PROGRAMS, type Registry, startRegistry, suiteLifetime } from "../support/registry.ts";
import * as faults from "../support/registry-faults.ts";
import { type RegistryProxy, startProxy } from "../support/registry-proxy.ts";
import { hurriedRepository } from "../support/registry-repository.ts";
import { publishEnvironment, sampleRelease } from "../support/releases.ts";
import { noise, sampleLayout, workFolder } from "../support/samples.ts";
import { tarBytes } from "../support/tar.ts";
import { expectOutcome, firstOfEach, type Row } from "./outcome.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";
const folder = workFolder({ after });
const TAG = "1";

interface Operation {
  readonly name: string;
  /** Stores the thing under {@link TAG}; its digest. */
  write(repository: Repository): Promise<Digest>;
  /** Throws unless all of it is there and right. */
  check(repository: Repository): Promise<void>;
}

const layout = await sampleLayout(join(folder, "layout"), {
  layers: [{ tar: tarBytes([{ name: "data", content: noise(50_000, "faults") }]) }],
});
const blobOf = (digest: string): Buffer => readFileSync(join(layout.directory, "blobs", digest.replace(":", "/")));

const image: Operation = {
  name: "an image that is copied",
  async write(repository) {
    const reference = parseReference(`oci:${layout.directory}:${layout.tag}`);
    const source = await openLocation(reference, openRegistries(), { write: false });
    try {
      const environment = { hashes: nodeHashes };
      const { descriptor } = await copyImage(source.repository, reference, repository, environment, { tag: TAG });
      return descriptor.digest;
    } finally {
      await source.close();
    }
  },
  async check(repository) {
    const top = await repository.resolve({ tag: TAG });
    assert.equal(top.digest, layout.top.digest);
    const { config, layers } = JSON.parse(blobOf(top.digest).toString());
    for (const blob of [config, ...layers])
      assert.deepEqual(Buffer.from(await readBlob(repository, blob, nodeHashes, "blob")), blobOf(blob.digest));
  },
};

const environment = await publishEnvironment();
const sample = await sampleRelease({ "usr/data": noise(40_000, "release") }, environment, { rootOnly: true });
const release: Operation = {
  name: "a release that is pushed",
  async write(repository) {
    const { descriptor } = await pushReleases([sample], repository, { tag: TAG }, environment);
    return descriptor.digest;
  },
  async check(repository) {
    const store = memoryArtifacts();
    const descriptor = await resolveRelease(repository, { tag: TAG }, nodeHashes);
    await pullRelease(repository, descriptor, store, environment);
    for (const [name, bytes] of sample.files) assert.ok(Buffer.from(bytes).equals(store.published.get(name)!), name);
  },
};

const BEGIN = { kind: "upload", method: "POST" } as const;
const SEND = { kind: "upload", method: "PUT" } as const;
const MANIFEST = { kind: "manifest", method: "PUT" } as const;
const STEPS = [
  ["the upload's begin", BEGIN],
  ["a blob", SEND],
  ["the manifest", MANIFEST],
] as const;

const ROWS: readonly Row[] = [
  { title: "everything: 429 at first", fault: () => firstOfEach(1, faults.tooManyRequests(3)), hits: 5, outcome: "succeeds" }, // biome-ignore format: a row
  { title: "everything: 503 twice", fault: () => firstOfEach(2, faults.status(503)), hits: 10, outcome: "succeeds" },
  { title: "everything: reset at first", fault: () => firstOfEach(1, faults.resetAt(-1)), hits: 5, outcome: "succeeds" }, // biome-ignore format: a row
  ...STEPS.flatMap(([what, filter]): Row[] => [
    { title: `${what}: 503 for ever`, fault: () => faults.status(503), filter, hits: 3, outcome: ["SinkError", "server-error"] }, // biome-ignore format: a row
    { title: `${what}: 429 for ever`, fault: () => faults.tooManyRequests(1), filter, hits: 3, outcome: ["SinkError", "too-many-requests"] }, // biome-ignore format: a row
    { title: `${what}: denied`, fault: () => faults.status(403, {}, '{"errors":[{"code":"DENIED","message":"no\\npush"}]}'), filter, outcome: ["SinkError", "denied"] }, // biome-ignore format: a row
    { title: `${what}: not allowed by the server`, fault: () => faults.status(405), filter, outcome: ["SinkError", "unexpected-answer"] }, // biome-ignore format: a row
    { title: `${what}: too large`, fault: () => faults.status(413), filter, outcome: ["SinkError", "too-large-for-registry"] }, // biome-ignore format: a row
    { title: `${what}: the registry is full`, fault: () => faults.status(507), filter, outcome: ["SinkError", "registry-full"] }, // biome-ignore format: a row
    { title: `${what}: a login page`, fault: () => faults.loginPage(), filter, outcome: ["SinkError", "not-a-registry"] }, // biome-ignore format: a row
    { title: `${what}: redirects in a circle`, fault: () => faults.redirectLoop(), filter, hits: 5, outcome: ["SourceError", "too-many-redirects"] }, // biome-ignore format: a row
    { title: `${what}: done, and nobody hears of it`, fault: () => faults.loseAnswer(), filter: { ...filter, times: 2 }, hits: 2, outcome: "succeeds" }, // biome-ignore format: a row
    { title: `${what}: reset for ever`, fault: () => faults.resetAt(-1), filter, hits: 3, outcome: ["SourceError", "connection"] }, // biome-ignore format: a row
    { title: `${what}: HTTP 1.0`, fault: () => faults.http10(), filter, outcome: "succeeds" },
  ]),
  { title: "a session at no address", fault: () => faults.status(202), filter: BEGIN, outcome: ["SourceError", "bad-location"] }, // biome-ignore format: a row
  { title: "a session at a file", fault: () => faults.status(202, { location: "file:///etc/passwd" }), filter: BEGIN, outcome: ["SourceError", "bad-location"] }, // biome-ignore format: a row
  { title: "a session that is not known any more", fault: () => faults.status(404, {}, '{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}'), filter: SEND, outcome: ["SinkError", /./] }, // biome-ignore format: a row
];

for (const operation of [image, release])
  describe(operation.name, { skip: missingPeers(PROGRAMS.distribution) }, () => {
    const lifetime = suiteLifetime();
    let registry: Registry;
    let proxy: RegistryProxy;
    let expected: Digest;
    let count = 0;

    before(async () => {
      registry = await startRegistry(lifetime, { kind: "distribution" });
      proxy = await startProxy(lifetime, registry);
      const { repository, close } = hurriedRepository(proxy.host, "expected");
      expected = await operation.write(repository);
      await operation.check(repository);
      close();
    });

    /** In a repository of its own, whose tag holds something else when `over` is given. */
    async function play({ fault, filter = {}, hits = 1, outcome, options, holds }: Row, over = false): Promise<void> {
      proxy.reset();
      const name = `os/${++count}`;
      const old = over ? await putOther(name) : undefined;
      const injected = proxy.inject(fault(), { when: ({ kind }) => kind !== "base", ...filter });
      const { repository, waits, close } = hurriedRepository(proxy.host, name, options);
      try {
        const digest = await expectOutcome(outcome, () => operation.write(repository));
        injected.remove();
        if (outcome === "succeeds") {
          assert.equal(digest, expected);
          const fresh = hurriedRepository(proxy.host, name);
          await operation.check(fresh.repository);
          fresh.close();
        } else assert.equal(await tagged(name), old);
      } finally {
        close();
      }
      assert.ok(injected.hits >= hits, `played ${injected.hits} times`);
      holds?.(proxy, waits);
    }

    for (const row of ROWS) test(row.title, () => play(row));

    test("a blob: reset at every k-th byte, before and behind the registry", async () => {
      const step = isLong ? 500 : 6_000;
      for (const broken of [faults.resetUploadAt, faults.breakUploadAt])
        for (let at = 1; at < 42_000; at += step)
          await play({
            title: "",
            fault: () => broken(at),
            filter: { ...SEND, times: 2 },
            hits: 2,
            outcome: "succeeds",
          });
    });

    test("the tag holds something else: a failure leaves it where it was", async () => {
      if (operation === release) return; // what is no release is not pushed over at all
      for (const [, filter] of STEPS)
        await play({ title: "", fault: () => faults.status(403), filter, outcome: ["SinkError", "denied"] }, true);
    });

    /** Digest under the tag, as the registry says without anybody between. */
    async function tagged(name: string): Promise<string | undefined> {
      const accept = "application/vnd.oci.image.manifest.v1+json";
      const answer = await fetch(`${registry.url}/v2/${name}/manifests/${TAG}`, { headers: { accept } });
      await answer.arrayBuffer();
      return answer.status === 404 ? undefined : (answer.headers.get("docker-content-digest") ?? "none");
    }

    async function putOther(name: string): Promise<string> {
      const { repository, close } = hurriedRepository(registry.host, name);
      const mediaType = "application/vnd.oci.image.manifest.v1+json";
      const put = async (bytes: Buffer, type: string) => {
        const digest = `sha256:${Buffer.from(nodeHashes.hash("sha256", bytes)).toString("hex")}` as Digest;
        const descriptor = { mediaType: type, digest, size: bytes.length, annotations: {} };
        if (type !== mediaType) await repository.putBlob(descriptor, bytesSource(bytes));
        else await repository.putManifest(descriptor, bytes, TAG);
        return { mediaType: type, digest, size: bytes.length };
      };
      const config = await put(Buffer.from("{}"), "application/vnd.oci.empty.v1+json");
      const document = { schemaVersion: 2, mediaType, artifactType: "test/other", config, layers: [config] };
      const { digest } = await put(Buffer.from(JSON.stringify(document)), mediaType);
      close();
      return digest;
    }
  });

describe("a blob that travels in chunks", { skip: missingPeers("registry", "go-registry") }, () => {
  const SIZE = 6 << 20;
  const CASES = [
    ["broken off after a third", faults.breakUploadAt(2 << 20)],
    ["broken off near the end", faults.breakUploadAt(5 << 20)],
    ["broken off before the registry saw any of it", faults.resetUploadAt(1 << 20)],
    ["taken, and nobody heard of it", faults.loseAnswer()],
    ["refused for the moment", faults.status(503, { "retry-after": "1" })],
  ] as const;

  for (const kind of ["distribution", "go"] as const)
    for (const [title, fault] of CASES)
      test(`${kind}: ${title}`, async (t) => {
        const registry = await startRegistry(t, { kind });
        const proxy = await startProxy(t, registry);
        const injected = proxy.inject(fault, { kind: "upload", method: "PATCH", times: 1 });
        const bytes = createCipheriv("aes-128-ctr", Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(SIZE));
        const digest = `sha256:${Buffer.from(nodeHashes.hash("sha256", bytes)).toString("hex")}` as Digest;
        const blob = { mediaType: "application/octet-stream", digest, size: SIZE, annotations: {} };
        const { repository, close } = hurriedRepository(proxy.host, "large");
        assert.equal(await repository.putBlob(blob, bytesSource(bytes)), "sent");
        const there = await repository.openBlob(blob);
        assert.ok(bytes.equals(await there.read(0, SIZE)));
        close();
        assert.equal(injected.hits, 1);
        // Neither can take up a session in which a request broke off: docker-registry holds what came against the state
        // in the address, go-containerregistry's does not say how much came. So the blob begins again, and once.
        assert.equal(proxy.exchanges.filter(({ method }) => method === "PATCH").length, 2);
      });
});
