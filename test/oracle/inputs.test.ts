// Every way in: what skopeo, podman, buildah, umoci and docker write, directories and plain archives. The tree must be
// the one that `umoci unpack` or the directory itself has, whatever way it came.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { gzipSync } from "node:zlib";

import { readHostTree, runGetfattr } from "../../core/src/node/host-tree.ts";
import type { InputOptions } from "../../core/src/ops/image/index.ts";
import { ashlar, ashlarOk, readRelease } from "../support/ashlar.ts";
import { failsWith, listInput, withInput } from "../support/inputs.ts";
import { listDirectory, listTree } from "../support/listing.ts";
import { writeLayout } from "../support/oci.ts";
import { type Oracle, requireOracle } from "../support/oracle.ts";
import { REPOSITORY } from "../support/roots.ts";
import { opaque, type TarEntry, tarBytes, whiteout } from "../support/tar.ts";

const isRoot = process.getuid?.() === 0;

function folder(t: TestContext): string {
  const work = mkdtempSync(join(tmpdir(), "ashlar-inputs-"));
  t.after(() => rmSync(work, { recursive: true, force: true }));
  return work;
}

const file = (name: string, content = name, more: Partial<TarEntry> = {}): TarEntry => ({ name, content, ...more });

/** Three layers that need every rule: replacing, removing, opaque directories, links across layers. */
const LAYERS: readonly (readonly TarEntry[])[] = [
  [
    { name: "etc/", mode: 0o755 },
    file("etc/motd", "one", { xattrs: { "user.note": "kept" }, uid: 12, gid: 34 }),
    file("etc/gone"),
    { name: "opt/" },
    { name: "opt/old/" },
    file("opt/old/file"),
    file("usr-bin-sh", "#!", { mode: 0o4755 }),
  ],
  [
    { name: "etc/" },
    whiteout("etc/gone"),
    { name: "etc/issue", type: "link", target: "etc/motd" },
    { name: "opt/" },
    ...opaque("opt/old"),
    file("opt/old/new"),
  ],
  [
    { name: "etc/" },
    { name: "etc/link", type: "symlink", target: "motd" },
    file("zeros", new Uint8Array(70_000) as never),
  ],
];

/** The layout, and what umoci makes of it; undefined where that cannot be. */
async function reference(t: TestContext, work: string, layers = LAYERS) {
  const umoci = requireOracle(t, "umoci", { from: "tools" });
  if (umoci === undefined) return undefined;
  if (!isRoot) {
    t.skip("unpacking needs root");
    return undefined;
  }
  const layout = join(work, "layout");
  const written = await writeLayout(layout, { layers: layers.map((entries) => ({ tar: tarBytes(entries) })) });
  await umoci.ok(["unpack", "--image", `${layout}:latest`, join(work, "bundle")]);
  return { layout, written, expected: listDirectory(join(work, "bundle/rootfs")) };
}

async function skopeoCopy(skopeo: Oracle, args: readonly string[]): Promise<void> {
  await skopeo.ok(["--insecure-policy", "copy", "--quiet", ...args]);
}

test("what skopeo writes: oci, oci-archive, docker-archive, dir, plain, gzip, zstd, Docker's types", async (t) => {
  const skopeo = requireOracle(t, "skopeo", { from: "tools" });
  const work = folder(t);
  const made = await reference(t, work);
  if (skopeo === undefined || made === undefined) return;
  const at = (name: string) => join(work, name);
  const from = `oci:${made.layout}:latest`;
  const copies: readonly (readonly [to: string, from?: string, ...args: string[]])[] = [
    [`oci:${at("copy")}:v1`],
    [`oci:${at("zstd")}:v1`, from, "--dest-compress-format=zstd", "--dest-compress"],
    [`oci:${at("plain")}:v1`, from, "--dest-decompress"],
    [`oci-archive:${at("archive.tar")}`],
    [`docker-archive:${at("docker.tar")}:example.org/some/name:v1`],
    [`dir:${at("dir")}`],
    [`dir:${at("dir-docker")}`, from, "--format=v2s2"],
    [`dir:${at("dir-plain")}`, from, "--dest-decompress"],
  ];
  for (const [to, source = from, ...args] of copies) await skopeoCopy(skopeo, [...args, source, to]);
  for (const [to] of copies) {
    const name = to.startsWith("docker-archive") ? to.replace(/:example.*/, "") : to;
    assert.deepEqual(Object.fromEntries(await listInput(name)), Object.fromEntries(made.expected), name);
  }
  for (const name of ["example.org/some/name:v1", "some/name:v1", "name:v1", "v1"])
    assert.deepEqual(await listInput(`docker-archive:${at("docker.tar")}:${name}`), made.expected, name);
  await assert.rejects(listInput(`docker-archive:${at("docker.tar")}:v2`), failsWith("no-such-image"));
});

