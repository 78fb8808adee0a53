// A channel is a TUF repository to others: unpacked by oras, and followed by tuf-js' own updater and by go-tuf's client.
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Updater } from "tuf-js";
import { nodeHashes } from "../../core/src/node/index.ts";
import { openRegistries } from "../../core/src/node/registry/index.ts";
import type { NewKeyType } from "../../core/src/node/trust/index.ts";
import { rotate } from "../../core/src/ops/channel/index.ts";
import { newKeys, publisher, timeOf } from "../support/channels.ts";
import { requirePeer } from "../support/oracle.ts";
import { missingPeers, startRegistry } from "../support/registry.ts";
import { workFolder } from "../support/samples.ts";

/** Serves documents of a folder, and manifests of releases as targets under their hash. */
async function serveFolder(t: TestContext, folder: string, manifestOf: (hash: string) => Uint8Array): Promise<string> {
  const server = createServer((request, response) => {
    const name =
      decodeURIComponent(request.url ?? "")
        .split("/")
        .at(-1) ?? "";
    const target = /^([0-9a-f]{64})\./.exec(name)?.[1];
    try {
      response.end(target === undefined ? readFileSync(join(folder, name)) : manifestOf(target));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const TYPES: readonly NewKeyType[] = ["ed25519", "ecdsa-p256", "rsa-3072"];
for (const type of TYPES)
  test(`clients of TUF follow a channel with ${type} keys`, {
    skip: missingPeers("go-registry", "oras"),
  }, async (t) => {
    const oras = requirePeer(t, "oras");
    if (oras === undefined) return;
    const { host } = await startRegistry(t, { kind: "go" });
    const registries = openRegistries({ tlsVerify: false, environment: {} });
    t.after(() => registries.close());
    const repository = await registries.open({ host, repository: "os" });
    const channel = await publisher(repository, { keys: await newKeys(type) });
    channel.now = Date.now(); // theirs is the machine's clock
    await channel.release({ version: "1" });
    await channel.change((current) => rotate(current, {}, timeOf(channel), nodeHashes));
    const [target] = Object.values((await channel.read()).targets.signed.targets);
    const { sha256 } = target!.hashes;
    const blob = await repository.openBlob({
      mediaType: target!.custom.mediaType,
      digest: `sha256:${sha256}`,
      size: target!.length,
      annotations: {},
    });
    const manifest = Uint8Array.from(await blob.read(0, blob.size));
    await blob.close();

    const work = workFolder(t);
    await oras.ok(["pull", "--plain-http", `${host}/os:stable`, "--output", work]);
    assert.deepEqual(
      readdirSync(work).sort(),
      ["1.root.json", "2.root.json", "3.snapshot.json", "2.targets.json", "timestamp.json"].sort(),
    );
    const url = await serveFolder(t, work, (hash) => {
      assert.equal(hash, sha256);
      return manifest;
    });

    const folder = join(work, "tuf-js");
    mkdirSync(folder);
    copyFileSync(join(work, "1.root.json"), join(folder, "root.json"));
    const updater = new Updater({ metadataDir: folder, metadataBaseUrl: url, targetDir: folder, targetBaseUrl: url });
    await updater.refresh();
    const info = await updater.getTargetInfo("os/amd64/1");
    assert.equal(info?.hashes["sha256"], sha256);
    const downloaded = await updater.downloadTarget(info!, join(folder, "release"), url);
    assert.deepEqual(Uint8Array.from(readFileSync(downloaded)), manifest);

    const client = requirePeer(t, "tuf-client");
    if (client === undefined) return;
    const cwd = join(work, "go-tuf");
    mkdirSync(cwd);
    copyFileSync(join(work, "1.root.json"), join(cwd, "root.json"));
    await client.ok(["init", "--url", url, "--file", "root.json"], { cwd });
    await client.ok(["get", "--url", url, "--turl", url, "os/amd64/1"], { cwd });
    const found = readdirSync(cwd, { recursive: true, withFileTypes: true }).filter(({ name }) =>
      name.includes("amd64"),
    );
    const [file] = found.filter((entry) => entry.isFile());
    assert.ok(file !== undefined, "go-tuf's client has downloaded nothing");
    assert.deepEqual(Uint8Array.from(readFileSync(join(file.parentPath, file.name))), manifest);
  });
