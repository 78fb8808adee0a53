// A machine that keeps itself up to date, in QEMU: it runs on over reboots, as one in a rack does.
import assert from "node:assert/strict";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { ReleaseFile } from "../support/ashlar.ts";
import type { ProductLine } from "../support/product-line.ts";
import { bootDisk, type DriveOptions, type Guest } from "../support/qemu.ts";

/** Milliseconds; generous: on two cores that did the work of twenty a boot has taken seven minutes and an update six. */
const BOOT_LIMIT = 1_800_000;
const COMMAND_LIMIT = 1_200_000;
const UPDATE_LIMIT = 1_800_000;

/** The parts of `ashlar status --json` that tests look at. */
export interface Status {
  readonly ashlar: {
    readonly root: { readonly rootHash: string; readonly from: string; readonly verity: string } | null;
    readonly booted: StatusEntry | null;
    readonly staged: StatusEntry | null;
    readonly rollback: StatusEntry | null;
    readonly refused: readonly { readonly imageVersion: string | null; readonly reason: string }[];
    readonly problems: readonly { readonly code: string; readonly message: string }[];
    readonly lastResult: { readonly result: string; readonly message: string } | null;
  };
}

interface StatusEntry {
  readonly slot: string | null;
  readonly imageVersion: string | null;
  readonly rootHash: string | null;
  readonly entry: string | null;
  readonly state: string;
  readonly triesLeft: number | null;
}

export interface Machine extends AsyncDisposable {
  readonly guest: Guest;
  /** Waits until everything has started, after `failures` starts that do not last; gives the machine its network. */
  settle(failures?: number): Promise<void>;
  /** Reboots, and settles. */
  reboot(failures?: number): Promise<void>;
  status(): Promise<Status["ashlar"]>;
  /** Names of the UKIs on the ESP. */
  entries(): Promise<readonly string[]>;
  /** Asserts what the kernel verifies, and that systemd or nobody had to confirm it. */
  assertRuns(release: ReleaseFile, entry: string): Promise<void>;
  /** `ashlar upgrade`; asserts its exit code. */
  upgrade(flags?: string, expected?: number): Promise<string>;
}

export async function startMachine(
  t: TestContext,
  line: ProductLine,
  disk: string | DriveOptions,
  name: string,
): Promise<Machine> {
  const guest = await bootDisk({
    disk,
    log: join(line.folder, `${name}.log`),
    variables: join(line.folder, `${name}.vars`),
    netdev: line.network.netdev,
    reboot: true,
  });
  const machine: Machine = {
    guest,
    async settle(failures = 0) {
      const starts = new RegExp(`(?:Linux version[^]*?){${failures + 1}}login:`);
      await guest.waitFor(starts, (failures + 1) * BOOT_LIMIT);
      await guest.run("systemctl is-system-running --wait", BOOT_LIMIT);
      await guest.ok(line.network.up, COMMAND_LIMIT);
      const [, seconds = "?"] =
        /= ([\d.]+m?i?n? ?[\d.]*)s/.exec(await guest.ok("systemd-analyze", COMMAND_LIMIT)) ?? [];
      t.diagnostic(`${name}: up in ${seconds} s`);
    },
    async reboot(failures) {
      await guest.reboot();
      await machine.settle(failures);
    },
    async status() {
      return (JSON.parse(await guest.ok("ashlar status --json", COMMAND_LIMIT)) as Status).ashlar;
    },
    async entries() {
      const listed = await guest.ok('ls "$(bootctl --print-esp-path)/EFI/Linux"', COMMAND_LIMIT);
      return listed.split("\n").filter((file) => file !== "");
    },
    async assertRuns(release, entry) {
      const table = await guest.ok("dmsetup table root", COMMAND_LIMIT);
      assert.ok(table.includes(release.rootHash), `${table} for ${release.rootHash}`);
      const failed = await guest.ok("systemctl --failed --no-legend --plain", COMMAND_LIMIT);
      assert.equal(failed, "");
      const entries = await machine.entries();
      assert.ok(entries.includes(entry), `${entry} among ${entries.join(", ")}`);
      const { root, booted } = await machine.status();
      assert.deepEqual(
        { hash: root?.rootHash, from: root?.from, verity: root?.verity, entry: booted?.entry, state: booted?.state },
        { hash: release.rootHash, from: "kernel", verity: "verified", entry, state: "good" },
      );
    },
    async upgrade(flags = "", expected = 0) {
      const started = performance.now();
      const { status, stdout, stderr } = await guest.run(`ashlar upgrade ${flags}`, UPDATE_LIMIT);
      assert.equal(status, expected, `${stdout}${stderr}`);
      t.diagnostic(`upgrade ${flags}: ${Math.round((performance.now() - started) / 1000)} s: ${stdout.trim()}`);
      return stdout;
    },
    [Symbol.asyncDispose]: () => guest.kill(),
  };
  return machine;
}
