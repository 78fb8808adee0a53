import assert from "node:assert/strict";
import { test } from "node:test";
import { byteString, encodeUtf8 } from "../../../bytes/index.ts";
import { cpioTree, encodeCpio, parseCpio } from "../../../formats/cpio/index.ts";
import { parseIndex } from "../../../formats/kmod/index.ts";
import { bytesSource, readAll } from "../../../source/index.ts";
import {
  attributes,
  type Directory,
  directory,
  getNode,
  putNode,
  regularFile,
  removeNode,
  walkTree,
} from "../../../tree/index.ts";
import { assembleInitrd, assembleInitrdTree, chooseCompression, parseKernelConfig } from "./index.ts";
import { NEEDED_COMMANDS, NEEDED_GENERATORS, NEEDED_SYSTEMD, WANTED_COMMANDS } from "./programs.ts";
import { NEEDED_RULES, NEEDED_UNITS, WANTED_UNITS } from "./units.ts";

const KVER = "6.12.1-test";
const MODULES = `usr/lib/modules/${KVER}`;

function put(root: Directory, path: string, text: string): void {
  putNode(root, path, regularFile(attributes(0o644), bytesSource(encodeUtf8(text))));
}

/** An image that has what is needed, as far as an assembler can see that executes nothing. */
function image(): Directory {
  const root = directory(attributes(0o755));
  for (const { name } of NEEDED_SYSTEMD) put(root, `usr/lib/systemd/${name}`, name);
  for (const { name } of NEEDED_GENERATORS) put(root, `usr/lib/systemd/system-generators/${name}`, name);
  for (const { name } of NEEDED_COMMANDS) put(root, `usr/bin/${name}`, name);
  for (const name of WANTED_COMMANDS) put(root, `usr/sbin/${name}`, name);
  for (const name of [...NEEDED_UNITS, ...WANTED_UNITS]) put(root, `usr/lib/systemd/system/${name}`, "[Unit]\n");
  for (const [name] of NEEDED_RULES) put(root, `usr/lib/udev/rules.d/${name}`, 'KERNEL=="x", GROUP="disk"\n');
  put(root, "etc/group", "root:x:0:\ndisk:x:6:\nusers:x:100:alice\n");
  put(root, "etc/app.conf", "colour = red\n");
  put(root, "usr/lib/os-release", "ID=x\nIMAGE_VERSION=1\n");
  put(
    root,
    `${MODULES}/modules.dep`,
    "kernel/md/dm-verity.ko: kernel/md/dm-mod.ko\nkernel/md/dm-mod.ko:\nkernel/fs/erofs.ko.xz:\nkernel/net/none.ko:\n" +
      "kernel/fs/overlay.ko:\nkernel/crypto/sha256-ssse3.ko:\nkernel/drivers/nvme.ko:\n",
  );
  put(root, `${MODULES}/modules.builtin`, "kernel/fs/ext4/ext4.ko\n");
  put(root, `${MODULES}/modules.alias`, "alias pci:v1* nvme\nalias pci:v2* none\nalias crypto-sha256 sha256_ssse3\n");
  for (const name of [
    "md/dm-verity.ko",
    "md/dm-mod.ko",
    "fs/erofs.ko.xz",
    "net/none.ko",
    "fs/overlay.ko",
    "crypto/sha256-ssse3.ko",
    "drivers/nvme.ko",
  ])
    put(root, `${MODULES}/kernel/${name}`, name);
  return root;
}

const OPTIONS = { kernelVersion: KVER, etc: "persistent" } as const;

async function textAt(root: Directory, path: string): Promise<string> {
  const node = getNode(root, path);
  assert.equal(node?.type, "file", path);
  return byteString(await readAll(node.content, 1 << 20, path));
}

test("what is in it", async () => {
  const root = await assembleInitrdTree(image(), OPTIONS);
  assert.equal(
    await textAt(root, "etc/ashlar/initrd.conf"),
    "ETC=persistent\nVAR_FSTYPE=ext4\nVAR_TYPE=4d21b016-b534-45c2-a9fb-5c16e091fd2d\n",
  );
  assert.equal(await textAt(root, "etc/group"), "disk:x:6:\nroot:x:0:\n");
  assert.equal(await textAt(root, "etc/machine-id"), "");
  assert.equal(await textAt(root, "etc/modprobe.d/ashlar.conf"), "softdep dm_verity pre: sha256_ssse3\n");
  assert.equal(await textAt(root, "etc/modules-load.d/ashlar.conf"), "dm_verity\nerofs\noverlay\n");
  const names = new Set<string>([...walkTree(root)].map(({ path }) => path));
  for (const name of [
    "init",
    "sysroot",
    `${MODULES}/kernel/md/dm-verity.ko`,
    "usr/sbin/fsck.ext4",
    "usr/bin/mkfs.ext4",
  ])
    assert.ok(names.has(name), name);
  for (const name of ["etc/app.conf", "usr/lib/os-release", `${MODULES}/kernel/net/none.ko`])
    assert.ok(!names.has(name), name);
});

test("a root that is not there in time, and a hang, have their limits", async () => {
  for (const [rootTimeout, device, all] of [
    [undefined, "90s", "120s"],
    [600, "600s", "630s"],
  ] as const) {
    const root = await assembleInitrdTree(image(), { ...OPTIONS, rootTimeout });
    const conf = await textAt(root, "etc/systemd/system.conf.d/50-ashlar.conf");
    assert.match(conf, new RegExp(`^DefaultDeviceTimeoutSec=${device}$`, "m"));
    const units = "usr/lib/systemd/system";
    assert.match(await textAt(root, `${units}/ashlar-limit.timer`), new RegExp(`^OnActiveSec=${all}$`, "m"));
    assert.equal(getNode(root, `${units}/sysinit.target.wants/ashlar-limit.timer`)?.type, "symlink");
  }
});

