// Kernel and initrd are copies of files of the root: they are made from it, and fetched where they cannot be.
import assert from "node:assert/strict";
import { test } from "node:test";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { decodeUtf8, encodeUtf8, equalBytes } from "../../core/src/bytes/index.ts";
import { SinkError } from "../../core/src/errors/index.ts";
import { type Descriptor, sourceBlob } from "../../core/src/formats/oci/index.ts";
import { digestOf } from "../../core/src/hash/index.ts";
import { type compressContent, nodeCompressors, nodeHashes } from "../../core/src/node/index.ts";
import {
  ANNOTATION_SECTION_DIGEST,
  openStoredRelease,
  pullRelease,
  pushReleases,
  SECTION_RECIPE_TYPE,
  SECTION_TYPE,
} from "../../core/src/ops/publish/index.ts";
import { installRelease, type Machine, stageRelease, storedContent } from "../../core/src/ops/update/index.ts";
import { bootOracle } from "../support/boot-oracle.ts";
import { archiveOf, derivedSystem, program } from "../support/derived-systems.ts";
import { installed, machineOf, started } from "../support/machines.ts";
import { memoryArtifacts } from "../support/memory-artifacts.ts";
import { memoryDevice } from "../support/memory-device.ts";
import { type MemoryRepository, memoryRepository } from "../support/memory-repository.ts";
import { publishEnvironment } from "../support/releases.ts";
import { noise } from "../support/samples.ts";
import type { SystemOptions } from "../support/systems.ts";

const environment = await publishEnvironment();

const systemOf = (version: string, options?: SystemOptions, extra?: Readonly<Record<string, Uint8Array>>) =>
  derivedSystem(version, environment, options, extra);

const v1 = await systemOf("1");
const v2 = await systemOf("2");
const repository = memoryRepository();
await pushReleases([v1], repository, { tag: "1" }, environment);
await pushReleases([v2], repository, { tag: "2" }, environment);
const fresh = await installed(v1, environment);

interface Manifest {
  layers: { mediaType: string; digest: Descriptor["digest"]; size: number; annotations?: Record<string, string> }[];
}

async function manifestOf(from: MemoryRepository, tag: string): Promise<Manifest> {
  const { digest } = await from.resolve({ tag });
  return JSON.parse(decodeUtf8(from.manifests.get(digest)!.bytes)) as Manifest;
}

async function layersOf(from: MemoryRepository, tag: string, type: string) {
  return (await manifestOf(from, tag)).layers.filter(({ mediaType }) => mediaType === type);
}

type Staging = Parameters<typeof stageRelease>[2] & Parameters<typeof openStoredRelease>[2];

async function stage(machine: Machine, from = repository, tag = "2", staging: Staging = environment) {
  const opened: Descriptor["digest"][] = [];
  const counting: MemoryRepository = {
    ...from,
    open: (descriptor, options) => {
      opened.push(descriptor.digest);
      return from.open(descriptor, options);
    },
  };
  const stored = await openStoredRelease(counting, await counting.resolve({ tag }), staging);
  try {
    const staged = await stageRelease(storedContent(stored, staging), machine, staging);
    const sections = await layersOf(from, tag, SECTION_TYPE);
    return { ...staged, fetchedSections: sections.filter(({ digest }) => opened.includes(digest)).length };
  } finally {
    await stored.close();
  }
}

test("a new kernel and a new initrd that are files of the new root do not travel", async () => {
  assert.equal((await layersOf(repository, "2", SECTION_RECIPE_TYPE)).length, 2);
  const device = fresh.copy();
  const { fetchedSections, fetched, blocks } = await stage(await machineOf(device, v1.release.rootHash));
  assert.equal(fetchedSections, 0);
  assert.ok(fetched < blocks.fetched, `${fetched} bytes for ${blocks.fetched} of blocks`);
  assert.equal(started(bootOracle(device)).rootHash, v2.release.rootHash);
});

