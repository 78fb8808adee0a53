// Releases into a repository and out of it again: bit for bit, nothing twice, and nothing that is not what it should be.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { equalBytes } from "../../core/src/bytes/index.ts";
import { isAshlarError } from "../../core/src/errors/index.ts";
import { parseRecipe } from "../../core/src/formats/pack/index.ts";
import { type Digest, digestOf } from "../../core/src/hash/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import {
  ANNOTATION_SOURCE_MANIFEST,
  openStoredRelease,
  PACK_TYPE,
  type PushOptions,
  pullRelease,
  pushReleases,
  RECIPE_TYPE,
  RELEASE_TYPE,
  releaseNameOf,
  resolveRelease,
  SECTION_TYPE,
} from "../../core/src/ops/publish/index.ts";
import type { Release } from "../../core/src/ops/release/index.ts";
import { type MemoryArtifacts, memoryArtifacts } from "../support/memory-artifacts.ts";
import { type MemoryRepository, memoryRepository } from "../support/memory-repository.ts";
import { publishEnvironment, type SampleRelease, sampleRelease } from "../support/releases.ts";
import { noise } from "../support/samples.ts";

const environment = await publishEnvironment();

const push = (release: SampleRelease, repository: MemoryRepository, options: PushOptions = { tag: "1" }) =>
  pushReleases([release], repository, options, environment);

async function pull(repository: MemoryRepository, tag = "1", artifacts: MemoryArtifacts = memoryArtifacts()) {
  const descriptor = await resolveRelease(repository, { tag }, nodeHashes);
  return { ...(await pullRelease(repository, descriptor, artifacts, environment)), published: artifacts.published };
}

function assertSame(published: ReadonlyMap<string, Uint8Array>, release: SampleRelease): void {
  assert.deepEqual([...published.keys()].sort(), [...release.files.keys()].sort());
  for (const [name, bytes] of release.files) assert.ok(equalBytes(published.get(name)!, bytes), name);
}

/** Blobs of a media type, of what a tag holds. */
async function blobsOf(repository: MemoryRepository, tag: string, mediaType: string) {
  const { digest } = await repository.resolve({ tag });
  const document = JSON.parse(Buffer.from(repository.manifests.get(digest)!.bytes).toString());
  return (document.layers as { mediaType: string; digest: Digest; annotations?: Record<string, string> }[])
    .filter((layer) => layer.mediaType === mediaType)
    .map((layer) => ({ ...layer, bytes: repository.blobs.get(layer.digest)! }));
}

const contentArbitrary = fc.dictionary(
  fc.constantFrom("etc/a", "etc/b", "usr/bin/tool", "usr/lib/x", "usr/share/doc/y"),
  fc
    .record({ size: fc.constantFrom(0, 1, 4096, 5000, 70_000, 300_000), seed: fc.nat(3), zeros: fc.nat(100_000) })
    .map(({ size, seed, zeros }) =>
      Buffer.concat([noise(size, `${seed}`), Buffer.alloc(zeros), noise(size >> 2, `${seed}`)]),
    ),
  { minKeys: 1 },
);

/** Blocks that are all different and nearly nothing when they are compressed. */
function countedBlocks(megabytes: number, seed: number): Uint8Array {
  const blocks = Buffer.alloc(megabytes * 1024 * 1024, seed);
  for (let at = 0; at < blocks.length; at += 4096) blocks.writeUInt32LE(at, at);
  return blocks;
}

