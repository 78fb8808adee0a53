import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ByteString, concatBytes, fromUtf8 } from "../../bytes/index.ts";
import { encodeTar, type TarInput } from "../../formats/tar/index.ts";
import { inlineBlockHasher } from "../../hash/index.ts";
import { nodeHashes } from "../../node/index.ts";
import { bytesSource, memoryScratch, memorySink, type ScratchSpace } from "../../source/index.ts";
import { walkTree } from "../../tree/index.ts";
import type { ArtifactStore } from "../artifacts.ts";
import type { Environment } from "../environment.ts";
import { type HostInputs, parseReference, readInput } from "../image/index.ts";
import { silentReporter } from "../report.ts";
import { openContentLanding, type SealContentOptions, sealContent } from "./index.ts";

type Member = TarInput & { readonly content?: Uint8Array };
const OPTIONS: SealContentOptions = { name: "x", algorithm: "sha256", tails: "blocks" };

/** Counts the bytes that are stored to be read again, digests of leaves aside. */
function countedScratch(): ScratchSpace & { stored: number } {
  const counted = {
    stored: 0,
    async create() {
      const scratch = await memoryScratch.create();
      return {
        get size() {
          return scratch.size;
        },
        append(bytes: Uint8Array) {
          if (bytes.length % 32 !== 0 || bytes.length >= 4096) counted.stored += bytes.length;
          return scratch.append(bytes);
        },
        read: (offset: number, length: number) => scratch.read(offset, length),
        dispose: () => scratch.dispose(),
      };
    },
  };
  return counted;
}

/** @param spoil may change the bytes of an artifact before they are read */
function memoryStore(
  spoil?: (bytes: Uint8Array) => void,
): ArtifactStore & { readonly files: Map<string, ReturnType<typeof memorySink>> } {
  const files = new Map<string, ReturnType<typeof memorySink>>();
  return {
    files,
    async create(name) {
      const sink = memorySink();
      files.set(name, sink);
      return {
        writeAt: (offset, bytes) => sink.writeAt(offset, Uint8Array.from(bytes)), // the writer reuses its buffers
        setSize: async (size) => sink.setSize(size),
        source(size) {
          const bytes = sink.bytes().slice(0, size);
          spoil?.(bytes);
          return bytesSource(bytes);
        },
      };
    },
    publish: async () => {},
    discard: async () => {},
  };
}

/** The artifacts of a sealed archive, by name. */
async function seal(
  archive: Uint8Array,
  lands: boolean,
  options = OPTIONS,
  { readsFirst = false, spoil }: { readsFirst?: boolean; spoil?: (bytes: Uint8Array) => void } = {},
) {
  const artifacts = memoryStore(spoil);
  const scratch = countedScratch();
  const files = {
    openStream: async () => ({
      size: archive.length,
      async *chunks() {
        for (let at = 0; at < archive.length; at += 5000) yield archive.subarray(at, at + 5000);
      },
      close: async () => {},
    }),
  } as unknown as HostInputs;
  const decompressors = { gunzip: (input: AsyncIterable<Uint8Array>) => input, unzstd: (input: never) => input };
  const environment: Environment = {
    hashes: nodeHashes,
    blockHasher: inlineBlockHasher(nodeHashes),
    compressors: { gzip: async (bytes) => bytes, zstd: async (bytes) => bytes },
    scratch,
    reporter: silentReporter,
  };
  let landing: Awaited<ReturnType<typeof openContentLanding>>;
  const input = await readInput(parseReference("tar:x"), {
    hashes: nodeHashes,
    files,
    scratch,
    decompressors,
    openStore: async (labels) => {
      if (lands) landing = await openContentLanding(labels, options, artifacts, environment);
      return landing;
    },
  });
  if (readsFirst)
    for (const { node } of walkTree(input.tree))
      if (node.type === "file") await node.content.read(0, node.content.size);
  await sealContent({ ...input, inputs: [], landing }, options, artifacts, environment);
  const results = new Map([...artifacts.files].map(([name, sink]) => [name, sink.bytes()]));
  return { results, stored: scratch.stored };
}

const file = (path: string, content: Uint8Array): Member => ({ path: fromUtf8(path), type: "file", content });
const filled = (size: number, value = 7): Uint8Array => new Uint8Array(size).fill(value);

