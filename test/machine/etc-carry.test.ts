import assert from "node:assert/strict";
import { test } from "node:test";
import type { ByteString } from "../../core/src/bytes/index.ts";
import { decodeUtf8 } from "../../core/src/bytes/index.ts";
import { FormatError, PolicyError, SourceError } from "../../core/src/errors/index.ts";
import {
  type ConflictPolicy,
  carryEtc,
  checkCarry,
  type GenerationStore,
  readCarried,
} from "../../core/src/ops/etc/carry.ts";
import { overlayView } from "../../core/src/ops/etc/layer.ts";
import { etcLayerOf } from "../../core/src/ops/etc/mount.ts";
import { attributes, type Directory, directory, type Node } from "../../core/src/tree/index.ts";
import { file, linesOf } from "../support/etc-trees.ts";

const tree = (entries: Record<string, Node>): Directory =>
  directory(attributes(0o755), Object.entries(entries) as [ByteString, Node][]);

const FREE = 1_000_000;
const [V1, V2] = ["1".repeat(64), "2".repeat(64)] as const;

function memoryStore(uppers: Record<string, Directory>) {
  const files = new Map<string, Uint8Array>();
  const store: GenerationStore = {
    list: async () => Object.keys(uppers),
    async readUpper(rootHash) {
      const upper = uppers[rootHash];
      if (upper === undefined) throw new SourceError("not-found", "no such generation");
      return upper;
    },
    readFile: async (rootHash, name) => files.get(`${rootHash}/${name}`),
    async put(rootHash, upper, more) {
      uppers[rootHash] = upper;
      for (const [name, bytes] of Object.entries(more)) files.set(`${rootHash}/${name}`, bytes);
    },
    free: async () => FREE,
    async remove(rootHash) {
      delete uppers[rootHash];
    },
  };
  return { store, uppers, files };
}

const base = tree({ a: file("1"), b: file("1"), c: file("1") });
const next = tree({ a: file("1"), b: file("2"), c: file("2"), d: file("new") });
const options = (conflicts: ConflictPolicy) => ({ conflicts, now: Date.parse("2026-11-23T10:00:00Z") });
const named = { rootHash: V2, imageId: "os", imageVersion: "2", tree: next };
const running = { rootHash: V1, tree: base };

test("a generation is made from the one that runs, and says what of", async () => {
  const { store, uppers, files } = memoryStore({ [V1]: tree({ a: file("mine"), b: file("mine") }) });
  const { entries, conflicts } = await carryEtc(store, running, named, options("keep-local"));
  assert.deepEqual([entries, conflicts.map(({ path }) => path)], [2, ["/etc/b"]]);
  assert.deepEqual(
    await linesOf(overlayView(next, uppers[V2]!)),
    await linesOf(tree({ a: file("mine"), b: file("mine"), c: file("2"), d: file("new") })),
  );
  assert.equal(
    decodeUtf8(files.get(`${V2}/base`)!),
    `IMAGE_ID=os\nIMAGE_VERSION=2\nROOT_HASH=${V2}\nCARRIED_FROM=${V1}\n`,
  );
  const record = await readCarried(store, V2);
  assert.deepEqual([record?.from, record?.at, record?.conflicts], [V1, "2026-11-23T10:00:00.000Z", conflicts]);
  assert.equal(await readCarried(store, V1), undefined);
});

test("an update of the UKI alone carries nothing: the generation is the same", async () => {
  const { store, files } = memoryStore({ [V1]: tree({ a: file("mine") }) });
  await carryEtc(store, running, { ...named, rootHash: V1, tree: base }, options("keep-local"));
  assert.equal(files.size, 0);
});

test("the policy says what becomes of conflicts; refused is before anything is written", async () => {
  const upper = tree({ b: file("mine") });
  const trees = { base, upper, next };
  const refused = (error: unknown) =>
    error instanceof PolicyError &&
    error.code === "etc-conflicts" &&
    error.message.includes("/etc/b: changed here and");
  await assert.rejects(checkCarry(trees, FREE, options("refuse")), refused);
  assert.equal((await checkCarry(trees, FREE, options("keep-local"))).conflicts.length, 1);
  const { store, uppers } = memoryStore({ [V1]: upper });
  await carryEtc(store, running, named, options("take-image"));
  assert.equal(uppers[V2]!.entries.size, 0);
});

test("a layer that /var has no room for is refused before anything is written", async () => {
  const trees = { base, upper: tree({ large: file("x".repeat(100_000)) }), next };
  await assert.rejects(
    checkCarry(trees, 100_000, options("keep-local")),
    (error) => error instanceof PolicyError && error.code === "var-full",
  );
  assert.equal((await checkCarry(trees, 120_000, options("keep-local"))).entries, 1);
});

test("a clash of account numbers is refused whatever the policy", async () => {
  const trees = {
    base: tree({ group: file("") }),
    upper: tree({ group: file("ann:x:999:\n") }),
    next: tree({ group: file("svc:x:999:\n") }),
  };
  for (const policy of ["refuse", "keep-local", "take-image"] as const)
    await assert.rejects(
      checkCarry(trees, FREE, options(policy)),
      (error) => error instanceof PolicyError && error.code === "etc-clash",
    );
});

test("a file that changes while it is carried is read again", async () => {
  const { store, uppers } = memoryStore({ [V1]: tree({ a: file("mine") }) });
  let failures = 2;
  const moving: GenerationStore = {
    ...store,
    async readUpper(rootHash) {
      if (failures-- > 0) throw new SourceError("changed", "a: changed while it was read");
      return store.readUpper(rootHash);
    },
  };
  await carryEtc(moving, running, named, options("keep-local"));
  assert.equal(uppers[V2]!.entries.size, 1);
  failures = 100;
  await assert.rejects(carryEtc(moving, running, named, options("keep-local")), SourceError);
});

test("a record that was tampered with is an error of ours", async () => {
  const { store, files } = memoryStore({});
  for (const text of [
    "",
    "{",
    "[]",
    '{"schema":"ashlar.etc-carried/v2"}',
    '{"schema":"ashlar.etc-carried/v1","from":1}',
  ]) {
    files.set(`${V1}/carried.json`, new TextEncoder().encode(text));
    await assert.rejects(readCarried(store, V1), FormatError);
  }
});

test("the layer over /etc is known from the kernel's table of mounts", () => {
  const line = (place: string, type: string, source: string, options: string) =>
    `61 28 0:40 / ${place} rw,relatime shared:5 master:1 - ${type} ${source} rw,${options}\n`;
  const upper = (path: string) => `lowerdir=/sysroot/etc,upperdir=${path},workdir=/w,index=off`;
  const persistent = line("/etc", "overlay", "ashlar-etc", upper(`/sysroot/var/lib/ashlar/etc/${V1}/upper`));
  assert.deepEqual(etcLayerOf(persistent), { kind: "persistent", rootHash: V1 });
  const transient = line("/etc", "overlay", "ashlar-etc", upper("/run/ashlar/etc/upper"));
  assert.deepEqual(etcLayerOf(transient), { kind: "transient" });
  const covered = `${persistent}${line("/etc", "overlay", "confext", "lowerdir=/a:/b")}`;
  assert.deepEqual(etcLayerOf(covered), { kind: "persistent", rootHash: V1 });
  assert.deepEqual(etcLayerOf(line("/etc", "overlay", "other", upper(`/var/lib/ashlar/etc/${V1}/upper`))), {
    kind: "none",
  });
  assert.deepEqual(etcLayerOf("garbage\n\n61 28\n"), { kind: "none" });
});
