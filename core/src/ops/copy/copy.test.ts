import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { encodeUtf8 } from "../../bytes/index.ts";
import { type Descriptor, OCI_INDEX, OCI_MANIFEST, type Repository } from "../../formats/oci/index.ts";
import { type Digest, digestOf } from "../../hash/index.ts";
import { nodeFiles, nodeHashes } from "../../node/index.ts";
import { openLocation } from "../../node/registry/index.ts";
import { bytesSource } from "../../source/index.ts";
import { openImage, parseReference } from "../image/index.ts";
import { broken, scriptedRegistry } from "../registry/scripted-registry.ts";
import { copyImage } from "./index.ts";

const work = await mkdtemp(join(tmpdir(), "ashlar-copy-"));
after(() => rm(work, { recursive: true, force: true }));
let folders = 0;

async function layout(name = `layout-${folders++}`): Promise<Repository & { readonly folder: string }> {
  const folder = join(work, name);
  const { repository } = await openLocation(parseReference(`oci:${folder}`), undefined, { write: true });
  return { ...repository, folder };
}

function registry(referrersApi: boolean) {
  const scripted = scriptedRegistry();
  scripted.referrersApi = referrersApi;
  return scripted.open({ repository: "os" });
}

function describe(bytes: Uint8Array, mediaType: string): Descriptor {
  return { mediaType, digest: digestOf(nodeHashes, bytes), size: bytes.length, annotations: {} };
}

const json = (value: unknown): Uint8Array => encodeUtf8(JSON.stringify(value));

/** An image with a config and one layer of its own. */
async function pushImage(repository: Repository, name: string, extra: object = {}, tag?: string): Promise<Descriptor> {
  const configBytes = json({ os: "linux", architecture: "amd64", name, rootfs: { type: "layers", diff_ids: [] } });
  const config = describe(configBytes, "application/vnd.oci.image.config.v1+json");
  const layerBytes = encodeUtf8(`layer of ${name}`);
  const layer = describe(layerBytes, "application/vnd.oci.image.layer.v1.tar");
  await repository.putBlob(config, bytesSource(configBytes));
  await repository.putBlob(layer, bytesSource(layerBytes));
  const bytes = json({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer], ...extra });
  const manifest = describe(bytes, OCI_MANIFEST);
  await repository.putManifest(manifest, bytes, tag);
  return manifest;
}

async function pushIndex(repository: Repository, manifests: readonly Descriptor[], tag: string): Promise<Descriptor> {
  const bytes = json({ schemaVersion: 2, mediaType: OCI_INDEX, manifests });
  const index = describe(bytes, OCI_INDEX);
  await repository.putManifest(index, bytes, tag);
  return index;
}

const environment = { hashes: nodeHashes };
const fails = (code: string) => (error: unknown) => {
  assert.equal((error as { code: string }).code, code, (error as Error).message);
  return true;
};

test("a layout is a repository: tags move, what has none is found by its digest", async () => {
  const repository = await layout();
  assert.deepEqual(await repository.tags().catch((error) => error.code), []);
  await assert.rejects(repository.resolve({ tag: "a" }), fails("not-a-layout"));
  const one = await pushImage(repository, "one", {}, "a");
  const two = await pushImage(repository, "two", {}, "b");
  const found = ({ mediaType, digest, size }: Descriptor) => ({ mediaType, digest, size });
  assert.deepEqual(found(await repository.resolve({ tag: "a" })), found(one));
  await pushImage(repository, "two", {}, "a");
  assert.deepEqual(found(await repository.resolve({ tag: "a" })), found(two));
  assert.deepEqual(found(await repository.resolve({ digest: one.digest })), found(one));
  assert.deepEqual((await repository.tags()).toSorted(), ["a", "b"]);
  assert.ok(await repository.has(one));
  assert.equal(await repository.has({ ...one, digest: `sha256:${"0".repeat(64)}` as Digest }), false);
  const signature = await pushImage(repository, "signature", { subject: one, artifactType: "application/x-signature" });
  assert.deepEqual(
    (await repository.referrers(one.digest)).map(({ digest, artifactType }) => [digest, artifactType]),
    [[signature.digest, "application/x-signature"]],
  );
  assert.deepEqual(await repository.referrers(one.digest, { artifactType: "application/x-other" }), []);
  assert.deepEqual(await repository.referrers(two.digest), []);
  // Without a tag the image is meant, not what refers to it.
  assert.deepEqual(found(await repository.resolve({})), found(two));
  const image = await openImage(parseReference(`oci:${repository.folder}`), {
    hashes: nodeHashes,
    files: nodeFiles,
  }).catch((error: { code: string }) => error.code);
  assert.equal(image, "layer-count"); // found, and only then found to have a layer too many
});

