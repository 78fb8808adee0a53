import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeUtf8 } from "../../bytes/index.ts";
import { FormatError, IntegrityError, isAshlarError, SourceError, UnsupportedError } from "../../errors/index.ts";
import { digestOf, pureHashes } from "../../hash/index.ts";
import { bytesSource } from "../../source/index.ts";
import {
  type Descriptor,
  type FileTree,
  matchesPlatform,
  openLayout,
  parseConfig,
  parseIndex,
  parseManifest,
  parsePlatform,
  readBlob,
  readManifest,
} from "./index.ts";

const TYPES = "application/vnd.oci.image";
const MANIFEST = `${TYPES}.manifest.v1+json`;
const INDEX = `${TYPES}.index.v1+json`;
const AMD64 = { os: "linux", architecture: "amd64" };
const json = (value: unknown) => encodeUtf8(JSON.stringify(value));
const digest = (bytes: Uint8Array) => digestOf(pureHashes, bytes);
const some = (mediaType: string, bytes = encodeUtf8("{}"), more = {}) => ({
  mediaType,
  digest: digest(bytes),
  size: bytes.length,
  ...more,
});
const config = some(`${TYPES}.config.v1+json`);
const fails =
  (code: string, type: new (...args: never[]) => Error = FormatError) =>
  (error: unknown) =>
    error instanceof type && isAshlarError(error) && error.code === code && !error.message.includes("\n");

test("a manifest in OCI's words and in Docker's", () => {
  const layers = [`${TYPES}.layer.v1.tar`, `${TYPES}.layer.v1.tar+gzip`, `${TYPES}.layer.v1.tar+zstd`];
  const oci = parseManifest(
    json({ schemaVersion: 2, mediaType: MANIFEST, config, layers: layers.map((type) => some(type)) }),
    "m",
  );
  assert.deepEqual(
    oci.layers.map(({ compression }) => compression),
    ["none", "gzip", "zstd"],
  );
  const docker = parseManifest(
    json({
      schemaVersion: 2,
      mediaType: "application/vnd.docker.distribution.manifest.v2+json",
      config: { ...config, mediaType: "application/vnd.docker.container.image.v1+json" },
      layers: [some("application/vnd.docker.image.rootfs.diff.tar.gzip")],
    }),
    "m",
  );
  assert.equal(docker.layers[0]?.compression, "gzip");
});

test("what is no image of ours is named", () => {
  const manifest =
    (layer: string, more = {}) =>
    () =>
      parseManifest(json({ schemaVersion: 2, config, layers: [some(layer)], ...more }), "m");
  for (const type of [
    `${TYPES}.layer.nondistributable.v1.tar+gzip`,
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
  ])
    assert.throws(
      manifest(type),
      (error) =>
        fails("media-type", UnsupportedError)(error) &&
        /foreign.*sha256|sha256.*foreign/.test((error as Error).message),
    );
  assert.throws(manifest(`${TYPES}.layer.v1.tar+gzip+encrypted`), fails("media-type", UnsupportedError));
  assert.throws(
    manifest(`${TYPES}.layer.v1.tar`, { config: some("application/vnd.oci.empty.v1+json") }),
    fails("media-type", UnsupportedError),
  );
  assert.throws(() => parseManifest(json({ schemaVersion: 1, fsLayers: [] }), "m"), fails("bad-manifest"));
});

test("CVE-2021-41190: no document is both an index and a manifest", () => {
  const both = json({ schemaVersion: 2, config, layers: [], manifests: [] });
  assert.throws(() => parseManifest(both, "m"), fails("bad-manifest"));
  assert.throws(() => parseIndex(both, "i"), fails("bad-index"));
  assert.throws(
    () => parseManifest(json({ schemaVersion: 2, mediaType: INDEX, config, layers: [] }), "m"),
    fails("bad-manifest"),
  );
  assert.throws(
    () => parseIndex(json({ schemaVersion: 2, mediaType: MANIFEST, manifests: [] }), "i"),
    fails("bad-index"),
  );
});