test("what is new lies in filtered frames, in a large update of 512 KiB; it is pulled, read in place and built upon", async () => {
  const one = { "usr/lib/one": countedBlocks(1, 1) };
  const two = { ...one, "usr/lib/two": countedBlocks(17, 2) };
  const repository = memoryRepository();
  const releases = [one, two, { ...two, "usr/lib/three": noise(9000, "three") }];
  const made: SampleRelease[] = [];
  for (const [i, content] of releases.entries()) {
    made.push(await sampleRelease(content, environment));
    await push(made[i]!, repository, { tag: `${i}`, previous: i === 0 ? "none" : { tag: `${i - 1}` } });
  }
  const [recipe] = await blobsOf(repository, "2", RECIPE_TYPE);
  assert.deepEqual(
    parseRecipe(recipe!.bytes, "recipe").packs.map(({ frameScale, filter }) => [frameScale, filter]),
    [
      [0, undefined],
      [2, "amd64"],
      [0, "amd64"],
    ],
  );
  for (const [i, release] of made.entries()) {
    assertSame((await pull(repository, `${i}`)).published, release);
    const stored = await openStoredRelease(repository, await repository.resolve({ tag: `${i}` }), environment);
    const { name } = release.release.artifacts.find(({ role }) => role === "root")!;
    const source = await stored.open(name);
    assert.ok(equalBytes(await source.read(0, source.size), release.files.get(name)!));
    await stored.close();
  }
});

test("what is pushed is pulled, bit for bit, and read in place", async () => {
  await fc.assert(
    fc.asyncProperty(contentArbitrary, fc.boolean(), fc.boolean(), async (content, rootOnly, isSha512) => {
      const options = { rootOnly, algorithm: isSha512 ? "sha512" : "sha256" } as const;
      const release = await sampleRelease(content, environment, options);
      const repository = memoryRepository();
      await push(release, repository);
      assertSame((await pull(repository)).published, release);
      const stored = await openStoredRelease(repository, await repository.resolve({ tag: "1" }), environment);
      for (const { name } of release.release.artifacts) {
        const source = await stored.open(name);
        const bytes = release.files.get(name)!;
        assert.equal(source.size, bytes.length);
        const middle = Math.floor(bytes.length / 3);
        assert.ok(equalBytes(await source.read(middle, bytes.length - middle), bytes.subarray(middle)), name);
        assert.ok(equalBytes(await source.read(0, bytes.length), bytes), name);
      }
      await stored.close();
    }),
    { numRuns: 25 },
  );
});

test("five releases after each other: each is pulled as it was, and no block is in two packs", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(contentArbitrary, { minLength: 5, maxLength: 5 }), async (contents) => {
      const repository = memoryRepository();
      const releases: SampleRelease[] = [];
      for (const [index, content] of contents.entries()) {
        const kept = Object.fromEntries(
          contents.slice(0, index).map((before, i) => [`kept/${i}`, Object.values(before)[0]!]),
        );
        const release = await sampleRelease({ ...kept, ...content }, environment, { version: `${index}` });
        releases.push(release);
        await push(release, repository, { tag: "stable" });
        await push(release, repository, { tag: `${index}`, previous: { tag: "stable" } });
        const [recipe] = await blobsOf(repository, "stable", RECIPE_TYPE);
        const { packs, runs } = parseRecipe(recipe!.bytes, "recipe");
        const layers = await blobsOf(repository, "stable", PACK_TYPE);
        assert.deepEqual(
          packs.map(({ digest }) => digest),
          layers.map(({ digest }) => digest),
        );
        // Every pack that is referred to is used.
        for (const pack of packs.keys()) assert.ok(runs.some((run) => run.pack === pack));
        const used = new Set(
          runs.flatMap(({ pack, first, count }) =>
            Array.from({ length: pack === undefined ? 0 : count }, (_, i) => `${pack} ${first + i}`),
          ),
        );
        const blocks = packs.reduce((sum, pack) => sum + pack.blocks, 0);
        assert.ok(used.size * 2 >= blocks, `${used.size} of ${blocks} blocks are used`);
      }
      for (const [index, release] of releases.entries())
        assertSame((await pull(repository, `${index}`)).published, release);
    }),
    { numRuns: 6 },
  );
});

test("pushing twice sends nothing, whatever was pushed before", async () => {
  const repository = memoryRepository();
  const first = await sampleRelease({ "usr/bin/tool": noise(500_000, "a") }, environment);
  const second = await sampleRelease({ "usr/bin/tool": noise(500_000, "a"), "etc/x": "x" }, environment, {
    version: "2",
  });
  await push(first, repository);
  for (const release of [first, second, second]) {
    await push(release, repository);
    repository.traffic.sent = 0;
    const again = await push(release, repository);
    assert.equal(repository.traffic.sent, 0);
    assert.equal(again.sent, 0);
    assert.ok(again.releases[0]!.blobs.every(({ result }) => result === "present"));
  }
});

