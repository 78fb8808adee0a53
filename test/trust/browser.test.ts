// A signature checked in a browser: the modules of core as they are, with their types taken off, and Web Crypto.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { stripTypeScriptTypes } from "node:module";
import type { AddressInfo } from "node:net";
import { join, normalize } from "node:path";
import { test } from "node:test";

import { encodeUtf8 } from "../../core/src/bytes/index.ts";
import { digestOf } from "../../core/src/hash/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import { generateKey, nodeVerifier, openPrivateKey } from "../../core/src/node/trust/index.ts";
import { signDigest } from "../../core/src/ops/trust/index.ts";
import { findChromium, openPage } from "../support/browser.ts";
import { memoryRepository } from "../support/memory-repository.ts";
import { REPOSITORY } from "../support/roots.ts";

/** Entry of each package that core imports outside of core/src/node. */
const IMPORTS = {
  valibot: "/node_modules/valibot/dist/index.mjs",
  "@noble/hashes/": "/node_modules/@noble/hashes/",
};

const PAGE = `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><title>waiting</title>
<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>
<script type="module">
  import { pureHashes } from "/core/src/hash/index.ts";
  import { sourceBlob } from "/core/src/formats/oci/index.ts";
  import { bytesSource } from "/core/src/source/index.ts";
  import { parsePublicKey, verifySignature, webVerifier } from "/core/src/ops/trust/index.ts";

  const { digest, keys, documents, referrers, tags } = await (await fetch("/state.json")).json();
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const repository = {
    name: "page",
    resolve: async ({ tag }) => tags[tag],
    open: async (descriptor) => sourceBlob({ ...bytesSource(bytes(documents[descriptor.digest])), close: async () => {} }),
    referrers: async () => referrers,
  };
  const environment = { hashes: pureHashes, verifier: webVerifier(crypto.subtle) };
  globalThis.results = [];
  for (const pem of keys) {
    const key = parsePublicKey(new TextEncoder().encode(pem), pureHashes, "key.pub");
    const rule = { keys: [key], identity: { type: "matchRepositoryIfNamed" } };
    const name = "registry.example/os:1";
    const said = await verifySignature({ repository, digest, name }, rule, environment).then(
      ({ form, key }) => form + " " + key.type,
      (error) => error.kind + " " + error.code,
    );
    globalThis.results.push(said);
  }
  document.title = "done";
</script>`;

test("a browser verifies what was signed, and refuses what was not", async (t) => {
  const chromium = findChromium();
  if (chromium === undefined) {
    if (process.env["CI"]) throw new Error("there is no Chromium");
    return t.skip("there is no Chromium");
  }
  const repository = memoryRepository();
  const bytes = encodeUtf8('{"schemaVersion":2}');
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const subject = { mediaType, digest: digestOf(nodeHashes, bytes), size: bytes.length, annotations: {} };
  const environment = { hashes: nodeHashes, verifier: nodeVerifier };
  const keys: string[] = [];
  for (const [index, type] of (["ecdsa-p256", "ed25519", "rsa-3072", "ecdsa-p256"] as const).entries()) {
    const { privatePem, publicPem } = await generateKey(type, undefined, type);
    keys.push(Buffer.from(publicPem).toString());
    const signer = await openPrivateKey(privatePem, type, async () => undefined);
    const options = { signer, form: index === 1 ? "classic" : "bundle", name: "registry.example/os" } as const;
    if (index < 3) await signDigest(repository, subject, options, environment);
  }
  const documents = [
    ...repository.blobs,
    ...[...repository.manifests].map(([digest, entry]) => [digest, entry.bytes] as const),
  ];
  const state = {
    digest: subject.digest,
    keys,
    documents: Object.fromEntries(
      documents.map(([digest, content]) => [digest, Buffer.from(content).toString("base64")]),
    ),
    referrers: await repository.referrers(subject.digest),
    tags: Object.fromEntries(
      [...repository.tagged].map(([tag, digest]) => [tag, repository.manifests.get(digest)?.descriptor]),
    ),
  };
  const server = createServer(({ url = "/" }, response) => {
    const path = normalize(new URL(url, "http://page").pathname);
    const type = path === "/" ? "text/html" : path === "/state.json" ? "application/json" : "text/javascript";
    response.setHeader("content-type", type);
    if (path === "/") response.end(PAGE);
    else if (path === "/state.json") response.end(JSON.stringify(state));
    else {
      const text = readFileSync(join(REPOSITORY, path), "utf8");
      response.end(path.endsWith(".ts") ? stripTypeScriptTypes(text) : text);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const page = await openPage(chromium, `http://127.0.0.1:${port}/`, { width: 400, height: 300 });
  try {
    for (let i = 0; i < 600 && (await page.evaluate("document.title")) !== "done" && page.problems.length === 0; i++)
      await new Promise((resolve) => setTimeout(resolve, 100));
    assert.deepEqual(page.problems, []);
    assert.deepEqual(await page.evaluate("results"), [
      "bundle ecdsa-p256",
      "classic ed25519",
      "bundle rsa",
      "PolicyError bad-signature",
    ]);
  } finally {
    await page.close();
    server.closeAllConnections();
    server.close();
  }
});
