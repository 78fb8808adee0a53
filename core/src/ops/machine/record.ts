/**
 * What the agent remembers between its runs: one document under /var/lib/ashlar/agent, written as a whole or not at all.
 * It decides nothing alone: what boots is on the ESP, what runs is in the kernel. Losing it loses memory, not the machine.
 */
import * as v from "valibot";
import { encodeUtf8 } from "../../bytes/index.ts";
import { FormatError, isAshlarError } from "../../errors/index.ts";
import { checkDocument, parseDocument } from "../../formats/oci/index.ts";
import { type ClientState, encodeClientState, parseClientState } from "../channel/index.ts";

export const RECORD_SCHEMA = "ashlar.agent-record/v1";
export const RECORD_FILE = "record.json";

/** Entries of each list: more than a machine sees in years; the oldest go first. */
const MAX_RELEASES = 16;
const MAX_FAILED = 64;
const MAX_CHANNELS = 8;
/** Lines about /etc that are kept of a release; `ashlar etc diff` has all of them. */
const MAX_ETC_LINES = 20;
/** Characters of any text in it. */
const MAX_TEXT = 4096;

/** A place where records are kept; each file appears whole and lasts. */
export interface RecordStore {
  /** Undefined where there is none. */
  read(name: string): Promise<Uint8Array | undefined>;
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** Keeps what cannot be read out of the way, for people to look at. */
  setAside(name: string): Promise<void>;
  /** Names of what is there. */
  list(): Promise<readonly string[]>;
  /** Nothing where it is not there. */
  remove(name: string): Promise<void>;
}

const Text = v.pipe(v.string(), v.maxLength(MAX_TEXT));
const Hex64 = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const DigestText = v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/));
/** RFC 3339 in UTC. */
const TimeText = v.pipe(
  Text,
  v.check((text) => !Number.isNaN(Date.parse(text)), "is not a time"),
);
const Count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const Source = v.object({
  kind: v.picklist(["channel", "reference"]),
  reference: Text,
  /** Fingerprint of the channel's root that is trusted. */
  root: v.optional(DigestText),
});

const Signature = v.object({ key: DigestText, form: Text, name: v.optional(Text) });

const Release = v.object({
  rootHash: Hex64,
  /** Of the UKI's bytes. */
  uki: DigestText,
  imageId: Text,
  imageVersion: Text,
  architecture: Text,
  /** Of the release in its repository. */
  manifest: DigestText,
  reference: Text,
  /** Of its file on the ESP, without counter and `.efi`; tells two UKIs of one root apart. */
  entry: v.optional(Text),
  /** Of the channel that led to it. */
  epoch: v.optional(Count),
  /** Whom it was accepted from: the signatures of a reference, or a channel. */
  signatures: v.array(Signature),
  channel: v.optional(v.object({ name: Text, id: DigestText })),
  verifiedAt: TimeText,
  /** What machine and image disagreed on in /etc when it was staged, a line each. */
  etc: v.optional(v.array(Text)),
});

const Pending = v.object({
  /** Undefined for what was on the disk when it was installed. */
  manifest: v.optional(DigestText),
  rootHash: Hex64,
  uki: v.optional(DigestText),
  imageVersion: Text,
  /** `downloaded`: everything but the entry of the boot loader is there. */
  state: v.picklist(["downloaded", "staged"]),
  at: TimeText,
  /** Of its file on the ESP, without counter and `.efi`; undefined until that has its name. */
  entry: v.optional(Text),
  /** The boot in which it was staged; only a later one says anything of it. */
  bootId: Text,
  /** Of what is downloaded: under which source and trust it was accepted, and until when its channel's word of it is fresh. */
  conditions: v.optional(DigestText),
  until: v.optional(TimeText),
  /** Somebody goes back to it, and it was on the disk. */
  back: v.optional(v.literal(true)),
  /** The last boot in which it ran on trial. */
  triedIn: v.optional(Text),
});

const Refused = v.object({
  manifest: v.optional(DigestText),
  rootHash: Hex64,
  uki: v.optional(DigestText),
  imageVersion: Text,
  /** `failed`: it was booted and did not become good; `rolled-back`: somebody went back from it. */
  why: v.picklist(["failed", "rolled-back"]),
  message: Text,
  at: TimeText,
});

const Underway = v.object({
  verb: Text,
  /** What is being done: `look`, or a step of staging. */
  step: Text,
  /** When that began. */
  at: TimeText,
  imageVersion: v.optional(Text),
});

const Outcome = v.object({
  at: TimeText,
  /** Of the program: `upgrade`, `switch`, … */
  verb: Text,
  result: v.picklist([
    "current",
    "newer",
    "staged",
    "downloaded",
    "stale",
    "waiting",
    "refused",
    "error",
    "rolled-back",
    "interrupted",
  ]),
  message: Text,
  imageVersion: v.optional(Text),
  /** Of the error. */
  code: v.optional(Text),
});

