import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { encodeUtf8, fromUtf8, toHex } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { bytesSource, memorySink, readAll } from "../../source/index.ts";
import { attributes, type Directory, directory, getNode, putNode, regularFile, walkTree } from "../../tree/index.ts";
import { RawBootSector, RawEntry, RawLongName } from "./format.ts";
import { emitFat, type FatOptions, fatSource, minimumFatSize, openFat, planFat } from "./index.ts";
import { foldName, shortNames } from "./names.ts";

const SMALL = 40 * 2 ** 20; // bytes; clusters of 512

function treeOf(files: Readonly<Record<string, Uint8Array | string>>): Directory {
  const root = directory(attributes(0o755));
  for (const [path, content] of Object.entries(files)) {
    const bytes = typeof content === "string" ? encodeUtf8(content) : content;
    putNode(root, fromUtf8(path), regularFile(attributes(0o644), bytesSource(bytes)));
  }
  return root;
}

function options(tree: Directory, values: Partial<FatOptions> = {}): FatOptions {
  return { tree, size: SMALL, sectorSize: 512, volumeId: 0x1234abcd, label: "ESP", ...values };
}

async function contents(root: Directory): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const { path, node } of walkTree(root)) {
    if (node.type === "directory") found.set(path, "directory");
    else if (node.type === "file") found.set(path, toHex(await readAll(node.content, 2 ** 24, path)));
  }
  return found;
}

const FILES = {
  "EFI/BOOT/BOOTX64.EFI": new Uint8Array(100_000).fill(7),
  "EFI/Linux/debian_13.2+3.efi": new Uint8Array(2_000_000).map((_, i) => i % 251),
  "EFI/Linux/debian_13.1.efi": new Uint8Array(4096).fill(1),
  "loader/loader.conf": "editor no\n",
  "loader/empty": "",
  "grüße, 世界 🎉.txt": "hello",
};