test("what is recorded: the manifest, or the image id where none came with it", async (t) => {
  const skopeo = requireOracle(t, "skopeo", { from: "tools" });
  if (skopeo === undefined) return;
  const work = folder(t);
  const layout = join(work, "layout");
  const { top } = await writeLayout(layout, { layers: [{ tar: tarBytes([file("a")]) }] });
  const manifest = JSON.parse(readFileSync(join(layout, "blobs", top.digest.replace(":", "/")), "utf8"));
  await skopeoCopy(skopeo, [`oci:${layout}:latest`, `docker-archive:${join(work, "docker.tar")}`]);
  await skopeoCopy(skopeo, [`oci:${layout}:latest`, `dir:${join(work, "dir")}`]);
  const digest = (name: string) => withInput(name, {}, async (input) => input.digest);
  assert.equal(await digest(`oci:${layout}`), top.digest);
  assert.equal(await digest(`dir:${join(work, "dir")}`), top.digest);
  const id = await digest(`docker-archive:${join(work, "docker.tar")}`);
  const [{ Config }] = JSON.parse(
    spawnSync("tar", ["-xOf", join(work, "docker.tar"), "manifest.json"], { encoding: "utf8" }).stdout,
  );
  assert.equal(id, `sha256:${Config.replace(".json", "")}`);
  assert.equal(typeof manifest.config.digest, "string");
  assert.equal(await digest(`docker-archive:${join(work, "docker.tar")}@${id}`), id);
});

test("what podman 5.4 and buildah 1.39 write, in every format", async (t) => {
  const work = folder(t);
  spawnSync("tar", ["-xzf", join(REPOSITORY, "testdata/images/containers.tar.gz"), "-C", work]);
  const expected = await listInput(`oci:${join(work, "b-oci")}`);
  assert.deepEqual(
    [...expected].map(([path, { type, mode, inode = "", content = "" }]) =>
      [path, type, mode, inode, content].join(" "),
    ),
    [
      " 40000 755  ",
      "opt 40000 755  ",
      "opt/d 40000 700  ",
      "opt/d/b 100000 644 opt/d/b 27dd8ed44a83ff94",
      "opt/l 120000 777 opt/l ",
      "opt/new 100000 644 opt/new 27dd8ed44a83ff94",
      "opt/x 40000 755  ",
      "opt/x/h 100000 644 opt/d/b 27dd8ed44a83ff94",
    ],
  );
  for (const name of [
    "docker-archive:b-docker.tar:two",
    "docker-archive:p-docker.tar",
    "docker-archive:p-multi.tar:localhost/two:1",
    "oci-archive:b-ociarchive.tar",
    "oci-archive:p-oci.tar",
    "oci:p-ocidir",
    "dir:b-dir",
    "dir:p-dir",
  ]) {
    const [transport, ...path] = name.split(":");
    const there = path.join(":").replace("two", "two:1").replace("two:1:1", "two:1");
    assert.deepEqual(await listInput(`${transport}:${work}/${there}`), expected, name);
  }
  await assert.rejects(listInput(`docker-archive:${work}/p-multi.tar`), failsWith("ambiguous-image"));
  const umoci = requireOracle(t, "umoci", { from: "tools" });
  if (umoci === undefined || !isRoot) return;
  await umoci.ok(["unpack", "--image", `${work}/b-oci:latest`, join(work, "bundle")]);
  assert.deepEqual(expected, listDirectory(join(work, "bundle/rootfs")));
});

