/** Local changes of /etc, on their way from the release that runs to the one that is staged. */
import { openErofs } from "../../formats/erofs/index.ts";
import type { BlockHasher } from "../../hash/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import type { Directory } from "../../tree/index.ts";
import {
  type CarriedEtc,
  carryEtc,
  checkCarry,
  describeConflict,
  type GenerationStore,
  sealedEtc,
  whileItMoves,
} from "../etc/index.ts";
import type { Device, Slot, StageOptions } from "../update/index.ts";
import type { MachineHost } from "./host.ts";
import type { UpdatePolicy } from "./policy.ts";
import { type KnownRelease, withEtc, withRelease } from "./record.ts";
import { type Run, withRun } from "./run.ts";
import { type FindRelease, sealedRoot } from "./sealed-root.ts";

type Environment = { readonly blockHasher: BlockHasher } & ReadOptions;
type Named = Pick<KnownRelease, "rootHash" | "imageId" | "imageVersion">;

/**
 * Sealed /etc of what a slot holds, every block checked against the root hash when it is read.
 * @param findRelease where what the disk does not give back is to be had
 */
export async function etcOfSlot(
  device: Device,
  slot: Slot,
  rootHash: string,
  hasher: BlockHasher,
  findRelease?: FindRelease,
): Promise<Directory> {
  return sealedEtc(await openErofs(await sealedRoot(device, slot, rootHash, hasher, findRelease)));
}

export interface EtcCarrier extends Pick<StageOptions, "onRoot" | "beforeEntry"> {
  /** What was found; undefined before staging, and where /etc does not last. */
  carried(): CarriedEtc | undefined;
}

/**
 * Conflicts are looked for before anything is written, and the layer of the new release is there before it can boot: a power cut
 * must not start it without what this machine is. Where /etc lies in memory there is nothing to carry.
 */
export async function etcCarrier(
  run: Run,
  next: Named,
  { etc: { conflicts } }: UpdatePolicy,
  { blockHasher, signal }: Environment,
  findRunning?: FindRelease,
): Promise<EtcCarrier> {
  const store = await run.host.generations();
  if (store === undefined) return { carried: () => undefined };
  const { device } = run.disk;
  const { running, inactive } = run.pair;
  const runningHash = run.facts.root?.rootHash ?? "";
  const base = await etcOfSlot(device, running, runningHash, blockHasher, findRunning);
  let carried: CarriedEtc | undefined;
  return {
    carried: () => carried,
    async onRoot(root) {
      const sealed = await sealedEtc(await openErofs(root));
      const check = async () =>
        checkCarry({ base, upper: await store.readUpper(runningHash), next: sealed }, await store.free(), {
          conflicts,
          signal,
        });
      carried = await whileItMoves(check, signal);
    },
    async beforeEntry() {
      if (next.rootHash === runningHash) return; // another UKI for the same root has the same /etc
      const tree = await etcOfSlot(device, inactive, next.rootHash, blockHasher);
      const options = { conflicts, signal, now: run.now };
      carried = await carryEtc(store, { rootHash: runningHash, tree: base }, { ...next, tree }, options);
    },
  };
}

/** What people should know of it, a line each. */
export function describeCarried(carried: CarriedEtc | undefined): string[] {
  return [...(carried?.clashes ?? []), ...(carried?.conflicts ?? [])].map(describeConflict);
}

/** Milliseconds: an upgrade that is stopped by the same shutdown lets go within this time. */
const SHUTDOWN_WAIT = 60_000;

/**
 * At shutdown: what changed in /etc since the release was staged goes along too. Nothing where nothing is staged that would boot.
 * Errors: those of `carryEtc`, and of every run.
 */
export function carryPendingEtc(host: MachineHost, environment: Environment): Promise<CarriedEtc | undefined> {
  return withRun(host, "carry-etc", carry, { wait: SHUTDOWN_WAIT, withoutEsp: true });

  async function carry(run: Run): Promise<CarriedEtc | undefined> {
    const { pending, releases } = run.record();
    if (pending?.state !== "staged") return undefined;
    // Only what was staged here: what somebody goes back to has a generation of its own.
    const known = releases.findLast(({ manifest }) => manifest === pending.manifest);
    if (known === undefined || pending.back === true || run.pair.inactive.rootHash !== pending.rootHash)
      return undefined;
    const carrier = await etcCarrier(run, known, await run.policy(), environment);
    await carrier.beforeEntry?.();
    const carried = carrier.carried();
    await run.save(withRelease(run.record(), withEtc(known, describeCarried(carried))));
    return carried;
  }
}

/** Generations of roots that are on the disk no longer. Returns their names. */
export async function obsoleteGenerations(run: Run, store: GenerationStore): Promise<string[]> {
  const kept = new Set([
    run.facts.root?.rootHash,
    run.record().pending?.rootHash,
    ...run.slots.slots.map(({ rootHash }) => rootHash),
  ]);
  return (await store.list()).filter((name) => !kept.has(name));
}
