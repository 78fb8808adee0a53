// A section that compresses is stored in zstd frames: fetched frame by frame, unpacked within bounds, and held against its digest.
import assert from "node:assert/strict";
import { test } from "node:test";
import { zstdCompressSync } from "node:zlib";
import { decodeUtf8, encodeUtf8, equalBytes } from "../../core/src/bytes/index.ts";
import { SinkError } from "../../core/src/errors/index.ts";
import { digestOf } from "../../core/src/hash/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import {
  ANNOTATION_SECTION_DIGEST,
  ANNOTATION_SECTION_FRAMES,
  ANNOTATION_SECTION_SIZE,
  openStoredRelease,
  pullRelease,
  pushReleases,
  SECTION_FRAMES_TYPE,
  SECTION_TYPE,
} from "../../core/src/ops/publish/index.ts";
import { type Machine, stageRelease, storedContent } from "../../core/src/ops/update/index.ts";
import { bootOracle } from "../support/boot-oracle.ts";
import { program } from "../support/derived-systems.ts";
import { installed, machineOf, started } from "../support/machines.ts";
import { memoryArtifacts } from "../support/memory-artifacts.ts";
import { type MemoryRepository, memoryRepository } from "../support/memory-repository.ts";
import { publishEnvironment } from "../support/releases.ts";
import { noise } from "../support/samples.ts";
import { systemRelease } from "../support/systems.ts";

const environment = await publishEnvironment();
const FRAME = 1024 * 1024;
const KERNEL_SIZE = 2.5 * FRAME;

const systemOf = (version: string) =>
  systemRelease({ "usr/lib/file": noise(9000, version) }, environment, {
    version,
    kernel: program(KERNEL_SIZE, `kernel ${version}`),
    initrd: noise(300_000, "initrd"),
  });
const v1 = await systemOf("1");
const v2 = await systemOf("2");
const repository = memoryRepository();
await pushReleases([v2], repository, { tag: "2" }, environment);
const fresh = await installed(v1, environment);

