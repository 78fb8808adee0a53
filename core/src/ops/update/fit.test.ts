import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { usableArea } from "../../formats/gpt/index.ts";
import type { VerityParameters } from "../../formats/verity/index.ts";
import { planGeometry } from "../build/geometry.ts";
import { fitGeometry } from "./index.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const verity: VerityParameters = {
  algorithm: "sha256",
  dataBlockSize: 4096,
  hashBlockSize: 4096,
  salt: new Uint8Array(32),
};
const built = { espSize: GIB, slotSize: 2 * GIB, varSize: GIB };

test("a disk of the built size gets the built layout", () => {
  for (const sectorSize of [512, 4096] as const) {
    const wanted = planGeometry(GIB, verity, { ...built, sectorSize });
    assert.deepEqual(fitGeometry(GIB, verity, { size: wanted.diskSize, sectorSize }, built), wanted);
  }
});

test("partitions lie inside of the disk in order, and leave less than 2 MiB unused", () => {
  const { diskSize } = planGeometry(GIB, verity, built);
  const more = fc.oneof(fc.nat(16 * MIB), fc.nat(64 * GIB), fc.nat(20_000 * GIB));
  fc.assert(
    fc.property(more, fc.constantFrom(512 as const, 4096 as const), (extra, sectorSize) => {
      const size = diskSize + extra - (extra % sectorSize);
      const { esp, slotA, slotB, variable } = fitGeometry(GIB, verity, { size, sectorSize }, built);
      let end = usableArea(sectorSize, size).start;
      for (const { start, size: length } of [esp, ...Object.values(slotA), ...Object.values(slotB), variable]) {
        assert.ok(start >= end && start % MIB === 0 && length >= MIB);
        end = start + length;
      }
      assert.ok(end <= usableArea(sectorSize, size).end);
      assert.ok(size - end < 2 * MIB);
      assert.equal(slotA.root.size, slotB.root.size);
      assert.ok(slotA.root.size >= built.slotSize && slotA.root.size <= 4 * built.slotSize);
      assert.ok(variable.size >= built.varSize);
    }),
  );
});

test("sizes that are asked for are taken; a disk that cannot hold them is too small", () => {
  const asked = { espSize: 300 * MIB, slotSize: 3 * GIB, varSize: 5 * GIB };
  const { esp, slotB, variable } = fitGeometry(GIB, verity, { size: 100 * GIB, sectorSize: 512 }, built, asked);
  assert.deepEqual([esp.size, slotB.root.size, variable.size], [300 * MIB, 3 * GIB, 5 * GIB]);
  const disk = { size: 11 * GIB, sectorSize: 512 } as const;
  assert.throws(() => fitGeometry(GIB, verity, disk, built, asked), { kind: "PolicyError", code: "disk-too-small" });
  assert.throws(() => fitGeometry(GIB, verity, { size: GIB, sectorSize: 512 }, built), { code: "disk-too-small" });
  assert.throws(() => fitGeometry(GIB, verity, disk, built, { slotSize: MIB }), { code: "slot-too-small" });
});

test("blocks smaller than the sectors of the disk are refused", () => {
  const small = { ...verity, dataBlockSize: 1024, hashBlockSize: 1024 };
  const disk = { size: 100 * GIB, sectorSize: 4096 } as const;
  assert.throws(() => fitGeometry(GIB, small, disk, built), { kind: "UnsupportedError", code: "verity-sectors" });
});
