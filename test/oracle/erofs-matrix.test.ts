// What mkfs.erofs writes with each of its options, read by us and by the kernel: the same names, attributes and bytes.
import assert from "node:assert/strict";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { bytesOf, fromUtf8 } from "../../core/src/bytes/index.ts";
import { openErofs, readTree, walkErofs, writeErofs } from "../../core/src/formats/erofs/index.ts";
import { type OpenSource, openFile } from "../../core/src/node/index.ts";
import { bytesSource, memorySink } from "../../core/src/source/index.ts";
import {
  attributes,
  type Directory,
  directory,
  putNode,
  regularFile,
  symlink,
  walkTree,
} from "../../core/src/tree/index.ts";
import { assertSame, expected, folder, requireMount, seenByKernel, withMount } from "../support/erofs-images.ts";
import { requireOracle } from "../support/oracle.ts";

interface OptionSet {
  readonly options: readonly string[];
  /** Bits that the image must have in `feature_incompat`: the set does what it is there for. */
  readonly incompat?: number;
  readonly compat?: number;
  /** A blob device beside the image. */
  readonly hasBlob?: boolean;
}

const set = (options: string, more: Omit<OptionSet, "options"> = {}): OptionSet => ({
  options: options === "" ? [] : options.split(" "),
  ...more,
});

const LONG_PREFIXES = "--xattr-prefix=user.a.rather.long.prefix. --xattr-prefix=trusted.overlay.";

const SETS: readonly OptionSet[] = [
  // Uncompressed.
  set(""),
  set("-Enoinline_data"),
  set("-b512"),
  set("-b1024 -Eforce-inode-extended"),
  set("-b2048 -x1"),
  set("-Enosbcrc --ignore-mtime -T1700000000"),
  set("--chunksize=4096", { incompat: 0x4 }),
  set("--chunksize=16384 -Eforce-chunk-indexes", { incompat: 0x4 }),
  set("-b1024 --chunksize=4096 -Eforce-inode-blockmap", { incompat: 0x4 }),
  set("--chunksize=4096", { incompat: 0xc, hasBlob: true }),
  set("--chunksize=65536 -E48bit", { incompat: 0x8c, hasBlob: true }),
  set("-E48bit", { incompat: 0x80 }),
  set("-Edot-omitted", { incompat: 0x80 }),
  set(`-x-1`),
  set(`${LONG_PREFIXES} -Eplain-xattr-prefixes`, { incompat: 0x40, compat: 0x10 }),
  set(`${LONG_PREFIXES} -x1`, { incompat: 0x40 }),
  set("-Exattr-name-filter", { compat: 0x4 }),
  // LZ4.
  set("-zlz4", { incompat: 0x1 }),
  set("-zlz4 -C16384", { incompat: 0x3 }),
  set("-zlz4hc,12 -C65536", { incompat: 0x3 }),
  set("-zlz4 -C1048576", { incompat: 0x3 }),
  set("-zlz4 -Elegacy-compress"),
  set("-zlz4hc -C65536 -Elegacy-compress"),
  set("-zlz4 -Eztailpacking", { incompat: 0x11 }),
  set("-zlz4 -C65536 -Eztailpacking,legacy-compress", { incompat: 0x12 }),
  set("-zlz4 -Efragments", { incompat: 0x21 }),
  set("-zlz4 -C32768 -Efragments,legacy-compress", { incompat: 0x22 }),
  set("-zlz4hc -C65536 -Eall-fragments", { incompat: 0x23 }),
  set("-zlz4 -C65536 -Ededupe", { incompat: 0x22 }),
  set("-zlz4 -Ededupe,fragments,ztailpacking", { incompat: 0x31 }),
  set("-zlz4 -b512 -C4096", { incompat: 0x3 }),
  set("-zlz4 -b1024", { incompat: 0x1 }),
  set("-zlz4 -b2048 -C8192 -Eztailpacking", { incompat: 0x13 }),
  set("-zlz4 -E48bit", { incompat: 0x81 }),
  set("-zlz4 -C65536 -E48bit", { incompat: 0x83 }),
  set("-zlz4 -C65536 --zD=1", { incompat: 0x3 }),
  set(`-zlz4 ${LONG_PREFIXES} -Efragments`, { incompat: 0x61 }),
  // MicroLZMA.
  set("-zlzma,1", { incompat: 0x2 }),
  set("-zlzma,1 -C65536 -Eztailpacking,fragments", { incompat: 0x22 }),
  set("-zlzma,1,dictsize=65536 -C1048576", { incompat: 0x2 }),
  // DEFLATE.
  set("-zdeflate,1", { incompat: 0x2 }),
  set("-zdeflate,9 -C65536 -Eztailpacking", { incompat: 0x12 }),
  set("-zlibdeflate,6 -C16384 -Efragments", { incompat: 0x22 }),
  // zstd.
  set("-zzstd,1", { incompat: 0x2 }),
  set("-zzstd,3 -C65536", { incompat: 0x2 }),
  set("-zzstd,3 -C1048576 -Ededupe", { incompat: 0x22 }),
  set("-zzstd,3 -C65536 -E48bit", { incompat: 0x82 }),
  set("-zzstd,3 -C1048576 -E48bit --max-extent-bytes=1048576", { incompat: 0x82 }),
  set("-zzstd,3 -C65536 -E48bit,fragments", { incompat: 0xa2 }),
  set("-zzstd,3 -C65536 -Eall-fragments,ztailpacking", { incompat: 0x22 }),
  // Several algorithms, metadata compression.
  set("-zlz4hc:zstd,1 -C16384", { incompat: 0x2 }),
  set("-zzstd,3 -C65536 -m4096:zstd", { incompat: 0x182 }),
  set("-zlz4 -C65536 -m65536:lz4hc", { incompat: 0x183 }),
  set(`-zzstd,1 -C65536 -m16384:zstd --zD=1 -Efragments ${LONG_PREFIXES}`, { incompat: 0x1e2 }),
  // Not with --MZ=id: mkfs.erofs 1.9.3 then puts a large directory where neither its own fsck.erofs nor the kernel finds it.
  set("-zlz4 -m4096:lz4 --MZ=i -Edot-omitted", { incompat: 0x181 }),
];

