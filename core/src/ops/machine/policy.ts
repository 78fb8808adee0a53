/**
 * How a machine updates itself: TOML under /usr/lib/ashlar, sealed with the image, and under /etc/ashlar, the machine's own.
 * Of source and trust what is sealed wins, so that nothing that is written on a machine widens whom it trusts. When it looks,
 * fetches and reboots is its owner's to say, as with systemd's drop-ins.
 */
import { parse } from "smol-toml";
import * as v from "valibot";
import { decodeUtf8Strict, oneLine } from "../../bytes/index.ts";
import { FormatError, isAshlarError } from "../../errors/index.ts";
import { parseWindow, type Window } from "./schedule.ts";

/** Bytes of one file, and files that are read. */
export const MAX_POLICY_FILE = 64 * 1024;
export const MAX_POLICY_FILES = 64;
export const SEALED_POLICY_FOLDER = "/usr/lib/ashlar";
export const LOCAL_POLICY_FOLDER = "/etc/ashlar";

const UNITS: Readonly<Record<string, number>> = { s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };
/** Days: longer than that is a typing mistake. */
const MAX_DAYS = 366;

/** `90s`, `30min`, `6h`, `1d` → milliseconds; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const [, count = "", unit = ""] = /^(\d{1,9})\s?(s|min|h|d)$/.exec(text) ?? [];
  const time = Number(count) * (UNITS[unit] ?? Number.NaN);
  return time <= MAX_DAYS * 86_400_000 ? time : undefined;
}

const Text = v.pipe(v.string(), v.nonEmpty(), v.maxLength(1024));
const Texts = v.pipe(v.array(Text), v.maxLength(64));
const Duration = v.pipe(
  v.string(),
  v.check((text) => parseDuration(text) !== undefined, "is no time such as 30min, 6h or 1d"),
  v.transform((text) => parseDuration(text) ?? 0),
);

const Windows = v.pipe(
  Texts,
  v.check((texts) => texts.every(isWindow), "has a window that is not like Sat,Sun 02:00-05:00"),
);

function isWindow(text: string): boolean {
  try {
    parseWindow(text);
    return true;
  } catch (error) {
    if (!isAshlarError(error)) throw error;
    return false;
  }
}

const SourceTable = v.pipe(
  v.strictObject({
    channel: v.optional(Text),
    /** File or digest of the channel's root. */
    root: v.optional(Text),
    reference: v.optional(Text),
    /** `ashlar switch` may not lead elsewhere. */
    fixed: v.optional(v.boolean()),
  }),
  v.check(
    ({ channel, reference }) => channel === undefined || reference === undefined,
    "names a channel and a reference",
  ),
  v.check(({ channel, root }) => channel !== undefined || root === undefined, "has the root of no channel"),
);

const TrustTable = v.strictObject({
  keys: v.optional(Texts),
  policy: v.optional(Text),
  identity: v.optional(Text),
  unsigned: v.optional(v.picklist(["refuse", "accept"])),
});

const PolicyFile = v.strictObject({
  source: v.optional(SourceTable),
  trust: v.optional(TrustTable),
  check: v.optional(
    v.strictObject({ interval: v.optional(Duration), jitter: v.optional(Duration), windows: v.optional(Windows) }),
  ),
  update: v.optional(v.strictObject({ mode: v.optional(v.picklist(["check", "download", "stage"])) })),
  reboot: v.optional(
    v.strictObject({ policy: v.optional(v.picklist(["never", "window"])), windows: v.optional(Windows) }),
  ),
  etc: v.optional(v.strictObject({ conflicts: v.optional(v.picklist(["refuse", "keep-local", "take-image"])) })),
  health: v.optional(
    v.strictObject({ timeout: v.optional(Duration), "failed-units": v.optional(v.picklist(["ignore", "fail"])) }),
  ),
});
type PolicyFile = v.InferOutput<typeof PolicyFile>;

export interface PolicySource {
  readonly kind: "channel" | "reference";
  readonly reference: string;
  /** File or digest of the channel's root. */
  readonly root: string | undefined;
  readonly from: "image" | "local";
}

