// A machine that nobody looks after: its timer finds a release in a channel, stages it and reboots into it. Then what a power cut left of
// an ESP that systemd has mounted already is mended, and local changes of /etc are taken back. With --long.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openDevice } from "../../core/src/node/index.ts";
import { type Device, readSlots } from "../../core/src/ops/update/index.ts";
import { fatFiles } from "../support/fat-files.ts";
import { productLine } from "../support/product-line.ts";
import { missingPeers, PROGRAMS } from "../support/registry.ts";
import { runOk } from "../support/samples.ts";
import { startMachine } from "./machine.ts";

const SKIP = process.env["ASHLAR_LONG"] === "true" ? missingPeers(PROGRAMS.go) : "slow: --long";
/** Milliseconds: the timer's tick, an update and a reboot. */
const PATIENCE = 2_400_000;
/** What a power cut in the last step of an update leaves beside an entry. */
const LEFT = "ashlar-0123456789abcdef.new";

/** A rename on the ESP of which the power let only the first half through: one file has two names. */
async function halfRename(disk: string, from: string, to: string): Promise<void> {
  await using device = await openDevice(disk);
  const { esp } = await readSlots(device, "x86-64");
  const writes: (readonly [number, Uint8Array])[] = [];
  const held: Device = {
    ...device,
    writeAt: async (offset, bytes) => void writes.push([offset, Uint8Array.from(bytes)]),
    flush: async () => {},
  };
  await (await fatFiles(held, esp)).rename(from, to);
  for (const [offset, bytes] of writes.slice(0, -1)) await device.writeAt(offset, bytes);
  await device.flush();
}

/** Has the ESP mounted, by its automount, before the agent looks, and stays in it. */
const holdsEsp = (place: string): string => `[Unit]
After=local-fs.target
Before=ashlar-booted.service
[Service]
Type=exec
ExecStartPre=/bin/ls ${place}/EFI/Linux
ExecStart=/bin/sleep infinity
WorkingDirectory=${place}
[Install]
WantedBy=multi-user.target
`;