test("a changed line sends few bytes, and the kernel and initrd not at all", async () => {
  const content = Object.fromEntries(
    Array.from({ length: 60 }, (_, i) => [`usr/lib/${i}`, noise(100_000, `file ${i}`)]),
  );
  const repository = memoryRepository();
  await push(await sampleRelease({ ...content, "etc/conf": "a = 1\n" }, environment), repository);
  const before = repository.traffic.sent;
  const changed = await sampleRelease({ ...content, "etc/conf": "a = 2\n" }, environment, { version: "2" });
  const { releases } = await push(changed, repository, { tag: "1" });
  const { sent } = repository.traffic;
  assert.ok(sent - before < 24_000, `${sent - before} bytes`);
  assert.ok(releases[0]!.newBlocks <= 4, `${releases[0]!.newBlocks} blocks`);
  for (const { mediaType, result } of releases[0]!.blobs)
    if (mediaType === SECTION_TYPE) assert.equal(result, "present");
  assertSame((await pull(repository)).published, changed);
});

test("another product, algorithm or architecture shares no packs", async () => {
  const content = { "usr/bin/tool": noise(200_000, "a") };
  const repository = memoryRepository();
  await push(await sampleRelease(content, environment, { algorithm: "sha512", rootOnly: true }), repository);
  const other = await sampleRelease(content, environment);
  await push(other, repository);
  assertSame((await pull(repository)).published, other);
  assert.equal((await blobsOf(repository, "1", PACK_TYPE)).length, 1);
});

test("any byte of any blob changed: refused, and nothing is published", async () => {
  const release = await sampleRelease({ "usr/bin/tool": noise(150_000, "a"), "etc/x": "x" }, environment);
  const repository = memoryRepository();
  await push(release, repository);
  const { digest: manifest } = await repository.resolve({ tag: "1" });
  const targets = [...repository.blobs.keys(), manifest];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...targets),
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      async (digest, at, change) => {
        const bytes = repository.blobs.get(digest) ?? repository.manifests.get(digest)!.bytes;
        const place = at % bytes.length;
        bytes[place]! ^= change; // in range
        const artifacts = memoryArtifacts();
        try {
          await pull(repository, "1", artifacts);
          // A frame may decompress to the same blocks by other bytes; then everything is as it was.
          assertSame(artifacts.published, release);
        } catch (error) {
          assert.ok(isAshlarError(error), String(error));
          assert.ok(error.kind === "IntegrityError" || error.kind === "UnsupportedError", error.message);
          assert.equal(artifacts.published.size, 0);
        } finally {
          bytes[place]! ^= change;
        }
      },
    ),
    { numRuns: 150 },
  );
  assertSame((await pull(repository)).published, release);
});

test("a block that was swapped is an IntegrityError that names it", async () => {
  const release = await sampleRelease({ "usr/bin/tool": noise(150_000, "a") }, environment, { rootOnly: true });
  const repository = memoryRepository();
  await push(release, repository);
  const [pack] = await blobsOf(repository, "1", PACK_TYPE);
  pack!.bytes[3000]! ^= 1; // within the first frame, whose blocks are noise
  await assert.rejects(pull(repository), (error: { kind: string; message: string }) => {
    assert.equal(error.kind, "IntegrityError");
    assert.match(error.message, /pack sha256:[0-9a-f]{64}: frame 0/);
    return true;
  });
  const stored = await openStoredRelease(repository, await repository.resolve({ tag: "1" }), environment);
  const root = await stored.open("sample_1.root.erofs");
  await assert.rejects(root.read(0, root.size), isAshlarError);
});

