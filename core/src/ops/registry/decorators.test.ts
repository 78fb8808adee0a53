import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { encodeUtf8 } from "../../bytes/index.ts";
import type { Descriptor, Repository } from "../../formats/oci/index.ts";
import { digestOf } from "../../hash/index.ts";
import { nodeHashes } from "../../node/index.ts";
import { openBlobCache } from "../../node/registry/blob-cache.ts";
import { bytesSource } from "../../source/index.ts";
import { withBlobCache } from "./cached.ts";
import { withMirrors } from "./mirrors.ts";
import { broken, cut, scriptedRegistry } from "./scripted-registry.ts";

const work = await mkdtemp(join(tmpdir(), "ashlar-cache-"));
after(() => rm(work, { recursive: true, force: true }));

function describe(bytes: Uint8Array): Descriptor {
  return { mediaType: "text/plain", digest: digestOf(nodeHashes, bytes), size: bytes.length, annotations: {} };
}

async function read(repository: Repository, blob: Descriptor): Promise<Buffer> {
  const stream = await repository.open(blob);
  const parts: Uint8Array[] = [];
  for await (const chunk of stream.chunks()) parts.push(Uint8Array.from(chunk));
  await stream.close();
  return Buffer.concat(parts);
}

const fails = (code: string) => (error: unknown) => {
  assert.equal((error as { code: string }).code, code, (error as Error).message);
  return true;
};

async function withImage(bytes: Uint8Array) {
  const registry = scriptedRegistry();
  const blob = describe(bytes);
  registry.blobs.set(blob.digest, bytes);
  const config = { mediaType: "x", digest: blob.digest, size: 1 };
  const manifest = encodeUtf8(JSON.stringify({ schemaVersion: 2, config, layers: [] }));
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  await registry.open().putManifest({ ...describe(manifest), mediaType }, manifest, "v1");
  registry.requests.length = 0;
  return { registry, blob, manifest: { ...describe(manifest), mediaType } };
}

test("mirrors: asked first, passed over where they fail, never written to", async () => {
  const bytes = encodeUtf8("content");
  const mirror = await withImage(bytes);
  const main = await withImage(bytes);
  const open = (options: { tags?: boolean; digests?: boolean } = {}) =>
    withMirrors(
      [{ repository: mirror.registry.open({ retryTimes: 0 }), tags: true, digests: true, ...options }],
      main.registry.open({ retryTimes: 0 }),
    );
  const asked = () => [mirror.registry.requests.length, main.registry.requests.length];
  await open().resolve({ tag: "v1" });
  assert.deepEqual(asked(), [1, 0]);
  assert.deepEqual(await read(open(), main.blob), Buffer.from(bytes));
  assert.deepEqual(asked(), [2, 0]);
  await open({ tags: false }).resolve({ tag: "v1" });
  assert.deepEqual(asked(), [2, 1]);
  await open({ digests: false }).resolve({ digest: main.manifest.digest });
  assert.deepEqual(asked(), [2, 2]);

  mirror.registry.script = () => {
    throw broken();
  };
  const repository = open();
  assert.deepEqual(await repository.resolve({ tag: "v1" }), main.manifest);
  assert.deepEqual(await read(repository, main.blob), Buffer.from(bytes));
  const source = await repository.openBlob(main.blob);
  assert.deepEqual(Buffer.from(await source.read(1, 3)).toString(), "ont");
  mirror.registry.script = undefined;
  mirror.registry.requests.length = 0;
  await open().putBlob(describe(encodeUtf8("new")), bytesSource(encodeUtf8("new")));
  assert.deepEqual(mirror.registry.requests, []);

  // Who knows nothing does not speak for who could not be asked.
  main.registry.script = () => ({ status: 500 });
  await assert.rejects(open().referrers(main.blob.digest), fails("server-error"));
  await assert.rejects(open().resolve({ tag: "v2" }), fails("server-error"));
  await assert.rejects(open().has(describe(encodeUtf8("x"))), fails("server-error"));
  assert.equal(await open().has(main.blob), true);
});