test("no more of an initrd is held than one of its archives; one that is a single archive is made too", async () => {
  const sizes: number[] = [];
  const counting = {
    ...environment,
    compressContent: async (...[content, options]: Parameters<typeof compressContent>) => {
      sizes.push(content.size);
      return environment.compressContent(content, options);
    },
  };
  const machine = await machineOf(fresh.copy(), v1.release.rootHash);
  assert.equal((await stage(machine, repository, "2", counting)).fetchedSections, 0);
  assert.deepEqual([Math.max(...sizes) < 310_000, Math.min(...sizes) < 200_000], [true, true]);

  const archive = await archiveOf({ "usr/lib/libc.so": program(300_000, "libc 2") });
  const whole = await systemOf("2", { initrd: await nodeCompressors.zstd(archive) });
  const own = memoryRepository();
  await pushReleases([whole], own, { tag: "2" }, environment);
  const device = fresh.copy();
  assert.equal((await stage(await machineOf(device, v1.release.rootHash), own)).fetchedSections, 0);
  assert.equal(started(bootOracle(device)).rootHash, whole.release.rootHash);
});

test("from compressed roots too", async () => {
  const method = { algorithm: "lz4", level: 1, packing: "blocks", clusterSize: 65_536 } as const;
  const compression = { method, hints: [] };
  const [one, two] = [await systemOf("1", { compression }), await systemOf("2", { compression })];
  const own = memoryRepository();
  await pushReleases([two], own, { tag: "2" }, environment);
  const device = await installed(one, environment);
  assert.equal((await stage(await machineOf(device, one.release.rootHash), own)).fetchedSections, 0);
  assert.equal(started(bootOracle(device)).rootHash, two.release.rootHash);
});

test("another encoder, or none: the initrd is fetched, as without a recipe", async () => {
  const { compressContent: _, ...without } = environment;
  const other = async (...[content]: Parameters<typeof compressContent>) => {
    const bytes = await content.read(0, content.size);
    return nodeCompressors.zstd(bytes.subarray(1));
  };
  for (const [staging, fetchedSections] of [
    [without, 2],
    [{ ...environment, compressContent: other }, 1],
  ] as const) {
    const device = fresh.copy();
    const staged = await stage(await machineOf(device, v1.release.rootHash), repository, "2", staging);
    assert.equal(staged.fetchedSections, fetchedSections);
    assert.equal(started(bootOracle(device)).rootHash, v2.release.rootHash);
  }
});

test("an initrd of something else than files of the root has no recipe", async () => {
  const own = memoryRepository();
  const extra = { "usr/lib/own": program(900_000, "own") };
  for (const initrd of [
    noise(300_000, "noise"),
    await nodeCompressors.gzip(await archiveOf({ "usr/lib/libc.so": program(300_000, "libc 2") })),
    (await compressedBy(3)).initrd,
  ])
    await pushReleases([await systemOf("2", { initrd })], own, { tag: "2" }, environment);
  await pushReleases([await systemOf("2", {}, extra)], own, { tag: "2" }, environment);
  // The kernel has one; the other layers of that type would be those of initrds.
  const recipes = await layersOf(own, "2", SECTION_RECIPE_TYPE);
  const kernel = (await layersOf(own, "2", SECTION_TYPE)).find(({ size }) => size === 210_000);
  assert.deepEqual(
    recipes.map(({ annotations }) => annotations?.[ANNOTATION_SECTION_DIGEST]),
    [kernel?.digest],
  );
});

/** What another builder made: the same archive at another level. */
async function compressedBy(level: number): Promise<{ readonly initrd: Uint8Array }> {
  const archive = await archiveOf({ "usr/lib/libc.so": program(300_000, "libc 2") });
  const [initrd] = await environment.frameCompressor.compressFrames(archive, archive.length, level);
  return { initrd: initrd! };
}

/** The second release, with other recipes of its sections. */
async function withRecipes(change: (recipe: Uint8Array) => Uint8Array): Promise<MemoryRepository> {
  const own = memoryRepository();
  await pushReleases([v2], own, { tag: "2" }, environment);
  const manifest = await manifestOf(own, "2");
  const layers = await Promise.all(
    manifest.layers.map(async (layer) => {
      if (layer.mediaType !== SECTION_RECIPE_TYPE) return layer;
      const bytes = await nodeCompressors.zstd(change(zstdDecompressSync(own.blobs.get(layer.digest)!)));
      const digest = digestOf(nodeHashes, bytes);
      own.blobs.set(digest, bytes);
      return { ...layer, digest, size: bytes.length };
    }),
  );
  const bytes = encodeUtf8(JSON.stringify({ ...manifest, layers }));
  const { descriptor } = own.manifests.get((await own.resolve({ tag: "2" })).digest)!;
  const changed = { ...descriptor, digest: digestOf(nodeHashes, bytes), size: bytes.length };
  await own.putManifest(changed, bytes, "2");
  return own;
}