test("artifacts that are not what release.json says are not pushed", async () => {
  const good = await sampleRelease({ "usr/bin/tool": noise(150_000, "a") }, environment);
  for (const name of good.files.keys()) {
    if (name.endsWith(".json")) continue;
    const repository = memoryRepository();
    const files = new Map(good.files);
    const bytes = Uint8Array.from(files.get(name)!);
    bytes[bytes.length >> 1]! ^= 1;
    files.set(name, bytes);
    const open: SampleRelease["open"] = async (wanted) => {
      const found = files.get(wanted)!;
      return {
        size: found.length,
        read: async (offset, length) => found.subarray(offset, offset + length),
        close: async () => {},
      };
    };
    await assert.rejects(push({ ...good, files, open }, repository), { kind: "IntegrityError" }, name);
    assert.equal(repository.tagged.size, 0);
  }
});

/** Throws when the `limit`th call of a method comes. */
function breaking(
  repository: MemoryRepository,
  method: "putBlob" | "putManifest" | "openBlob",
  limit: number,
): MemoryRepository {
  let calls = 0;
  const broken: MemoryRepository = { ...repository };
  const inner = repository[method] as (...values: unknown[]) => Promise<unknown>;
  (broken as unknown as Record<string, unknown>)[method] = async (...values: unknown[]) => {
    if (++calls >= limit) throw new Error("killed");
    return inner(...values);
  };
  return broken;
}

test("a push that is killed anywhere leaves the tag where it was, and the next one completes it", async () => {
  const repository = memoryRepository();
  const first = await sampleRelease({ "usr/bin/tool": noise(100_000, "a") }, environment);
  const second = await sampleRelease({ "usr/bin/tool": noise(100_000, "b") }, environment, { version: "2" });
  const { releases } = await push(first, repository);
  const held = repository.tagged.get("1");
  for (let limit = 1; limit <= releases[0]!.blobs.length; limit++) {
    await assert.rejects(push(second, breaking(repository, "putBlob", limit)), /killed/);
    assert.equal(repository.tagged.get("1"), held);
  }
  await assert.rejects(push(second, breaking(repository, "putManifest", 1)), /killed/);
  assert.equal(repository.tagged.get("1"), held);
  await push(second, repository);
  assertSame((await pull(repository)).published, second);
});

/** Counts bytes of frames, and stops after some of them. */
function counting(repository: MemoryRepository, pack: Digest, limit: number) {
  const counts = { frames: 0, bytes: 0, largest: 0 };
  const counted: MemoryRepository = {
    ...repository,
    async openBlob(descriptor) {
      const source = await repository.openBlob(descriptor);
      if (descriptor.digest !== pack) return source;
      return {
        ...source,
        async read(offset, length, options) {
          if (counts.frames >= limit) throw new Error("killed");
          const bytes = await source.read(offset, length, options);
          if (bytes.length > 4 && Buffer.from(bytes.buffer, bytes.byteOffset).readUInt32LE() === 0xfd2fb528) {
            counts.frames++;
            counts.bytes += length;
            counts.largest = Math.max(counts.largest, length);
          }
          return bytes;
        },
      };
    },
  };
  return { counted, counts };
}

test("a pull that is killed goes on: at most one frame is fetched twice", async () => {
  const release = await sampleRelease(
    { "usr/bin/tool": noise(1_800_000, "a"), zeros: Buffer.alloc(300_000) },
    environment,
    {
      rootOnly: true,
    },
  );
  const repository = memoryRepository();
  await push(release, repository);
  const [pack] = await blobsOf(repository, "1", PACK_TYPE);
  const whole = counting(repository, pack!.digest, Number.POSITIVE_INFINITY);
  await pull(whole.counted);
  assert.ok(whole.counts.frames >= 14);
  for (const limit of [1, 5, 9, whole.counts.frames - 1]) {
    const killed = counting(repository, pack!.digest, limit);
    const artifacts = memoryArtifacts();
    await assert.rejects(pull(killed.counted, "1", artifacts), /killed/);
    await artifacts.suspend();
    const rest = counting(repository, pack!.digest, Number.POSITIVE_INFINITY);
    const result = await pull(rest.counted, "1", memoryArtifacts(artifacts.left));
    assertSame(result.published, release);
    assert.ok(
      killed.counts.bytes + rest.counts.bytes <= whole.counts.bytes + whole.counts.largest,
      `after ${limit} frames`,
    );
    assert.ok(result.kept > 0);
  }
});