test("documents that are none", () => {
  for (const [bytes, code] of [
    [encodeUtf8("{"), "bad-json"],
    [Uint8Array.of(0xff), "bad-json"],
    [encodeUtf8("null"), "bad-index"],
    [encodeUtf8("[]"), "bad-index"],
    [json({ schemaVersion: 2, manifests: [{}] }), "bad-index"],
    [json({ schemaVersion: 2, manifests: [{ ...config, size: -1 }] }), "bad-index"],
    [json({ schemaVersion: 2, manifests: [{ ...config, size: 2 ** 53 }] }), "bad-index"],
    [json({ schemaVersion: 2, manifests: [{ ...config, digest: "sha256:../../etc" }] }), "bad-digest"],
    [new Uint8Array(5 * 1024 * 1024), "too-large"],
  ] as const)
    assert.throws(() => parseIndex(bytes, "i"), fails(code));
  assert.throws(
    () => parseIndex(json({ schemaVersion: 2, manifests: [{ ...config, digest: "md5:00" }] }), "i"),
    fails("digest-algorithm", UnsupportedError),
  );
  assert.throws(() => parseConfig(json({ os: "linux", architecture: "amd64" }), "c"), fails("bad-config"));
  assert.throws(
    () => parseConfig(json({ ...AMD64, rootfs: { type: "squash" } }), "c"),
    fails("rootfs-type", UnsupportedError),
  );
});

test("platforms", () => {
  assert.deepEqual(parsePlatform("linux/arm64/v8"), { os: "linux", architecture: "arm64", variant: "v8" });
  for (const text of ["linux", "", "linux/", "a/b/c/d"])
    assert.throws(() => parsePlatform(text), fails("bad-platform"));
  const arm64 = parsePlatform("linux/arm64");
  assert.ok(matchesPlatform(parsePlatform("linux/arm64/v8"), arm64));
  assert.ok(!matchesPlatform(parsePlatform("linux/arm/v6"), parsePlatform("linux/arm/v7")));
});

/** A layout in memory. */
function layout(index: unknown, blobs: readonly Uint8Array[], files: Record<string, Uint8Array> = {}): FileTree {
  const all: Record<string, Uint8Array> = {
    "oci-layout": json({ imageLayoutVersion: "1.0.0" }),
    "index.json": json(index),
    ...Object.fromEntries(blobs.map((bytes) => [`blobs/${digest(bytes).replace(":", "/")}`, bytes])),
    ...files,
  };
  return {
    async open(path) {
      const bytes = all[path];
      if (bytes === undefined || bytes.length === 0) throw new SourceError("not-found", path);
      return { ...bytesSource(bytes), close: async () => {} };
    },
    async close() {},
  };
}
const manifestBytes = (name: string) =>
  json({ schemaVersion: 2, mediaType: MANIFEST, config, layers: [], annotations: { name } });
const tag = (name: string) => ({ annotations: { "org.opencontainers.image.ref.name": name } });
const indexOf = (...manifests: object[]) => ({ schemaVersion: 2, mediaType: INDEX, manifests });
const [a, b, c] = ["a", "b", "c"].map(manifestBytes) as [Uint8Array, Uint8Array, Uint8Array];
const resolve = async (files: FileTree, selector = {}) => {
  const store = await openLayout(files, "oci:x");
  const start = await store.resolve(selector);
  return (await readManifest(store, start, AMD64, pureHashes)).manifest.annotations["name"];
};

test("an image by tag, by digest, or the only one", async () => {
  const two = layout(indexOf(some(MANIFEST, a, tag("one")), some(MANIFEST, b, tag("two"))), [a, b]);
  assert.equal(await resolve(two, { tag: "two" }), "b");
  assert.equal(await resolve(two, { digest: digest(a) }), "a");
  await assert.rejects(
    resolve(two),
    (error) => fails("ambiguous-image", SourceError)(error) && /one, two/.test((error as Error).message),
  );
  await assert.rejects(
    resolve(two, { tag: "three" }),
    (error) => fails("no-such-image", SourceError)(error) && /one, two/.test((error as Error).message),
  );
  await assert.rejects(resolve(two, { digest: digest(c) }), fails("no-such-image", SourceError));
  assert.equal(await resolve(layout(indexOf(some(MANIFEST, a, tag("one")), some(MANIFEST, a, tag("same"))), [a])), "a");
  await assert.rejects(resolve(layout(indexOf(), [])), fails("no-such-image", SourceError));
  // What has no tag is there because what has one needs it.
  const needed = layout(indexOf(some(MANIFEST, a), some(MANIFEST, b, tag("one")), some(MANIFEST, c)), [a, b, c]);
  assert.equal(await resolve(needed), "b");
  await assert.rejects(
    resolve(layout(indexOf(some(MANIFEST, a), some(MANIFEST, b)), [a, b])),
    fails("ambiguous-image", SourceError),
  );
});

