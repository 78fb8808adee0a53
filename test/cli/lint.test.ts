// `ashlar lint` as people meet it: a container image that is no system, a real Debian that carries too much, a clean one,
// and two builds of one recipe a day apart whose every difference is named, and cured by the lines that are shown.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { LINTS } from "@ashlar/core/ops/lint";
import { ashlar, ashlarOk } from "../support/ashlar.ts";
import { debianLayout } from "../support/debian.ts";
import { writeLayout } from "../support/oci.ts";
import { cacheDirectory, makeRoot, REPOSITORY } from "../support/roots.ts";
import { type TarEntry, tarBytes, whiteout } from "../support/tar.ts";

interface Finding {
  readonly lint: string;
  readonly severity: "fatal" | "warning";
  readonly code?: string;
  readonly reason: string;
  readonly paths: readonly string[];
  readonly morePaths: number;
  readonly cure: string;
  readonly packages?: readonly string[];
}

interface Report {
  readonly schema: string;
  readonly findings: readonly Finding[];
  readonly fatal: number;
  readonly warnings: number;
  readonly passed: readonly string[];
  readonly skipped: readonly string[];
}

const isLong = process.env["ASHLAR_LONG"] === "true";
const isRoot = process.getuid?.() === 0;
const FIXED = ["--timestamp", "2025-01-01T00:00:00Z"];

