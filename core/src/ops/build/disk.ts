/** Lays the parts out on a disk: partition tables, ESP, the sealed pair in slot A, an empty slot B, room for /var. */
import { emitFat, planFat } from "../../formats/fat/index.ts";
import {
  type Designator,
  encodeGpt,
  type GptPartition,
  PARTITION_FLAGS,
  partitionType,
  partitionUuidsFromRootHash,
} from "../../formats/gpt/index.ts";
import type { Hashes } from "../../hash/index.ts";
import type { RandomSink, Source } from "../../source/index.ts";
import type { Directory } from "../../tree/index.ts";
import { type CopyOptions, copySource } from "../artifacts.ts";
import { type Identity, partitionLabels } from "../release/identity.ts";
import { productSeed, productUuid } from "../seal/product.ts";
import type { Architecture } from "./architecture.ts";
import type { Extent, Geometry } from "./geometry.ts";

/** Label of a slot that holds nothing (sysupdate.d(5)). */
export const EMPTY_LABEL = "_empty";
const ESP_LABEL = "esp";
const VAR_LABEL = "var";
/** FAT labels are upper case by custom; firmware menus show this one. */
const ESP_VOLUME_LABEL = "ESP";

export interface DiskInput {
  readonly geometry: Geometry;
  readonly identity: Identity;
  readonly architecture: Architecture;
  readonly rootHash: Uint8Array;
  readonly root: Source;
  readonly hashDevice: Source;
  readonly esp: Directory;
}

/** The partition table. UUIDs that the root hash does not give belong to the product, so that they outlive releases. */
export function planPartitions(input: Omit<DiskInput, "root" | "hashDevice" | "esp">, hashes: Hashes): GptPartition[] {
  const { geometry, identity, architecture, rootHash } = input;
  const sealed = partitionUuidsFromRootHash(rootHash);
  const labels = partitionLabels(identity);
  const { readOnly, growFileSystem, noAuto } = PARTITION_FLAGS;
  // Stock tools take any root they find; systemd 252 even fails on a signature partition that holds none.
  const empty = readOnly | noAuto;

  function partition(
    designator: Designator,
    { start, size }: Extent,
    name: string,
    uuid: { readonly is: string } | { readonly madeFrom: string },
    attributes: bigint,
  ): GptPartition {
    return {
      typeGuid: partitionType(designator, architecture.systemd),
      partitionGuid: "is" in uuid ? uuid.is : productUuid(hashes, identity.imageId, `partition ${uuid.madeFrom}`),
      start,
      size,
      attributes,
      name,
    };
  }

  const { esp, slotA, slotB, variable } = geometry;
  return [
    partition("esp", esp, ESP_LABEL, { madeFrom: "esp" }, 0n),
    partition("root", slotA.root, labels.root, { is: sealed.root }, readOnly),
    partition("root-verity", slotA.verity, labels.verity, { is: sealed.verity }, readOnly),
    partition("root-verity-sig", slotA.signature, EMPTY_LABEL, { madeFrom: "a root-verity-sig" }, empty),
    partition("root", slotB.root, EMPTY_LABEL, { madeFrom: "b root" }, empty),
    partition("root-verity", slotB.verity, EMPTY_LABEL, { madeFrom: "b root-verity" }, empty),
    partition("root-verity-sig", slotB.signature, EMPTY_LABEL, { madeFrom: "b root-verity-sig" }, empty),
    partition("var", variable, VAR_LABEL, { madeFrom: "var" }, growFileSystem),
  ];
}

/** Writes the whole disk into `sink`; what stays zero is not written. */
export async function layoutDisk(
  input: DiskInput,
  sink: RandomSink,
  hashes: Hashes,
  options: CopyOptions = {},
): Promise<void> {
  const { geometry, identity } = input;
  const gpt = encodeGpt({
    sectorSize: geometry.sectorSize,
    diskSize: geometry.diskSize,
    diskGuid: productUuid(hashes, identity.imageId, "disk"),
    partitions: planPartitions(input, hashes),
  });
  const volumeSeed = productSeed(hashes, identity.imageId, "esp volume");
  const esp = planFat({
    tree: input.esp,
    size: geometry.esp.size,
    sectorSize: geometry.sectorSize,
    volumeId: new DataView(volumeSeed.buffer, volumeSeed.byteOffset).getUint32(0),
    label: ESP_VOLUME_LABEL,
  });
  await sink.writeAt(0, gpt.primary);
  await emitFat(esp, sink, { ...options, at: geometry.esp.start });
  await copySource(input.root, sink, geometry.slotA.root.start, options);
  await copySource(input.hashDevice, sink, geometry.slotA.verity.start, options);
  await sink.writeAt(gpt.backup.offset, gpt.backup.bytes);
}