test("an image by platform, through indexes in indexes, attestations left out", async () => {
  const attestation = some(MANIFEST, c, { platform: { os: "unknown", architecture: "unknown" } });
  const inner = json(
    indexOf(
      attestation,
      some(MANIFEST, a, { platform: { os: "linux", architecture: "arm64" } }),
      some(MANIFEST, b, { platform: AMD64 }),
    ),
  );
  const outer = json(indexOf(some(INDEX, inner, { platform: AMD64 })));
  const files = layout(indexOf(some(INDEX, outer, tag("x"))), [a, b, c, inner, outer]);
  assert.equal(await resolve(files), "b");
  assert.equal(await resolve(files, { digest: digest(a) }), "a");
  const store = await openLayout(files, "oci:x");
  await assert.rejects(
    readManifest(
      store,
      some(INDEX, inner, { annotations: {} }) as Descriptor,
      parsePlatform("linux/riscv64"),
      pureHashes,
    ),
    (error) =>
      fails("no-such-platform", SourceError)(error) && /linux\/arm64, linux\/amd64/.test((error as Error).message),
  );
});

test("indexes that nest without end", async () => {
  let top = some(MANIFEST, a, { platform: AMD64 });
  const blobs = [a];
  for (let i = 0; i < 10; i++) {
    const bytes = json(indexOf(top));
    blobs.push(bytes);
    top = some(INDEX, bytes, { platform: AMD64 });
  }
  await assert.rejects(resolve(layout(indexOf(top), blobs)), fails("too-deep"));
});

test("blobs that are not the promised ones", async () => {
  const path = `blobs/${digest(a).replace(":", "/")}`;
  const index = indexOf(some(MANIFEST, a));
  const flipped = a.slice();
  flipped[5]! ^= 1;
  await assert.rejects(resolve(layout(index, [], { [path]: flipped })), fails("digest-mismatch", IntegrityError));
  await assert.rejects(resolve(layout(index, [], { [path]: a.subarray(1) })), fails("size-mismatch", IntegrityError));
  await assert.rejects(resolve(layout(index, [])), fails("no-blob", SourceError));
  const store = {
    name: "s",
    open: async () => ({
      size: undefined,
      async *chunks() {
        for (;;) yield a;
      },
      close: async () => {},
    }),
  };
  await assert.rejects(
    readBlob(store, { ...some(MANIFEST, a), annotations: {} }, pureHashes, "endless"),
    fails("size-mismatch", IntegrityError),
  );
  await assert.rejects(
    readBlob(store, { ...some(MANIFEST, a), annotations: {}, size: 2 ** 40 }, pureHashes, "huge"),
    fails("too-large"),
  );
});

test("directories that are no layout", async () => {
  await assert.rejects(
    openLayout(layout(indexOf(), [], { "oci-layout": new Uint8Array(0) }), "oci:x"),
    fails("not-a-layout", SourceError),
  );
  await assert.rejects(
    openLayout(layout(indexOf(), [], { "index.json": new Uint8Array(0) }), "oci:x"),
    fails("not-a-layout", SourceError),
  );
  await assert.rejects(
    openLayout(layout(indexOf(), [], { "oci-layout": json({ imageLayoutVersion: "2.0.0" }) }), "oci:x"),
    fails("layout-version", UnsupportedError),
  );
  await assert.rejects(openLayout(layout(indexOf(), [], { "oci-layout": json({}) }), "oci:x"), fails("bad-layout"));
});
