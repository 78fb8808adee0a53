// `ashlar status --json` for programs that know bootc's, and for those that know ours: the fields that bootc's published schema of
// `org.containers.bootc/v1` has (host-v1.schema.json, September 2026), and every field of `ashlar.status/v1`.
import assert from "node:assert/strict";
import { test } from "node:test";
import * as v from "valibot";
import { machineStatus, recordBoot, rollback, upgrade } from "../../core/src/ops/machine/index.ts";
import { fleet } from "../support/fleet.ts";

const Nullable = <S extends v.GenericSchema>(schema: S) => v.nullable(schema);
const Text = v.pipe(v.string(), v.nonEmpty());
const Time = v.pipe(Text, v.isoTimestamp());
const Count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const Hex = v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/));
const Digest = v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/));

const ImageReference = v.strictObject({
  image: Text,
  transport: Text,
  signature: Nullable(v.picklist(["containerPolicy", "insecure"])),
});

const ImageStatus = v.strictObject({
  image: ImageReference,
  version: Nullable(Text),
  timestamp: Nullable(Time),
  imageDigest: Digest,
  architecture: Text,
});

const BootEntry = v.strictObject({
  image: Nullable(ImageStatus),
  cachedUpdate: v.null(),
  incompatible: v.boolean(),
  pinned: v.boolean(),
  softRebootCapable: v.boolean(),
  downloadOnly: v.boolean(),
  store: v.null(),
  ostree: v.null(),
  composefs: v.null(),
});

const Release = v.strictObject({
  slot: Nullable(v.picklist(["a", "b"])),
  imageVersion: Nullable(Text),
  rootHash: Nullable(Hex),
  entry: Nullable(Text),
  state: v.picklist(["good", "trial", "bad", "set-back", "downloaded", "no-entry", "unknown"]),
  triesLeft: Nullable(Count),
  triesDone: Nullable(Count),
  manifest: Nullable(Digest),
  reference: Nullable(Text),
  verified: Nullable(
    v.strictObject({
      at: Time,
      channel: Nullable(Text),
      signatures: v.array(v.strictObject({ key: Digest, form: Text, name: v.optional(Text) })),
    }),
  ),
  etc: v.array(Text),
});

const Outcome = v.strictObject({
  at: Time,
  verb: Text,
  result: Text,
  message: Text,
  imageVersion: v.optional(Text),
  code: v.optional(Text),
});

const Ashlar = v.strictObject({
  schema: v.literal("ashlar.status/v1"),
  at: Time,
  seen: v.union([v.picklist(["live", "never"]), Time]),
  agentVersion: Text,
  imageId: Nullable(Text),
  imageVersion: Nullable(Text),
  architecture: Text,
  root: Nullable(
    v.strictObject({
      rootHash: Hex,
      from: v.picklist(["kernel", "command-line"]),
      verity: v.picklist(["verified", "corrupted", "unknown"]),
      disk: Nullable(Text),
    }),
  ),
  firmware: v.strictObject({
    secureBoot: v.picklist(["enabled", "disabled", "unknown"]),
    loader: Nullable(Text),
    stub: Nullable(Text),
    selectedEntry: Nullable(Text),
  }),
  booted: Nullable(Release),
  staged: Nullable(Release),
  rollback: Nullable(Release),
  downloaded: Nullable(v.strictObject({ imageVersion: Text, at: Time })),
  slots: v.array(
    v.strictObject({
      name: v.picklist(["a", "b"]),
      running: v.boolean(),
      rootHash: v.optional(Hex),
      label: v.string(),
      size: Count,
    }),
  ),
  next: Nullable(Text),
  esp: Nullable(v.strictObject({ place: Text, free: Count, readOnly: v.boolean() })),
  source: Nullable(
    v.strictObject({
      kind: v.picklist(["channel", "reference"]),
      reference: Text,
      root: v.optional(Text),
      from: v.picklist(["image", "local", "switch"]),
      fixed: v.boolean(),
    }),
  ),
  freshness: v.strictObject({ lastFresh: Nullable(Time), age: Nullable(Count) }),
  underway: Nullable(v.strictObject({ verb: Text, step: Text, at: Time, imageVersion: v.optional(Text) })),
  lastCheck: Nullable(Outcome),
  lastResult: Nullable(Outcome),
  refused: v.array(
    v.strictObject({
      manifest: v.optional(Digest),
      rootHash: Hex,
      uki: v.optional(Digest),
      imageVersion: Text,
      why: v.picklist(["failed", "rolled-back"]),
      message: Text,
      at: Time,
    }),
  ),
  problems: v.array(v.strictObject({ code: Text, message: Text })),
});