test("120 layers, each changing what the one below it did", async (t) => {
  const layers = Array.from({ length: 120 }, (_, i): TarEntry[] => [
    { name: "d/", mode: 0o700 + (i % 64) },
    file("d/counter", `${i}`),
    file(`d/of-${i}`),
    ...(i > 0 ? [whiteout(`d/of-${i - 1}`)] : []),
    ...(i % 10 === 0 ? opaque("d/sometimes") : [file(`d/sometimes/${i}`)]),
    { name: "d/sometimes/" },
  ]);
  const made = await reference(t, folder(t), layers);
  if (made === undefined) return;
  for (const concurrency of [1, 8])
    assert.deepEqual(
      Object.fromEntries(await listInput(`oci:${made.layout}`, { concurrency })),
      Object.fromEntries(made.expected),
    );
});

/** The archive of `docker save`, in its two forms. */
function dockerSave(work: string, form: "legacy" | "oci", spoil: Record<string, unknown> = {}): string {
  const hex = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  const tars = [
    tarBytes([file("a"), { name: "d/" }, file("d/b")]),
    tarBytes([whiteout("a"), file("d/c")]),
    tarBytes([]),
  ];
  const [first, second] = tars as [Uint8Array, Uint8Array];
  const config = Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      created: "2025-01-01T00:00:00.5Z",
      config: { Labels: null },
      rootfs: { type: "layers", diff_ids: [first, second, first].map((bytes) => `sha256:${hex(bytes)}`) },
      ...(spoil["config"] as object),
    }),
  );
  const members: TarEntry[] = [];
  const layers: string[] = [];
  if (form === "legacy") {
    for (const [index, bytes] of [first, second, first].entries()) {
      const id = `${index}`.repeat(64);
      members.push({ name: `${id}/` }, file(`${id}/VERSION`, "1.0"), file(`${id}/json`, "{}"));
      layers.push(`${id}/layer.tar`);
      // A layer that comes twice is a link to the first.
      if (index === 2)
        members.push({ name: `${id}/layer.tar`, type: "symlink", target: `../${"0".repeat(64)}/layer.tar` });
      else members.push({ name: `${id}/layer.tar`, content: bytes });
    }
    members.push({ name: `${hex(config)}.json`, content: config });
  } else {
    // From containerd's store: blobs as the registry had them, compressed.
    for (const bytes of [first, second, first]) {
      const packed = gzipSync(bytes);
      layers.push(`blobs/sha256/${hex(packed)}`);
      members.push({ name: layers.at(-1)!, content: packed });
    }
    members.push(
      { name: `blobs/sha256/${hex(config)}`, content: config },
      file("oci-layout", '{"imageLayoutVersion":"1.0.0"}'),
    );
    members.push(file("index.json", '{"schemaVersion":2,"manifests":[]}'));
  }
  const Config = form === "legacy" ? `${hex(config)}.json` : `blobs/sha256/${hex(config)}`;
  const manifest = [{ Config, RepoTags: ["some:1"], Layers: layers, ...(spoil["manifest"] as object) }];
  members.push(file("manifest.json", JSON.stringify(manifest)), file("repositories", "{}"));
  const path = join(work, `${form}.tar`);
  writeFileSync(path, tarBytes(members));
  return path;
}

test("docker save, before and since version 25", async (t) => {
  const work = folder(t);
  for (const form of ["legacy", "oci"] as const) {
    const listing = await listInput(`docker-archive:${dockerSave(work, form)}:some`);
    assert.deepEqual([...listing.keys()], ["", "a", "d", "d/b", "d/c"], form);
  }
});

test("a docker-archive is held to its config: diffIDs, the id in its name, the number of layers", async (t) => {
  const work = folder(t);
  const wrong = { rootfs: { type: "layers", diff_ids: Array(3).fill(`sha256:${"0".repeat(64)}`) } };
  await assert.rejects(
    listInput(`docker-archive:${dockerSave(work, "legacy", { config: wrong })}`),
    failsWith("diff-id-mismatch"),
  );
  await assert.rejects(
    listInput(`docker-archive:${dockerSave(work, "oci", { config: wrong })}`),
    failsWith("diff-id-mismatch"),
  );
  const few = { rootfs: { type: "layers", diff_ids: [] } };
  await assert.rejects(
    listInput(`docker-archive:${dockerSave(work, "legacy", { config: few })}`),
    failsWith("layer-count"),
  );
  const missing = { Layers: ["x", "y", "z"] };
  await assert.rejects(
    listInput(`docker-archive:${dockerSave(work, "legacy", { manifest: missing })}`),
    failsWith("no-blob"),
  );
  const outside = { Config: "../../etc/passwd" };
  await assert.rejects(
    listInput(`docker-archive:${dockerSave(work, "legacy", { manifest: outside })}`),
    failsWith("no-blob"),
  );
  const path = dockerSave(work, "legacy");
  writeFileSync(path, Buffer.from(readFileSync(path).toString("latin1").replace('"linux"', '"linuy"'), "latin1"));
  await assert.rejects(listInput(`docker-archive:${path}`), failsWith("digest-mismatch"));
});

