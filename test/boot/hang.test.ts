// A machine that hangs comes back by itself: by the limits of the initrd while systemd runs, by the hardware watchdog where it does
// not. Kernel and initrd are started without firmware, so that a hang can be put into an initrd that is sealed otherwise. With --long.
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import type { ByteString } from "../../core/src/bytes/index.ts";
import { encodeUtf8 } from "../../core/src/bytes/index.ts";
import { encodeCpio } from "../../core/src/formats/cpio/index.ts";
import { findSection, parsePe } from "../../core/src/formats/pe/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { attributes, directory, putNode, regularFile, symlink } from "../../core/src/tree/index.ts";
import { agentExecutable } from "../support/agent.ts";
import { bootDisk, type Guest } from "../support/qemu.ts";
import { type BuiltDisk, buildDisk } from "./proof.ts";

const SKIP = process.env["ASHLAR_LONG"] === "true" ? false : "slow: --long";
/** Milliseconds. Limits of the initrd and of the watchdog are minutes, and guests run slowly here. */
const PATIENCE = 1_200_000;

const UNITS = "etc/systemd/system";

/** An archive behind the initrd's own, with a service that is run early. */
async function withService(script: string): Promise<Uint8Array> {
  const tree = directory(attributes(0o755));
  const unit = `[Unit]\nDefaultDependencies=no\n\n[Service]\nExecStart=/bin/sh -c '${script}'\n`;
  putNode(tree, `${UNITS}/test.service`, regularFile(attributes(0o644), bytesSource(encodeUtf8(unit))));
  const link = symlink(attributes(0o777), "../test.service" as ByteString);
  putNode(tree, `${UNITS}/sysinit.target.wants/test.service`, link);
  return encodeCpio(tree);
}

/** Starts what was built; the watchdog of the machine resets it, and QEMU ends instead of starting again. */
async function start(built: BuiltDisk, name: string, kargs: string, more?: Uint8Array): Promise<Guest> {
  const image = await parsePe(readFileSync(join(built.folder, "ashlar-test_1.efi")));
  const part = async (section: string): Promise<Uint8Array> => {
    const { content } = findSection(image, section)!; // a UKI of ours has them
    return content.read(0, content.size);
  };
  const [kernel, initrd] = [join(built.folder, "kernel"), join(built.folder, `${name}.initrd`)];
  writeFileSync(kernel, await part(".linux"));
  const first = await part(".initrd");
  const padding = new Uint8Array((4 - (first.length % 4)) % 4); // where the kernel looks for the next archive
  writeFileSync(initrd, Buffer.concat([first, padding, more ?? new Uint8Array()]));
  const append = `${Buffer.from(await part(".cmdline")).toString()} ${kargs}`;
  return bootDisk({
    disk: { file: built.disk, snapshot: true },
    log: join(built.folder, `${name}.log`),
    kernel: { image: kernel, initrd, append },
    extraArgs: ["-device", "i6300esb", "-action", "watchdog=reset"],
  });
}

/** Until the machine has been reset; @returns whether the kernel was asked to. */
async function wasAsked(guest: Guest): Promise<boolean> {
  const late = new Promise<never>((_, reject) =>
    setTimeout(() => reject(new Error(`still there: ${guest.output().slice(-2000)}`)), PATIENCE).unref(),
  );
  await Promise.race([guest.ended, late]);
  return /reboot: (?:Restarting|machine restart)/.test(guest.output());
}

for (const suite of ["trixie", "bookworm"] as const)
  test(`${suite}: a hang ends in a reset`, { skip: SKIP }, async (t) => {
    const flags = ["--root-timeout", "60", "--agent", await agentExecutable()];
    const built = await buildDisk(t, suite, flags);

    await t.test("of the initrd, which asks for no root", async () => {
      await using guest = await start(built, "limit", "rd.systemd.unit=basic.target");
      assert.equal(await wasAsked(guest), true);
      assert.match(guest.output(), /ashlar: the initrd hangs, no root is mounted/);
    });

    if (suite === "bookworm") return; // its kernel for clouds has no driver for a watchdog that QEMU has

    await t.test("of the first process itself, in the initrd", async () => {
      // By then the manager has opened the watchdog, which it does half a minute after its module has been loaded.
      const freeze = await withService("sleep 50; kill -SEGV 1");
      const kargs = "rd.systemd.unit=basic.target systemd.crash_reboot=no systemd.crash_action=freeze";
      await using guest = await start(built, "frozen", kargs, freeze);
      assert.equal(await wasAsked(guest), false);
      assert.match(guest.output(), /Started .*test\.service/);
      assert.doesNotMatch(guest.output(), /Kernel panic|ashlar: the initrd/);
    });

    await t.test("of the kernel, in the running system", async () => {
      await using guest = await start(built, "crashed", "panic=0");
      await guest.waitFor(/login:/, PATIENCE);
      assert.equal(await guest.ok("cat /sys/class/watchdog/watchdog0/state", PATIENCE), "active");
      await guest.run("echo c > /proc/sysrq-trigger", 5000).catch(() => {}); // never answers
      assert.equal(await wasAsked(guest), false);
      assert.match(guest.output(), /Kernel panic/);
    });
  });