/** Words in an order that a generator gives: compresses to a third or so. */
function text(size: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let state = seed * 2654435761 + 1;
  const next = (below: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % below;
  };
  for (let at = 0; at < size; ) {
    const word = next(300);
    for (let i = 0; i < 2 + (word % 9) && at < size; i++) bytes[at++] = 97 + ((word * (i + 3)) % 26);
    if (at < size) bytes[at++] = next(12) === 0 ? 10 : 32;
  }
  return bytes;
}

function noise(size: number, seed: number): Uint8Array {
  let state = seed + 1;
  return Uint8Array.from({ length: size }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state >>> 24;
  });
}

function concat(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** A tree in which every option finds something to do. */
function sampleTree(): Directory {
  const root = directory(attributes(0o755, { mtime: 1_700_000_000_123_456_789n }));
  const file = (path: string, content: Uint8Array, own = attributes(0o644)): void =>
    putNode(root, fromUtf8(path), regularFile(own, bytesSource(content)));
  const xattrs = (entries: Record<string, string>) =>
    attributes(0o640, {
      uid: 70_000,
      mtime: 1_600_000_000_000_000_001n,
      xattrs: new Map(Object.entries(entries).map(([name, value]) => [fromUtf8(name), Buffer.from(value)])),
    });
  for (const size of [1, 31, 511, 512, 513, 2000, 4095, 4096, 4097, 8191, 12_000, 65_535, 65_536, 65_537, 200_000]) {
    file(`text/${size}`, text(size, size));
    file(`noise/${size}`, noise(size, size));
    file(`zeros/${size}`, new Uint8Array(size));
  }
  const large = text(1_500_000, 1);
  file("large/text", large);
  file("large/the same with a byte in front", concat(Uint8Array.of(1), large));
  file("large/mixed", concat(text(300_000, 2), noise(100_001, 2), new Uint8Array(150_000), text(50_000, 3)));
  file("large/zeros between", concat(text(5000, 4), new Uint8Array(300_000), noise(5000, 4)));
  for (let i = 0; i < 60; i++) file(`small/${i}`, concat(text(i * 50, 5), text(i % 7, i)));
  for (let i = 0; i < 700; i++) file(`wide/${"n".repeat(20 + (i % 40))} ${i}`, new Uint8Array(0));
  for (let i = 0; i < 40; i++)
    putNode(root, fromUtf8(`links/${i}`), symlink(attributes(0o777), fromUtf8("l".repeat(1 + i * 90))));
  for (let i = 0; i < 12; i++)
    file(
      `xattrs/${i}`,
      text(i * 100, i),
      xattrs({
        "user.a.rather.long.prefix.of a name": `value ${i % 3}`,
        "user.same for all": "x".repeat(100),
        "trusted.overlay.opaque": "y",
        [`user.own ${i}`]: "z".repeat(i * 40),
      }),
    );
  const linked = regularFile(attributes(0o600), bytesSource(text(30_000, 9)));
  for (const name of ["a", "b", "c"]) putNode(root, fromUtf8(`hard links/${name}`), linked);
  return root;
}

/** Parts of every file, small and out of order, as they are in the whole. */
async function assertPartsFit(root: Directory): Promise<void> {
  let seed = 1;
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
    return (seed >>> 4) % below;
  };
  for (const { path, node } of walkTree(root)) {
    if (node.type !== "file" || node.content.size === 0) continue;
    const { content } = node;
    const whole = await content.read(0, content.size);
    for (let i = 0; i < 8; i++) {
      const start = random(content.size);
      const length = random(Math.min(content.size - start, 20_000) + 1);
      const part = await content.read(start, length);
      assert.ok(Buffer.compare(part, whole.subarray(start, start + length)) === 0, `${path}: ${length} at ${start}`);
    }
  }
}

