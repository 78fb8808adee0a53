// FAT volumes.
import { concatBytes, copyFields, defineStruct, le } from "../../../core/src/bytes/index.ts";
import { RawBootSector, RawEntry, RawInfoSector, RawLongName } from "../../../core/src/formats/fat/format.ts";
import { fatSource, mendFat, openFat, planFat } from "../../../core/src/formats/fat/index.ts";
import { bytesSource } from "../../../core/src/source/index.ts";
import { attributes, type Directory, directory } from "../../../core/src/tree/index.ts";
import type { Parser } from "../harness.ts";
import { at, b, binary, every, file, readFiles, type Seed, shape, treeOf } from "./common.ts";

/** The volume of a plan with as few sectors as hold it: FAT32 is told by its boot sector, however small it is. */
async function compactFat(tree: Directory): Promise<Uint8Array> {
  const plan = planFat({ tree, size: 40 * 2 ** 20, sectorSize: 512, volumeId: 0x1234abcd, label: "ESP" });
  const source = fatSource(plan);
  const boot = copyFields(RawBootSector, RawBootSector.view(await source.read(0, RawBootSector.size)));
  const clusters = plan.clusterCount - plan.freeClusters + 16;
  const fatSectors = Math.ceil(((clusters + 2) * 4) / 512);
  const head = await source.read(0, boot.reservedSectors * 512);
  const parts = [head, await source.read(plan.fatStart, fatSectors * 512)];
  parts.push(await source.read(plan.dataStart, clusters * plan.clusterSize));
  const bytes = concatBytes(...parts);
  bytes.set(RawBootSector.encode({ ...boot, fatCount: 1, fatSectors, totalSectors: bytes.length / 512 }));
  return bytes;
}

async function fatSeeds(): Promise<Seed[]> {
  const bytes = await compactFat(
    treeOf({
      "EFI/BOOT/BOOTX64.EFI": new Uint8Array(9000).fill(7),
      "EFI/Linux/debian_13.2+3.efi": new Uint8Array(20_000).map((_, i) => i % 251),
      "loader/loader.conf": "editor no\n",
      "loader/empty": "",
      "grüße, 世界 🎉.txt": "hello",
    }),
  );
  const boot = RawBootSector.view(bytes);
  const fat = boot.reservedSectors * 512;
  const data = fat + boot.fatSectors * 512;
  const placements = [at(RawBootSector, 0), at(RawInfoSector, 512), ...every(RawFatWord, fat, 24)];
  for (let entry = 0; entry < 6 * 16; entry++)
    if (bytes[data + 32 * entry] !== 0) {
      const isLong = (bytes[data + 32 * entry + RawEntry.fields.attributes.offset] ?? 0) === 0x0f;
      placements.push(at(isLong ? RawLongName : RawEntry, data + 32 * entry));
    }
  return [{ bytes, placements }];
}

/** A word of the table, which has no structure of its own. */
const RawFatWord = defineStruct("fat.word", 4, { next: le.u32(0) });

/** Directories within directories with long names, and many short ones at the bottom. */
async function deepFat(): Promise<Uint8Array> {
  let tree: Directory = directory(attributes(0o755));
  for (let i = 0; i < 2000; i++) tree.entries.set(b(`F${i}`), file(""));
  for (let i = 0; i < 200; i++) tree = directory(attributes(0o755), [[b("d".repeat(250)), tree]]);
  return compactFat(tree);
}

export const FAT_PARSERS: readonly Parser[] = [
  {
    name: "FAT",
    mutants: binary(fatSeeds),
    async *shapes() {
      yield shape("long paths", await deepFat());
    },
    read: async (bytes) => readFiles((await openFat(bytesSource(bytes))).root),
  },
  {
    name: "FAT that is mended",
    mutants: binary(fatSeeds),
    read: async (bytes) => {
      const volume = Uint8Array.from(bytes);
      const medium = {
        ...bytesSource(volume),
        writeAt: async (offset: number, part: Uint8Array) => volume.set(part, offset),
        flush: async () => {},
      };
      const isFirst = (path: string, other: string) => path < other;
      return mendFat(medium, { dropsAlias: isFirst, dropsBroken: () => true });
    },
  },
];