test("a layout keeps what others have written into it, and refuses content that is not the promised one", async () => {
  const repository = await layout();
  await pushImage(repository, "one", {}, "a");
  const path = join(repository.folder, "index.json");
  const index = JSON.parse(await readFile(path, "utf8"));
  index.annotations = { "org.example": "kept" };
  index.manifests[0].urls = ["https://example.org"];
  await writeFile(path, JSON.stringify(index));
  await pushImage(repository, "two", {}, "b");
  const after = JSON.parse(await readFile(path, "utf8"));
  assert.deepEqual(after.annotations, index.annotations);
  assert.deepEqual(after.manifests[0], index.manifests[0]);

  const bytes = encodeUtf8("content");
  const wrong = { ...describe(bytes, "text/plain"), digest: `sha256:${"1".repeat(64)}` as Digest };
  await assert.rejects(repository.putBlob(wrong, bytesSource(bytes)), fails("digest-mismatch"));
  await assert.rejects(repository.putManifest(wrong, bytes, "c"), fails("digest-mismatch"));
  const files = await readdir(repository.folder, { recursive: true });
  assert.ok(
    files.every((name) => !name.includes(".ashlar") && !name.includes("1".repeat(64))),
    files.join(),
  );
});

test("a directory with an index.json of something else is left alone", async () => {
  const repository = await layout();
  await mkdir(repository.folder);
  const path = join(repository.folder, "index.json");
  await writeFile(path, '{"name":"mine"}');
  await assert.rejects(pushImage(repository, "one", {}, "a"), fails("not-a-layout"));
  await assert.rejects(repository.tags(), fails("not-a-layout"));
  assert.equal(await readFile(path, "utf8"), '{"name":"mine"}');
  await rm(path); // and one that was begun is finished
  await writeFile(join(repository.folder, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  await pushImage(repository, "one", {}, "a");
  assert.deepEqual(await repository.tags(), ["a"]);
});

test("several write into one layout at once", async () => {
  const name = `layout-${folders++}`;
  const writers = await Promise.all([layout(name), layout(name), layout(name)]);
  await Promise.all(
    Array.from({ length: 12 }, (_, index) => pushImage(writers[index % 3]!, `image ${index}`, {}, `tag${index}`)),
  );
  assert.equal((await writers[0]!.tags()).length, 12);
});

for (const [from, makeSource] of [
  ["a registry", async () => registry(true)],
  ["a registry without referrers API", async () => registry(false)],
  ["a layout", async () => layout()],
] as const)
  for (const [to, makeDestination] of [
    ["a registry", async () => registry(true)],
    ["a registry without referrers API", async () => registry(false)],
    ["a layout", async () => layout()],
  ] as const)
    test(`copy from ${from} to ${to}`, async () => {
      const source = await makeSource();
      const amd64 = await pushImage(source, "amd64");
      const arm64 = await pushImage(source, "arm64");
      const index = await pushIndex(source, [amd64, arm64], "1.0");
      const sbom = await pushImage(source, "sbom", { subject: amd64, artifactType: "application/x-sbom" });
      const signed = await pushImage(source, "signed", { subject: sbom, artifactType: "application/x-signature" });
      const cosign = `${index.digest.replace(":", "-")}.sig`;
      await pushImage(source, "cosign", {}, cosign);

      const alone = await makeDestination();
      const first = await copyImage(source, { tag: "1.0" }, alone, environment, { tag: "v1" });
      assert.equal(first.descriptor.digest, index.digest);
      assert.deepEqual(first.blobs, { present: 0, mounted: 0, sent: 4 });
      assert.equal((await alone.resolve({ tag: "v1" })).digest, index.digest);
      assert.deepEqual(await alone.tags(), ["v1"]);
      assert.deepEqual(await alone.referrers(amd64.digest), []);

      const complete = await makeDestination();
      const all = await copyImage(source, { tag: "1.0" }, complete, environment, { tag: "v1", all: true });
      assert.deepEqual(all.tags, [cosign]);
      assert.equal(all.manifests, 6);
      assert.deepEqual(
        (await complete.referrers(amd64.digest)).map(({ digest }) => digest),
        [sbom.digest],
      );
      assert.deepEqual(
        (await complete.referrers(sbom.digest)).map(({ digest }) => digest),
        [signed.digest],
      );
      assert.equal((await complete.resolve({ tag: cosign })).mediaType, OCI_MANIFEST);

      const again = await copyImage(source, { tag: "1.0" }, complete, environment, { tag: "v1", all: true });
      assert.equal(again.sentBytes, 0);
      assert.equal(again.blobs.sent, 0);

      // From the other end: what it is about comes along, and that is not the index around it.
      const backwards = await makeDestination();
      const selector = { digest: signed.digest };
      const found = await copyImage(source, selector, backwards, environment, { tag: "s", all: true });
      assert.deepEqual([found.descriptor.digest, found.manifests], [signed.digest, 3]);
      assert.ok(await backwards.has(amd64));
      assert.deepEqual(
        (await backwards.referrers(amd64.digest)).map(({ digest }) => digest),
        [sbom.digest],
      );
    });

test("what is missing or broken at the source moves no tag", async () => {
  const source = await layout();
  const image = await pushImage(source, "one", {}, "a");
  const destination = await layout();
  const blobs = join(source.folder, "blobs/sha256");
  const isLayer = async (name: string) => (await readFile(join(blobs, name), "utf8")) === "layer of one";
  for (const name of await readdir(blobs)) if (await isLayer(name)) await writeFile(join(blobs, name), "layer of two");
  await assert.rejects(
    copyImage(source, { tag: "a" }, destination, environment, { tag: "a" }),
    fails("digest-mismatch"),
  );
  for (const name of await readdir(blobs))
    if ((await readFile(join(blobs, name), "utf8")) === "layer of two") await rm(join(blobs, name));
  await assert.rejects(copyImage(source, { tag: "a" }, destination, environment, { tag: "a" }), fails("no-blob"));
  await assert.rejects(destination.resolve({ tag: "a" }));
  assert.equal(await destination.has(image), false);
});

test("an archive is the same bytes wherever its content comes from, and is there whole or not at all", async () => {
  const archives: Buffer[] = [];
  for (const source of [registry(true), registry(false), await layout()]) {
    const amd64 = await pushImage(source, "amd64");
    await pushIndex(source, [amd64], "1.0");
    for (const name of ["one", "two"]) await pushImage(source, name, { subject: amd64, artifactType: "application/x" });
    const path = join(work, `archive-${archives.length}.tar`);
    const reference = parseReference(`oci-archive:${path}`);
    const target = await openLocation(reference, undefined, { write: true });
    await copyImage(source, { tag: "1.0" }, target.repository, environment, { tag: "1.0", all: true });
    await assert.rejects(readFile(path));
    await target.publish();
    await target.close();
    archives.push(await readFile(path));
    await assert.rejects(openLocation(reference, undefined, { write: true }), fails("exists"));

    const opened = await openLocation(reference, undefined, { write: false });
    const back = await layout();
    const copied = await copyImage(opened.repository, {}, back, environment, { tag: "x", all: true });
    assert.equal(copied.manifests, 4);
    assert.equal((await back.referrers(amd64.digest)).length, 2);
    await assert.rejects(pushImage(opened.repository, "new"), fails("read-only"));
    await opened.close();
  }
  assert.ok(archives[0]!.equals(archives[1]!));
  assert.ok(archives[0]!.equals(archives[2]!));
  assert.ok((await readdir(work)).every((name) => !name.startsWith(".ashlar")));
});

test("an upload that breaks in the middle of a copy goes on with ranges of the source", async () => {
  const bytes = Uint8Array.from({ length: 5_000_000 }, (_, index) => (index * 7 + (index >> 8)) & 0xff);
  const from = scriptedRegistry();
  const blob = describe(bytes, "application/vnd.oci.image.layer.v1.tar");
  from.blobs.set(blob.digest, bytes);
  const manifest = json({ schemaVersion: 2, mediaType: OCI_MANIFEST, config: blob, layers: [blob] });
  await from.open().putManifest(describe(manifest, OCI_MANIFEST), manifest, "1");
  const to = scriptedRegistry();
  let breaks = 2;
  to.script = (request) => {
    if (request.method !== "PATCH" || breaks-- <= 0) return undefined;
    to.answer({ ...request, bytes: request.bytes.subarray(0, 1_500_000) });
    throw broken();
  };
  const copied = await copyImage(from.open(), { tag: "1" }, to.open(), environment, { tag: "1" });
  assert.deepEqual(copied.blobs, { present: 0, mounted: 0, sent: 1 });
  assert.ok(Buffer.from(to.blobs.get(blob.digest)!).equals(bytes));
});

test("within one registry blobs are mounted, not sent", async () => {
  const scripted = scriptedRegistry();
  await pushImage(scripted.open(), "one", {}, "1");
  scripted.script = (request) =>
    request.method === "HEAD" && request.path.startsWith("/v2/other/blobs/") ? { status: 404 } : undefined;
  const other = scripted.open({ repository: "other" });
  const copied = await copyImage(scripted.open(), { tag: "1" }, other, environment, { tag: "2", mountFrom: "os" });
  assert.deepEqual(copied.blobs, { present: 0, mounted: 2, sent: 0 });
  assert.equal(copied.sentBytes, 0);
  assert.ok(scripted.requests.every(({ method, path }) => method !== "GET" || !path.includes("/blobs/")));
});