interface Layer {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

async function manifestOf(from: MemoryRepository) {
  const { bytes, descriptor } = from.manifests.get((await from.resolve({ tag: "2" })).digest)!;
  return { descriptor, document: JSON.parse(decodeUtf8(bytes)) as { layers: Layer[] } };
}

async function framesLayer(from: MemoryRepository): Promise<Layer> {
  const found = (await manifestOf(from)).document.layers.filter(({ mediaType }) => mediaType === SECTION_FRAMES_TYPE);
  assert.equal(found.length, 1);
  return found[0]!;
}

/** Stages v2; returns what was fetched, in bytes. */
async function stage(machine: Machine, from = repository): Promise<number> {
  const stored = await openStoredRelease(from, await from.resolve({ tag: "2" }), environment);
  try {
    return (await stageRelease(storedContent(stored, environment), machine, environment)).fetched;
  } finally {
    await stored.close();
  }
}

test("a kernel that compresses is stored in frames, and so it travels; one that does not is stored as it is", async () => {
  const { size, annotations } = await framesLayer(repository);
  const sizes = annotations![ANNOTATION_SECTION_FRAMES]!.split(",").map(Number);
  assert.equal(sizes.length, 3);
  assert.equal(annotations![ANNOTATION_SECTION_SIZE], `${KERNEL_SIZE}`);
  assert.equal(annotations![ANNOTATION_SECTION_DIGEST], digestOf(nodeHashes, program(KERNEL_SIZE, "kernel 2")));
  const { layers } = (await manifestOf(repository)).document;
  assert.equal(layers.filter(({ mediaType }) => mediaType === SECTION_TYPE).length, 1); // the initrd
  const device = fresh.copy();
  const fetched = await stage(await machineOf(device, v1.release.rootHash));
  assert.ok(fetched > size && fetched < size + 100_000, `${fetched} for a layer of ${size}`);
  assert.equal(started(bootOracle(device)).rootHash, v2.release.rootHash);
});

test("a second push sends nothing, and a pull gives every bit", async () => {
  assert.equal((await pushReleases([v2], repository, { tag: "2" }, environment)).sent, 0);
  const artifacts = memoryArtifacts();
  await pullRelease(repository, await repository.resolve({ tag: "2" }), artifacts, environment);
  for (const [name, bytes] of v2.files) assert.ok(equalBytes(artifacts.published.get(name)!, bytes), name);
});

test("broken off in the kernel, at most the frame on its way is fetched again", async () => {
  const { size } = await framesLayer(repository);
  for (const at of [0.3, 1.1, 2.2]) {
    const device = fresh.copy();
    const machine = await machineOf(device, v1.release.rootHash);
    const esp: Machine["esp"] = {
      ...machine.esp,
      write: (path, content, options) =>
        machine.esp.write(
          path,
          {
            size: content.size,
            async read(offset, length, ...rest) {
              if (offset > at * FRAME) throw new SinkError("io-error", "power is gone");
              return content.read(offset, length, ...rest);
            },
          },
          options,
        ),
    };
    await assert.rejects(stage({ ...machine, esp }), { code: "io-error" });
    repository.traffic.read = 0;
    await stage(machine);
    const frames = Math.ceil(3 - at) + 1;
    assert.ok(repository.traffic.read < (size * frames) / 2.5 + 100_000, `${repository.traffic.read} after ${at}`);
    assert.equal(started(bootOracle(device)).rootHash, v2.release.rootHash);
  }
});

/** The repository with another layer for the kernel. */
async function withLayer(change: (layer: Layer, bytes: Uint8Array) => readonly [Layer, Uint8Array]) {
  const own = memoryRepository();
  for (const [digest, bytes] of repository.blobs) own.blobs.set(digest, bytes);
  const { descriptor, document } = await manifestOf(repository);
  const layers = document.layers.map((layer) => {
    if (layer.mediaType !== SECTION_FRAMES_TYPE) return layer;
    const [changed, bytes] = change(layer, own.blobs.get(layer.digest as `sha256:${string}`)!);
    const digest = digestOf(nodeHashes, bytes);
    own.blobs.set(digest, bytes);
    return { ...changed, digest, size: bytes.length };
  });
  const bytes = encodeUtf8(JSON.stringify({ ...document, layers }));
  await own.putManifest({ ...descriptor, digest: digestOf(nodeHashes, bytes), size: bytes.length }, bytes, "2");
  return own;
}

const annotated = (layer: Layer, name: string, value: string): Layer => ({
  ...layer,
  annotations: { ...layer.annotations, [name]: value },
});

test("annotations that do not go together are refused before anything is fetched", async () => {
  const sizes = (await framesLayer(repository)).annotations![ANNOTATION_SECTION_FRAMES]!;
  const [first = "", ...rest] = sizes.split(",");
  for (const [name, value, code] of [
    [ANNOTATION_SECTION_DIGEST, "", "bad-digest"],
    [ANNOTATION_SECTION_DIGEST, "sha256:zz", "bad-digest"],
    [ANNOTATION_SECTION_SIZE, "", "bad-section"],
    [ANNOTATION_SECTION_SIZE, "9007199254740993", "bad-section"],
    [ANNOTATION_SECTION_SIZE, `${KERNEL_SIZE + FRAME}`, "bad-section"],
    [ANNOTATION_SECTION_SIZE, `${4097 * FRAME}`, "bad-section"],
    [ANNOTATION_SECTION_FRAMES, "", "bad-section"],
    [ANNOTATION_SECTION_FRAMES, "1,2,3", "bad-section"],
    [ANNOTATION_SECTION_FRAMES, [`${Number(first) + 1}`, ...rest].join(","), "bad-section"],
    [ANNOTATION_SECTION_FRAMES, [`0${first}`, ...rest].join(","), "bad-section"],
    [ANNOTATION_SECTION_FRAMES, "1,".repeat(100_000), "bad-section"],
  ] as const) {
    const own = await withLayer((layer, bytes) => [annotated(layer, name, value), bytes]);
    const opening = openStoredRelease(own, await own.resolve({ tag: "2" }), environment);
    await assert.rejects(opening, { code }, `${name} ${value.slice(0, 40)}`);
  }
  // No frame of that size can be one of 1 MiB of content.
  const large = await withLayer((layer) => [
    annotated(annotated(layer, ANNOTATION_SECTION_FRAMES, "2000000"), ANNOTATION_SECTION_SIZE, `${FRAME}`),
    new Uint8Array(2_000_000),
  ]);
  const opening = openStoredRelease(large, await large.resolve({ tag: "2" }), environment);
  await assert.rejects(opening, { code: "bad-section" });
});

test("frames of something else, with more in them or cut off: nothing starts that is not the release", async () => {
  const bomb = zstdCompressSync(Buffer.alloc(256 * FRAME));
  const three = (frame: Uint8Array): readonly [string, Uint8Array] => [
    Array(3).fill(frame.length).join(","),
    Buffer.concat([frame, frame, frame]),
  ];
  const inside = (bytes: Uint8Array, size: number): readonly [string, Uint8Array] => {
    const frames = [0, 1, 2].map((i) => zstdCompressSync(bytes.subarray(i * FRAME, Math.min((i + 1) * FRAME, size))));
    return [frames.map(({ length }) => length).join(","), Buffer.concat(frames)];
  };
  for (const [what, [sizes, bytes], code] of [
    ["a bomb", three(bomb), "bad-zstd"],
    ["noise", three(noise(5000, "noise")), "bad-zstd"],
    ["another kernel", inside(program(KERNEL_SIZE, "another"), KERNEL_SIZE), "digest-mismatch"],
    ["less", inside(program(KERNEL_SIZE, "kernel 2"), KERNEL_SIZE - 1), "bad-zstd"],
  ] as const) {
    const own = await withLayer((layer) => [annotated(layer, ANNOTATION_SECTION_FRAMES, sizes), bytes]);
    const device = fresh.copy();
    await assert.rejects(stage(await machineOf(device, v1.release.rootHash), own), { code }, what);
    assert.equal(started(bootOracle(device)).rootHash, v1.release.rootHash, what);
    const artifacts = memoryArtifacts();
    await assert.rejects(pullRelease(own, await own.resolve({ tag: "2" }), artifacts, environment), { code }, what);
  }
});
