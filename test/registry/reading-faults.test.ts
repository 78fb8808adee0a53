// What networks, middleboxes and broken registries do to a client. Every fault ends in a retry that succeeds or in one
// line of the right class, and nothing is left behind. Waiting is written down instead of waited for.
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, test } from "node:test";
import type { Repository } from "../../core/src/formats/oci/index.ts";
import { inlineBlockHasher } from "../../core/src/hash/index.ts";
import {
  fileScratch,
  nodeCompressors,
  nodeDecompressors,
  nodeFiles,
  nodeHashes,
  openArtifacts,
} from "../../core/src/node/index.ts";
import { parseReference, readInput } from "../../core/src/ops/image/index.ts";
import { silentReporter } from "../../core/src/ops/index.ts";
import { sealContent } from "../../core/src/ops/seal/index.ts";
import { missingPeers, PROGRAMS, type Registry, startRegistry, suiteLifetime } from "../support/registry.ts";
import * as faults from "../support/registry-faults.ts";
import { type Fault, type RegistryProxy, startProxy } from "../support/registry-proxy.ts";
import { hurriedRepository } from "../support/registry-repository.ts";
import { digests, noise, sampleLayout, workFolder } from "../support/samples.ts";
import { tarBytes } from "../support/tar.ts";
import { expectOutcome, firstOfEach, type Row } from "./outcome.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";
const folder = workFolder({ after });
const output = join(folder, "out");
mkdirSync(output);

/** One layer of some 50 kB that compresses badly. */
const layout = await sampleLayout(join(folder, "layout"), {
  layers: [{ tar: tarBytes([{ name: "data", content: noise(50_000, "faults") }]) }],
});
const manifestBytes = blob(layout.top.digest);
const manifest = JSON.parse(manifestBytes.toString()) as {
  config: { digest: string };
  layers: [{ digest: string }];
};
const configBytes = blob(manifest.config.digest);
const layerBytes = blob(manifest.layers[0].digest);

function blob(digest: string): Buffer {
  return readFileSync(join(layout.directory, "blobs", digest.replace(":", "/")));
}

/** Digests of what sealing the image in the repository gives. All files of the run are in `output`. */
async function seal(repository: Repository): Promise<Record<string, string>> {
  const artifacts = await openArtifacts(output, { overwrite: false });
  const scratch = fileScratch(output);
  const environment = {
    hashes: nodeHashes,
    files: nodeFiles,
    registries: { open: async () => repository },
    scratch,
    decompressors: nodeDecompressors,
    reporter: silentReporter,
    blockHasher: inlineBlockHasher(nodeHashes),
  };
  const input = await readInput(parseReference("docker://registry.test/os:1"), environment).catch(async (error) => {
    await artifacts.discard();
    throw error;
  });
  try {
    const options = { algorithm: "sha256", tails: "blocks" } as const;
    await sealContent({ ...input, inputs: [] }, options, artifacts, { ...environment, compressors: nodeCompressors });
  } finally {
    await input.dispose();
    await artifacts.discard();
  }
  const found = digests(output);
  for (const name of Object.keys(found)) rmSync(join(output, name));
  return found;
}

const isLayer = ({ path }: { readonly path: string }): boolean => path.includes(manifest.layers[0].digest);
const isConfig = ({ path }: { readonly path: string }): boolean => path.includes(manifest.config.digest);
const LAYER = { kind: "blob", method: "GET", when: isLayer } as const;
const CONFIG = { kind: "blob", method: "GET", when: isConfig } as const;
const MANIFEST = { kind: "manifest" } as const;
/** From here on the layer is broken off; used with another fault that meets the next request. */
const HALF = Math.floor(layerBytes.length / 2);
/** Breaks the first answer with the layer off at {@link HALF}, and plays `fault` when the rest is asked for. */
function afterHalf(fault: Fault): Fault {
  const broken = faults.resetAt(HALF);
  return (call) => (call.request.headers.range === undefined ? broken(call) : fault(call));
}

