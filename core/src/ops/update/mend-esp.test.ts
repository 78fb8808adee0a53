import assert from "node:assert/strict";
import { test } from "node:test";
import { fromUtf8 } from "../../bytes/index.ts";
import { fatSource, openFat, planFat } from "../../formats/fat/index.ts";
import { bytesSource } from "../../source/index.ts";
import { attributes, directory, putNode, regularFile } from "../../tree/index.ts";
import { mendEsp } from "./mend-esp.ts";

const SEED = "loader/random-seed";
const TEMPORARY = "loader/.#bootctlrandom-seed0123456789abcdef";
const UKI = "EFI/Linux/ashlar_2+3.efi";

test("a file that was being written when the power went: ours and systemd's temporary ones go, others are told", async () => {
  const tree = directory(attributes(0o755));
  for (const path of [SEED, TEMPORARY, UKI])
    putNode(tree, fromUtf8(path), regularFile(attributes(0o644), bytesSource(new Uint8Array(9000).fill(7))));
  const plan = planFat({ tree, size: 36 * 1024 * 1024, sectorSize: 512, volumeId: 1 });
  for (const path of [SEED, TEMPORARY, UKI]) {
    const bytes = Uint8Array.from(await fatSource(plan).read(0, plan.size));
    const cluster = (plan.files.find((file) => file.path === path)!.offset - plan.dataStart) / plan.clusterSize + 2;
    const view = new DataView(bytes.buffer);
    for (const copy of [0, 1]) view.setUint32(plan.fatStart + copy * plan.fatSize + (cluster + 1) * 4, 0, true);
    const report = await mendEsp({
      ...bytesSource(bytes),
      async writeAt(offset, part) {
        bytes.set(part, offset);
      },
      flush: async () => {},
    });
    if (path === SEED) {
      assert.deepEqual([report.removed, report.damaged], [[], [`${SEED}: its chain ends too early`]]);
      continue;
    }
    assert.deepEqual([report.removed, report.damaged], [[path], []]);
    await openFat(bytesSource(bytes)); // throws for what is crossed or broken
  }
});
