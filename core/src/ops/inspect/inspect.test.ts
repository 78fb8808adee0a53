import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { concatBytes, encodeUtf8, fromUtf8, toHex } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { encodeCpio } from "../../formats/cpio/index.ts";
import { inlineBlockHasher, pureHashes } from "../../hash/index.ts";
import { nodeDecompressors, nodeHashes } from "../../node/index.ts";
import { bytesSource, memoryScratch, memorySink } from "../../source/index.ts";
import { attributes, directory, putNode, regularFile, symlink } from "../../tree/index.ts";
import type { Artifact } from "../artifacts.ts";
import { silentReporter } from "../report.ts";
import { sealTree } from "../seal/index.ts";
import { inspectSource, recognise } from "./index.ts";
import { inspectInitrd } from "./initrd.ts";
import type { InspectEnvironment } from "./parts.ts";

const environment: InspectEnvironment = {
  hashes: nodeHashes,
  blockHasher: inlineBlockHasher(nodeHashes),
  decompressors: nodeDecompressors,
  reporter: silentReporter,
  signal: undefined,
};

async function sealed() {
  const root = directory(attributes(0o755));
  putNode(
    root,
    "usr/lib/os-release",
    regularFile(
      attributes(0o644),
      bytesSource(encodeUtf8('NAME=Test\nPRETTY_NAME="Test 1"\nIMAGE_ID=t\nIMAGE_VERSION=1\n')),
    ),
  );
  putNode(root, "usr/big", regularFile(attributes(0o644), bytesSource(new Uint8Array(3 * 4096 + 100).fill(7))));
  putNode(root, "usr/link", symlink(attributes(0o777), fromUtf8("big")));
  const make = (): Artifact & { bytes(): Uint8Array } => {
    const sink = memorySink();
    return {
      writeAt: sink.writeAt,
      setSize: async (size) => sink.setSize(size),
      source: (size) => bytesSource(sink.bytes().slice(0, size)),
      bytes: () => sink.bytes(),
    };
  };
  const image = make();
  const device = make();
  const { rootHash } = await sealTree(
    root,
    image,
    device,
    {
      verity: { algorithm: "sha256", salt: Uint8Array.of(1, 2), dataBlockSize: 4096, hashBlockSize: 4096 },
      verityUuid: "00000000-0000-4000-8000-000000000000",
    },
    {
      hashes: pureHashes,
      blockHasher: inlineBlockHasher(pureHashes),
      compressors: { gzip: async (bytes) => bytes, zstd: async (bytes) => bytes },
      scratch: memoryScratch,
      reporter: silentReporter,
    },
  );
  return { image: image.bytes(), device: device.bytes(), rootHash };
}

function cpioBytes(...names: readonly string[]): Promise<Uint8Array> {
  const root = directory(attributes(0o755));
  for (const name of names)
    if (name === "init") putNode(root, name, symlink(attributes(0o777), fromUtf8("usr/lib/systemd/systemd")));
    else putNode(root, name, regularFile(attributes(0o644), bytesSource(encodeUtf8(name.repeat(100)))));
  return encodeCpio(root);
}

test("kinds are told by content", async () => {
  const { image, device } = await sealed();
  const kind = (bytes: Uint8Array) => recognise(bytesSource(bytes));
  assert.equal(await kind(image), "erofs");
  assert.equal(await kind(device), "verity");
  assert.equal(await kind(await cpioBytes("init")), "initrd");
  assert.equal(await kind(gzipSync("x")), "initrd");
  assert.equal(await kind(encodeUtf8('{"schema":"ashlar.release/v1"}')), "release");
  assert.equal(await kind(encodeUtf8("MZ")), "pe");
  assert.equal(await kind(encodeUtf8("some text")), undefined);
  assert.equal(await kind(new Uint8Array(0)), undefined);
});