test("images of mkfs.erofs with each of its options read as the kernel reads them", async (t) => {
  const tools = requireMount(t);
  const mkfs = requireOracle(t, "mkfs.erofs", { from: "tools" });
  if (tools === undefined || mkfs === undefined) return;
  const where = await folder(t);
  const input = join(where, "input");
  const sink = memorySink();
  await writeErofs(sampleTree(), sink, { tails: "inline" });
  await writeFile(input, sink.bytes());
  await withMount(tools, input, async (from) => {
    for (const [number, { options, incompat = 0, compat = 0, hasBlob = false }] of SETS.entries()) {
      await t.test(`${options.join(" ")}${hasBlob ? " with a blob device" : ""}`, async () => {
        const image = join(where, `image ${number}`);
        const blob = join(where, `blob ${number}`);
        await mkfs.ok(["-d1", "--quiet", ...options, ...(hasBlob ? [`--blobdev=${blob}`] : []), image, from]);
        await using source = await openFile(image);
        await using device = hasBlob ? await openFile(blob) : undefined;
        const devices = device === undefined ? [] : [device as OpenSource];
        const opened = await openErofs(source, { devices });
        assert.equal(opened.superblock.featureIncompat & incompat, incompat, "incompatible features");
        assert.equal(opened.superblock.featureCompat & compat, compat, "compatible features");
        const root = await readTree(opened);
        let loop: string | undefined;
        if (hasBlob) {
          const losetup = requireOracle(t, "losetup", { from: "host" });
          assert.ok(losetup);
          loop = (await losetup.ok(["--find", "--show", "--read-only", blob])).stdout.trim();
        }
        try {
          const seen = await withMount(
            tools,
            image,
            (at) => seenByKernel(tools.python, at),
            loop === undefined ? [] : [`device=${loop}`],
          );
          assertSame(seen, await expected(root), options.join(" "));
        } finally {
          if (loop !== undefined) await requireOracle(t, "losetup", { from: "host" })?.ok(["--detach", loop]);
        }
        await assertPartsFit(root);
        for await (const { inode } of walkErofs(opened)) {
          let at = 0;
          for await (const extent of opened.extents(inode)) {
            assert.equal(extent.at, at);
            at += extent.size;
          }
          if (inode.type === "file") assert.equal(at, inode.size, bytesOf(fromUtf8("x")).toString());
        }
        await rm(image);
      });
    }
  });
});
