/** /etc of the machine that this runs on, and /etc of its image. */
import { UnsupportedError } from "../../errors/index.ts";
import type { BlockHasher } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import type { Directory } from "../../tree/index.ts";
import { architectureOf } from "../build/architecture.ts";
import { type CarriedRecord, overlayView, readCarried } from "../etc/index.ts";
import { readSlots, runningSlot } from "../update/index.ts";
import { etcOfSlot } from "./etc.ts";
import type { MachineHost } from "./host.ts";
import { assertMachine } from "./view.ts";

export interface LocalEtc {
  readonly rootHash: string;
  /** As the image has it, every block checked when it is read. */
  readonly sealed: Directory;
  readonly local: Directory;
  /** What was found when the layer was made by an update. */
  readonly carried: CarriedRecord | undefined;
}

/**
 * Contents can be read while `work` runs. Throws UnsupportedError `not-a-machine`, and `etc-not-persistent` where there is no
 * layer that lasts; what reading throws.
 */
export async function withLocalEtc<T>(
  host: MachineHost,
  { blockHasher, signal }: { readonly blockHasher: BlockHasher } & ReadOptions,
  work: (etc: LocalEtc) => Promise<T>,
): Promise<T> {
  const facts = await host.facts();
  const root = assertMachine(facts);
  const store = await host.generations();
  if (store === undefined)
    throw new UnsupportedError("etc-not-persistent", "/etc of this machine is not kept: it begins anew at every boot", {
      path: "/etc",
    });
  const disk = await host.openDisk(root, "read");
  try {
    const slots = await readSlots(disk.device, architectureOf(facts.architecture).systemd, { signal });
    const { running } = runningSlot(slots, root.rootHash);
    const { rootHash } = root;
    const sealed = await etcOfSlot(disk.device, running, rootHash, blockHasher);
    const local = overlayView(sealed, await store.readUpper(rootHash));
    return await work({ rootHash, sealed, local, carried: await readCarried(store, rootHash) });
  } finally {
    await disk.close();
  }
}