test("what an earlier run has left counts only where its digest is right", async () => {
  const release = await sampleRelease(
    { "usr/bin/tool": noise(300_000, "a"), zeros: Buffer.alloc(300_000) },
    environment,
    {
      rootOnly: true,
    },
  );
  const repository = memoryRepository();
  await push(release, repository);
  const name = "sample_1.root.erofs";
  const root = release.files.get(name)!;
  const torn = Uint8Array.from(root);
  for (let at = 5000; at < torn.length; at += 40_000) torn[at]! ^= 1;
  for (const left of [torn, root.subarray(0, 10_000), noise(root.length + 5000, "other"), new Uint8Array(0)]) {
    const { published } = await pull(repository, "1", memoryArtifacts(new Map([[name, left]])));
    assertSame(published, release);
  }
});

test("several architectures are one index; each is found by its platform", async () => {
  const repository = memoryRepository();
  const amd64 = await sampleRelease({ a: noise(50_000, "a") }, environment);
  const arm64 = await sampleRelease({ a: noise(50_000, "b") }, environment, { architecture: "arm64" });
  const { descriptor } = await pushReleases([amd64, arm64], repository, { tag: "1" }, environment);
  assert.equal(descriptor.mediaType, "application/vnd.oci.image.index.v1+json");
  for (const [architecture, release] of [
    ["amd64", amd64],
    ["arm64", arm64],
  ] as const) {
    const found = await resolveRelease(repository, { tag: "1" }, nodeHashes, {
      platform: { os: "linux", architecture },
    });
    const artifacts = memoryArtifacts();
    await pullRelease(repository, found, artifacts, environment);
    assertSame(artifacts.published, release);
  }
  await assert.rejects(
    resolveRelease(repository, { tag: "1" }, nodeHashes, { platform: { os: "linux", architecture: "riscv64" } }),
    { code: "no-such-platform" },
  );
  repository.traffic.sent = 0;
  await pushReleases([amd64, arm64], repository, { tag: "1" }, environment);
  assert.equal(repository.traffic.sent, 0);
  await assert.rejects(pushReleases([amd64, amd64], repository, {}, environment), { code: "same-architecture" });
});

/** A container image of nothing, and its digest. */
async function putImage(repository: MemoryRepository, tag?: string): Promise<Digest> {
  const config = Buffer.from('{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}');
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  const describe = (type: string, bytes: Uint8Array) => ({
    mediaType: type,
    digest: digestOf(nodeHashes, bytes),
    size: bytes.length,
  });
  const configType = "application/vnd.oci.image.config.v1+json";
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType, config: describe(configType, config), layers: [] }),
  );
  const descriptor = { ...describe(mediaType, bytes), annotations: {} };
  await repository.putManifest(descriptor, bytes, tag);
  return descriptor.digest;
}

