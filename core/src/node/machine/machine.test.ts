import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { encodeUtf8 } from "../../bytes/index.ts";
import { parseBootSector } from "../../formats/fat/header.ts";
import { fatSource, planFat } from "../../formats/fat/index.ts";
import { bytesSource } from "../../source/index.ts";
import { attributes, directory } from "../../tree/index.ts";
import { isAgentLocked, lockAgent } from "./agent-lock.ts";
import { parseDmAnswer } from "./device-mapper.ts";
import { espAt } from "./esp.ts";
import { checkVolume, mendVolume } from "./esp-volume.ts";
import { recordFiles } from "./record-files.ts";

const folder = () => mkdtemp(join(tmpdir(), "ashlar-machine-"));

/** As the kernel answers DM_TABLE_STATUS: the header, one target, its parameters. */
function answer(parameters: string, { targets = 1, flags = 0 } = {}): Uint8Array {
  const bytes = new Uint8Array(16 * 1024);
  const view = new DataView(bytes.buffer);
  view.setUint32(16, 312, true);
  view.setUint32(20, targets, true);
  view.setUint32(28, flags, true);
  bytes.set(encodeUtf8("verity\0"), 312 + 24);
  bytes.set(encodeUtf8(`${parameters}\0`), 312 + 40);
  return bytes;
}

test("the answer of the kernel to a question for a table", () => {
  assert.deepEqual(parseDmAnswer(answer("1 8:2 8:3"), "253:0"), { type: "verity", parameters: "1 8:2 8:3" });
  for (const bad of [answer("x", { targets: 2 }), answer("x", { targets: 0 }), answer("x", { flags: 0x100 })])
    assert.throws(() => parseDmAnswer(bad, "253:0"), { code: "dm-table" });
});

test("records appear whole, and what cannot be read is put aside", async () => {
  const at = join(await folder(), "agent", "deep");
  const records = recordFiles(at);
  assert.equal(await records.read("a"), undefined);
  assert.deepEqual(await records.list(), []);
  await records.write("a", encodeUtf8("one"));
  await records.write("a", encodeUtf8("two"));
  assert.deepEqual(await records.read("a"), encodeUtf8("two"));
  assert.deepEqual(await readdir(at), ["a"]);
  await records.setAside("a");
  assert.deepEqual(await records.list(), ["a.bad"]);
  await records.remove("a.bad");
  await records.remove("a.bad");
  assert.deepEqual(await readdir(at), []);
});

test("a record is no link, and not endless", async () => {
  const at = await folder();
  await writeFile(join(at, "other"), "secret");
  await symlink("other", join(at, "a"));
  await assert.rejects(recordFiles(at).read("a"), { name: "SourceError" });
  await writeFile(join(at, "large"), Buffer.alloc(2000));
  await assert.rejects(recordFiles(at, 1000).read("large"), { name: "SourceError" });
});

test("one run at a time, and the second is told who the first is", async () => {
  const path = join(await folder(), "run", "agent.lock");
  assert.equal(await isAgentLocked(path), false);
  const lock = await lockAgent(path, "upgrade");
  assert.equal(await isAgentLocked(path), existsSync("/proc/locks"));
  assert.equal((await stat(path)).mode & 0o777, 0o600, "whoever can open it can keep the machine from its updates");
  await assert.rejects(lockAgent(path, "auto"), {
    code: "busy",
    message: new RegExp(`upgrade, process ${process.pid}$`),
  });
  await lock.release();
  assert.equal(await isAgentLocked(path), false);
  await (await lockAgent(path, "auto")).release();
  assert.match(await readFile(path, "utf8"), /auto/);
});

test("the volume of an ESP: what is wrong is told, and mended where nobody has it", async () => {
  const source = fatSource(
    planFat({ tree: directory(attributes(0o755)), size: 36 * 1024 * 1024, sectorSize: 512, volumeId: 1 }),
  );
  const path = join(await folder(), "esp");
  const bytes = Uint8Array.from(await source.read(0, source.size));
  bytes[65] = 1; // in use
  const { fatStart } = parseBootSector(bytes);
  new DataView(bytes.buffer).setUint32(fatStart + 9 * 4, 0x0fffffff, true); // a chain that nothing names
  await writeFile(path, bytes);
  const sound = { mended: [], unmended: [], damaged: [], lost: 0 };
  assert.deepEqual(await checkVolume(path), { ...sound, lost: 1 });
  assert.deepEqual(await readFile(path), Buffer.from(bytes), "to look changes nothing");
  assert.deepEqual(await mendVolume(path), { ...sound, mended: ["1 cluster was freed"] });
  assert.deepEqual(await mendVolume(path), sound);
  assert.equal((await readFile(path))[65], 0);
  await assert.rejects(checkVolume(join(path, "nothing")), { name: "SourceError" });
});

test("files of an ESP that is mounted", async () => {
  const place = await folder();
  await mkdir(join(place, "EFI/Linux"), { recursive: true });
  let released = 0;
  const esp = await espAt(
    place,
    { readOnly: false, mended: [], unmended: [], damaged: [] },
    async () => void released++,
  );
  assert.deepEqual(await esp.list("EFI/nothing"), []);
  await esp.write("EFI/Linux/.new", bytesSource(encodeUtf8("a longer uki")));
  await esp.write("EFI/Linux/.new", bytesSource(encodeUtf8("uki")));
  await esp.write("EFI/Linux/.new", bytesSource(encodeUtf8("UKI!")), { from: 1 });
  assert.equal(await readFile(join(place, "EFI/Linux/.new"), "utf8"), "uKI!");
  await esp.flush();
  await esp.overwrite("EFI/Linux/.new", 1, encodeUtf8("ki"));
  assert.equal(await readFile(join(place, "EFI/Linux/.new"), "utf8"), "uki!");
  await esp.rename("EFI/Linux/.new", "EFI/Linux/os_2+3.efi");
  await esp.write("EFI/Linux/other.efi", bytesSource(encodeUtf8("x")));
  await assert.rejects(esp.rename("EFI/Linux/other.efi", "EFI/Linux/os_2+3.efi"), { code: "exists" });
  assert.deepEqual(
    (await esp.list("EFI/Linux")).toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    [
      { name: "os_2+3.efi", size: 4 },
      { name: "other.efi", size: 1 },
    ],
  );
  await esp.remove("EFI/Linux/other.efi");
  await assert.rejects(esp.remove("EFI/Linux/other.efi"), { code: "not-found" });
  assert.ok((await esp.free()) > 0);
  await esp.close();
  assert.equal(released, 1);
});
