// "Bad input gets" of the boot-chain issue: one line that names thing and place, an exit code by class, nothing left behind.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { zstdCompressSync } from "node:zlib";
import { type ImageInput, type OciLayout, writeBlob, writeLayout } from "../support/oci.ts";
import { assertOneLine, isRoot, NOBODY, noise, run, runOk, SAMPLE_LABELS, workFolder } from "../support/samples.ts";
import { type TarEntry, tarBytes, whiteout } from "../support/tar.ts";

const EXIT = { format: 3, unsupported: 4, integrity: 5, policy: 6, source: 7, sink: 8 } as const;
// biome-ignore lint/suspicious/noExplicitAny: a document that tests change at will
type Json = Record<string, any>;

const GOOD = tarBytes([{ name: "etc/" }, { name: "etc/motd", content: noise(300_000, "motd") }]);

interface Case {
  readonly exit: number;
  readonly message: RegExp;
  readonly image?: Partial<ImageInput>;
  /** Changes the layout after it was made. */
  readonly spoil?: (layout: OciLayout) => unknown;
  readonly command?: "build" | "seal";
  readonly flags?: readonly string[];
  readonly tag?: string;
}

function layerPath({ directory }: OciLayout): string {
  return join(directory, "blobs", manifestOf(directory)["layers"][0].digest.replace(":", "/"));
}

const readJson = (path: string): Json => JSON.parse(readFileSync(path, "utf8")) as Json;

function manifestOf(directory: string): Json {
  const { digest } = readJson(join(directory, "index.json"))["manifests"][0];
  return readJson(join(directory, "blobs", digest.replace(":", "/")));
}

/** Another manifest, with everything that names it set right. */
function changeManifest(change: (manifest: Json) => unknown): (layout: OciLayout) => Promise<void> {
  return async ({ directory }) => {
    const manifest = manifestOf(directory);
    await change(manifest);
    const blob = await writeBlob(directory, Buffer.from(JSON.stringify(manifest)));
    const index = readJson(join(directory, "index.json"));
    Object.assign(index["manifests"][0], blob);
    writeFileSync(join(directory, "index.json"), JSON.stringify(index));
  };
}

const entries = (...list: TarEntry[]): Partial<ImageInput> => ({ layers: [{ tar: tarBytes(list) }] });

/** 1.2 GB of zeros in frames of 30 kB: more than a layer of that size may hold. */
function bomb({ directory }: OciLayout): Promise<void> {
  const header = zstdCompressSync(tarBytes([{ name: "zeros", content: "" }]).subarray(0, 512));
  const zeros = zstdCompressSync(Buffer.alloc(300 << 20));
  return changeManifest(async (manifest) => {
    const blob = await writeBlob(directory, Buffer.concat([header, zeros, zeros, zeros, zeros]));
    manifest["layers"][0] = { mediaType: "application/vnd.oci.image.layer.v1.tar+zstd", ...blob };
  })({ directory } as OciLayout);
}