test("a release refers to its source image, and the image leads to the release", async () => {
  const repository = memoryRepository();
  const image = await putImage(repository, "os");
  const inputs = [{ name: "image", digest: image }];
  const release = await sampleRelease({ a: "a" }, environment, { inputs });
  const { releases, descriptor } = await push(release, repository, { tag: "os-release" });
  assert.equal(releases[0]!.subject, image);
  assert.equal((await repository.referrers(image, { artifactType: RELEASE_TYPE }))[0]?.digest, descriptor.digest);
  const found = await resolveRelease(repository, { tag: "os" }, nodeHashes);
  assert.equal(found.digest, descriptor.digest);
  const stored = await openStoredRelease(repository, found, environment);
  assert.equal(stored.manifest.annotations[ANNOTATION_SOURCE_MANIFEST], image);
  assert.equal(stored.manifest.annotations["org.opencontainers.image.created"], "2023-11-14T22:13:20Z");
  await assert.rejects(push(release, repository, { tag: "os" }), { kind: "PolicyError", code: "tag-taken" });

  // A registry that has the manifest, and was not told yet whose referrer it is.
  const arm64 = await sampleRelease({ a: "arm" }, environment, { inputs, architecture: "arm64" });
  let isKnown = false;
  const forgetful: MemoryRepository = {
    ...repository,
    referrers: async (...values) => (isKnown ? repository.referrers(...values) : []),
    async putManifest(...values) {
      isKnown = true;
      await repository.putManifest(...values);
    },
  };
  await pushReleases([release, arm64], repository, {}, environment);
  await pushReleases([release, arm64], forgetful, {}, environment);
  assert.ok(isKnown);
  repository.manifests.delete((await pushReleases([arm64], repository, {}, environment)).descriptor.digest);

  await push(await sampleRelease({ a: "b" }, environment, { inputs, version: "2" }), repository, { tag: "2" });
  await assert.rejects(resolveRelease(repository, { tag: "os" }, nodeHashes), { code: "ambiguous-release" });
  const elsewhere = memoryRepository();
  await push(release, elsewhere);
  await putImage(elsewhere, "other");
  await assert.rejects(resolveRelease(elsewhere, { tag: "other" }, nodeHashes), { code: "no-release" });
});

test("reading all of a root in place takes few requests, reading a block of it one frame", async () => {
  const content = Object.fromEntries(
    Array.from({ length: 50 }, (_, i) => [`usr/lib/${i}`, noise(200_000, `file ${i}`)]),
  );
  const release = await sampleRelease(content, environment, { rootOnly: true });
  const repository = memoryRepository();
  await push(release, repository);
  const [pack] = await blobsOf(repository, "1", PACK_TYPE);
  const reads: number[] = [];
  const counted: MemoryRepository = {
    ...repository,
    async openBlob(descriptor) {
      const source = await repository.openBlob(descriptor);
      if (descriptor.digest !== pack!.digest) return source;
      return {
        ...source,
        read(offset, length, options) {
          reads.push(length);
          return source.read(offset, length, options);
        },
      };
    },
  };
  const stored = await openStoredRelease(counted, await repository.resolve({ tag: "1" }), environment);
  const root = await stored.open("sample_1.root.erofs");
  const whole = release.files.get("sample_1.root.erofs")!;
  await root.read(5_000_000, 4096);
  assert.ok(reads.length <= 3, `${reads.length} requests for a block`); // seek table, digests, frame
  assert.ok(reads.reduce((sum, size) => sum + size, 0) < 190_000);
  for (let at = 0; at < whole.length; at += 40_960)
    assert.ok(equalBytes(await root.read(at, Math.min(40_960, whole.length - at)), whole.subarray(at, at + 40_960)));
  assert.ok(reads.length < 25, `${reads.length} requests for ${whole.length} bytes`);
});

test("names that no release has are not written", () => {
  const named = (...names: readonly string[]) => ({
    artifacts: names.map((name, index) => ({ role: index === 0 ? "root" : "other", name, size: 1, digest: "sha256:" })),
  });
  const nameOf = (...names: readonly string[]): string => releaseNameOf(named(...names) as unknown as Release);
  assert.equal(nameOf("os_1.root.erofs", "os_1.raw", "os_1.efi"), "os_1.release.json");
  assert.equal(nameOf("my.os_1~rc.root.erofs", "my.os_1~rc.root.verity"), "my.os_1~rc.release.json");
  for (const names of [
    [".profile"],
    [".x.root.erofs"],
    ["root.erofs"],
    [".root.erofs"],
    ["os.root.erofs", ".profile"],
    ["os.root.erofs", "other.raw"],
    ["os.root.erofs", "os"],
    ["os.root.erofs", "os.\nraw"],
    ["-rf.root.erofs"],
    ["o\u001b[2J.root.erofs"],
  ])
    assert.throws(() => nameOf(...names), { kind: "PolicyError", code: "artifact-name" }, JSON.stringify(names));
});
