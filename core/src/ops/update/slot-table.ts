/** What the partition table says of a slot: free, or holding a root. Backup table first, so that one of the two always counts. */
import type { Uuid } from "../../bytes/index.ts";
import { IntegrityError } from "../../errors/index.ts";
import {
  type GptChange,
  type GptWrite,
  PARTITION_FLAGS,
  partitionType,
  partitionUuidsFromRootHash,
  planGptEdit,
} from "../../formats/gpt/index.ts";
import type { Hashes } from "../../hash/index.ts";
import type { Architecture } from "../build/architecture.ts";
import { EMPTY_LABEL } from "../build/disk.ts";
import { partitionLabels } from "../release/identity.ts";
import { productUuid } from "../seal/product.ts";
import type { Device } from "./device.ts";
import type { Slot } from "./slots.ts";
import type { System } from "./system.ts";

const { readOnly, noAuto } = PARTITION_FLAGS;

/** Nothing finds a root in the slot afterwards, neither by UUID nor by type. */
export async function markFree(
  device: Device,
  slot: Slot,
  architecture: Architecture["systemd"],
  imageId: string,
  hashes: Hashes,
): Promise<void> {
  const free = (kind: "root" | "root-verity" | "root-verity-sig", number: number): GptChange => ({
    number,
    typeGuid: partitionType(kind, architecture),
    partitionGuid: productUuid(hashes, imageId, `partition ${slot.name} ${kind}`),
    attributes: readOnly | noAuto,
    name: EMPTY_LABEL,
  });
  const changes = [free("root", slot.root.number), free("root-verity", slot.verity.number)];
  if (slot.signature !== undefined) changes.push(free("root-verity-sig", slot.signature.number));
  await editTable(device, changes);
}

/** The slot holds the root from now on. */
export async function markFilled(
  device: Device,
  slot: Slot,
  architecture: Architecture["systemd"],
  { rootHash, ...identity }: Pick<System, "rootHash" | "imageId" | "imageVersion">,
): Promise<void> {
  const uuids = partitionUuidsFromRootHash(rootHash);
  const labels = partitionLabels(identity);
  const filled = (kind: "root" | "root-verity", number: number, partitionGuid: Uuid, name: string): GptChange => ({
    number,
    typeGuid: partitionType(kind, architecture),
    partitionGuid,
    attributes: readOnly,
    name,
  });
  await editTable(device, [
    filled("root", slot.root.number, uuids.root, labels.root),
    filled("root-verity", slot.verity.number, uuids.verity, labels.verity),
  ]);
}

/** Writes nothing where both tables say so already. */
async function editTable(device: Device, changes: readonly GptChange[]): Promise<void> {
  const edit = await planGptEdit(device, changes);
  if (edit.isDone) return;
  for (const writes of [edit.repair, edit.backup, edit.primary]) {
    if (writes.length === 0) continue;
    await writeAll(device, writes);
  }
  await device.dropCache();
  if (!(await planGptEdit(device, changes)).isDone)
    throw new IntegrityError("write-mismatch", `${device.name}: the partition tables do not read back`, {
      path: device.name,
    });
}

async function writeAll(device: Device, writes: readonly GptWrite[]): Promise<void> {
  for (const { offset, bytes } of writes) await device.writeAt(offset, bytes);
  await device.flush();
}