/** bootc's, with ours beside it: its schema leaves room for fields that it does not know. */
const Host = v.strictObject({
  apiVersion: v.literal("org.containers.bootc/v1"),
  kind: v.literal("BootcHost"),
  metadata: v.strictObject({ name: v.literal("host") }),
  spec: v.strictObject({ image: Nullable(ImageReference), bootOrder: v.picklist(["default", "rollback"]) }),
  status: v.strictObject({
    staged: Nullable(BootEntry),
    booted: Nullable(BootEntry),
    rollback: Nullable(BootEntry),
    otherDeployments: v.array(BootEntry),
    rollbackQueued: v.boolean(),
    type: Nullable(v.literal("bootcHost")),
    usrOverlay: v.null(),
  }),
  ashlar: Ashlar,
});

test("in every state of a machine the status has the shape that is promised", async () => {
  const one = await fleet();
  const { machine, environment } = one;
  const check = async () => {
    const json = JSON.parse(JSON.stringify(await machineStatus(machine)));
    const result = v.safeParse(Host, json);
    assert.ok(result.success, JSON.stringify(result.issues?.map((issue) => [v.getDotPath(issue), issue.message])));
    return result.output;
  };
  const boot = async (good: boolean) => {
    await machine.boot();
    await recordBoot(machine);
    if (good) await machine.bless();
  };
  const fresh = await check();
  assert.equal(fresh.status.booted?.image, null); // nobody has fetched what was installed
  assert.equal(fresh.spec.image?.transport, "registry");
  await one.release("2");
  await upgrade(machine, environment, { mode: "download" });
  const downloaded = await check();
  assert.equal(downloaded.ashlar.downloaded?.imageVersion, "2");
  assert.deepEqual([downloaded.status.staged?.downloadOnly, downloaded.status.staged?.image?.version], [true, "2"]);
  assert.equal(downloaded.status.rollback, null);
  await upgrade(machine, environment);
  const staged = await check();
  assert.equal(staged.status.staged?.image?.version, "2");
  assert.equal(staged.status.staged?.image?.imageDigest, one.repository.tagged.get("2"));
  await boot(false);
  await check();
  await boot(true);
  assert.equal((await check()).status.booted?.image?.image.image, "registry.example/os:stable");
  await rollback(machine);
  const back = await check();
  assert.deepEqual([back.spec.bootOrder, back.status.rollbackQueued, back.status.staged], ["rollback", true, null]);
  assert.equal(back.ashlar.rollback?.imageVersion, "1");
  await boot(true);
  assert.equal((await check()).ashlar.refused.length, 1);
  machine.privileged = false;
  assert.equal((await check()).ashlar.root?.from, "kernel"); // as somebody with privileges saw it
  machine.volatile.files.clear();
  const unseen = (await check()).ashlar;
  assert.deepEqual([unseen.seen, unseen.root?.from], ["never", "command-line"]);
  machine.privileged = true;
  one.repository.tagged.delete("stable");
  await assert.rejects(upgrade(machine, environment));
  assert.equal((await check()).ashlar.lastResult?.code, "no-such-image");
});

test("a machine that runs something else says so in the same shape", async () => {
  const one = await fleet();
  const facts = { ...(await one.machine.facts()), root: undefined, imageId: undefined, imageVersion: undefined };
  const status = await machineStatus({ ...one.machine, facts: async () => facts });
  const result = v.safeParse(Host, JSON.parse(JSON.stringify(status)));
  assert.ok(result.success);
  assert.deepEqual([status.status.type, status.status.booted, status.ashlar.root], [null, null, null]);
});