/** A directory with everything that an ordinary file system has. */
function makeDirectory(work: string): string {
  const root = join(work, "root");
  for (const path of ["etc", "usr/bin", "empty", "d/.wh..wh.opq"]) mkdirSync(join(root, path), { recursive: true });
  writeFileSync(join(root, "etc/motd"), "hello\n");
  linkSync(join(root, "etc/motd"), join(root, "etc/issue"));
  symlinkSync("motd", join(root, "etc/link"));
  writeFileSync(join(root, ".wh.is-a-name"), "");
  writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xff, 0x0a, 0x41])]), "bytes");
  writeFileSync(join(root, "usr/bin/big"), Buffer.alloc(300_000, "0123456789"));
  chmodSync(join(root, "usr/bin/big"), 0o4755);
  spawnSync("mkfifo", [join(root, "pipe")]);
  if (isRoot) {
    spawnSync("mknod", [join(root, "disk"), "b", "259", "70000"]);
    spawnSync("chown", ["1234:99999", join(root, "etc/motd")]);
    spawnSync("setfattr", ["-n", "trusted.note", "-v", "of root", join(root, "etc")]);
  }
  spawnSync("setfattr", ["-n", "user.note", "-v", "a value", join(root, "etc/motd")]);
  spawnSync("setfattr", ["-n", "user.empty", join(root, "empty")]);
  spawnSync("touch", ["-h", "-d", "@1700000000.123456789", join(root, "etc/link"), join(root, "usr/bin/big")]);
  utimesSync(root, 1_600_000_000, 1_600_000_000);
  return root;
}

test("a directory is read as it is: types, modes, owners, times, links, xattrs, devices", async (t) => {
  const root = makeDirectory(folder(t));
  const expected = listDirectory(root);
  assert.deepEqual(Object.fromEntries(await listInput(`dir:${root}`)), Object.fromEntries(expected));
  assert.deepEqual(await listInput(`dir:${root}/`), expected);
  assert.ok(expected.get("etc/motd")?.["xattrs"]?.startsWith("user.note="), "the file system has xattrs");
  const all = runGetfattr(root);
  assert.deepEqual(
    [...(all?.keys() ?? [])].sort(),
    isRoot ? ["empty", "etc", "etc/issue", "etc/motd"] : ["empty", "etc/issue", "etc/motd"],
  );
});

test("an archive of it, plain, gzip, zstd or from a pipe, is the same; whiteouts are names like others", async (t) => {
  const work = folder(t);
  const root = makeDirectory(work);
  const at = join(work, "root.tar");
  const packed = spawnSync("tar", [
    "--format=pax",
    "--xattrs",
    "--xattrs-include=*",
    "--numeric-owner",
    "-C",
    root,
    "-cf",
    at,
    ".",
  ]);
  assert.equal(packed.status, 0, packed.stderr.toString());
  writeFileSync(`${at}.gz`, gzipSync(readFileSync(at)));
  spawnSync("zstd", ["-q", at]);
  const expected = listDirectory(root);
  const roots: string[] = [];
  for (const name of [`tar:${at}`, `tar:${at}.gz`, `tar:${at}.zst`]) {
    if (!existsSync(name.slice(4))) continue; // no zstd here
    assert.deepEqual(Object.fromEntries(await listInput(name)), Object.fromEntries(expected), name);
    assert.equal(
      await withInput(name, {}, async ({ digest }) => digest),
      `sha256:${createHash("sha256").update(readFileSync(at)).digest("hex")}`,
    );
  }
  for (const name of [`tar:${at}.gz`, `dir:${root}`]) {
    ashlarOk(["seal", name, "-o", join(work, "out"), "--overwrite", "--quiet", "--name", "x"]);
    roots.push(readRelease(join(work, "out/x.release.json")).rootHash);
  }
  const command = spawnSync("sh", [
    "-c",
    `cat "$1" | "$2" seal tar:- -o "$3" --overwrite --quiet --name x`,
    "sh",
    at,
    join(REPOSITORY, "ashlar"),
    join(work, "out"),
  ]);
  assert.equal(command.status, 0, command.stderr.toString());
  roots.push(readRelease(join(work, "out/x.release.json")).rootHash);
  assert.equal(new Set(roots).size, 1, "one root hash");
});

