import assert from "node:assert/strict";
import { test } from "node:test";
import { fromHex } from "../../bytes/index.ts";
import { type Designator, designatorOf, PARTITION_FLAGS, partitionType, partitionUuidsFromRootHash } from "./index.ts";

test("designators and types go both ways, and no type stands for two things", () => {
  const byArchitecture = ["root", "root-verity", "root-verity-sig", "usr", "usr-verity", "usr-verity-sig"] as const;
  const common = ["esp", "xbootldr", "swap", "home", "srv", "var", "tmp", "user-home", "linux-generic"] as const;
  const seen = new Set<string>();
  for (const architecture of ["x86-64", "arm64"] as const) {
    for (const designator of byArchitecture) {
      const type = partitionType(designator, architecture);
      assert.deepEqual(designatorOf(type.toUpperCase()), { designator, architecture });
      seen.add(type);
    }
    for (const designator of common) {
      const type = partitionType(designator, architecture);
      assert.deepEqual(designatorOf(type), { designator } satisfies { designator: Designator });
      seen.add(type);
    }
  }
  assert.equal(seen.size, 2 * byArchitecture.length + common.length);
  assert.equal(designatorOf("00000000-0000-0000-0000-000000000000"), undefined);
});

test("the root hash of the v252 generator's experiment gives its PARTUUIDs", () => {
  // Observed: with this roothash= systemd 252 waits for these two under /dev/disk/by-partuuid.
  const rootHash = fromHex("aabbccdd00112233445566778899eeff00000000000000000123456789abcdef");
  assert.deepEqual(partitionUuidsFromRootHash(rootHash), {
    root: "aabbccdd-0011-2233-4455-66778899eeff",
    verity: "00000000-0000-0000-0123-456789abcdef",
  });
  assert.throws(() => partitionUuidsFromRootHash(new Uint8Array(16)), RangeError);
});

test("flags have the masks of the specification", () => {
  assert.equal(PARTITION_FLAGS.noAuto, 0x8000000000000000n);
  assert.equal(PARTITION_FLAGS.readOnly, 0x1000000000000000n);
  assert.equal(PARTITION_FLAGS.growFileSystem, 0x0800000000000000n);
});