const RecordSchema = v.object({
  schema: v.literal(RECORD_SCHEMA),
  /** Chosen by `switch`; else the policy's counts. */
  source: v.optional(Source),
  /** By reference; the documents that were seen of each. */
  channels: v.optional(v.record(Text, v.unknown()), {}),
  releases: v.optional(v.array(Release), []),
  pending: v.optional(Pending),
  refused: v.optional(v.array(Refused), []),
  /** Written before each step of a run and taken away at its end: where nobody runs, a run was killed in that step. */
  underway: v.optional(Underway),
  /** The last look at the source, whatever came of it. */
  lastCheck: v.optional(Outcome),
  /** The last run that wanted to change something. */
  lastResult: v.optional(Outcome),
  /** When the source last answered and was fresh. */
  lastFresh: v.optional(TimeText),
});

export type ChosenSource = v.InferOutput<typeof Source>;
export type KnownRelease = v.InferOutput<typeof Release>;
export type PendingRelease = v.InferOutput<typeof Pending>;
export type RefusedRelease = v.InferOutput<typeof Refused>;
export type UnderwayRun = v.InferOutput<typeof Underway>;
export type RunOutcome = v.InferOutput<typeof Outcome>;
export interface AgentRecord extends Omit<v.InferOutput<typeof RecordSchema>, "channels" | "schema"> {
  /** By reference. */
  readonly channels: Readonly<Record<string, ClientState>>;
}

export const EMPTY_RECORD: AgentRecord = { channels: {}, releases: [], refused: [] };

/** Errors: FormatError `bad-record`, `bad-json`, `too-large`, `bad-metadata`. */
export function parseRecord(bytes: Uint8Array, what: string): AgentRecord {
  const raw = checkDocument(RecordSchema, parseDocument(bytes, what), "bad-record", what);
  const channels: Record<string, ClientState> = {};
  for (const [reference, state] of Object.entries(raw.channels)) {
    if (reference === "__proto__") throw new FormatError("bad-record", `${what}: channels: has a name that is none`);
    channels[reference] = parseClientState(encodeUtf8(JSON.stringify(state)), `${what}: channel ${reference}`);
  }
  const { schema: _, ...rest } = raw;
  return { ...rest, channels };
}

export function encodeRecord(record: AgentRecord): Uint8Array {
  const channels = Object.fromEntries(
    Object.entries(record.channels)
      .slice(-MAX_CHANNELS)
      .map(([reference, state]) => [reference, JSON.parse(new TextDecoder().decode(encodeClientState(state)))]),
  );
  const document = {
    schema: RECORD_SCHEMA,
    ...record,
    channels,
    releases: record.releases.slice(-MAX_RELEASES),
    refused: record.refused.slice(-MAX_FAILED),
  };
  return encodeUtf8(`${JSON.stringify(document, null, 2)}\n`);
}

export interface ReadRecord {
  readonly record: AgentRecord;
  /** Why what was there could not be used. */
  readonly damage: string | undefined;
}

/** A record that nobody can read is none: the machine must be able to update all the same, and says so. */
export async function readRecord(store: RecordStore): Promise<ReadRecord> {
  try {
    const bytes = await store.read(RECORD_FILE);
    if (bytes === undefined) return { record: EMPTY_RECORD, damage: undefined };
    return { record: parseRecord(bytes, RECORD_FILE), damage: undefined };
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    return { record: EMPTY_RECORD, damage: error.message };
  }
}

export async function writeRecord(store: RecordStore, record: AgentRecord): Promise<void> {
  await store.write(RECORD_FILE, encodeRecord(record));
}

/** A list with `release` at its end, once. */
export function withRelease(record: AgentRecord, release: KnownRelease): AgentRecord {
  const others = record.releases.filter(({ manifest }) => manifest !== release.manifest);
  return { ...record, releases: [...others, release] };
}

/** @param lines what machine and image disagree on in /etc */
export function withEtc({ etc: _, ...release }: KnownRelease, lines: readonly string[]): KnownRelease {
  const kept = lines.slice(0, MAX_ETC_LINES).map((line) => line.slice(0, MAX_TEXT));
  const more = lines.length - kept.length;
  return lines.length === 0 ? release : { ...release, etc: more === 0 ? kept : [...kept, `and ${more} more`] };
}

export function withRefused(record: AgentRecord, refused: RefusedRelease): AgentRecord {
  const others = record.refused.filter((other) => !isSameRelease(other, refused));
  return { ...record, refused: [...others, refused] };
}

interface Identified {
  readonly manifest?: string | undefined;
  readonly rootHash: string;
  readonly uki?: string | undefined;
}

/** By manifest where both have one; else by what boots: the root and the UKI, since a new UKI alone is another release. */
export function isSameRelease(a: Identified, b: Identified): boolean {
  if (a.manifest !== undefined && b.manifest !== undefined) return a.manifest === b.manifest;
  return a.rootHash === b.rootHash && (a.uki === undefined || b.uki === undefined || a.uki === b.uki);
}
