/**
 * The status of a machine as one document: in the shape of bootc's `org.containers.bootc/v1`, so that tools that know that
 * find what they look for, with what Ashlar knows beside it under `ashlar`.
 */
import { isAshlarError } from "../../errors/index.ts";
import { believedTime, type MachineFacts } from "./facts.ts";
import type { MachineHost } from "./host.ts";
import { readPolicyFiles, type UpdatePolicy } from "./policy.ts";
import { type AgentRecord, type RefusedRelease, type RunOutcome, readRecord, type UnderwayRun } from "./record.ts";
import { readSavedView } from "./saved-view.ts";
import { releasesOf, type StatusRelease } from "./status-releases.ts";
import { type TrackedSource, trackedSource } from "./tracked-source.ts";
import { settleInterrupted } from "./underway.ts";
import { type MachineView, type Problem, type SlotView, viewDisk } from "./view.ts";

export const STATUS_SCHEMA = "ashlar.status/v1";

interface ImageReference {
  readonly image: string;
  readonly transport: string;
  /** What is asked of signatures; null where keys of our own are asked for, which that schema has no word for. */
  readonly signature: "containerPolicy" | "insecure" | null;
}

interface BootcEntry {
  readonly image: {
    readonly image: ImageReference;
    readonly version: string | null;
    readonly timestamp: string | null;
    readonly imageDigest: string;
    readonly architecture: string;
  } | null;
  readonly cachedUpdate: null;
  readonly incompatible: boolean;
  readonly pinned: boolean;
  readonly softRebootCapable: boolean;
  readonly downloadOnly: boolean;
  readonly store: null;
  readonly ostree: null;
  readonly composefs: null;
}

export interface AshlarStatus {
  readonly schema: typeof STATUS_SCHEMA;
  readonly at: string;
  /** `live`, or when somebody with privileges looked last. */
  readonly seen: string;
  readonly agentVersion: string;
  readonly imageId: string | null;
  readonly imageVersion: string | null;
  readonly architecture: string;
  readonly root: {
    readonly rootHash: string;
    readonly from: "kernel" | "command-line";
    readonly verity: "verified" | "corrupted" | "unknown";
    readonly disk: string | null;
  } | null;
  readonly firmware: {
    readonly secureBoot: "enabled" | "disabled" | "unknown";
    readonly loader: string | null;
    readonly stub: string | null;
    readonly selectedEntry: string | null;
  };
  readonly booted: StatusRelease | null;
  readonly staged: StatusRelease | null;
  readonly rollback: StatusRelease | null;
  /** Fully there but for its entry. */
  readonly downloaded: { readonly imageVersion: string; readonly at: string } | null;
  readonly slots: readonly SlotView[];
  readonly next: string | null;
  readonly esp: MachineView["esp"] | null;
  readonly source: (TrackedSource & { readonly fixed: boolean }) | null;
  readonly freshness: {
    readonly lastFresh: string | null;
    /** Seconds since then. */
    readonly age: number | null;
  };
  /** A run that changes the machine just now. */
  readonly underway: UnderwayRun | null;
  readonly lastCheck: RunOutcome | null;
  /** `interrupted` where the last run was killed. */
  readonly lastResult: RunOutcome | null;
  readonly refused: readonly RefusedRelease[];
  readonly problems: readonly Problem[];
}

export interface Status {
  readonly apiVersion: "org.containers.bootc/v1";
  readonly kind: "BootcHost";
  readonly metadata: { readonly name: "host" };
  readonly spec: { readonly image: ImageReference | null; readonly bootOrder: "default" | "rollback" };
  readonly status: {
    readonly staged: BootcEntry | null;
    readonly booted: BootcEntry | null;
    readonly rollback: BootcEntry | null;
    readonly otherDeployments: readonly BootcEntry[];
    readonly rollbackQueued: boolean;
    readonly type: "bootcHost" | null;
    readonly usrOverlay: null;
  };
  readonly ashlar: AshlarStatus;
}

/** Looks, as far as the caller may; changes nothing. Throws what the host throws where not even that can be read. */
export async function machineStatus(host: MachineHost): Promise<Status> {
  const facts = await host.facts();
  const problems: Problem[] = [];
  const now = believedTime(host.clock(), facts);
  const { record, damage } = await readRecord(host.records);
  if (damage !== undefined) problems.push({ code: "record", message: `what the agent remembers: ${damage}` });
  let policy: UpdatePolicy | undefined;
  try {
    const files = await host.policyFiles();
    policy = readPolicyFiles(files.sealed, files.local);
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    problems.push({ code: "policy", message: error.message });
  }
  const { view, seen } = await look(host, facts, problems);
  const isBusy = record.underway !== undefined && (await host.isLocked());
  return describeStatus({ facts, view, seen, record, isBusy, policy, problems, now });
}

async function look(
  host: MachineHost,
  facts: MachineFacts,
  problems: Problem[],
): Promise<{ readonly view: MachineView | undefined; readonly seen: string }> {
  const { root } = facts;
  if (root === undefined) return { view: undefined, seen: "live" };
  if (root.from === "kernel")
    try {
      const disk = await host.openDisk(root, "read");
      try {
        const { view, esp } = await viewDisk(facts, disk);
        await esp?.close();
        return { view, seen: "live" };
      } finally {
        await disk.close();
      }
    } catch (error) {
      if (!isAshlarError(error)) throw error;
      problems.push({ code: "disk", message: error.message });
      return { view: undefined, seen: "live" };
    }
  const saved = await readSavedView(host, facts);
  return { view: saved?.view, seen: saved?.at ?? "never" };
}

