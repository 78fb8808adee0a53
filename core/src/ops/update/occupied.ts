/**
 * Whether there is something on a disk that somebody may want to keep. Anything but zeros at either end counts, known or
 * not: no list of signatures is complete.
 */
import { byteString, isZero } from "../../bytes/index.ts";
import { RawMbr, RawMbrPartition, SECTOR_SIZES } from "../../formats/gpt/index.ts";
import type { Source } from "../../source/index.ts";

/** Bytes at the start and the end of a disk that belong to no partition, as we lay them out. */
export const EDGE_SIZE = 1024 * 1024;

/** What is told by name: bytes at a place, as `/usr/share/misc/magic` and libblkid have them. */
const SIGNATURES: readonly (readonly [name: string, offset: number, magic: string])[] = [
  ["a GPT", 512, "EFI PART"],
  ["a GPT", 4096, "EFI PART"],
  ["a LUKS volume", 0, "LUKS\xba\xbe"],
  ["an LVM volume", 512, "LABELONE"],
  ["a RAID member", 4096, "\xfc\x4e\x2b\xa9"],
  ["an ext file system", 1080, "\x53\xef"],
  ["an XFS file system", 0, "XFSB"],
  ["a Btrfs file system", 65600, "_BHRfS_M"],
  ["an EROFS file system", 1024, "\xe2\xe1\xf5\xe0"],
  ["a squashfs file system", 0, "hsqs"],
  ["an ISO 9660 file system", 32769, "CD001"],
  ["swap space", 4086, "SWAPSPACE2"],
  ["an NTFS file system", 3, "NTFS    "],
  ["an exFAT file system", 3, "EXFAT   "],
  ["a FAT file system", 82, "FAT32   "],
  ["a FAT file system", 54, "FAT1"],
  ["a verity hash device", 0, "verity\0\0"],
];

function hasMbrPartitions(head: Uint8Array): boolean {
  const mbr = RawMbr.view(head);
  const records = [mbr.partition0, mbr.partition1, mbr.partition2, mbr.partition3];
  return mbr.signature === 0xaa55 && records.some((record) => RawMbrPartition.view(record).osType !== 0);
}

/** What there is, in words; undefined for a blank disk. `disk` has twice EDGE_SIZE at least. */
export async function whatIsOn(disk: Source): Promise<string | undefined> {
  const head = await disk.read(0, EDGE_SIZE);
  if (isZero(head)) {
    const tail = await disk.read(disk.size - EDGE_SIZE, EDGE_SIZE);
    if (isZero(tail)) return undefined;
    const isGpt = SECTOR_SIZES.some((size) => byteString(tail.subarray(-size).subarray(0, 8)) === "EFI PART");
    return isGpt ? "a GPT" : "data at its end";
  }
  const known = SIGNATURES.find(
    ([, offset, magic]) => byteString(head.subarray(offset, offset + magic.length)) === magic,
  );
  if (known !== undefined) return known[0];
  return hasMbrPartitions(head) ? "an MBR partition table" : "data of an unknown kind";
}
