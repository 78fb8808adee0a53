import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Uuid } from "../../bytes/index.ts";
import { bytesSource } from "../../source/index.ts";
import { checkGpt, encodeGpt, type GptEdit, type GptWrite, openGpt, planGptEdit } from "./index.ts";

const MIB = 1024 * 1024;
const guid = (n: number) => `11111111-2222-4333-8444-${n.toString(16).padStart(12, "0")}` as Uuid;

function disk(sectorSize: 512 | 4096, size = 8 * MIB): Uint8Array {
  const partitions = [1, 2, 3].map((n) => ({
    typeGuid: guid(100 + n),
    partitionGuid: guid(n),
    start: n * MIB,
    size: MIB,
    attributes: 1n << 60n,
    name: `part ${n}`,
  }));
  const { primary, backup } = encodeGpt({ sectorSize, diskSize: size, diskGuid: guid(0), partitions });
  const bytes = new Uint8Array(size);
  bytes.set(primary);
  bytes.set(backup.bytes, backup.offset);
  return bytes;
}

function apply(bytes: Uint8Array, writes: readonly GptWrite[]): Uint8Array {
  const next = Uint8Array.from(bytes);
  for (const { offset, bytes: part } of writes) next.set(part, offset);
  return next;
}

const all = ({ repair, backup, primary }: GptEdit): readonly GptWrite[] => [...repair, ...backup, ...primary];
const CHANGE = { number: 2, name: "_empty", partitionGuid: guid(77), attributes: 1n << 63n } as const;

test("entries change, everything else stays, and both tables say the same", async () => {
  for (const sectorSize of [512, 4096] as const) {
    const old = disk(sectorSize);
    const edit = await planGptEdit(bytesSource(old), [CHANGE]);
    assert.deepEqual(edit.repair, []);
    const next = apply(old, all(edit));
    const { gpt, findings } = await checkGpt(bytesSource(next));
    assert.deepEqual(findings, []);
    const before = (await openGpt(bytesSource(old))).partitions;
    assert.deepEqual(gpt.partitions, [before[0], { ...before[1], ...CHANGE }, before[2]]);
    assert.ok((await planGptEdit(bytesSource(next), [CHANGE])).isDone);
    assert.ok(!(await planGptEdit(bytesSource(old), [CHANGE])).isDone);
  }
});

test("a table that is lost comes back", async () => {
  for (const sectorSize of [512, 4096] as const)
    for (const [at, length] of [
      [sectorSize, 16 * 1024],
      [8 * MIB - 17 * 1024, 17 * 1024],
      [8 * MIB - sectorSize, 8],
    ] as const) {
      const old = disk(sectorSize);
      old.fill(0, at, at + length);
      const edit = await planGptEdit(bytesSource(old), [CHANGE]);
      assert.equal(edit.isDone, false);
      const isPrimary = at === sectorSize;
      assert.equal(edit.repair.length > 0, isPrimary);
      const repaired = apply(old, edit.repair);
      if (isPrimary) assert.deepEqual((await checkGpt(bytesSource(repaired))).findings, []);
      const { gpt, findings } = await checkGpt(bytesSource(apply(old, all(edit))));
      assert.deepEqual(findings, []);
      assert.equal(gpt.partitions[1]?.name, "_empty");
    }
});

test("written in part, in the order given: the old table or the new one counts", async () => {
  const nothing: readonly [number, number] = [0, 0];
  const lost = fc.constantFrom<readonly [number, number]>(nothing, [512, 16_384], [8 * MIB - 17_408, 17_408]);
  await fc.assert(
    fc.asyncProperty(lost, fc.nat(), fc.nat(), async ([at, length], which, cut) => {
      const old = disk(512);
      old.fill(0, at, at + length);
      const edit = await planGptEdit(bytesSource(old), [CHANGE]);
      const groups = [edit.repair, edit.backup, edit.primary].filter((writes) => writes.length > 0);
      const stop = which % groups.length;
      // The groups before are flushed; of this one any sectors are there.
      let bytes = apply(old, groups.slice(0, stop).flat());
      const sectors = groups[stop]!.flatMap(({ offset, bytes: part }) =>
        Array.from({ length: part.length / 512 }, (_, i) => ({
          offset: offset + i * 512,
          bytes: part.subarray(i * 512, (i + 1) * 512),
        })),
      );
      bytes = apply(
        bytes,
        sectors.filter((_, i) => ((cut >>> (i % 31)) & 1) === 1),
      );
      const { partitions } = await openGpt(bytesSource(bytes));
      assert.ok(["part 2", "_empty"].includes(partitions[1]!.name));
    }),
  );
});

test("a disk that was copied onto a larger one keeps its backup where it is", async () => {
  const larger = new Uint8Array(12 * MIB);
  larger.set(disk(512));
  const next = apply(larger, all(await planGptEdit(bytesSource(larger), [CHANGE])));
  const { gpt, findings } = await checkGpt(bytesSource(next));
  assert.deepEqual(
    findings.map(({ code }) => code),
    ["gpt-mbr", "gpt-backup-place"], // as it was
  );
  assert.ok(gpt.backup.valid && gpt.backup.table.headerLba === (8 * MIB) / 512 - 1);
});

test("what cannot be", async () => {
  const source = bytesSource(disk(512));
  await assert.rejects(planGptEdit(source, [{ number: 4, name: "x" }]), RangeError);
  await assert.rejects(planGptEdit(source, [{ number: 1, name: "x".repeat(37) }]), RangeError);
  await assert.rejects(planGptEdit(bytesSource(new Uint8Array(MIB)), []), { code: "not-gpt" });
});