const ROWS: readonly Row[] = [
  {
    title: "429 with Retry-After",
    fault: () => faults.tooManyRequests(7),
    filter: { times: 3 },
    hits: 3,
    outcome: "succeeds",
    holds: (_, waits) => assert.ok(waits.filter((wait) => wait >= 7000).length >= 3, waits.join()),
  },
  {
    title: "429 with a date",
    fault: () => faults.tooManyRequests(new Date(Date.now() + 20_000).toUTCString()),
    filter: { times: 1 },
    outcome: "succeeds",
    holds: (_, waits) =>
      assert.ok(
        waits.some((wait) => wait > 15_000 && wait <= 20_000),
        waits.join(),
      ),
  },
  {
    title: "429 with nonsense",
    fault: () => faults.tooManyRequests("soon\tish"),
    filter: { times: 1 },
    outcome: "succeeds",
  },
  {
    title: "429 that asks for a day",
    fault: () => faults.tooManyRequests(86_400),
    outcome: ["SourceError", "too-many-requests"],
    holds: (_, waits) => assert.ok(waits.every((wait) => wait < 3_600_000)),
  },
  {
    title: "429 for ever",
    fault: () => faults.tooManyRequests(0),
    hits: 3,
    outcome: ["SourceError", "too-many-requests"],
  },
  ...[500, 502, 503, 504].map(
    (code): Row => ({
      title: `${code} twice for everything`,
      fault: () => firstOfEach(2, faults.status(code, { "content-type": "text/html" }, "<h1>sorry</h1>")),
      hits: 6,
      outcome: "succeeds",
      holds: (_, waits) => assert.ok(waits.length >= 6),
    }),
  ),
  { title: "503 for ever", fault: () => faults.status(503), hits: 3, outcome: ["SourceError", "server-error"] },
  { title: "403", fault: () => faults.status(403), outcome: ["SourceError", "denied"] },
  { title: "401 without a challenge", fault: () => faults.status(401), outcome: ["SourceError", "unauthorized"] },
  { title: "404 for a layer", fault: () => faults.status(404), filter: LAYER, outcome: ["SourceError", "no-blob"] },
  ...[MANIFEST, CONFIG, LAYER].flatMap((filter): Row[] => {
    const what = filter === MANIFEST ? "manifest" : filter === CONFIG ? "config" : "layer";
    return [
      { title: `${what}: reset before the head`, fault: () => faults.resetAt(-1), filter: { ...filter, times: 2 }, hits: 2, outcome: "succeeds" }, // biome-ignore format: a row
      { title: `${what}: reset after the head`, fault: () => faults.resetAt(0), filter: { ...filter, times: 2 }, hits: 2, outcome: "succeeds" }, // biome-ignore format: a row
      { title: `${what}: reset in the body`, fault: () => faults.resetAt(100), filter: { ...filter, times: 2 }, hits: 2, outcome: "succeeds" }, // biome-ignore format: a row
      { title: `${what}: ends early`, fault: () => faults.endAt(100), filter: { ...filter, times: 1 }, outcome: "succeeds" }, // biome-ignore format: a row
      { title: `${what}: reset for ever`, fault: () => faults.resetAt(0), filter, hits: 2, outcome: ["SourceError", "connection"] }, // biome-ignore format: a row
      { title: `${what}: one bit is another`, fault: () => faults.flipAt(50), filter, outcome: ["IntegrityError", "digest-mismatch"] }, // biome-ignore format: a row
      { title: `${what}: shorter than it should be`, fault: () => faults.cutAt(60), filter, outcome: ["IntegrityError", /^(digest|size)-mismatch$/] }, // biome-ignore format: a row
      { title: `${what}: without end`, fault: () => faults.endless(), filter, outcome: [filter === MANIFEST ? "SourceError" : "IntegrityError", /^(too-large|size-mismatch|digest-mismatch)$/], holds: (proxy) => assert.ok(proxy.sent() < 32 << 20, `it took ${proxy.sent()} bytes`) }, // biome-ignore format: a row
      { title: `${what}: a login page`, fault: () => faults.loginPage(), filter, outcome: ["SourceError", "not-a-registry"] }, // biome-ignore format: a row
      { title: `${what}: a login page after a redirect`, fault: () => faults.status(302, { location: LOGIN }), filter, outcome: ["SourceError", "not-a-registry"] }, // biome-ignore format: a row
      { title: `${what}: redirects in a circle`, fault: () => faults.redirectLoop(), filter, hits: 5, outcome: ["SourceError", "too-many-redirects"], holds: (proxy) => assert.ok(proxy.exchanges.length < 40) }, // biome-ignore format: a row
      { title: `${what}: a redirect to nowhere`, fault: () => faults.status(307), filter, outcome: ["SourceError", "bad-location"] }, // biome-ignore format: a row
      { title: `${what}: a redirect to a file`, fault: () => faults.status(307, { location: "file:///etc/passwd" }), filter, outcome: ["SourceError", "bad-location"] }, // biome-ignore format: a row
      { title: `${what}: HTTP 1.0`, fault: () => faults.http10(), filter, outcome: "succeeds" },
      { title: `${what}: gzip that nobody asked for`, fault: () => faults.gzipContent(), filter, outcome: ["IntegrityError", /^(digest|size)-mismatch$/] }, // biome-ignore format: a row
      { title: `${what}: gzip as transfer encoding`, fault: () => faults.gzipTransfer(), filter, outcome: ["IntegrityError", /^(digest|size)-mismatch$/] }, // biome-ignore format: a row
      { title: `${what}: a byte at a time`, fault: () => faults.drip(1, 2), filter, options: { speed: 20_000 }, outcome: ["SourceError", "too-slow"] }, // biome-ignore format: a row
      { title: `${what}: slow, but not too slow`, fault: () => faults.drip(4096, 2), filter, outcome: "succeeds" },
    ];
  }),
  { title: "the rest: all of it in place of a part", fault: () => afterHalf(faults.ignoreRange()), filter: LAYER, hits: 2, outcome: "succeeds" }, // biome-ignore format: a row
  { title: "the rest: said to be another part", fault: () => afterHalf(faults.wrongContentRange(10)), filter: LAYER, hits: 2, outcome: ["SourceError", "content-range"] }, // biome-ignore format: a row
  { title: "the rest: another part, said to be the right one", fault: () => afterHalf(faults.otherRange(10)), filter: LAYER, hits: 2, outcome: ["IntegrityError", /^(digest|size)-mismatch$/] }, // biome-ignore format: a row
  { title: "the rest: one bit is another", fault: () => afterHalf(faults.flipAt(5)), filter: LAYER, hits: 2, outcome: ["IntegrityError", "digest-mismatch"] }, // biome-ignore format: a row
  { title: "the rest: 416", fault: () => afterHalf(faults.status(416)), filter: LAYER, hits: 2, outcome: ["SourceError", /./] }, // biome-ignore format: a row
  { title: "the rest: without end", fault: () => afterHalf(faults.endless()), filter: LAYER, hits: 2, outcome: ["IntegrityError", "size-mismatch"], holds: (proxy) => assert.ok(proxy.sent() < 32 << 20) }, // biome-ignore format: a row
  {
    title: "resets after every thousand bytes",
    fault: () => faults.resetAt(1000),
    filter: LAYER,
    hits: 40,
    outcome: "succeeds",
    // Bytes that had come and were not looked at yet may go with their connection.
    holds: (proxy) => assert.ok(proxy.sent("blob") <= 2 * layerBytes.length, "too much came twice"),
  },
];