const CASES: Readonly<Record<string, Case>> = {
  "a truncated layer": {
    exit: EXIT.integrity,
    message: /layer.* bytes, expected/,
    spoil: (layout) => truncateSync(layerPath(layout), 1000),
  },
  "a corrupt layer": {
    exit: EXIT.integrity,
    message: /layer.*digest is sha256:/,
    spoil: (layout) => {
      const bytes = readFileSync(layerPath(layout));
      bytes[bytes.length >> 1]! ^= 0x40;
      writeFileSync(layerPath(layout), bytes);
    },
  },
  "a wrong size in the manifest": {
    exit: EXIT.integrity,
    message: /layer.* bytes, expected/,
    spoil: changeManifest((manifest) => manifest["layers"][0].size++),
  },
  "a wrong diffID": {
    exit: EXIT.integrity,
    message: /layer.*diffID is sha256:.*expects sha256:0000/,
    image: { config: { rootfs: { type: "layers", diff_ids: [`sha256:${"0".repeat(64)}`] } } },
  },
  "a missing blob": {
    exit: EXIT.source,
    message: /blob sha256:[0-9a-f]{64}.*missing/,
    spoil: changeManifest((manifest) => {
      manifest["layers"][0].digest = `sha256:${"1".repeat(64)}`;
    }),
  },
  "an unknown media type": {
    exit: EXIT.unsupported,
    message: /layer.*application\/x-cake/,
    spoil: changeManifest((manifest) => {
      manifest["layers"][0].mediaType = "application/x-cake";
    }),
  },
  "an artifact that is no image": {
    exit: EXIT.unsupported,
    message: /application\/vnd\.cyclonedx/,
    spoil: changeManifest((manifest) => {
      manifest["config"].mediaType = "application/vnd.cyclonedx+json";
    }),
  },
  "links that go round": {
    exit: EXIT.format,
    message: /layer 1 .*"x\/a".*symbolic links/,
    image: entries(
      { name: "x", type: "symlink", target: "y" },
      { name: "y", type: "symlink", target: "x" },
      { name: "x/a", content: "a" },
    ),
  },
  "a link out of the root": {
    exit: EXIT.format,
    message: /layer 1 .*"x\/passwd".*out of the root/,
    image: entries({ name: "x", type: "symlink", target: "../../etc" }, { name: "x/passwd", content: "root::0:0" }),
  },
  "a name with ..": {
    exit: EXIT.format,
    message: /layer 1 .*"etc\/\.\.\/\.\.\/passwd"/,
    image: entries({ name: "etc/../../passwd", content: "x" }),
  },
  "an absolute name": {
    exit: EXIT.format,
    message: /"\/etc\/passwd".*absolute/,
    image: entries({ name: "/etc/passwd" }),
  },
  "a hard link to nothing": {
    exit: EXIT.format,
    message: /"b".*hard link to "nothing"/,
    image: entries({ name: "b", type: "link", target: "nothing" }),
  },
  "a hard link out of the root": {
    exit: EXIT.format,
    message: /"b".*\.\./,
    image: entries({ name: "b", type: "link", target: "../../etc/shadow" }),
  },
  "names with control characters in an error": {
    exit: EXIT.format,
    message: /x1b\[2J/,
    image: entries({ name: "\x1b[2J\nashlar: all is well", type: "link", target: "\x1b]0;t\x07\u009b" }),
  },
  "a decompression bomb": { exit: EXIT.format, message: /layer 1 .*bytes/, spoil: bomb },
  "a layer that is no tar": {
    exit: EXIT.format,
    message: /layer 1 .*checksum/,
    image: { layers: [{ tar: noise(10_240, "no tar") }] },
  },
  "a tag that is not there": { exit: EXIT.source, message: /no.*v9.*latest/, tag: "v9" },
  "another architecture alone": {
    exit: EXIT.source,
    message: /linux\/amd64/,
    image: { architecture: "riscv64" },
    flags: ["--platform", "linux/amd64"],
  },
  "index.json that is no JSON": {
    exit: EXIT.format,
    message: /index\.json is not JSON/,
    spoil: ({ directory }) => writeFileSync(join(directory, "index.json"), "{ hello"),
  },
  "no identity (seal)": { exit: EXIT.policy, message: /--name/, image: { labels: {} } },
};

async function fails(t: TestContext, { exit, message, image = {}, spoil, command = "seal", flags = [], tag }: Case) {
  const folder = workFolder(t);
  const labels = SAMPLE_LABELS;
  const layout = await writeLayout(join(folder, "layout"), { layers: [{ tar: GOOD }], labels, ...image });
  await spoil?.(layout);
  const out = join(folder, "out");
  const args = [command, `oci:${layout.directory}${tag === undefined ? "" : `:${tag}`}`, "-o", out, ...flags];
  const plain = await run([...args, "--quiet"]);
  assertOneLine(plain.stderr, message);
  assert.equal(plain.status, exit, plain.stderr);
  assert.equal(plain.stdout, "");
  const left = existsSync(out) ? readdirSync(out) : [];
  assert.deepEqual(left, []);

  const json = await run([...args, "--json"]);
  assert.equal(json.status, exit);
  assert.equal(json.stdout, "");
  const document = JSON.parse(json.stderr);
  assert.deepEqual(Object.keys(document), ["schema", "kind", "code", "message"]);
  assert.equal(document.schema, "ashlar.error/v1");
  assert.match(document.code, /^[a-z][a-z0-9-]*$/);
  assert.match(document.message, message);
}
for (const [what, fault] of Object.entries(CASES)) test(`seal: ${what}`, (t) => fails(t, fault));

// What `build` needs of a system, as far as it looks before it reads any program: scripts stand for programs.
const kernel = (version: string): TarEntry => ({ name: `usr/lib/modules/${version}/vmlinuz`, content: "kernel" });
const STUB: TarEntry = { name: "usr/lib/systemd/boot/efi/linuxx64.efi.stub", content: "stub" };
const LOADER: TarEntry = { name: "usr/lib/systemd/boot/efi/systemd-bootx64.efi", content: "loader" };
const OS_RELEASE: TarEntry = { name: "usr/lib/os-release", content: "ID=test\n" };
const program = (name: string): TarEntry => ({ name, content: "#!/bin/sh\n", mode: 0o755 });
const SYSTEMD = [
  ...["systemd", "systemd-veritysetup", "systemd-journald", "systemd-shutdown", "systemd-modules-load"],
  ...["systemd-makefs", "systemd-growfs", "systemd-fsck", "systemd-udevd"],
].map((name) => program(`usr/lib/systemd/${name}`));
const GENERATORS = ["systemd-veritysetup-generator", "systemd-fstab-generator"].map((name) =>
  program(`usr/lib/systemd/system-generators/${name}`),
);
const COMMANDS = ["sh", "udevadm", "systemctl", "mount", "umount", "modprobe", "dmsetup"].map((name) =>
  program(`usr/bin/${name}`),
);
const BOOTABLE = [OS_RELEASE, kernel("6.12.1"), STUB, LOADER];
const system = (...list: TarEntry[]): Pick<Case, "command" | "image"> => ({
  command: "build",
  image: entries(...list),
});

const SYSTEM_CASES: Readonly<Record<string, Case>> = {
  "no kernel": { exit: EXIT.unsupported, message: /no kernel.*\/usr\/lib\/modules/, ...system(OS_RELEASE) },
  "two kernels": {
    exit: EXIT.unsupported,
    message: /2 kernels.*6\.12\.1, 6\.13\.0.*--kernel/,
    ...system(...BOOTABLE, kernel("6.13.0")),
  },
  "a kernel that is not there": {
    exit: EXIT.unsupported,
    message: /no kernel 5\.0.*6\.12\.1/,
    ...system(...BOOTABLE),
    flags: ["--kernel", "5.0"],
  },
  "no stub": {
    exit: EXIT.unsupported,
    message: /linuxx64\.efi\.stub.*Debian: systemd-boot-efi/,
    ...system(OS_RELEASE, kernel("6.12.1"), LOADER),
  },
  "no loader": {
    exit: EXIT.unsupported,
    message: /systemd-bootx64\.efi/,
    ...system(OS_RELEASE, kernel("6.12.1"), STUB),
  },
  "no os-release": {
    exit: EXIT.format,
    message: /\/usr\/lib\/os-release/,
    ...system(kernel("6.12.1"), STUB, LOADER),
  },
  "no systemd": { exit: EXIT.unsupported, message: /systemd.*Debian: systemd/, ...system(...BOOTABLE) },
  "no mkfs": {
    exit: EXIT.unsupported,
    message: /mkfs\.ext4.*e2fsprogs/,
    ...system(...BOOTABLE, ...SYSTEMD, ...GENERATORS, ...COMMANDS, { name: "bin", type: "symlink", target: "usr/bin" }),
  },
  "no identity": {
    exit: EXIT.policy,
    message: /title label.*--image-id/,
    command: "build",
    image: { ...entries(...BOOTABLE), labels: {} },
  },
  "an image id that is no file name": {
    exit: EXIT.policy,
    message: /image id "\.\.\/\.\.\/evil"/,
    command: "build",
    image: {
      ...entries(...BOOTABLE),
      labels: { ...SAMPLE_LABELS, "org.opencontainers.image.title": "../../evil" },
    },
  },
  "an unknown architecture": {
    exit: EXIT.unsupported,
    message: /riscv64/,
    command: "build",
    image: { ...entries(...BOOTABLE), architecture: "riscv64" },
    flags: ["--platform", "linux/riscv64"],
  },
  "kargs.d that is no TOML": {
    exit: EXIT.format,
    message: /\/usr\/lib\/bootc\/kargs\.d\/10\.toml/,
    ...system(...BOOTABLE, { name: "usr/lib/bootc/kargs.d/10.toml", content: "kargs = [\x1b" }),
  },
};
for (const [what, fault] of Object.entries(SYSTEM_CASES)) test(`build: ${what}`, (t) => fails(t, fault));

test("a whiteout of a path with .. is refused", async (t) => {
  const folder = workFolder(t);
  const { directory } = await writeLayout(join(folder, "layout"), {
    labels: SAMPLE_LABELS,
    layers: [{ tar: GOOD }, { tar: tarBytes([whiteout("../../etc")]) }],
  });
  const { status, stderr } = await run(["seal", `oci:${directory}`, "-o", join(folder, "out"), "--quiet"]);
  assert.equal(status, EXIT.format, stderr);
});

test("input that is not there, is no layout, is a fifo", async (t) => {
  const folder = workFolder(t);
  const out = join(folder, "out");
  mkdirSync(join(folder, "empty"));
  spawnSync("mkfifo", [join(folder, "fifo")]);
  for (const [reference, message] of [
    [`oci:${folder}/nothing`, /nothing/],
    [`oci:${folder}/empty`, /empty/],
    [`oci-archive:${folder}/nothing.tar`, /nothing\.tar/],
    [`oci-archive:${folder}/empty`, /empty: is a directory/],
    [`oci-archive:${folder}/fifo`, /fifo: is not a regular file/],
  ] as const) {
    const { status, stderr } = await run(["seal", reference, "-o", out, "--quiet"]);
    assertOneLine(stderr, message);
    assert.equal(status, EXIT.source, reference);
  }
  assert.equal(existsSync(out), false);
});

async function goodLayout(t: TestContext, size = 300_000): Promise<{ folder: string; reference: string }> {
  const folder = workFolder(t);
  const tar = tarBytes([{ name: "data", content: noise(size, "data") }]);
  await writeLayout(join(folder, "layout"), { labels: SAMPLE_LABELS, layers: [{ tar }] });
  return { folder, reference: `oci:${join(folder, "layout")}` };
}

test("output that exists stays as it is, unless it is to be replaced", async (t) => {
  const { folder, reference } = await goodLayout(t);
  const out = join(folder, "out");
  mkdirSync(out);
  writeFileSync(join(out, "sample_1.root.verity"), "mine");
  const { status, stderr } = await run(["seal", reference, "-o", out, "--quiet"]);
  assertOneLine(stderr, /sample_1\.root\.verity: exists already/);
  assert.equal(status, EXIT.sink);
  assert.deepEqual(readdirSync(out), ["sample_1.root.verity"]);
  assert.equal(readFileSync(join(out, "sample_1.root.verity"), "utf8"), "mine");
  await runOk(["seal", reference, "-o", out, "--quiet", "--overwrite"]);
  assert.equal(readdirSync(out).length, 3);
});

test("a directory in the place of an artifact is not replaced, and nothing else appears", async (t) => {
  const { folder, reference } = await goodLayout(t);
  const out = join(folder, "out");
  mkdirSync(join(out, "sample_1.root.verity"), { recursive: true });
  const { status, stderr } = await run(["seal", reference, "-o", out, "--quiet", "--overwrite"]);
  assertOneLine(stderr, /sample_1\.root\.verity: is a directory/);
  assert.equal(status, EXIT.sink);
  assert.deepEqual(readdirSync(out), ["sample_1.root.verity"]);
});

test("an output directory that cannot be written", async (t) => {
  const { folder, reference } = await goodLayout(t);
  chmodSync(folder, 0o755);
  const out = join(folder, "out");
  mkdirSync(out, { mode: 0o555 });
  for (const [directory, message] of [
    [out, /out: permission denied/],
    [join(out, "below"), /below: permission denied/],
    ["/proc/nothing", /\/proc\/nothing: /],
    [join(folder, "layout/index.json"), /index\.json: /],
  ] as const) {
    const { status, stderr } = await run(["seal", reference, "-o", directory, "--quiet"], { ordinary: true });
    assertOneLine(stderr, message);
    assert.equal(status, EXIT.sink, directory);
  }
});

test("no space, for the artifacts and for temporary files", async (t) => {
  if (!isRoot) return t.skip(`mounting a small tmpfs needs root, we are ${process.getuid?.()}, not 0 (nor ${NOBODY})`);
  const { folder, reference } = await goodLayout(t, 6 << 20);
  const small = join(folder, "small");
  mkdirSync(small);
  if (spawnSync("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", small]).status !== 0)
    return t.skip("this machine does not let us mount a tmpfs");
  try {
    // Tails stand in the metadata: contents cannot go into the image before they are all known.
    for (const flags of [
      ["-o", small],
      ["-o", small, "--tmpdir", folder],
      ["-o", small, "--tails", "inline", "--tmpdir", folder],
      ["-o", join(folder, "out"), "--tails", "inline", "--tmpdir", small],
    ]) {
      const { status, stderr } = await run(["seal", reference, "--quiet", ...flags]);
      assertOneLine(stderr, /small.*: no space left/);
      assert.equal(status, EXIT.sink);
      assert.deepEqual(readdirSync(small), []);
    }
  } finally {
    spawnSync("umount", [small]);
  }
});
