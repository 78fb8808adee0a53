import assert from "node:assert/strict";
import { test } from "node:test";
import { type ByteString, byteString, encodeUtf8, fromUtf8 } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { bytesSource } from "../../source/index.ts";
import {
  attributes,
  type Directory,
  directory,
  type Node,
  putNode,
  regularFile,
  removeNode,
  symlink,
  walkTree,
} from "../../tree/index.ts";
import type { ArtifactStore } from "../artifacts.ts";
import { buildSystem } from "../build/build.ts";
import { NEEDED_COMMANDS, NEEDED_GENERATORS, NEEDED_SYSTEMD } from "../build/initrd/programs.ts";
import { NEEDED_RULES, NEEDED_UNITS } from "../build/initrd/units.ts";
import type { Environment } from "../environment.ts";
import { silentReporter } from "../report.ts";
import type { LintInput, LintOptions } from "./context.ts";
import { type LintReport, lintImage } from "./lint.ts";
import { closeLints, LINTS } from "./table.ts";

const KVER = "6.12.1-test";
const MODULES = `usr/lib/modules/${KVER}`;
const LABELS = { "org.opencontainers.image.title": "os", "org.opencontainers.image.version": "1" };
const SECOND = 1_000_000_000n;
const DAY = 86_400n * SECOND;
/** 2026-01-02T00:00:00Z; the image is made then, its files are a month older. */
const CREATED = 1_767_312_000n * SECOND;
const OLD = CREATED - 30n * DAY;

type Content = string | Uint8Array | Node;

function put(root: Directory, path: string, content: Content, mtime = OLD): void {
  const isNode = typeof content !== "string" && !(content instanceof Uint8Array);
  const bytes = typeof content === "string" ? encodeUtf8(content) : content;
  const node = isNode ? content : regularFile(attributes(0o644, { mtime }), bytesSource(bytes as Uint8Array));
  putNode(root, path, node as Node, OLD);
}

const link = (target: string): Node => symlink(attributes(0o777, { mtime: OLD }), target as ByteString);