test("the module indexes know the modules that are there, and no others", async () => {
  const root = await assembleInitrdTree(image(), OPTIONS);
  const index = async (name: string) => {
    const node = getNode(root, `${MODULES}/${name}`);
    assert.equal(node?.type, "file");
    return parseIndex(await readAll(node.content, 1 << 20, name)).map(({ key, value }) => `${key} ${value}`);
  };
  assert.deepEqual(await index("modules.alias.bin"), ["crypto_sha256 sha256_ssse3", "pci:v1* nvme"]);
  assert.deepEqual(await index("modules.symbols.bin"), []);
  assert.deepEqual((await index("modules.dep.bin")).length, 6);
});

test("files that it does not hold do not change it; a module that it holds does", async () => {
  const before = await encodeCpio(await assembleInitrdTree(image(), OPTIONS));
  const other = image();
  put(other, "etc/app.conf", "colour = blue\n");
  put(other, "usr/lib/os-release", "ID=x\nIMAGE_VERSION=2\n");
  put(other, "etc/group", "root:x:0:\ndisk:x:6:\nusers:x:100:alice,bob\nnew:x:101:\n");
  put(other, `${MODULES}/modules.dep`, `kernel/a.ko:\n${await textAt(other, `${MODULES}/modules.dep`)}`);
  for (const { node } of walkTree(other)) Object.assign(node, { mtime: 5n, uid: 3 });
  assert.deepEqual(await encodeCpio(await assembleInitrdTree(other, OPTIONS)), before);
  put(other, `${MODULES}/kernel/md/dm-verity.ko`, "another");
  assert.notDeepEqual(await encodeCpio(await assembleInitrdTree(other, OPTIONS)), before);
});

const MISSING: readonly (readonly [path: string, code: string, message: RegExp])[] = [
  ["usr/lib/systemd/systemd", "no-systemd", /^\/usr\/lib\/systemd\/systemd: not in the image \(Debian: systemd, /],
  [
    "usr/lib/systemd/systemd-veritysetup",
    "no-veritysetup",
    /Debian: systemd-cryptsetup or systemd, Fedora: systemd-udev/,
  ],
  ["usr/lib/systemd/system-generators/systemd-veritysetup-generator", "no-veritysetup", /-generator: not in the image/],
  ["usr/bin/mkfs.ext4", "no-mkfs", /^\/usr\/sbin\/mkfs.ext4: not in the image \(Debian: e2fsprogs, /],
  ["usr/bin/dmsetup", "no-program", /Fedora: device-mapper/],
  ["usr/lib/systemd/system/initrd.target", "no-unit", /initrd.target: not in the image/],
  ["usr/lib/udev/rules.d/55-dm.rules", "no-rule", /Debian: dmsetup/],
  [MODULES, "no-modules", /^\/usr\/lib\/modules\/6.12.1-test: no kernel modules in the image/],
  [`${MODULES}/modules.builtin`, "no-modules", /the kernel has no ext4, neither in modules.dep nor/],
  [`${MODULES}/kernel/fs/erofs.ko.xz`, "no-modules", /erofs.ko.xz: modules.dep names it/],
];

for (const [path, code, message] of MISSING)
  test(`without ${path}: ${code}, in one line`, async () => {
    const root = image();
    assert.ok(removeNode(root, path));
    await assert.rejects(assembleInitrdTree(root, OPTIONS), (error: Error & { code?: string; kind?: string }) => {
      assert.equal(error.kind, "UnsupportedError");
      assert.equal(error.code, code);
      assert.match(error.message, message);
      assert.ok(!error.message.includes("\n"));
      return true;
    });
  });

test("modules that were asked for must be there", async () => {
  const root = await assembleInitrdTree(image(), { ...OPTIONS, modules: ["none"] });
  assert.ok(getNode(root, `${MODULES}/kernel/net/none.ko`));
  await assert.rejects(assembleInitrdTree(image(), { ...OPTIONS, modules: ["nonsense"] }), { code: "no-modules" });
});

test("the kernel's configuration chooses the compression", async () => {
  const choose = (text: string) => chooseCompression(parseKernelConfig(encodeUtf8(text)));
  assert.equal(choose("CONFIG_RD_GZIP=y\nCONFIG_RD_ZSTD=y\n"), "zstd");
  assert.equal(choose("# CONFIG_RD_ZSTD is not set\n"), "gzip");
  assert.equal(chooseCompression(undefined), "gzip");
  const compressors = {
    gzip: async (bytes: Uint8Array) => bytes.subarray(0),
    zstd: async () => Uint8Array.of(0x28),
  };
  const kernelConfig = encodeUtf8("CONFIG_RD_ZSTD=y\n");
  assert.deepEqual(await assembleInitrd(image(), { ...OPTIONS, kernelConfig, compressors }), Uint8Array.of(0x28));
  const plain = await assembleInitrd(image(), { ...OPTIONS, kernelConfig: undefined, compressors });
  assert.ok(getNode(cpioTree(parseCpio(plain).entries), "usr/lib/ashlar/initrd/var.sh"));
});
