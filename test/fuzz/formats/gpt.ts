// Partition tables.
import { crc32 } from "../../../core/src/bytes/index.ts";
import {
  checkGpt,
  encodeGpt,
  partitionType,
  planGptEdit,
  RawGptEntry,
  RawGptHeader,
  RawMbr,
} from "../../../core/src/formats/gpt/index.ts";
import { bytesSource } from "../../../core/src/source/index.ts";
import type { Parser } from "../harness.ts";
import { at, binary, every, type Seed } from "./common.ts";

/** Right checksums in both tables. */
function repairGpt(bytes: Uint8Array): void {
  for (const header of [512, bytes.length - 512]) {
    if (header < 512 || header + 512 > bytes.length) continue;
    const view = new DataView(bytes.buffer, header, 512);
    const of = (key: keyof typeof RawGptHeader.fields) => RawGptHeader.fields[key].offset;
    const start = Number(view.getBigUint64(of("entriesLba"), true)) * 512;
    const size = view.getUint32(of("entryCount"), true) * view.getUint32(of("entrySize"), true);
    if (start + size <= bytes.length)
      view.setUint32(of("entriesCrc"), crc32(bytes.subarray(start, start + size)), true);
    view.setUint32(of("headerCrc"), 0, true);
    const length = Math.min(512, view.getUint32(of("headerSize"), true));
    view.setUint32(of("headerCrc"), crc32(bytes.subarray(header, header + length)), true);
  }
}

function gptSeeds(): Seed[] {
  const MIB = 2 ** 20;
  const diskSize = MIB + 512 * 64;
  const guid = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`;
  const { primary, backup } = encodeGpt({
    sectorSize: 512,
    diskSize,
    diskGuid: guid(1),
    partitions: [
      {
        typeGuid: partitionType("esp", "x86-64"),
        partitionGuid: guid(2),
        start: MIB,
        size: 512,
        attributes: 1n,
        name: "esp",
      },
    ],
  });
  const bytes = new Uint8Array(diskSize);
  bytes.set(primary);
  bytes.set(backup.bytes, backup.offset);
  const placements = [
    ...[at(RawMbr, 0), at(RawGptHeader, 512), at(RawGptHeader, diskSize - 512)],
    ...[...every(RawGptEntry, 1024, 2), at(RawGptEntry, backup.offset)],
  ];
  return [{ bytes, placements, repair: repairGpt }];
}

export const GPT_PARSERS: readonly Parser[] = [
  { name: "GPT", mutants: binary(gptSeeds), read: (bytes) => checkGpt(bytesSource(bytes)) },
  { name: "GPT that is edited", mutants: binary(gptSeeds), read: (bytes) => planGptEdit(bytesSource(bytes), []) },
];