test("files in the order of paths go straight into the image, whatever stands between them", async () => {
  const archive = encodeTar([
    { path: fromUtf8("dev"), type: "directory" },
    { path: fromUtf8("dev/null"), type: "character", devMajor: 1, devMinor: 3 },
    { path: fromUtf8("."), type: "directory" }, // where mmdebstrap has it
    file("a/b", filled(5000)),
    file("a.b", filled(4096)), // behind everything in `a`, though its second byte is the smaller one
    { path: fromUtf8("a.c"), type: "hardlink", linkTarget: fromUtf8("a/b") },
    file("empty", filled(0)),
    file("z", concatBytes(filled(1), filled(9000, 0))), // ends in a block of zeros
  ]);
  const plain = await seal(archive, false);
  for (const readsFirst of [false, true]) {
    const landed = await seal(archive, true, OPTIONS, { readsFirst });
    assert.deepEqual(landed.results, plain.results);
    assert.equal(landed.stored, 0);
  }
  assert.ok(plain.stored >= 18_000);
});

test("what cannot stay where it landed is taken back", async () => {
  const outOfOrder = [file("b", filled(5000)), file("a", filled(6000, 8)), file("c", filled(10))];
  const replaced = [file("a", filled(5000)), file("b", filled(10)), { path: fromUtf8("a"), type: "fifo" } as const];
  const twice = [file("a", filled(5000)), file("a", filled(10, 3))];
  for (const members of [outOfOrder, replaced, twice]) {
    const archive = encodeTar(members);
    const { results, stored } = await seal(archive, true);
    assert.deepEqual(results, (await seal(archive, false)).results);
    assert.ok(stored > 5000);
  }
});

test("a root that is not what it should be is found when it is read back", async () => {
  const archive = encodeTar([file("a", filled(5000, 1)), file("b", filled(3 << 20, 2)), file("c", filled(10, 3))]);
  const content = (bytes: Uint8Array): void => {
    bytes[4096 * 5 + 17]! ^= 1;
  };
  // In the inode of `b`, whose data begin at block 3 behind the two blocks of `a`.
  const address = (bytes: Uint8Array): void => {
    for (let slot = 4096 * (1 + 2 + 768 + 1); slot < bytes.length; slot += 32)
      if (bytes[slot + 5] === 0x81 && bytes[slot + 16] === 3) bytes[slot + 16] = 2; // a file's mode and first block
  };
  const options = { ...OPTIONS, verify: true };
  for (const lands of [false, true]) {
    const { results } = await seal(archive, lands);
    assert.deepEqual((await seal(archive, lands, options)).results, results);
    await assert.rejects(seal(archive, lands, options, { spoil: content }), {
      code: "root-differs",
      message: /^\/b in /,
    });
    for (const given of [OPTIONS, options])
      await assert.rejects(seal(archive, lands, given, { spoil: address }), {
        code: "root-differs",
        message: /^\/b in /,
      });
    await seal(archive, lands, { ...OPTIONS, verify: false }, { spoil: content });
  }
  // What landed is where it came in: by default its bytes are not read again.
  await seal(archive, true, OPTIONS, { spoil: content });
  await assert.rejects(seal(archive, false, OPTIONS, { spoil: content }), { code: "root-differs" });
});

test("any archive gives the same release with a landing and without", async () => {
  const path = fc.array(fc.constantFrom("a", "b", "a.b", "c"), { minLength: 1, maxLength: 3 });
  const content = fc
    .tuple(fc.constantFrom(0, 1, 511, 4095, 4096, 4097, 9000), fc.constantFrom(0, 1, 255))
    .map(([size, value]) => filled(size, value));
  const member = fc.tuple(path, content).map(([names, bytes]) => file(names.join("/"), bytes));
  await fc.assert(
    fc.asyncProperty(
      fc.array(member, { maxLength: 12 }),
      fc.boolean(),
      fc.boolean(),
      async (members, isSorted, reads) => {
        const byPath = (a: Member, b: Member): number => compareAsNames(a.path, b.path);
        const archive = encodeTar(isSorted ? members.toSorted(byPath) : members);
        const landed = await seal(archive, true, OPTIONS, { readsFirst: reads });
        assert.deepEqual(landed.results, (await seal(archive, false)).results);
      },
    ),
    { numRuns: 200 },
  );
});

test("tails behind the inodes leave nothing to land on", async () => {
  const archive = encodeTar([file("a", filled(5000))]);
  const inline: SealContentOptions = { ...OPTIONS, tails: "inline" };
  assert.deepEqual((await seal(archive, true, inline)).results, (await seal(archive, false, inline)).results);
});

/** As a walk through directories meets them. */
function compareAsNames(a: ByteString, b: ByteString): number {
  const [left, right] = [a.split("/"), b.split("/")];
  for (const [i, name] of left.entries()) {
    const other = right[i];
    if (other === undefined) return 1;
    if (name !== other) return name < other ? -1 : 1;
  }
  return left.length - right.length;
}