export interface StatusFacts {
  readonly facts: MachineFacts;
  readonly view: MachineView | undefined;
  readonly seen: string;
  readonly record: AgentRecord;
  /** Whether somebody changes the machine now. */
  readonly isBusy: boolean;
  /** Undefined where it cannot be read. */
  readonly policy: UpdatePolicy | undefined;
  readonly problems: readonly Problem[];
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Pure: what the facts mean. */
export function describeStatus(found: StatusFacts): Status {
  const { facts, view, seen, policy, problems, now } = found;
  const { underway } = found.record;
  const record = found.isBusy ? found.record : settleInterrupted(found.record, "").record;
  const root = view?.facts.root ?? facts.root;
  const source = policy === undefined ? undefined : trackedSource(policy, record);
  const signature = signatureRule(policy);
  const { booted, staged, rollback } = releasesOf(view, record, facts);
  const isRollbackNext = view?.next !== undefined && rollback?.entry === view.next;
  const bootc = (release: StatusRelease | null) =>
    release === null ? null : bootcEntry(release, facts.architecture, signature);
  const { pending } = record;
  const isMachine = root !== undefined;
  return {
    apiVersion: "org.containers.bootc/v1",
    kind: "BootcHost",
    metadata: { name: "host" },
    spec: {
      image: source === undefined ? null : imageReference(source.reference, signature),
      bootOrder: isRollbackNext ? "rollback" : "default",
    },
    status: {
      staged: bootc(staged),
      booted: isMachine ? bootc(booted) : null,
      rollback: bootc(rollback),
      otherDeployments: [],
      rollbackQueued: isRollbackNext,
      type: isMachine ? "bootcHost" : null,
      usrOverlay: null,
    },
    ashlar: {
      schema: STATUS_SCHEMA,
      at: new Date(now).toISOString(),
      seen,
      agentVersion: facts.agentVersion,
      imageId: facts.imageId ?? null,
      imageVersion: facts.imageVersion ?? null,
      architecture: facts.architecture,
      root:
        root === undefined
          ? null
          : {
              rootHash: root.rootHash,
              from: root.from,
              verity: root.corrupted === undefined ? "unknown" : root.corrupted ? "corrupted" : "verified",
              disk: root.disk ?? null,
            },
      firmware: {
        secureBoot:
          facts.loader.secureBoot === undefined ? "unknown" : facts.loader.secureBoot ? "enabled" : "disabled",
        loader: facts.loader.loader ?? null,
        stub: facts.loader.stub ?? null,
        selectedEntry: facts.loader.selectedEntry ?? null,
      },
      booted,
      staged,
      rollback,
      downloaded: pending?.state === "downloaded" ? { imageVersion: pending.imageVersion, at: pending.at } : null,
      slots: view?.slots ?? [],
      next: view?.next ?? null,
      esp: view?.esp ?? null,
      source: source === undefined ? null : { ...source, fixed: policy?.fixedSource ?? false },
      freshness: {
        lastFresh: record.lastFresh ?? null,
        age:
          // One that is still to come was written by a clock that was wrong.
          record.lastFresh === undefined || Date.parse(record.lastFresh) > now
            ? null
            : Math.floor((now - Date.parse(record.lastFresh)) / 1000),
      },
      underway: (found.isBusy ? underway : undefined) ?? null,
      lastCheck: record.lastCheck ?? null,
      lastResult: record.lastResult ?? null,
      refused: record.refused,
      problems: [...problems, ...(view?.problems ?? [])],
    },
  };
}

function signatureRule(policy: UpdatePolicy | undefined): ImageReference["signature"] {
  if (policy?.trust.policy !== undefined) return "containerPolicy";
  return policy !== undefined && policy.trust.keys.length === 0 && policy.trust.unsigned === "accept"
    ? "insecure"
    : null;
}

/** `oci:DIR:TAG` has its transport in front, as bootc writes them; a registry's is called `registry` there. */
function imageReference(reference: string, signature: ImageReference["signature"]): ImageReference {
  const [, transport, image] = /^(oci|oci-archive):(.*)$/s.exec(reference) ?? [];
  if (transport !== undefined && image !== undefined) return { image, transport, signature };
  return { image: reference.replace(/^docker:\/\//, ""), transport: "registry", signature };
}

function bootcEntry(release: StatusRelease, architecture: string, signature: ImageReference["signature"]): BootcEntry {
  const { manifest, reference, imageVersion, state } = release;
  return {
    // What was not fetched by this machine, as what it was installed with, has no digest that it knows.
    image:
      manifest === null || reference === null
        ? null
        : {
            image: imageReference(reference, signature),
            version: imageVersion,
            timestamp: null,
            imageDigest: manifest,
            architecture,
          },
    cachedUpdate: null,
    incompatible: false,
    pinned: false,
    softRebootCapable: false,
    downloadOnly: state === "downloaded",
    store: null,
    ostree: null,
    composefs: null,
  };
}