function workDirectory(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-lint-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function lintJson(reference: string, ...flags: readonly string[]): { readonly status: number | null; report: Report } {
  const { status, stdout, stderr } = ashlar(["lint", reference, "--json", ...flags]);
  assert.ok(stdout !== "", stderr);
  return { status, report: JSON.parse(stdout) as Report };
}

const lintsOf = ({ findings }: Report, severity: Finding["severity"]): string[] => [
  ...new Set(findings.filter((one) => one.severity === severity).map(({ lint }) => lint)),
];

async function smallImage(t: TestContext, entries: readonly TarEntry[]): Promise<string> {
  const folder = join(workDirectory(t), "image");
  await writeLayout(folder, { layers: [{ tar: tarBytes(entries) }] });
  return `oci:${folder}`;
}

test("a container image that is no system: all that is missing, and one line that installs it", async (t) => {
  const reference = await smallImage(t, [
    { name: "etc/" },
    { name: "usr/lib/os-release", content: "ID=debian\nVERSION_ID=13\n" },
    { name: "usr/bin/app", content: "#!/bin/sh\n", mode: 0o755 },
  ]);
  const { status, stdout } = ashlar(["lint", reference]);
  assert.equal(status, 6);
  assert.match(stdout, /^ {2}kernel: no kernel in the image: neither \/usr\/lib\/modules\/VERSION\/vmlinuz nor/m);
  assert.match(stdout, /^ {4}LABEL org\.opencontainers\.image\.title="my-os"/m);
  assert.match(
    stdout,
    /All of these packages in one line:\n {4}RUN apt-get update && .* linux-image-amd64 systemd-boot-efi systemd systemd-sysv systemd-cryptsetup e2fsprogs /,
  );
  assert.match(stdout, /\n7 fatal, 1 warning, \d+ lints found nothing\n$/);
  assert.deepEqual(lintsOf(lintJson(reference).report, "fatal"), [
    "identity",
    "kernel",
    "boot-loader",
    "systemd",
    "veritysetup",
    "var-mkfs",
    "initrd",
  ]);
});

/** What an image author forgets to remove. */
const DIRT: readonly TarEntry[] = [
  { name: "etc/machine-id", content: "0123456789abcdef0123456789abcdef\n" },
  { name: "var/log/dpkg.log", content: "2025-01-01 startup archives install\n" },
  { name: "var/cache/apt/archives/hello_1_amd64.deb", content: "x" },
  { name: "var/lib/apt/lists/mirror.example_debian_dists_trixie_InRelease", content: "x" },
  { name: "var/cache/ldconfig/aux-cache", content: "x" },
  { name: "var/lib/systemd/random-seed", content: "x" },
  { name: "root/.bash_history", content: "x" },
  { name: "boot/initrd.img-6.1", content: "x" },
];

test("a Debian with a machine id, logs and caches inside: each is named with its cure", async () => {
  const layout = await debianLayout("trixie", { extraLayers: [DIRT] });
  const { status, report } = lintJson(`oci:${layout}`, ...FIXED);
  assert.equal(status, 0);
  assert.equal(report.schema, "ashlar.lint/v1");
  assert.equal(report.fatal, 0);
  for (const { name } of DIRT) {
    const found = report.findings.find(({ paths }) => paths.includes(`/${name}`));
    assert.ok(found, `${String(name)} is not named`);
    assert.match(found.cure, /^RUN /, found.lint);
  }
  assert.equal(ashlar(["lint", `oci:${layout}`, ...FIXED, "--fatal-warnings", "--quiet"]).status, 6);
  const skipped = lintJson(`oci:${layout}`, ...FIXED, "--skip", "machine-id", "--skip", "var-log").report;
  assert.deepEqual(skipped.skipped, ["machine-id", "var-log"]);
  assert.ok(!skipped.findings.some(({ lint }) => lint === "machine-id" || lint === "var-log"));
});

/** Undoes what the test image and mmdebstrap have that a lint warns about. */
function cleaningLayer(): TarEntry[] {
  const { stdout } = spawnSync("tar", ["-xOf", makeRoot("trixie"), "./etc/shadow"], { encoding: "utf8" });
  const backups = ["etc/passwd-", "etc/shadow-", "etc/group-", "etc/gshadow-", "var/cache/debconf/config.dat-old"];
  backups.push("var/cache/debconf/templates.dat-old", "var/lib/dpkg/diversions-old", "var/lib/dpkg/status-old");
  return [
    ...backups.map(whiteout),
    whiteout("usr/share/ashlar-test"),
    whiteout("var/lib/ashlar-test"),
    { name: "etc/resolv.conf", type: "symlink", target: "../run/systemd/resolve/stub-resolv.conf" },
    { name: "etc/shadow", content: stdout.replace(/^([^:]*:[^:]*):\d+:/gm, "$1::"), mode: 0o640, gid: 42 },
  ];
}

test("a clean Debian: nothing to say, also with --fatal-warnings", async () => {
  const layout = await debianLayout("trixie", { extraLayers: [cleaningLayer()] });
  const { status, stdout } = ashlar(["lint", `oci:${layout}`, ...FIXED, "--fatal-warnings", "--quiet"]);
  assert.match(stdout, /\n0 fatal, 0 warnings, \d+ lints found nothing\n$/, stdout);
  assert.equal(status, 0);
  // Without a fixed clamp its times are what moves.
  assert.deepEqual(lintsOf(lintJson(`oci:${layout}`).report, "warning"), ["timestamps"]);
});

test("wrong usage is said in one line, with names that come close", () => {
  const unknown = ashlar(["lint", "--skip", "machineid", "oci:nowhere"]);
  assert.deepEqual([unknown.status, unknown.stderr], [2, "ashlar: no such lint: machineid (is it machine-id?)\n"]);
  assert.equal(ashlar(["lint"]).status, 2);
  assert.equal(ashlar(["lint", "oci:/nowhere"]).status, 7);
});

test("--list needs no image, and docs/lint.md has the same table", () => {
  const lines = ashlarOk(["lint", "--list"]).stdout.trimEnd().split("\n");
  assert.deepEqual(
    lines.map((line) => line.split(/\s+/, 2)),
    LINTS.map(({ name, severity }) => [name, severity]),
  );
  const listed = JSON.parse(ashlarOk(["lint", "--list", "--json"]).stdout) as { readonly lints: typeof LINTS };
  const rows = listed.lints.map(({ name, severity, looksFor, cure }) => {
    const code = cure.split("\n").map((line) => `\`${line.replaceAll("|", "\\|")}\``);
    return `| \`${name}\` | ${severity} | ${looksFor.replaceAll("|", "\\|").replaceAll("*", "\\*")} | ${code.join("<br>")} |`;
  });
  const path = join(REPOSITORY, "docs/lint.md");
  const text = readFileSync(path, "utf8");
  const written = text.split("\n").filter((line) => line.startsWith("| `") && / \| (fatal|warning) \| /.test(line));
  if (process.env["ASHLAR_UPDATE_DOCS"] === "true") {
    const marked = /(?<=<!-- lints -->\n)[\s\S]*?(?=<!-- end -->)/;
    const head = "| name | severity | looks for | cure |\n| --- | --- | --- | --- |\n";
    writeFileSync(
      path,
      text.replace(marked, () => `${head}${rows.join("\n")}\n`),
    );
  } else assert.deepEqual(written, rows, "run this test with ASHLAR_UPDATE_DOCS=true");
});

/** A recipe as a Containerfile would have it, that leaves behind what such recipes leave behind. */
const PACKAGES =
  "systemd,systemd-sysv,dbus,udev,openssh-server,man-db,fontconfig,fonts-dejavu-core,python3-minimal,ssl-cert";
const RECIPE = [
  "rm -f /etc/machine-id",
  "systemd-machine-id-setup",
  "dbus-uuidgen --ensure",
  "fc-cache",
  "useradd -m alice",
  "echo ls >> /root/.bash_history",
  "mkdir -p /root/.cache && date > /root/.cache/stamp",
  "date > /tmp/left-behind",
].join(" && ");

/** The recipe carried out at another time of day: libfaketime gives all programs another clock. Kept in the cache. */
async function buildAt(offset: string): Promise<string> {
  const folder = join(cacheDirectory(), "lint");
  const key = createHash("sha256").update(`${PACKAGES} ${RECIPE}`).digest("hex").slice(0, 16);
  const target = join(folder, `${key}${offset}.tar`);
  if (existsSync(target)) return target;
  await mkdir(folder, { recursive: true });
  const work = mkdtempSync(join(folder, ".work-"));
  try {
    const run = (command: string, args: readonly string[]): void => {
      const { status, stderr } = spawnSync(command, args, { cwd: work, encoding: "utf8" });
      assert.equal(status, 0, `${command}: ${stderr}`);
    };
    run("sh", ["-c", "apt-get download -q libfaketime && dpkg -x libfaketime_*.deb clock && rm libfaketime_*.deb"]);
    const library = join(
      work,
      "clock/usr/lib",
      `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu/faketime/libfaketime.so.1`,
    );
    const inside = `"$1${work}"`;
    // libfaketime leaves semaphores behind that are named by process numbers and disturb whoever gets these next.
    const privately = ["--mount", "sh", "-c", 'mount -t tmpfs tmpfs /dev/shm && exec "$@"', "sh", "env"];
    const clock = [`LD_PRELOAD=${library}`, `FAKETIME=${offset}`, "NO_FAKE_STAT=1", "DONT_FAKE_MONOTONIC=1"];
    run("unshare", [
      ...privately,
      ...clock,
      "mmdebstrap",
      "--variant=minbase",
      "--skip=cleanup",
      '--aptopt=Acquire::Check-Valid-Until "false"',
      '--aptopt=Acquire::Check-Date "false"',
      `--include=${PACKAGES}`,
      `--setup-hook=mkdir -p ${inside} && cp -r --parents ${library} "$1"`,
      `--customize-hook=chroot "$1" sh -c '${RECIPE}'`,
      `--customize-hook=rm -rf ${inside}`,
      "trixie",
      join(work, "root.tar"),
    ]);
    await rename(join(work, "root.tar"), target);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return target;
}

/** Path → all that a root has of it: one word for its content, one for its time. */
function listTar(path: string): Map<string, { readonly content: string; readonly time: string }> {
  const script = [
    "import hashlib, json, sys, tarfile",
    "t = tarfile.open(sys.argv[1])",
    "for m in t:",
    "  h = hashlib.sha256(t.extractfile(m).read()).hexdigest() if m.isreg() else m.linkname",
    "  print(json.dumps(['/' + m.name[2:], f'{m.type}{m.mode}{m.uid}{m.gid}{h}', str(m.mtime)]))",
  ];
  const { status, stdout, stderr } = spawnSync("python3", ["-c", script.join("\n"), path], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  assert.equal(status, 0, stderr);
  return new Map(
    stdout
      .trimEnd()
      .split("\n")
      .map((line) => {
        const [name, content, time] = JSON.parse(line) as [string, string, string];
        return [name, { content, time }];
      }),
  );
}

/** Does what the lines say, in the root, as a container engine would. */
function applyCure(root: string, cure: string): void {
  const lines = cure.split("\n");
  for (let line = lines.shift(); line !== undefined; line = lines.shift()) {
    if (line.startsWith("RUN ")) {
      const { status, stderr } = spawnSync("chroot", [root, "/bin/sh", "-c", line.slice(4)], { encoding: "utf8" });
      assert.equal(status, 0, `${line}: ${stderr}`);
    } else if (line.startsWith("COPY <<EOF ")) {
      const end = lines.indexOf("EOF");
      writeFileSync(join(root, line.slice("COPY <<EOF ".length)), `${lines.splice(0, end).join("\n")}\n`);
      lines.shift();
    } else assert.match(line, /^#/);
  }
}

const reason = !isLong ? "slow: --long" : !isRoot ? "needs root: a chroot" : false;

test("two builds of one recipe a day apart: every difference is named, and the cures make them one", {
  skip: reason,
}, async (t) => {
  const builds = [await buildAt("-26h"), await buildAt("+0")];
  const identity = ["--image-id", "pair", "--image-version", "1"];
  const [before, after] = builds.map(listTar) as [ReturnType<typeof listTar>, ReturnType<typeof listTar>];
  const named = { content: new Set<string>(), time: new Set<string>() };
  for (const tar of builds)
    for (const { lint, paths } of lintJson(`tar:${tar}`, ...identity, "--all").report.findings)
      for (const path of paths) named[lint === "timestamps" ? "time" : "content"].add(path);
  let differences = 0;
  for (const path of new Set([...before.keys(), ...after.keys()])) {
    const [a, b] = [before.get(path), after.get(path)];
    if (a?.content !== b?.content) {
      differences++;
      assert.ok(named.content.has(path), `${path} differs and no lint names it`);
    } else if (a?.time !== b?.time) assert.ok(named.time.has(path), `the time of ${path} differs and no lint names it`);
  }
  assert.ok(differences > 20, `only ${differences} differences: the recipe leaves too little behind`);

  const work = workDirectory(t);
  const hashes = builds.map((tar, index) => {
    const root = join(work, `root-${index}`);
    mkdirSync(root);
    assert.equal(spawnSync("tar", ["-xpf", tar, "--numeric-owner", "-C", root]).status, 0);
    for (const { severity, cure } of lintJson(`dir:${root}`, ...identity, ...FIXED).report.findings)
      if (severity === "warning") applyCure(root, cure);
    const left = lintJson(`dir:${root}`, ...identity, ...FIXED).report;
    assert.deepEqual(lintsOf(left, "warning"), []);
    const out = join(work, `out-${index}`);
    ashlarOk(["seal", `dir:${root}`, "-o", out, "--name", "pair", ...identity, ...FIXED, "--quiet"]);
    return (JSON.parse(readFileSync(join(out, "pair.release.json"), "utf8")) as { readonly rootHash: string }).rootHash;
  });
  assert.equal(hashes[0], hashes[1]);
});
