// The single executable does what the sources do, where there is nothing but itself.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { injectBlob } from "../../agent/build/inject.ts";
import { parseElf } from "../../core/src/formats/elf/index.ts";
import { openLocation } from "../../core/src/node/registry/index.ts";
import { pushReleases, SECTION_TYPE } from "../../core/src/ops/publish/index.ts";
import { agentExecutable } from "../support/agent.ts";
import { ashlarOk } from "../support/ashlar.ts";
import { derivedSystem } from "../support/derived-systems.ts";
import { publishEnvironment } from "../support/releases.ts";
import { digests, isRoot, noise, sampleLayout, workFolder } from "../support/samples.ts";
import { tarBytes } from "../support/tar.ts";

const executable = await agentExecutable();
const { version } = JSON.parse(readFileSync(join(import.meta.dirname, "../../cli/package.json"), "utf8"));

/** No search path, no home, no Node: what a program has that an init starts. */
function run(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const { status, stdout, stderr } = spawnSync(executable, args, { env, encoding: "utf8", cwd: "/" });
  return { status, stdout, stderr };
}

function runOk(args: readonly string[]): string {
  const { status, stdout, stderr } = run(args);
  assert.equal(status, 0, `${args.join(" ")}: ${stdout}${stderr}`);
  assert.equal(stderr, ""); // no warning of Node, of its code cache or of an experiment
  return stdout;
}

test("it says its version and its commands", () => {
  assert.equal(runOk(["--version"]).trim(), version);
  assert.match(runOk(["--help"]), /ashlar inspect/);
  assert.equal(run(["no-such-command"]).status, 2);
});

test("it seals, stores and unpacks as the sources do: threads, WASM and native calls are inside", async (t) => {
  const folder = workFolder(t);
  const { directory } = await sampleLayout(join(folder, "layout"), {
    layers: [
      { tar: tarBytes([{ name: "large", content: noise(5_000_000, "large"), xattrs: { "user.ashlar": "yes" } }]) },
      { tar: tarBytes([{ name: "device", type: "fifo" }]) },
    ],
  });
  const at = (name: string): string => join(folder, name);
  const commands = (to: string): string[][] => [
    ["seal", `oci:${directory}`, "-o", at(to), "--quiet", "--workers", "2"],
    ["push", at(to), `oci:${at(`${to}-stored`)}:1`, "--quiet"],
  ];
  for (const args of commands("sources")) ashlarOk(args);
  for (const args of commands("executable")) runOk(args);
  assert.deepEqual(digests(at("executable")), digests(at("sources")));
  const blobs = "blobs/sha256";
  assert.deepEqual(
    readdirSync(join(at("executable-stored"), blobs)).sort(),
    readdirSync(join(at("sources-stored"), blobs)).sort(),
  );

  assert.match(runOk(["inspect", join(at("executable"), "sample_1.root.erofs")]), /EROFS/i);
  mkdirSync(at("unpacked"));
  runOk(["extract", join(at("executable"), "sample_1.root.erofs"), at("unpacked"), "--quiet"]);
  assert.equal(readFileSync(join(at("unpacked"), "large")).length, 5_000_000);
  const attributes = spawnSync("getfattr", ["--only-values", "-n", "user.ashlar", join(at("unpacked"), "large")]);
  assert.equal(attributes.stdout.toString(), "yes");
});

test("it makes an initrd from files of the root: the memory of its WASM is at hand", async (t) => {
  const folder = workFolder(t);
  const environment = await publishEnvironment();
  const release = await derivedSystem("1", environment);
  const path = join(folder, "layout");
  const location = { transport: "oci", path, tag: undefined, digest: undefined } as const;
  const { repository, close } = await openLocation(location, undefined, { write: true });
  const { releases } = await pushReleases([release], repository, { tag: "1" }, environment);
  await close();
  const sections = releases[0]!.blobs.filter(({ mediaType }) => mediaType === SECTION_TYPE);
  assert.equal(sections.length, 2);
  for (const { digest } of sections) rmSync(join(path, "blobs", digest.replace(":", "/")));
  runOk(["pull", `oci:${path}:1`, "-o", join(folder, "pulled"), "--quiet"]);
  for (const [name, bytes] of release.files) assert.ok(readFileSync(join(folder, "pulled", name)).equals(bytes), name);
});

test("native calls are there though programs may not be loaded from /tmp", {
  skip: isRoot ? false : "mounting needs root",
}, (t) => {
  const folder = workFolder(t);
  const tree = join(folder, "tree");
  const hardened = join(folder, "tmp");
  for (const path of [tree, hardened]) mkdirSync(path);
  spawnSync("mkfifo", [join(tree, "fifo")]);
  const { status } = spawnSync("mount", ["-t", "tmpfs", "-o", "noexec", "ashlar-test", hardened]);
  if (status !== 0 && !process.env["CI"]) return t.skip("nothing can be mounted here");
  assert.equal(status, 0);
  try {
    const image = join(folder, "image");
    ashlarOk(["seal", `dir:${tree}`, "-o", image, "--image-id", "x", "--image-version", "1", "--quiet"]);
    const args = ["extract", join(image, "x_1.root.erofs"), join(folder, "out"), "--quiet"];
    const done = run(args, { TMPDIR: hardened, PATH: process.env["PATH"] ?? "" });
    assert.equal(done.status, 0, done.stderr);
    assert.ok(lstatSync(join(folder, "out/fifo")).isFIFO(), "mknod is a native call");
    assert.deepEqual(readdirSync(hardened), []);
  } finally {
    spawnSync("umount", [hardened]);
  }
});

test("the environment of a machine says nothing to the Node inside", () => {
  const { status, stderr } = run(["--version"], { NODE_OPTIONS: "--require=/no/such/file" });
  assert.equal(status, 0, stderr);
});

test("it runs with nothing around it but its libraries", { skip: isRoot ? false : "chroot needs root" }, (t) => {
  const folder = workFolder(t);
  for (const library of librariesOf(executable)) {
    mkdirSync(join(folder, library, ".."), { recursive: true });
    spawnSync("cp", ["-L", library, join(folder, library)]);
  }
  spawnSync("cp", [executable, join(folder, "ashlar")]);
  const { status, stdout, stderr } = spawnSync("chroot", [folder, "/ashlar", "--version"], {
    env: { PATH: process.env["PATH"] ?? "" },
    encoding: "utf8",
  });
  assert.equal(status, 0, stderr);
  assert.equal(stdout.trim(), version);
  assert.ok(!existsSync(join(folder, "tmp"))); // and leaves nothing behind
});

function librariesOf(path: string): string[] {
  const { stdout } = spawnSync("ldd", [path], { encoding: "utf8" });
  return [...stdout.matchAll(/(\/[^ ]+) \(0x/g)].map(([, library]) => library!);
}

test("what is no Node takes no blob", () => {
  assert.throws(() => injectBlob(new Uint8Array(100), new Uint8Array(1)), /not an ELF program/);
  assert.throws(() => injectBlob(readFileSync("/bin/sh"), new Uint8Array(1)), /fuse/);
});

test("other readers of ELF take what was made", () => {
  const elf = parseElf(readFileSync(executable));
  assert.ok(elf.needed.includes("libc.so.6" as never), String(elf.needed));
  const { status, stdout, stderr } = spawnSync("readelf", ["--wide", "--program-headers", "--notes", executable], {
    encoding: "utf8",
    maxBuffer: 256 * 1024 * 1024, // it prints the blob in hexadecimal
  });
  assert.equal(status, 0, stderr);
  assert.equal(stderr, ""); // warnings
  assert.match(stdout, /NODE_SEA_BLOB/);
});