const textOf = (recipe: Uint8Array) => Buffer.from(recipe).toString("latin1");

test("a recipe that lies, asks for too much or is none costs no more than the section", async () => {
  const changes: Readonly<Record<string, (recipe: Uint8Array) => Uint8Array>> = {
    "no JSON": () => noise(5000, "recipe"),
    "another file": (recipe) => Buffer.from(textOf(recipe).replaceAll("usr/lib/libc.so", "usr/lib/libd.so"), "latin1"),
    "out of the tree": (recipe) =>
      Buffer.from(textOf(recipe).replaceAll("usr/lib/modules/6.12.0/vmlinuz", "../../etc/passwd"), "latin1"),
    "a directory": (recipe) => Buffer.from(textOf(recipe).replaceAll(/"path":"[^"]*"/g, '"path":"usr"'), "latin1"),
    "other literals": (recipe) => Buffer.from(recipe).fill(0, recipe.length - 100),
    "more than there is": (recipe) =>
      Buffer.from(textOf(recipe).replaceAll(/"size":\d+/g, '"size":9007199254740991'), "latin1"),
    "a newer one": (recipe) => Buffer.from(textOf(recipe).replace("recipe/v1", "recipe/v9"), "latin1"),
  };
  for (const [name, change] of Object.entries(changes)) {
    const own = await withRecipes(change);
    const device = fresh.copy();
    const { fetchedSections } = await stage(await machineOf(device, v1.release.rootHash), own);
    assert.ok(fetchedSections > 0, name);
    assert.equal(started(bootOracle(device)).rootHash, v2.release.rootHash, name);
  }
});

test("a recipe that would be gigabytes is not unpacked, and one with other bytes than its digest ends the run", async () => {
  const own = await withRecipes((recipe) => recipe);
  for (const { digest, size } of await layersOf(own, "2", SECTION_RECIPE_TYPE))
    own.blobs.set(digest, noise(size, "damaged"));
  const machine = await machineOf(fresh.copy(), v1.release.rootHash);
  await assert.rejects(stage(machine, own), { code: "digest-mismatch" });
  const bomb = zstdCompressSync(Buffer.alloc(64 * 1024 * 1024));
  const bombs = await withRecipes(() => zstdDecompressSync(bomb));
  await assert.rejects(stage(machine, bombs), { code: "bad-literals" });
});

test("broken off while the UKI is written, the next run goes on and fetches neither kernel nor initrd", async () => {
  for (const after of [0, 1, 4]) {
    const device = fresh.copy();
    const machine = await machineOf(device, v1.release.rootHash);
    let written = 0;
    const esp: Machine["esp"] = {
      ...machine.esp,
      write: (path, content, options) =>
        machine.esp.write(
          path,
          {
            size: content.size,
            async read(...range) {
              if (written++ === after) throw new SinkError("io-error", "power is gone");
              return content.read(...range);
            },
          },
          options,
        ),
    };
    await assert.rejects(stage({ ...machine, esp }), { code: "io-error" });
    assert.equal(started(bootOracle(device)).rootHash, v1.release.rootHash);
    const { fetchedSections, blocks } = await stage(machine);
    assert.deepEqual([fetchedSections, blocks.fetched], [0, 0]);
    assert.equal(started(bootOracle(device)).rootHash, v2.release.rootHash);
  }
});

test("a pull and an installation make them too, bit for bit", async () => {
  const sections = await layersOf(repository, "2", SECTION_TYPE);
  const limited: MemoryRepository = {
    ...repository,
    async open(descriptor) {
      assert.ok(!sections.some(({ digest }) => digest === descriptor.digest), "a section is fetched");
      return sourceBlob(await repository.openBlob(descriptor));
    },
  };
  const artifacts = memoryArtifacts();
  const descriptor = await limited.resolve({ tag: "2" });
  await pullRelease(limited, descriptor, artifacts, environment);
  for (const [name, bytes] of v2.files) assert.ok(equalBytes(artifacts.published.get(name)!, bytes), name);

  const disk = v2.release.artifacts.find(({ role }) => role === "disk")!;
  const device = memoryDevice(disk.size);
  const stored = await openStoredRelease(limited, descriptor, environment);
  await installRelease(storedContent(stored, environment), device, environment);
  await stored.close();
  assert.equal(started(bootOracle(device)).rootHash, v2.release.rootHash);
});