/** A page of the proxy's own. */
const LOGIN = "/login";

describe("a registry that is read", { skip: missingPeers(PROGRAMS.distribution) }, () => {
  const lifetime = suiteLifetime();
  let registry: Registry;
  let proxy: RegistryProxy;
  let expected: Record<string, string>;

  before(async () => {
    registry = await startRegistry(lifetime, { kind: "distribution" });
    proxy = await startProxy(lifetime, registry);
    await upload(registry.url);
    const { repository, close } = hurriedRepository(proxy.host, "os");
    expected = await seal(repository);
    close();
    assert.ok(Object.keys(expected).length >= 3);
  });

  async function play({ fault, filter = {}, hits = 1, outcome, options, holds }: Row): Promise<void> {
    proxy.reset();
    proxy.inject(faults.loginPage(), { when: ({ path }) => path === LOGIN });
    const injected = proxy.inject(fault(), { when: ({ kind }) => kind !== "base", ...filter });
    const { repository, waits, close } = hurriedRepository(proxy.host, "os", options);
    try {
      const result = await expectOutcome(outcome, () => seal(repository));
      if (outcome === "succeeds") assert.deepEqual(result, expected);
    } finally {
      close();
    }
    assert.ok(injected.hits >= hits, `played ${injected.hits} times`);
    assert.deepEqual(readdirSync(output), []);
    holds?.(proxy, waits);
  }

  for (const row of ROWS) test(row.title, () => play(row));

  for (const [what, filter, size] of [
    ["manifest", MANIFEST, manifestBytes.length],
    ["config", CONFIG, configBytes.length],
    ["layer", LAYER, layerBytes.length],
  ] as const)
    test(`${what}: reset at every k-th byte`, async () => {
      const step = Math.max(1, Math.floor(size / (isLong ? 1000 : 40)));
      for (let at = 0; at < size; at += step)
        await play({
          title: "",
          fault: () => faults.resetAt(at),
          filter: { ...filter, times: 1 },
          outcome: "succeeds",
          holds: ({ exchanges }) => {
            const layers = exchanges.filter(isLayer);
            assert.ok(layers.length <= 2, `the layer was asked for ${layers.length} times`);
            if (what === "layer" && at > 0) assert.equal(layers.length, 2);
          },
        });
    });

  async function upload(url: string): Promise<void> {
    for (const bytes of [configBytes, layerBytes]) {
      const digest = bytes === configBytes ? manifest.config.digest : manifest.layers[0].digest;
      const place = new URL(
        (await fetch(`${url}/v2/os/blobs/uploads/`, { method: "POST" })).headers.get("location")!,
        url,
      );
      place.searchParams.set("digest", digest);
      assert.equal((await fetch(place, { method: "PUT", body: bytes })).status, 201);
    }
    const headers = { "content-type": layout.top.mediaType };
    const put = await fetch(`${url}/v2/os/manifests/1`, { method: "PUT", headers, body: manifestBytes });
    assert.equal(put.status, 201);
  }
});