test("mirrors: a blob that one does not finish comes to its end from the next", async () => {
  const bytes = Uint8Array.from({ length: 9000 }, (_, index) => index % 251);
  const mirror = await withImage(bytes);
  const main = await withImage(bytes);
  mirror.registry.script = ({ path }) => {
    if (!path.includes("/blobs/")) return undefined;
    if (mirror.registry.requests.length > 1) throw broken();
    return { status: 200, headers: { "content-length": "9000" }, body: cut(bytes, 3000) };
  };
  const mirrors = [{ repository: mirror.registry.open({ retryTimes: 1 }), tags: true, digests: true }];
  const repository = withMirrors(mirrors, main.registry.open());
  assert.deepEqual(await read(repository, main.blob), Buffer.from(bytes));
  assert.deepEqual(
    main.registry.requests.map(({ headers }) => headers["range"]),
    ["bytes=3000-8999"],
  );
});

test("mirrors: a document that is not what its digest says is not made up for", async () => {
  const mirror = await withImage(encodeUtf8("content"));
  const main = await withImage(encodeUtf8("content"));
  mirror.registry.script = () => ({ status: 200, body: "{}" });
  const repository = withMirrors(
    [{ repository: mirror.registry.open(), tags: true, digests: true }],
    main.registry.open(),
  );
  await assert.rejects(repository.resolve({ digest: main.manifest.digest }), fails("digest-mismatch"));
});

test("the cache: fetched once, verified on every use, private", async () => {
  const bytes = encodeUtf8("content");
  const { registry, blob } = await withImage(bytes);
  const folder = join(work, "one");
  const open = () => withBlobCache(registry.open(), openBlobCache(folder));
  assert.deepEqual(await read(open(), blob), Buffer.from(bytes));
  assert.deepEqual(await read(open(), blob), Buffer.from(bytes));
  assert.equal(registry.requests.length, 1);
  const path = join(folder, blob.digest.replace(":", "/"));
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await stat(folder)).mode & 0o777, 0o700);
  const source = await open().openBlob(blob);
  assert.equal(Buffer.from(await source.read(0, 3)).toString(), "con");
  await source.close();
  assert.equal(registry.requests.length, 1);

  for (const spoilt of ["CONTENT", "conten", "contents", ""]) {
    await writeFile(path, spoilt);
    assert.deepEqual(await read(open(), blob), Buffer.from(bytes));
    assert.equal(await readFile(path, "utf8"), "content");
  }
  assert.equal(registry.requests.length, 5);
});

test("the cache: what did not come whole is not kept, and where nothing can be kept all goes on", async () => {
  const bytes = encodeUtf8("content");
  const { registry, blob } = await withImage(bytes);
  const folder = join(work, "two");
  const open = (cache = openBlobCache(folder)) => withBlobCache(registry.open({ retryTimes: 0 }), cache);
  const files = () => readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  registry.script = () => ({
    status: 200,
    body: (async function* () {
      yield bytes.subarray(0, 3);
      throw broken();
    })(),
  });
  await assert.rejects(read(open(), blob), fails("connection"));
  registry.script = () => ({ status: 200, body: "short" });
  await read(open(), blob).catch(() => undefined);
  registry.script = undefined;
  const stream = await open().open(blob);
  for await (const _ of stream.chunks()) break;
  await stream.close();
  assert.deepEqual(
    (await files()).filter((one) => one.isFile()),
    [],
  );

  await writeFile(join(work, "file"), "");
  assert.deepEqual(await read(open(openBlobCache(join(work, "file/cache"))), blob), Buffer.from(bytes));
  assert.deepEqual(await read(open(openBlobCache(folder, { maxSize: 3 })), blob), Buffer.from(bytes));
  assert.deepEqual(
    (await files()).filter((one) => one.isFile()),
    [],
  );
});

test("the cache: what was not used for longest goes first", async () => {
  const folder = join(work, "three");
  const cache = openBlobCache(folder, { maxSize: 25 });
  const { registry } = await withImage(encodeUtf8("x"));
  const repository = withBlobCache(registry.open(), cache);
  const blobs: Descriptor[] = [];
  for (const name of ["first blob", "other blob", "third blob"]) {
    const bytes = encodeUtf8(name);
    const blob = describe(bytes);
    registry.blobs.set(blob.digest, bytes);
    blobs.push(blob);
    await read(repository, blob);
    const time = new Date(blobs.length * 1000);
    if (blobs.length < 3) await utimes(join(folder, blob.digest.replace(":", "/")), time, time);
    if (blobs.length === 2) await read(repository, blobs[0]!); // used again
  }
  const there = await Promise.all(blobs.map(async (blob) => (await cache.open(blob)) !== undefined));
  assert.deepEqual(there, [true, false, true]);
});