describe("FAT32", () => {
  test("a tree comes back as it was", async () => {
    const tree = treeOf(FILES);
    for (const [size, sectorSize] of [
      [SMALL, 512],
      [300 * 2 ** 20, 512],
      [2 ** 30, 512],
      [2 ** 30, 4096],
    ] as const) {
      const plan = planFat(options(tree, { size, sectorSize }));
      const volume = await openFat(fatSource(plan));
      assert.deepEqual(await contents(volume.root), await contents(tree));
      assert.equal(volume.label, "ESP");
      assert.equal(volume.volumeId, 0x1234abcd);
      assert.equal(volume.clusterCount - volume.usedClusters, plan.freeClusters);
      assert.equal(plan.dataStart % 4096, 0);
      for (const file of plan.files) if (file.size >= 4096) assert.equal(file.offset % 4096, 0);
    }
  });

  test("what is emitted is what the source says, forward, and costs its content only", async () => {
    const plan = planFat(options(treeOf({ ...FILES, hole: new Uint8Array(8_000_000) }), { size: 2 ** 30 }));
    const sink = memorySink();
    let written = 0;
    let end = 0;
    await emitFat(plan, {
      async writeAt(offset, bytes) {
        assert.ok(offset >= end);
        end = offset + bytes.length;
        written += bytes.length;
        await sink.writeAt(offset, bytes);
      },
    });
    assert.ok(written < 2_250_000, `${written} bytes written`);
    const bytes = sink.bytes();
    assert.deepEqual(Buffer.from(await fatSource(plan).read(0, bytes.length)).equals(bytes), true);
  });

  test("times are clamped and alike", async () => {
    const at = async (time?: bigint) => {
      const { root } = await openFat(fatSource(planFat(options(treeOf({ a: "x" }), { time }))));
      return getNode(root, "a")?.mtime;
    };
    const seconds = (iso: string) => BigInt(Date.parse(iso)) * 1_000_000n;
    assert.equal(await at(), seconds("1980-01-01T00:00:00Z"));
    assert.equal(await at(seconds("2026-03-04T05:06:08Z")), seconds("2026-03-04T05:06:08Z"));
    assert.equal(await at(-(10n ** 30n)), seconds("1980-01-01T00:00:00Z"));
    assert.equal(await at(10n ** 30n), seconds("2107-12-31T23:59:58Z"));
  });

  test("short names", () => {
    const shorts = (...names: string[]) => shortNames(names).map(({ packed, exact }) => packed + (exact ? "!" : ""));
    assert.deepEqual(shorts("BOOTX64.EFI", "Linux", "a.b"), ["BOOTX64 EFI!", "LINUX      ", "A       B  "]);
    assert.deepEqual(shorts("LOADER~1.CON", "loader.conf", "loader.config"), [
      "LOADER~1CON!",
      "LOADER~2CON",
      "LOADER~3CON",
    ]);
    assert.deepEqual(shorts(".profile", "a+b", "x.tar.gz"), ["PROFIL~1   ", "A_B~1      ", "XTAR~1  GZ "]);
    const many = shorts(...Array.from({ length: 1200 }, (_, i) => `a long name ${i}`));
    assert.equal(new Set(many).size, 1200);
    assert.equal(many[1199], "ALO~1200   ");
    assert.equal(foldName("straße"), "STRAßE");
  });

  test("a directory of many entries", async () => {
    const tree = treeOf(
      Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`d/a long file name ${i}`, `${i}`])),
    );
    const volume = await openFat(fatSource(planFat(options(tree))));
    assert.deepEqual(await contents(volume.root), await contents(tree));
  });

  test("what FAT cannot hold is refused", () => {
    const refused = (code: string, tree: Directory, values: Partial<FatOptions> = {}) =>
      assert.throws(
        () => planFat(options(tree, values)),
        (error) => isAshlarError(error) && error.code === code && !error.message.includes("\n"),
      );
    for (const name of ["a:b", "end.", "end ", " start", "x".repeat(256), "tab\t", "back\\slash"])
      refused("fat-name", treeOf({ [`d/${name}`]: "" }));
    refused("fat-name-clash", treeOf({ "d/One": "", "d/oNE": "" }));
    refused("fat-label", treeOf({}), { label: "lower" });
    refused("fat-size", treeOf({}), { size: minimumFatSize(512) - 4096 });
    refused("fat-size", treeOf({}), { size: minimumFatSize(4096) - 4096, sectorSize: 4096 });
    refused("fat-size", treeOf({}), { size: SMALL + 1 });
    refused("no-space", treeOf({ big: new Uint8Array(SMALL) }));
    const file = { size: 2 ** 32, read: () => Promise.reject(new Error("not read")) };
    refused("fat-file-size", directory(attributes(0), [[fromUtf8("a"), regularFile(attributes(0), file)]]));
    refused("fat-node", directory(attributes(0), [[fromUtf8("a"), { type: "fifo", ...attributes(0) }]]));
    for (const sectorSize of [512, 4096] as const)
      planFat(options(treeOf({}), { size: minimumFatSize(sectorSize), sectorSize }));
  });

  test("any names and contents come back", async () => {
    const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 }).map((text) =>
      text
        .replace(/[\p{Cc}"*/:<>?\\|]/gu, "_")
        .replace(/[. ]$/, "_")
        .replace(/^ /, "_"),
    );
    const unique = fc.uniqueArray(name, { maxLength: 30, selector: foldName });
    await fc.assert(
      fc.asyncProperty(unique, fc.uint8Array({ maxLength: 5000 }), async (names, bytes) => {
        const tree = treeOf(Object.fromEntries(names.map((text, i) => [`${i % 3}/${text}`, bytes.subarray(i)])));
        const volume = await openFat(fatSource(planFat(options(tree))));
        assert.deepEqual(await contents(volume.root), await contents(tree));
      }),
      { numRuns: 40 },
    );
  });
});

