import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeUtf8, toHex } from "../../bytes/index.ts";
import { inlineBlockHasher } from "../../hash/index.ts";
import { nodeHashes } from "../../node/hashes.ts";
import { bytesSource, memorySink, type Source } from "../../source/index.ts";
import {
  createMeasurer,
  defaultFsverity,
  type FsverityParameters,
  layoutMerkleTree,
  measureBytes,
  measureSource,
  RawDescriptor,
  verifiedFsveritySource,
} from "./index.ts";

const blockHasher = inlineBlockHasher(nodeHashes);
const options = { hashes: nodeHashes, blockHasher, what: "file" };

const parameters: fc.Arbitrary<FsverityParameters> = fc.record({
  algorithm: fc.constantFrom("sha256", "sha512"),
  blockSize: fc.constantFrom(1024, 4096),
  salt: fc.uint8Array({ maxLength: 32 }),
});

/** Bytes of which every 64 differ, so that no two blocks are the same. */
function someBytes(size: number): Uint8Array {
  const bytes = new Uint8Array(size).fill(0x5a);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at + 4 <= size; at += 64) view.setUint32(at, at, true);
  return bytes;
}

/** Sizes at and around blocks and whole tree blocks of 1 KiB with SHA-256 (32 digests) and SHA-512 (16). */
const size = fc.oneof(
  fc.nat({ max: 3000 }),
  fc
    .tuple(fc.constantFrom(1024, 4096, 16 * 1024, 32 * 1024, 256 * 1024), fc.integer({ min: -1, max: 1 }))
    .map(([near, by]) => near + by),
);

async function exportTree(data: Source, chosen: FsverityParameters) {
  const sink = memorySink();
  const { digest, descriptor } = await measureSource(data, chosen, { hashes: nodeHashes, blockHasher, tree: sink });
  return { digest, descriptor, tree: sink.bytes() };
}

test("known digests", () => {
  const { digest } = measureBytes(encodeUtf8("hello world"), defaultFsverity(), nodeHashes);
  assert.equal(toHex(digest), "1e2eaa4202d750a41174ee454970b92c1bc2f925b1e35076d8c7d5f56362ba64");
});

test("a file of no bytes has a root hash of zeros", () => {
  const { descriptor } = measureBytes(new Uint8Array(0), defaultFsverity("sha512"), nodeHashes);
  const { rootHash, dataSize, blockBits, algorithm } = RawDescriptor.view(descriptor);
  assert.deepEqual([toHex(rootHash), dataSize, blockBits, algorithm], ["00".repeat(64), 0, 12, 2]);
});

test("bytes, source, hasher of blocks and tree agree", async () => {
  await fc.assert(
    fc.asyncProperty(size, parameters, async (length, chosen) => {
      const data = someBytes(length);
      const { digest, descriptor } = measureBytes(data, chosen, nodeHashes);
      for (const found of [
        await measureSource(bytesSource(data), chosen, { hashes: nodeHashes }),
        await measureSource(bytesSource(data), chosen, { hashes: nodeHashes, blockHasher }),
        await exportTree(bytesSource(data), chosen),
      ]) {
        assert.deepEqual(found.digest, digest);
        assert.deepEqual(found.descriptor, descriptor);
      }
      assert.equal((await exportTree(bytesSource(data), chosen)).tree.length, layoutMerkleTree(length, chosen).size);
    }),
  );
});

test("a verified source shows the file, with its tree and without", async () => {
  await fc.assert(
    fc.asyncProperty(size, parameters, fc.nat(), fc.nat(), async (length, chosen, a, b) => {
      const data = someBytes(length);
      const { digest, tree } = await exportTree(bytesSource(data), chosen);
      const start = a % (length + 1);
      const count = b % (length - start + 1);
      for (const given of [undefined, bytesSource(tree)]) {
        const verified = await verifiedFsveritySource(bytesSource(data), digest, chosen, { ...options, tree: given });
        assert.equal(verified.size, length);
        assert.deepEqual(await verified.read(start, count), data.subarray(start, start + count));
      }
    }),
  );
});

test("a changed byte of file or tree is never shown", async () => {
  await fc.assert(
    fc.asyncProperty(size, parameters, fc.nat(), fc.boolean(), async (length, chosen, place, inTree) => {
      const data = someBytes(length);
      const { digest, tree } = await exportTree(bytesSource(data), chosen);
      const changed = inTree ? tree : data;
      if (changed.length === 0) return;
      changed[place % changed.length]! ^= 1; // below the length
      const reading = verifiedFsveritySource(bytesSource(data), digest, chosen, {
        ...options,
        tree: bytesSource(tree),
      }).then((verified) => verified.read(0, length));
      // Bytes behind the digests of a tree block are checked as well.
      await assert.rejects(reading, { kind: "IntegrityError", code: /^fsverity-(digest|mismatch)$/ });
      if (!inTree)
        await assert.rejects(verifiedFsveritySource(bytesSource(data), digest, chosen, options), {
          kind: "IntegrityError",
          code: "fsverity-digest",
        });
    }),
  );
});

test("a file that changes after it was opened is caught", async () => {
  const data = someBytes(300_000);
  const { digest } = measureBytes(data, defaultFsverity(), nodeHashes);
  const verified = await verifiedFsveritySource(bytesSource(data), digest, defaultFsverity(), options);
  data[200_000]! ^= 0x80; // below the length
  await verified.read(0, 196_608);
  await assert.rejects(verified.read(199_999, 2), /block 48 at byte 196608 does not match/);
});

test("one measurer gives for many sources what each gives alone", async () => {
  const filling = (bytes: Uint8Array): Source => ({
    ...bytesSource(bytes),
    readInto(offset, target) {
      target.set(bytes.subarray(offset, offset + target.length));
      return undefined;
    },
  });
  for (const parameters of [defaultFsverity(), { ...defaultFsverity("sha512"), salt: Uint8Array.of(1, 2, 3) }]) {
    const measure = createMeasurer(parameters, { hashes: nodeHashes, blockHasher: inlineBlockHasher(nodeHashes) });
    for (const size of [0, 5_000_001, 1, 4096, 0, 4097, 600_000, 262_144, 262_145, 3, 2_097_152, 4_194_305]) {
      const bytes = someBytes(size);
      const alone = measureBytes(bytes, parameters, nodeHashes).digest;
      assert.deepEqual(await measure(filling(bytes)), alone, `${size} bytes`);
      assert.deepEqual(await measure(bytesSource(bytes)), alone, `${size} bytes`);
    }
  }
});

test("a tree of another size and bad parameters are refused", async () => {
  const data = bytesSource(someBytes(10_000));
  const { digest, tree } = await exportTree(data, defaultFsverity());
  const short = bytesSource(tree.subarray(1));
  await assert.rejects(verifiedFsveritySource(data, digest, defaultFsverity(), { ...options, tree: short }), {
    code: "fsverity-tree",
  });
  for (const bad of [{ blockSize: 512 }, { blockSize: 5000 }, { blockSize: 131_072 }, { salt: new Uint8Array(33) }])
    await assert.rejects(measureSource(data, { ...defaultFsverity(), ...bad }, { hashes: nodeHashes }), RangeError);
});