/** An image that has all that is needed, as far as a lint can see that executes nothing. Its stub and kernel are none. */
function image(files: Readonly<Record<string, Content>> = {}): Directory {
  const root = directory(attributes(0o755, { mtime: OLD }));
  for (const { name } of NEEDED_SYSTEMD) put(root, `usr/lib/systemd/${name}`, name);
  for (const { name } of NEEDED_GENERATORS) put(root, `usr/lib/systemd/system-generators/${name}`, name);
  for (const { name } of NEEDED_COMMANDS) put(root, `usr/bin/${name}`, name);
  for (const name of NEEDED_UNITS) put(root, `usr/lib/systemd/system/${name}`, "[Unit]\n");
  for (const [name] of NEEDED_RULES) put(root, `usr/lib/udev/rules.d/${name}`, "");
  put(root, `${MODULES}/vmlinuz`, "kernel");
  put(root, `${MODULES}/modules.dep`, "");
  put(root, `${MODULES}/modules.builtin`, "a/dm-mod.ko\na/dm-verity.ko\na/erofs.ko\na/ext4.ko\na/overlay.ko\n");
  put(root, "usr/lib/systemd/boot/efi/linuxx64.efi.stub", "stub");
  put(root, "usr/lib/systemd/boot/efi/systemd-bootx64.efi", "loader");
  put(root, "usr/lib/os-release", "ID=debian\nVERSION_ID=13\n");
  put(root, "usr/sbin/agetty", "agetty");
  put(root, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
  put(root, "etc/group", "root:x:0:\n");
  for (const [path, content] of Object.entries(files)) put(root, path, content);
  return root;
}

function input(tree: Directory, more: Partial<LintInput> = {}): LintInput {
  return { tree, architecture: "amd64", created: CREATED, labels: LABELS, ...more };
}

/** `uki` stands aside: these trees have no real kernel. test/cli/lint.test.ts has. */
function lint(tree: Directory, options: LintOptions = {}, more: Partial<LintInput> = {}): Promise<LintReport> {
  return lintImage(input(tree, more), { skip: ["uki"], ...options });
}

const names = ({ findings }: LintReport): string[] => [...new Set(findings.map((finding) => finding.lint))];

function finding(report: LintReport, name: string) {
  const found = report.findings.filter((one) => one.lint === name);
  assert.ok(found.length > 0, `${name} found nothing; others: ${names(report).join(", ") || "none"}`);
  return found[0]!;
}

test("an image that lacks nothing and carries nothing has no findings", async () => {
  const report = await lint(image());
  assert.deepEqual(report.findings, []);
  assert.equal(report.passed.length, LINTS.length - 1);
  assert.deepEqual(report.skipped, ["uki"]);
});

test("names of lints are unique, sentences have no full stop, and each has a cure", () => {
  assert.equal(new Set(LINTS.map(({ name }) => name)).size, LINTS.length);
  for (const { name, looksFor, cure } of LINTS) {
    assert.match(name, /^[a-z0-9-]+$/);
    assert.match(looksFor, /[^.]$/, name);
    for (const line of cure.split("\n")) assert.match(line, /^(RUN|COPY|LABEL|FROM|#|EOF|my-machine)/, name);
  }
});

/** Files that one lint alone has something to say about. */
const WARNINGS: readonly (readonly [lint: string, files: Readonly<Record<string, Content>>, path: string])[] = [
  ["fstab", { "etc/fstab": "UUID=1 / ext4 defaults 0 1\n" }, "/etc/fstab"],
  ["buildah-injected", { "etc/hostname": "" }, "/etc/hostname"],
  ["buildah-injected", { "etc/resolv.conf": "" }, "/etc/resolv.conf"],
  ["container-files", { "etc/resolv.conf": "nameserver 10.0.2.3\n" }, "/etc/resolv.conf"],
  ["container-files", { "etc/hostname": "0123456789ab\n" }, "/etc/hostname"],
  ["container-files", { "etc/hosts": "172.17.0.2\t0123456789ab\n" }, "/etc/hosts"],
  ["container-files", { ".dockerenv": "" }, "/.dockerenv"],
  ["nonempty-boot", { "boot/grub/grub.cfg": "x" }, "/boot/grub"],
  ["nonempty-run-tmp", { "tmp/x": "x" }, "/tmp/x"],
  ["nonempty-var-tmp", { "var/tmp/x": "x" }, "/var/tmp/x"],
  ["dropped-content", { "dev/nul": "x" }, "/dev/nul"],
  ["utf8", { [`usr/share/${"\xff"}`]: "x" }, "/usr/share/\\xff"],
  ["utf8", { "usr/share/link": link("\xff\xfe") }, "/usr/share/link"],
  ["var-log", { "var/log/lastlog": "x" }, "/var/log/lastlog"],
  ["machine-id", { "etc/machine-id": "0123456789abcdef0123456789abcdef\n" }, "/etc/machine-id"],
  ["machine-id", { "var/lib/dbus/machine-id": "0123456789abcdef0123456789abcdef\n" }, "/var/lib/dbus/machine-id"],
  ["package-caches", { "var/cache/apt/pkgcache.bin": "x" }, "/var/cache/apt/pkgcache.bin"],
  ["package-caches", { "var/lib/apt/lists/mirror.example_dists": "x" }, "/var/lib/apt/lists/mirror.example_dists"],
  ["package-caches", { "var/cache/libdnf5/x": "x" }, "/var/cache/libdnf5/x"],
  ["ldconfig-cache", { "var/cache/ldconfig/aux-cache": "x" }, "/var/cache/ldconfig/aux-cache"],
  ["man-cache", { "var/cache/man/index.db": "x" }, "/var/cache/man/index.db"],
  ["font-caches", { "var/cache/fontconfig/a.cache-9": "x" }, "/var/cache/fontconfig/a.cache-9"],
  ["var-cache", { "var/cache/swcatalog/x": "x" }, "/var/cache/swcatalog/x"],
  ["home-caches", { "root/.cache/pip/x": "x" }, "/root/.cache/pip/x"],
  ["home-caches", { "home/a/.npm/x": "x" }, "/home/a/.npm/x"],
  ["shell-history", { "root/.bash_history": "x" }, "/root/.bash_history"],
  ["credentials", { "root/.ssh/id_ed25519": "x" }, "/root/.ssh/id_ed25519"],
  ["ssh-host-keys", { "etc/ssh/ssh_host_rsa_key": "x" }, "/etc/ssh/ssh_host_rsa_key"],
  ["machine-secrets", { "var/lib/systemd/random-seed": "x" }, "/var/lib/systemd/random-seed"],
  ["machine-secrets", { "var/lib/systemd/credential.secret": "x" }, "/var/lib/systemd/credential.secret"],
  ["initrds", { "boot/initrd.img-6.1": "x" }, "/boot/initrd.img-6.1"],
  ["initrds", { [`${MODULES}/initramfs.img`]: "x" }, `/${MODULES}/initramfs.img`],
  ["backup-files", { "etc/shadow-": "x" }, "/etc/shadow-"],
  ["backup-files", { "etc/x.dpkg-old": "x" }, "/etc/x.dpkg-old"],
  ["update-marks", { "etc/.updated": "" }, "/etc/.updated"],
  ["run-state", { "var/lib/systemd/timers/stamp-x": "x" }, "/var/lib/systemd/timers/stamp-x"],
  ["rpm-database", { "usr/lib/sysimage/rpm/rpmdb.sqlite": "x" }, "/usr/lib/sysimage/rpm/rpmdb.sqlite"],
  ["sysusers", { "etc/passwd": "app:x:999:0::/:/bin/sh\n" }, "/etc/passwd"],
  ["sysusers", { "etc/group": "app:x:999:\n" }, "/etc/group"],
  ["shadow-dates", { "etc/shadow": `root:*:${CREATED / DAY}:0:99999:7:::\n` }, "/etc/shadow"],
];

for (const [name, files, path] of WARNINGS)
  test(`${name} names ${path}, and nothing else has anything to say`, async () => {
    const report = await lint(image(files));
    assert.deepEqual(names(report), [name]);
    const found = finding(report, name);
    assert.deepEqual(found.paths, [path]);
    assert.equal(found.severity, "warning");
  });

test("what looks alike but is in order is let be", async () => {
  const report = await lint(
    image({
      "etc/fstab": "tmpfs /srv tmpfs defaults 0 0\n",
      "etc/hostname": "kiosk\n",
      "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
      "etc/machine-id": "",
      "etc/resolv.conf": link("../run/systemd/resolve/stub-resolv.conf"),
      "boot/vmlinuz-6.12.1-test": "kernel",
      [`boot/config-${KVER}`]: "",
      "boot/EFI/x": "x",
      "run/systemd/resolve/stub-resolv.conf": "",
      "tmp/empty": directory(attributes(0o755, { mtime: OLD })),
      "var/log/btmp": "",
      "var/lib/apt/lists/lock": "",
      "var/cache/debconf/config.dat": "x",
      "var/run": link("../run"),
      "root/.ssh/id_ed25519.pub": "x",
      "etc/passwd": "root:x:0:0:::\ndaemon:x:1:1:::\nnobody:x:65534:65534:::\napp:x:999:999:::\n",
      "etc/group": "users:x:100:\napp:x:999:\n",
      "usr/lib/sysusers.d/app.conf": 'u! app 999 "App" /\n',
      "etc/shadow": `root:*:${CREATED / DAY - 10n}:0:99999:7:::\nbin:!::::::\n`,
    }),
  );
  assert.deepEqual(report.findings, []);
});

test("an L+ line of tmpfiles.d cures /etc/resolv.conf", async () => {
  const files = { "etc/resolv.conf": "", "usr/lib/tmpfiles.d/r.conf": "L+ /etc/resolv.conf - - - - ../run/x\n" };
  assert.deepEqual(names(await lint(image(files))), []);
});

test("owners that the image does not know are told apart", async () => {
  const tree = image();
  putNode(tree, "srv/a", regularFile(attributes(0o644, { mtime: OLD, uid: 1234 }), bytesSource(new Uint8Array())), OLD);
  putNode(tree, "srv/b", regularFile(attributes(0o644, { mtime: OLD, gid: 77 }), bytesSource(new Uint8Array())), OLD);
  putNode(
    tree,
    "srv/c",
    regularFile(attributes(0o644, { mtime: OLD, uid: 61200 }), bytesSource(new Uint8Array())),
    OLD,
  );
  const report = await lint(tree);
  assert.deepEqual(
    report.findings.map(({ reason, paths }) => [reason.replace(/,.*/, ""), paths]),
    [
      ["1 file of user 1234", ["/srv/a"]],
      ["1 file of group 77", ["/srv/b"]],
    ],
  );
});

test("no way to log in is worth a warning", async () => {
  const tree = image();
  removeNode(tree, "usr/sbin/agetty");
  assert.deepEqual(names(await lint(tree)), ["login"]);
});

test("times of the build are found by the creation time, unless the clamp is fixed", async () => {
  const tree = image();
  put(tree, "etc/made", "x", CREATED - SECOND);
  put(tree, "etc/later", "x", CREATED + SECOND);
  const report = await lint(tree);
  const found = finding(report, "timestamps");
  assert.deepEqual(found.paths, ["/etc/later", "/etc/made"]);
  assert.match(
    found.reason,
    /^2 names .* the newest 2026-01-02T00:00:01Z; 1 is newer than the clamp, 2026-01-02T00:00:00Z/,
  );
  assert.deepEqual(report.clamp, { time: CREATED, origin: "creation", newer: 1, newest: CREATED + SECOND });

  const fixed = await lint(tree, { clamp: OLD });
  assert.deepEqual(names(fixed), []);
  assert.deepEqual(fixed.clamp, { time: OLD, origin: "given", newer: 2, newest: CREATED + SECOND });

  const unknown = await lint(tree, {}, { created: undefined });
  assert.match(finding(unknown, "timestamps").reason, /has no creation time/);
});

function pyc(flags: number, mtime: bigint, size: number, magic = 3571): Uint8Array {
  const bytes = new Uint8Array(20);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic | 0x0a0d0000, true);
  view.setUint32(4, flags, true);
  view.setUint32(8, Number(BigInt.asUintN(32, mtime / SECOND)), true);
  view.setUint32(12, size, true);
  return bytes;
}

test("bytecode is held against its source and the clamp", async () => {
  const lib = "usr/lib/python3/lib";
  const fresh = OLD + DAY;
  const tree = image({
    [`${lib}/fits.py`]: "1\n",
    [`${lib}/__pycache__/fits.cpython-313.pyc`]: pyc(0, OLD, 2),
    [`${lib}/time.py`]: "1\n",
    [`${lib}/__pycache__/time.cpython-313.opt-1.pyc`]: pyc(0, OLD + 5n * SECOND, 2),
    [`${lib}/size.py`]: "1\n",
    [`${lib}/__pycache__/size.cpython-313.pyc`]: pyc(0, OLD, 3),
    [`${lib}/hashed.py`]: "1\n",
    [`${lib}/__pycache__/hashed.cpython-313.pyc`]: pyc(3, 0n, 99),
    [`${lib}/python2.py`]: "1\n",
    [`${lib}/python2.pyc`]: pyc(0, 0n, 99, 62211),
    [`${lib}/__pycache__/gone.cpython-313.pyc`]: pyc(0, OLD, 2),
    [`${lib}/alone.pyc`]: pyc(0, OLD, 2),
    [`${lib}/short.py`]: "1\n",
    [`${lib}/__pycache__/short.cpython-313.pyc`]: "x",
    [`${lib}/linked.py`]: link("fits.py"),
    [`${lib}/__pycache__/linked.cpython-313.pyc`]: pyc(0, OLD, 2),
  });
  put(tree, `${lib}/new.py`, "1\n", fresh);
  put(tree, `${lib}/__pycache__/new.cpython-313.pyc`, pyc(0, fresh, 2));
  const found = async (clamp?: bigint) =>
    (await lint(tree, { clamp })).findings.map(({ code, paths }) => [
      code,
      paths.map((path) => path.replace(/.*\/([a-z0-9]+)\..*/, "$1")),
    ]);
  const others = [
    ["stale", ["short", "size", "time"]],
    ["orphan", ["gone"]],
  ];
  assert.deepEqual(await found(fresh), others);
  assert.deepEqual(await found(OLD), [others[0], ["clamped", ["new"]], others[1]]);
});

/** What the build refuses. Each is the change to an image, and the code of the error. */
const REFUSED: readonly (readonly [lint: string, code: string, change: (tree: Directory) => void])[] = [
  ["kernel", "no-kernel", (tree) => removeNode(tree, `${MODULES}/vmlinuz`)],
  ["kernel", "several-kernels", (tree) => put(tree, "usr/lib/modules/6.13.0/vmlinuz", "kernel")],
  ["kernel-modules", "no-modules", (tree) => put(tree, `${MODULES}/modules.builtin`, "a/erofs.ko\n")],
  ["boot-loader", "no-stub", (tree) => removeNode(tree, "usr/lib/systemd/boot/efi/linuxx64.efi.stub")],
  ["boot-loader", "no-loader", (tree) => removeNode(tree, "usr/lib/systemd/boot/efi/systemd-bootx64.efi")],
  ["systemd", "no-systemd", (tree) => removeNode(tree, "usr/lib/systemd/systemd")],
  ["systemd", "no-unit", (tree) => removeNode(tree, "usr/lib/systemd/system/initrd.target")],
  ["veritysetup", "no-veritysetup", (tree) => removeNode(tree, "usr/lib/systemd/systemd-veritysetup")],
  ["var-mkfs", "no-mkfs", (tree) => removeNode(tree, "usr/bin/mkfs.ext4")],
  ["initrd", "no-program", (tree) => removeNode(tree, "usr/bin/dmsetup")],
  ["initrd", "no-rule", (tree) => removeNode(tree, "usr/lib/udev/rules.d/95-dm-notify.rules")],
  ["os-release", "no-os-release", (tree) => removeNode(tree, "usr/lib/os-release")],
  ["api-base-directories", "not-a-directory", (tree) => put(tree, "boot", link("usr/boot"))],
  ["bootc-kargs", "bad-kargs-file", (tree) => put(tree, "usr/lib/bootc/kargs.d/1.toml", "kargs = 1\n")],
  ["bootc-kargs", "reserved-karg", (tree) => put(tree, "usr/lib/bootc/kargs.d/1.toml", 'kargs = ["root=x"]\n')],
  ["bootc-kargs", "bad-karg", (tree) => put(tree, "usr/lib/bootc/kargs.d/1.toml", 'kargs = [""]\n')],
  ["bootc-kargs", "too-large", (tree) => put(tree, "usr/lib/bootc/kargs.d/1.toml", new Uint8Array(70_000))],
];

async function buildCode(given: LintInput): Promise<string> {
  const environment = { reporter: silentReporter } as unknown as Environment;
  try {
    const { tree, architecture = "", created, labels } = given;
    await buildSystem(
      { tree, architecture, created, labels, inputs: [] },
      { etc: "persistent", tails: "blocks" },
      {} as ArtifactStore,
      environment,
    );
  } catch (error) {
    assert.ok(isAshlarError(error), String(error));
    return error.code;
  }
  return "none";
}

for (const [name, code, change] of REFUSED)
  test(`${name}: the build ends with ${code}, and the lint says the same`, async () => {
    const tree = image();
    change(tree);
    const report = await lint(tree);
    assert.deepEqual(names(report), [name]);
    assert.equal(finding(report, name).severity, "fatal");
    assert.equal(finding(report, name).code, code);
    assert.equal(await buildCode(input(tree)), code);
  });

test("identity and architecture: the same code as the build", async () => {
  for (const more of [
    { labels: {} },
    { labels: { ...LABELS, "org.opencontainers.image.title": "Not An Id" } },
    { architecture: "s390x\nx" },
  ]) {
    const [only, ...others] = (await lint(image(), {}, more)).findings;
    assert.equal(others.length, 0);
    assert.equal(only?.code, await buildCode(input(image(), more)));
    assert.doesNotMatch(only?.reason ?? "", /\n/);
  }
  assert.equal(finding(await lint(image(), {}, { architecture: undefined }), "architecture").code, "no-architecture");
});

test("an image without any of it: every file that is missing, in one run", async () => {
  const tree = directory(attributes(0o755));
  put(tree, "usr/lib/os-release", "ID=debian\nVERSION_ID=12\n");
  const report = await lint(tree, {}, { labels: {} });
  const fatal = report.findings.filter(({ severity }) => severity === "fatal").map((one) => one.lint);
  assert.deepEqual(fatal, ["identity", "kernel", "boot-loader", "systemd", "veritysetup", "var-mkfs", "initrd"]);
  assert.equal(finding(report, "systemd").paths.length, 1 + NEEDED_UNITS.length);
  // In Debian 12 it is still part of systemd.
  assert.deepEqual(finding(report, "veritysetup").packages, ["systemd"]);
  assert.match(finding(report, "kernel").cure, /^RUN apt-get update && apt-get install .* linux-image-amd64 /);
});

test("each mistake in kargs.d is named, not only the first", async () => {
  const folder = "usr/lib/bootc/kargs.d";
  const report = await lint(
    image({
      [`${folder}/1.toml`]: "kargs = 1\n",
      [`${folder}/2.toml`]: 'kargs = ["quiet"]\n',
      [`${folder}/3.toml`]: 'kargs = ["roothash=0"]\n',
      [`${folder}/4.toml`]: 'unknown = ["x"]\n',
    }),
  );
  const found = report.findings.map(({ code, reason }) => [code, reason.slice(folder.length + 2, folder.length + 3)]);
  assert.deepEqual(found, [
    ["bad-kargs-file", "1"],
    ["reserved-karg", "3"],
    ["bad-kargs-file", "4"],
  ]);
});

test("all mount points that are links are named, each with its cure", async () => {
  const report = await lint(image({ boot: link("usr/boot"), tmp: link("var/tmp"), "var/tmp/x": "" }));
  const found = report.findings.filter((one) => one.lint === "api-base-directories");
  assert.deepEqual(
    found.map(({ paths, cure }) => [...paths, cure]),
    [
      ["/boot", "RUN rm -f /boot && mkdir /boot"],
      ["/tmp", "RUN rm -f /tmp && mkdir /tmp"],
    ],
  );
});

test("a kernel that is configured without what the root needs is named with what it lacks", async () => {
  const config = ["EROFS_FS=m", "BLK_DEV_DM=y", "DM_VERITY=y", "EXT4_FS=y", "BLK_DEV_INITRD=y", "EFI_STUB=y"];
  const text = config.map((line) => `CONFIG_${line}\n`).join("");
  const lacking = await lint(image({ [`boot/config-${KVER}`]: text }));
  assert.match(finding(lacking, "kernel-config").reason, /is built without CONFIG_OVERLAY_FS \(/);
  assert.deepEqual(names(lacking), ["kernel-config"]);
  assert.deepEqual(names(await lint(image({ [`boot/config-${KVER}`]: `${text}CONFIG_OVERLAY_FS=m\n` }))), []);
});

test("/usr/etc and a /var/run of its own are fatal, as they are for bootc", async () => {
  const report = await lint(image({ "usr/etc/x": "x", "var/run/x": "x" }));
  assert.deepEqual(names(report), ["etc-usretc", "var-run"]);
  for (const { severity } of report.findings) assert.equal(severity, "fatal");
});

test("the tree is the same afterwards", async () => {
  const state = (tree: Directory) =>
    [...walkTree(tree)].map(({ path, node }) => [path, node.type, node.mtime, node.type === "file" && node.content]);
  const tree = image({ "etc/fstab": "x / x\n", "tmp/x": "x", ".dockerenv": "", boot: link("usr/boot") });
  removeNode(tree, "usr/lib/systemd/systemd");
  const before = state(tree);
  await lint(tree, { clamp: OLD - DAY });
  assert.deepEqual(state(tree), before);
});

test("paths are bounded in number and length, and escaped", async () => {
  const tree = image();
  for (let i = 0; i < 250; i++) put(tree, `var/log/${String(i).padStart(3, "0")}`, "x");
  put(tree, `var/log/${"long/".repeat(300)}x`, "x");
  put(tree, fromUtf8("var/log/\x1b[31m"), "x");
  put(tree, byteString(Uint8Array.of(...encodeUtf8("var/log/"), 0xff)), "x");
  const found = finding(await lint(tree), "var-log");
  assert.equal(found.paths.length, 100);
  assert.equal(found.morePaths, 153);
  assert.equal(found.paths[0], "/var/log/\\x1b[31m");
  const all = finding(await lint(tree, { maxPaths: Number.POSITIVE_INFINITY }), "var-log");
  assert.equal(all.paths.length, 253);
  assert.ok(all.paths.every((path) => path.length <= 401));
});

test("names of an image never get into a line for the shell unless they need no quoting", async () => {
  const evil = "6.1;rm -rf $HOME";
  const tree = image({ [`usr/lib/modules/${evil}/vmlinuz`]: "x", "etc/passwd": "$(x):x:999:0:::\nok:x:998:998:::\n" });
  const report = await lint(tree);
  for (const { cure } of report.findings) {
    assert.doesNotMatch(cure, /\$HOME|\$\(x\)/);
  }
  assert.match(finding(report, "sysusers").cure, /'u ok 998'/);
});

test("a lint that is skipped does not run; unknown names are the caller's mistake", async () => {
  const tree = image({ "tmp/x": "x" });
  const report = await lint(tree, { skip: ["uki", "nonempty-run-tmp"] });
  assert.deepEqual(report.findings, []);
  assert.deepEqual(report.skipped, ["uki", "nonempty-run-tmp"]);
  await assert.rejects(lint(tree, { skip: ["nonsense"] }), RangeError);
});

test("close names", () => {
  assert.equal(closeLints("machineid")[0], "machine-id");
  assert.equal(closeLints("sysuser")[0], "sysusers");
  assert.ok(closeLints("cache").length > 0);
  assert.deepEqual(closeLints("zzzzzzzzzz"), []);
  assert.doesNotThrow(() => closeLints("x".repeat(100_000)));
});