describe("FAT32, hostile", () => {
  // Small, since thousands of variants are read whole.
  const plan = planFat(options(treeOf({ ...FILES, "EFI/Linux/debian_13.2+3.efi": new Uint8Array(6000).fill(3) })));

  async function openPatched(at: number, patch: Uint8Array): Promise<unknown> {
    const whole = fatSource(plan);
    return openFat({
      size: whole.size,
      async read(offset, length) {
        const bytes = (await whole.read(offset, length)).slice();
        for (let i = 0; i < patch.length; i++) {
          const position = at + i - offset;
          if (position >= 0 && position < length) bytes[position] = patch[i]!;
        }
        return bytes;
      },
    }).then(async ({ root }) => {
      for (const { node } of walkTree(root))
        if (node.type === "file") await node.content.read(0, Math.min(node.content.size, 8192));
    });
  }

  async function valueOrOurs(at: number, patch: Uint8Array): Promise<void> {
    try {
      await openPatched(at, patch);
    } catch (error) {
      if (!isAshlarError(error)) throw error;
      assert.ok(!error.message.includes("\n"));
    }
  }

  function* boundaries(size: number): Generator<Uint8Array> {
    const values = [0n, 1n, 2n, 3n, 0x7fn, 0x80n, 0xffn, 0x0ffffff7n, 0x0ffffff8n, (1n << BigInt(8 * size)) - 1n];
    for (const value of values) {
      const bytes = new Uint8Array(8);
      new DataView(bytes.buffer).setBigUint64(0, value, true);
      yield bytes.subarray(0, Math.min(size, 8));
    }
  }

  test("every field of boot sector and directory entries at its limits", async () => {
    for (const field of Object.values(RawBootSector.fields))
      for (const patch of boundaries(field.size)) await valueOrOurs(field.offset, patch);
    for (let entry = 0; entry < 8; entry++)
      for (const field of [...Object.values(RawEntry.fields), ...Object.values(RawLongName.fields)])
        for (const patch of boundaries(field.size))
          await valueOrOurs(plan.dataStart + entry * 32 + field.offset, patch);
  });

  test("every FAT entry at its limits", async () => {
    for (let cluster = 0; cluster < 40; cluster++)
      for (const patch of boundaries(4)) await valueOrOurs(plan.fatStart + cluster * 4, patch);
  });

  test("loops, cross-links, short chains and foreign formats are told apart", async () => {
    const u32 = (value: number) => Uint8Array.of(value, value >> 8, value >> 16, value >> 24);
    const chain = (error: unknown) => isAshlarError(error) && error.code === "fat-chain";
    const uki = plan.files.find(({ path }) => path.includes("13.2"));
    assert.ok(uki);
    const cluster = 2 + (uki.offset - plan.dataStart) / plan.clusterSize;
    await assert.rejects(openPatched(plan.fatStart + 4 * 2, u32(2)), chain);
    await assert.rejects(openPatched(plan.fatStart + 4 * (cluster + 1), u32(cluster)), chain);
    await assert.rejects(openPatched(plan.fatStart + 4 * (cluster + 1), u32(3)), chain);
    await assert.rejects(openPatched(plan.fatStart + 4 * (cluster + 1), u32(0x0fffffff)), chain);
    await assert.rejects(openPatched(plan.fatStart + 4 * (cluster + 1), u32(0)), chain);
    await assert.rejects(openFat(bytesSource(new Uint8Array(4096))), { code: "bad-fat" });
    await assert.rejects(openFat(bytesSource(new Uint8Array(100))), { code: "truncated" });
    await assert.rejects(openPatched(22, u32(9)), { code: "fat-type" });
    await assert.rejects(openFat(bytesSource(await fatSource(plan).read(0, 2 ** 20))), { code: "truncated" });
  });

  test("noise in the metadata", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 4096 }),
        fc.constantFrom(0, plan.fatStart, plan.dataStart),
        fc.uint8Array({ minLength: 1, maxLength: 64 }),
        async (at, base, patch) => valueOrOurs(base + at, patch),
      ),
      { numRuns: 300 },
    );
  });
});