test("a machine updates itself from a channel, and mends itself", { skip: SKIP }, async (t) => {
  const line = await productLine(t, "trixie", { isUnattended: true });
  const v1 = await line.build("1");
  const v2 = await line.build("2");
  await line.release("1");
  const { here, inGuests } = line.repository;
  const [stable, root] = [`${here}:stable`, join(line.folder, "root.json")];
  const key = (role: string): string => join(line.folder, `${role}.key`);
  for (const role of ["root", "targets", "online"])
    await runOk(["keygen", "-o", join(line.folder, role), "--no-password", "--type", "ed25519"]);
  const signed = ["--key", key("targets"), "--key", key("online"), "--no-tls-verify"];
  const keys = ["root", "targets", "online"].flatMap((role) => [`--${role}-key`, key(role)]);
  await runOk(["channel", "init", stable, "--product", "ashlar-test", ...keys, "--no-tls-verify"]);
  await runOk(["channel", "show", stable, "--save-root", root, "--no-tls-verify"]);
  await runOk(["channel", "add", stable, `${here}:latest`, ...signed]);

  const disk = join(line.folder, "disk.img");
  await line.install("1", disk);
  {
    await using machine = await startMachine(t, line, disk, "updates");
    const { guest } = machine;
    await machine.settle();
    await machine.assertRuns(v1, "ashlar-test_1.efi");
    await guest.ok("systemctl stop ashlar-upgrade.timer"); // until all is in place
    const policy = `[source]\nchannel = "${inGuests}:stable"\nroot = "/etc/ashlar/root.json"\n[check]\njitter = "0s"\n[reboot]\npolicy = "window"\n`;
    await guest.ok("mkdir -p /etc/ashlar && echo mine > /etc/local-change && rm /etc/motd");
    await guest.ok(`cat > /etc/ashlar/update.toml <<'END'\n${policy}END\n`);
    await guest.ok(`cat > /etc/ashlar/root.json <<'END'\n${readFileSync(root, "utf8")}\nEND\n`);
    assert.match(await machine.upgrade("--check"), /newest/);

    await line.release("2");
    await runOk(["channel", "add", stable, `${here}:latest`, ...signed]);
    await t.test("the timer stages the release and reboots into it", async () => {
      // Five minutes after the boot and six hours after the last look are shortened, nothing else.
      const drop = "/run/systemd/system/ashlar-upgrade.timer.d";
      await guest.ok(
        `sed -i 's/^jitter.*/jitter = "0s"\\ninterval = "1min"/' /etc/ashlar/update.toml; mkdir -p ${drop}; printf '[Timer]\\nOnUnitInactiveSec=10s\\n' > ${drop}/test.conf; systemctl daemon-reload; systemctl restart ashlar-upgrade.timer`,
      );
      guest.mayReboot();
      await guest.waitFor(/Linux version/, PATIENCE);
      await machine.settle();
      // A start that takes more than five minutes has met the timer, before there was a network.
      await guest.ok("systemctl stop ashlar-upgrade.timer; systemctl reset-failed ashlar-upgrade.service || true");
      await machine.assertRuns(v2, "ashlar-test_2.efi");
      const history = await guest.ok("ashlar history");
      assert.match(history, /good/);
    });
    const place = await guest.ok("bootctl --print-esp-path");
    await guest.ok(
      `cat > /etc/systemd/system/holds-esp.service <<'END'\n${holdsEsp(place)}END\nsystemctl enable holds-esp.service; systemctl mask ashlar-upgrade.timer`,
    );
    await guest.powerOff();
  }

  await halfRename(disk, "EFI/Linux/ashlar-test_1.efi", `EFI/Linux/${LEFT}`);
  await using machine = await startMachine(t, line, disk, "mends");
  const { guest } = machine;
  await machine.settle();
  await t.test("an ESP that somebody uses is left alone, and what is wrong with it is named", async () => {
    const { problems, booted } = await machine.status();
    assert.deepEqual([booted?.imageVersion, booted?.state], ["2", "good"]);
    assert.deepEqual(
      problems.map(({ code }) => code),
      ["esp-damaged"],
      JSON.stringify(problems),
    );
    assert.match(problems[0]?.message ?? "", new RegExp(LEFT));
    const refused = await guest.run("ashlar rollback", PATIENCE);
    assert.notEqual(refused.status, 0);
    assert.match(refused.stderr, new RegExp(`in use.*${LEFT}`));
    assert.deepEqual(await machine.entries(), [LEFT, "ashlar-test_1.efi", "ashlar-test_2.efi"]);
  });
  await t.test("once nobody does it is unmounted, mended and comes back", async () => {
    await guest.ok("systemctl stop holds-esp.service");
    await machine.upgrade();
    assert.match(await guest.ok("ashlar history", PATIENCE), new RegExp(`mended.*${LEFT}`));
    assert.deepEqual(await machine.entries(), ["ashlar-test_1.efi", "ashlar-test_2.efi"]);
    const size = await guest.ok('stat -c %s "$(bootctl --print-esp-path)/EFI/Linux/ashlar-test_1.efi"');
    assert.ok(Number(size) > 1_000_000, size);
    const mounts = await guest.ok("findmnt --list --noheadings --output TARGET,FSTYPE --types vfat");
    assert.match(mounts, /^\/(?:boot|efi)\s+vfat$/m);
    assert.doesNotMatch(mounts, /run\/ashlar/);
    assert.deepEqual((await machine.status()).problems, []);
  });
  await t.test("an ESP that is read-only is told, and nothing changes", async () => {
    await guest.ok('mount -o remount,ro "$(bootctl --print-esp-path)"');
    const refused = await guest.run("ashlar rollback", PATIENCE);
    assert.notEqual(refused.status, 0);
    assert.match(refused.stderr, /read-only/i);
    const { problems } = await machine.status();
    assert.deepEqual(
      problems.map(({ code }) => code),
      ["esp-read-only"],
      JSON.stringify(problems),
    );
    assert.deepEqual(await machine.entries(), ["ashlar-test_1.efi", "ashlar-test_2.efi"]);
    await guest.ok('mount -o remount,rw "$(bootctl --print-esp-path)"');
  });
  await t.test("a clock that is wrong is told of as what it is", async () => {
    const looks = async (date: string): Promise<string> => {
      const { stdout, stderr } = await guest.run(`date -s ${date} && ashlar upgrade --check`, PATIENCE);
      return `${stdout}${stderr}`;
    };
    const right = await guest.ok("date -u +%Y-%m-%dT%H:%M:%SZ");
    assert.match(await looks("2100-01-01"), /expired|stale/);
    assert.match(await looks("1970-01-02"), /newest/);
    assert.match(await looks(right), /newest/);
  });
  await t.test("garbage where the agent reads and remembers things is told, put aside and survived", async () => {
    const state = "/var/lib/ashlar/agent";
    await guest.ok(
      `cd ${state} && head -c 200000 /dev/urandom > record.json && head -c 5000 /dev/urandom > history.jsonl && rm -rf recipes && echo no-folder > recipes && printf '[reboot\\000' > /etc/ashlar/zz.toml`,
    );
    const { problems } = await machine.status();
    assert.match(problems.find(({ code }) => code === "policy")?.message ?? "", /zz\.toml/);
    const refused = await guest.run("ashlar upgrade", PATIENCE);
    assert.match(refused.stderr, /zz\.toml/);
    await guest.ok("rm /etc/ashlar/zz.toml");
    await machine.upgrade();
    assert.match(await guest.ok(`ls ${state}`), /record\.json\.bad/);
    assert.deepEqual((await machine.status()).problems, []);
    await machine.assertRuns(v2, "ashlar-test_2.efi");
  });
  await t.test("local changes came along, and are taken back by name", async () => {
    assert.equal(await guest.ok("cat /etc/local-change"), "mine");
    await guest.ok("ashlar etc reset /etc/local-change /etc/motd", PATIENCE);
    assert.notEqual((await guest.run("test -e /etc/local-change")).status, 0);
    await guest.ok("test -e /etc/motd");
    assert.doesNotMatch(await guest.ok("ashlar etc diff", PATIENCE), /local-change|motd/);
  });
  await guest.powerOff();
});