test("a file that changes, or cannot be read, is an error that names it", async (t) => {
  const work = folder(t);
  const root = makeDirectory(work);
  const read = async (change: () => void) => {
    const tree = await readHostTree(root);
    change();
    await listTree(tree);
  };
  const named = (code: string, name: string) => (error: unknown) => failsWith(code)(error) && `${error}`.includes(name);
  await assert.rejects(
    read(() => appendFileSync(join(root, "usr/bin/big"), "x")),
    named("changed", "usr/bin/big"),
  );
  await assert.rejects(
    read(() => writeFileSync(join(root, "etc/motd"), "HELLO\n")),
    named("changed", "etc/"),
  );
  await assert.rejects(
    read(() => rmSync(join(root, "usr/bin/big"))),
    named("not-found", "usr/bin/big"),
  );
  await assert.rejects(listInput(`dir:${root}/etc/motd`), failsWith("not-a-directory"));
  await assert.rejects(listInput(`tar:${root}`), failsWith("is-a-directory"));
  await assert.rejects(listInput(`tar:${root}/etc/motd`), failsWith("truncated"));
  assert.match(ashlar(["seal", `dir:${root}`, "-o", join(root, "etc/out"), "--name", "x"]).stderr, /is inside of dir:/);
  assert.ok(!readdirSync(join(root, "etc")).includes("out"));
  if (!isRoot) return;
  chmodSync(join(root, "etc/motd"), 0o600); // and has an extended attribute
  writeFileSync(join(root, "usr/secret"), "x", { mode: 0o600 });
  chmodSync(work, 0o755);
  const script = `
    import { readHostTree } from ${JSON.stringify(join(REPOSITORY, "core/src/node/host-tree.ts"))};
    import { loadNativeCalls } from ${JSON.stringify(join(REPOSITORY, "core/src/node/native.ts"))};
    loadNativeCalls(); // while the checkout can be read; it may lie in a home directory that others cannot enter
    process.setgid(65534); process.setuid(65534);
    for (const folder of ["etc", "usr"])
      try {
        const tree = await readHostTree(${JSON.stringify(root)} + "/" + folder);
        const { content } = tree.entries.get("secret");
        await content.read(0, content.size);
      } catch (error) {
        console.log(error.code, error.message);
      }`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  assert.match(
    stdout,
    /^no-permission .*\/etc\/issue: permission denied\nno-permission .*\/usr\/secret: permission denied\n$/,
    stderr,
  );
});

test("what a tree is for: its programs say, --platform agrees or is refused", async (t) => {
  const work = folder(t);
  const elf = (machine: number) => {
    const header = new Uint8Array(64);
    header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
    header.set([2, 0, machine & 255, machine >> 8, 1], 16);
    header.set([64, 0, 56, 0, 0, 0, 64, 0], 52);
    return header;
  };
  const at = (name: string, entries: readonly TarEntry[]) => {
    writeFileSync(join(work, name), tarBytes(entries));
    return `tar:${join(work, name)}`;
  };
  const arm = at("arm", [
    { name: "usr/bin/sh", content: elf(183) },
    { name: "bin", type: "symlink", target: "usr/bin" },
  ]);
  const architecture = (name: string, options: InputOptions = {}) =>
    withInput(name, options, async (input) => input.architecture);
  assert.equal(await architecture(arm), "arm64");
  assert.equal(await architecture(at("none", [file("a")])), undefined);
  assert.equal(
    await architecture(join(at("none", [file("a")])), { platform: { os: "linux", architecture: "arm64" } }),
    "arm64",
  );
  await assert.rejects(
    architecture(arm, { platform: { os: "linux", architecture: "amd64" } }),
    failsWith("no-such-platform"),
  );
});