test("EROFS: the space adds up, the system has its name", async () => {
  const { image } = await sealed();
  const report = await inspectSource(bytesSource(image), "erofs", "x", environment);
  assert.ok(report.kind === "erofs");
  assert.equal(
    report.space.reduce((sum, { bytes }) => sum + bytes, 0),
    report.size,
  );
  assert.equal(report.size, image.length);
  assert.deepEqual(report.counts, { directory: 3, file: 2, symlink: 1 });
  assert.deepEqual(report.system, {
    prettyName: "Test 1",
    id: null,
    versionId: null,
    imageId: "t",
    imageVersion: "1",
  });
  assert.deepEqual(report.problems, []);
});

test("hash device: the root hash is recomputed from the top", async () => {
  const { device, rootHash } = await sealed();
  const report = await inspectSource(bytesSource(device), "verity", "x", environment);
  assert.ok(report.kind === "verity");
  assert.equal(report.rootHash, toHex(rootHash));
  assert.equal(report.salt, "0102");
  assert.deepEqual(report.levels, [1]);
  const cut = await inspectSource(bytesSource(device.slice(0, 4096)), "verity", "x", environment);
  assert.ok(cut.kind === "verity");
  assert.equal(cut.rootHash, null);
  assert.deepEqual(
    cut.problems.map(({ code }) => code),
    ["truncated"],
  );
});

test("initrd: archives behind each other, each with a compression of its own", async () => {
  const first = await cpioBytes("kernel");
  const second = gzipSync(await cpioBytes("init", "etc-a"));
  const third = zstdCompressSync(await cpioBytes("usr-b"));
  const padding = new Uint8Array(12);
  const fourth = await cpioBytes("last");
  const aligned = (bytes: Uint8Array) => concatBytes(bytes, new Uint8Array((4 - (bytes.length % 4)) % 4));
  const all = concatBytes(aligned(first), padding, aligned(second), aligned(third), fourth);
  const report = await inspectInitrd(bytesSource(all), environment);
  assert.deepEqual(report.problems, []);
  assert.deepEqual(
    report.parts.map(({ compression }) => compression),
    ["none", "gzip", "zstd", "none"],
  );
  assert.equal(report.parts[1]?.size, second.length);
  assert.equal(report.parts[2]?.size, third.length);
  assert.equal(report.init, "usr/lib/systemd/systemd");
  assert.equal(report.files, 4);
});

test("initrd: what cannot be decompressed is named", async () => {
  const xz = Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 1, 2, 3);
  const report = await inspectInitrd(bytesSource(concatBytes(await cpioBytes("early"), xz)), environment);
  assert.deepEqual(
    report.parts.map(({ compression, entries }) => [compression, entries === null]),
    [
      ["none", false],
      ["xz", true],
    ],
  );
  assert.match(report.problems[0]?.message ?? "", /xz/);
});

test("gzip of something else is no initrd", async () => {
  await assert.rejects(inspectInitrd(bytesSource(gzipSync("no archive")), environment), (error) => {
    assert.ok(isAshlarError(error));
    return error.kind === "FormatError";
  });
});

test("damaged bytes give a report or one of our errors", async () => {
  const { image, device } = await sealed();
  const initrd = concatBytes(await cpioBytes("init", "a"), gzipSync(await cpioBytes("b")));
  let state = 1;
  const random = (limit: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % limit;
  };
  for (const [kind, bytes] of [
    ["erofs", image],
    ["verity", device],
    ["initrd", initrd],
  ] as const)
    for (let round = 0; round < 150; round++) {
      const damaged = bytes.slice(0, round % 5 === 0 ? random(bytes.length) : bytes.length);
      for (let i = 0; i < 1 + random(8) && damaged.length > 0; i++)
        damaged[random(Math.min(damaged.length, round % 2 === 0 ? 2048 : damaged.length))] = [
          0,
          1,
          0x7f,
          0xff,
          random(256),
        ][random(5)]!;
      try {
        await inspectSource(bytesSource(damaged), kind, "x", environment);
      } catch (error) {
        assert.ok(isAshlarError(error), `${kind} round ${round}: ${error instanceof Error ? error.stack : error}`);
      }
    }
});