export interface UpdatePolicy {
  readonly source: PolicySource | undefined;
  readonly fixedSource: boolean;
  readonly trust: {
    /** Files of public keys. */
    readonly keys: readonly string[];
    /** File of a policy.json. */
    readonly policy: string | undefined;
    readonly identity: string | undefined;
    readonly unsigned: "refuse" | "accept";
    readonly from: "image" | "local" | "default";
  };
  readonly check: {
    /** Milliseconds. */
    readonly interval: number;
    /** Milliseconds; a machine looks that much later at most. */
    readonly jitter: number;
    /** Looks only then; always where there is none. */
    readonly windows: readonly Window[];
  };
  readonly mode: "check" | "download" | "stage";
  readonly reboot: { readonly policy: "never" | "window"; readonly windows: readonly Window[] };
  readonly etc: { readonly conflicts: "refuse" | "keep-local" | "take-image" };
  readonly health: { readonly timeout: number; readonly failedUnits: "ignore" | "fail" };
}

export interface PolicyText {
  /** For errors: the path. */
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** Errors: FormatError `bad-policy`. */
function parseFile({ path, bytes }: PolicyText): PolicyFile {
  const fail = (reason: string, cause?: unknown): never => {
    throw new FormatError("bad-policy", `${path}: ${reason}`, { path, cause });
  };
  if (bytes.length > MAX_POLICY_FILE) fail(`has ${bytes.length} bytes, more than ${MAX_POLICY_FILE}`);
  const text = decodeUtf8Strict(bytes);
  if (text === undefined) return fail("is not UTF-8");
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    return fail(oneLine((cause as Error).message.split("\n", 1)[0] ?? ""), cause);
  }
  const result = v.safeParse(PolicyFile, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  return fail(`${oneLine(v.getDotPath(issue) ?? "file")}: ${oneLine(issue.message)}`);
}

/** Later files win over earlier ones, key by key; source and trust as a whole, since half of one means nothing. */
function merge(files: readonly PolicyFile[]): PolicyFile {
  const merged: Record<string, unknown> = {};
  for (const file of files)
    for (const [table, values] of Object.entries(file)) {
      if (values === undefined || Object.keys(values).length === 0) continue; // a heading alone says nothing
      const isWhole = table === "source" || table === "trust";
      merged[table] = isWhole ? values : { ...(merged[table] as object | undefined), ...values };
    }
  return merged as PolicyFile;
}

/**
 * All that the image trusts is the root of its channel: to follow anything else would be to trust somebody else, on the word of
 * what lies on /var, which nothing seals.
 */
function isSoleTrust({ source, trust }: PolicyFile): boolean {
  return source?.root !== undefined && trust === undefined;
}

const HOUR = 3_600_000;

/** What holds. Files in the order of their names. Errors: FormatError `bad-policy`. */
export function readPolicyFiles(sealed: readonly PolicyText[], local: readonly PolicyText[]): UpdatePolicy {
  const image = merge(sealed.map(parseFile));
  const own = merge(local.map(parseFile));
  const both = merge([image, own]);
  const sourceTable = image.source ?? own.source;
  const reference = sourceTable?.channel ?? sourceTable?.reference;
  const source: PolicySource | undefined =
    sourceTable === undefined || reference === undefined
      ? undefined
      : {
          kind: sourceTable.channel === undefined ? "reference" : "channel",
          reference,
          root: sourceTable.root,
          from: image.source === undefined ? "local" : "image",
        };
  const trust = image.trust ?? own.trust;
  return {
    source,
    fixedSource: image.source?.fixed ?? isSoleTrust(image),
    trust: {
      keys: trust?.keys ?? [],
      policy: trust?.policy,
      identity: trust?.identity,
      unsigned: trust?.unsigned ?? "refuse",
      from: image.trust !== undefined ? "image" : own.trust !== undefined ? "local" : "default",
    },
    check: {
      interval: both.check?.interval ?? 6 * HOUR,
      jitter: both.check?.jitter ?? HOUR,
      windows: (both.check?.windows ?? []).map(parseWindow),
    },
    mode: both.update?.mode ?? "stage",
    reboot: { policy: both.reboot?.policy ?? "never", windows: (both.reboot?.windows ?? []).map(parseWindow) },
    etc: { conflicts: both.etc?.conflicts ?? "keep-local" },
    health: { timeout: both.health?.timeout ?? 60_000, failedUnits: both.health?.["failed-units"] ?? "ignore" },
  };
}
