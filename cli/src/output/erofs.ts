/** Layout of EROFS images as lines. */
import type { ByteRun, InodeDump, SpaceDump, SuperblockDump } from "@ashlar/core/formats/erofs";
import { formatTimestamp } from "./listing.ts";

const pad = (name: string): string => `  ${name.padEnd(20)} `;

export function superblockLines(superblock: SuperblockDump): string[] {
  const { blockSize, blockCount, packedNid, metaboxNid, volumeName, xattrBlock, deviceSizes, algorithms } = superblock;
  const rows: readonly (readonly [name: string, value: string | undefined])[] = [
    ["size", `${blockCount} blocks of ${blockSize} bytes, ${blockCount * blockSize} in all`],
    ["inodes", String(superblock.inodeCount)],
    ["root", `inode ${superblock.rootNid}`],
    ["packed inode", packedNid === null ? undefined : `inode ${packedNid}`],
    ["metabox", metaboxNid === null ? undefined : `inode ${metaboxNid}`],
    ["metadata", `from block ${superblock.metaBlock} on`],
    ["shared xattrs", xattrBlock === 0 ? undefined : `from block ${xattrBlock} on`],
    ["time", formatTimestamp(BigInt(superblock.epoch))],
    ["UUID", superblock.uuid],
    ["name", volumeName === "" ? undefined : volumeName],
    ["features", superblock.features.join(", ") || "none"],
    ["algorithms", algorithms.length === 0 ? undefined : algorithms.join(", ")],
    ...deviceSizes.map((size, i) => [`device ${i + 1}`, `${size} bytes`] as const),
  ];
  return ["superblock", ...rows.flatMap(([name, value]) => (value === undefined ? [] : [pad(name) + value]))];
}

export function spaceLines(
  { space, counts, contentBytes, deviceBytes }: SpaceDump,
  { blockSize, blockCount }: Pick<SuperblockDump, "blockSize" | "blockCount">,
): string[] {
  const total = blockSize * blockCount;
  const width = String(total).length;
  const share = (bytes: number): string => `${((100 * bytes) / total).toFixed(2).padStart(6)} %`;
  return [
    "inodes",
    ...Object.entries(counts).map(([type, count]) => pad(type) + String(count).padStart(width)),
    "bytes",
    ...space.map(({ kind, bytes }) => `${pad(kind)}${String(bytes).padStart(width)} ${share(bytes)}`),
    `${pad("the image")}${String(total).padStart(width)}`,
    ...(deviceBytes === 0 ? [] : [`${pad("on further devices")}${String(deviceBytes).padStart(width)}`]),
    `${pad("content of files")}${String(contentBytes).padStart(width)} ${share(contentBytes)}`,
  ];
}

export function inodeLines(inode: InodeDump): string[] {
  const { path, nid, isInMetabox, type, mode, uid, gid, links, size, storedSize, layout, inodeSize, xattrSize } = inode;
  const number = `inode ${nid}${isInMetabox ? " of the metabox" : ""}`;
  const head = `${path}: ${number}, ${type}, mode ${mode}, owner ${uid}:${gid}, ${links} ${links === 1 ? "link" : "links"}`;
  return [
    head,
    `  ${layout}, ${size} bytes in ${storedSize}, inode of ${inodeSize} bytes, xattrs of ${xattrSize}, ${formatTimestamp(BigInt(inode.mtime))}`,
    ...inode.extents.map((extent) => `  ${extentLine(extent)}`),
  ];
}

function extentLine(extent: InodeDump["extents"][number]): string {
  const { at, size, encoding, space, device, start, storedSize, isInline, isPartial } = extent;
  const content = `${at}..${at + size}`.padEnd(24);
  if (space === "none") return `${content} hole`;
  const place = space === "device" ? (device === 0 ? "" : `device ${device}, `) : `${space}, `;
  const notes = [isInline ? "inline" : "", isPartial ? "partial" : ""].filter((note) => note !== "");
  return `${content} ${encoding.padEnd(10)} ${place}${start}..${start + storedSize}${notes.length === 0 ? "" : ` (${notes.join(", ")})`}`;
}

export function runLine({ start, size, kind, owner, claims }: ByteRun): string {
  const shared = claims > 1 ? `, and ${claims - 1} more` : "";
  return `${String(start).padStart(14)} ${String(size).padStart(12)}  ${kind.padEnd(16)} ${owner ?? ""}${shared}`.trimEnd();
}
