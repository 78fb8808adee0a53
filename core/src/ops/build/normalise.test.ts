import assert from "node:assert/strict";
import { test } from "node:test";
import { type ByteString, decodeUtf8, encodeUtf8 } from "../../bytes/index.ts";
import { bytesSource, readAll } from "../../source/index.ts";
import {
  attributes,
  type Directory,
  directory,
  getNode,
  putNode,
  regularFile,
  symlink,
  walkTree,
} from "../../tree/index.ts";
import { normalise } from "./normalise.ts";

const CLAMP = 1_000n;
const identity = { imageId: "os", imageVersion: "1" };
const OS_RELEASE = 'NAME="Some OS"\nIMAGE_VERSION=old\n';

function system(files: Record<string, string> = {}): Directory {
  const root = directory(attributes(0o755));
  for (const [path, text] of Object.entries({ "usr/lib/os-release": OS_RELEASE, ...files }))
    putNode(root, path, regularFile(attributes(0o644, { mtime: 5_000n }), bytesSource(encodeUtf8(text))));
  return root;
}

async function textAt(root: Directory, path: string): Promise<string> {
  const node = getNode(root, path);
  assert.equal(node?.type, "file", path);
  return decodeUtf8(await readAll((node as { content: ReturnType<typeof bytesSource> }).content, 1e6, path));
}

test("mount points are there and empty, and the kernel's /boot too", async () => {
  const root = system({ "boot/vmlinuz-1": "kernel", "run/leftover": "", "tmp/x/y": "" });
  const notes = await normalise(root, { clamp: CLAMP, identity });
  for (const path of ["boot", "dev", "efi", "proc", "run", "sys", "tmp"]) {
    const node = getNode(root, path);
    assert.equal(node?.type, "directory", path);
    assert.equal((node as Directory).entries.size, 0, path);
  }
  assert.equal(getNode(root, "proc")?.mode, 0o555);
  assert.equal(notes.filter(({ code }) => code === "mount-points").length, 3);
});

test("a mount point that is a link is refused by name", async () => {
  const root = system();
  putNode(root, "boot", symlink(attributes(0o777), "usr/boot" as ByteString));
  await assert.rejects(normalise(root, { clamp: CLAMP }), /^FormatError: \/boot: is a symlink/);
});

test("machine-id is an empty file, whatever was there, and its copy goes", async () => {
  for (const before of [{}, { "etc/machine-id": "0123\n", "var/lib/dbus/machine-id": "0123\n" }] as Record<
    string,
    string
  >[]) {
    const root = system(before);
    await normalise(root, { clamp: CLAMP });
    assert.equal(await textAt(root, "etc/machine-id"), "");
    assert.equal(getNode(root, "etc/machine-id")?.mode, 0o444);
    assert.equal(getNode(root, "var/lib/dbus/machine-id"), undefined);
  }
});

test("fstab loses the lines that Ashlar owns, and nothing else changes", async () => {
  const kept = "# /dev/sda1 / ext4\n\nLABEL=data /srv xfs defaults 0 0\ntmpfs\t/tmp\ttmpfs\n";
  const dropped =
    "UUID=1 / ext4 rw 0 1\n  LABEL=boot  /boot/ ext4\nx /efi vfat\nx /boot/efi vfat\nLABEL=var\t/var\text4\n";
  const root = system({ "etc/fstab": kept + dropped });
  const notes = await normalise(root, { clamp: CLAMP });
  assert.equal(await textAt(root, "etc/fstab"), kept);
  assert.equal(notes.filter(({ code }) => code === "fstab").length, 5);
});

test("a changed file does not change the other names of its hard link", async () => {
  const root = system({ "etc/fstab": "x / ext4\n" });
  const fstab = getNode(root, "etc/fstab");
  assert.ok(fstab);
  putNode(root, "usr/share/factory/fstab", fstab);
  await normalise(root, { clamp: CLAMP });
  assert.equal(await textAt(root, "etc/fstab"), "");
  assert.equal(await textAt(root, "usr/share/factory/fstab"), "x / ext4\n");
});

test("os-release names the release, once, in both files where there are two", async () => {
  const root = system({ "etc/os-release": "NAME=x\nIMAGE_ID=wrong\n" });
  await normalise(root, { clamp: CLAMP, identity });
  assert.equal(await textAt(root, "usr/lib/os-release"), 'NAME="Some OS"\nIMAGE_ID=os\nIMAGE_VERSION=1\n');
  assert.equal(await textAt(root, "etc/os-release"), "NAME=x\nIMAGE_ID=os\nIMAGE_VERSION=1\n");
});

test("no os-release is an error that names the path", async () => {
  const root = directory(attributes(0o755));
  await assert.rejects(normalise(root, { clamp: CLAMP, identity }), /\/usr\/lib\/os-release: not in the image/);
});

test("no time is later than the clamp, and earlier ones stay", async () => {
  const root = system({ "etc/a": "", "etc/b": "" });
  const early = getNode(root, "etc/b");
  assert.ok(early);
  early.mtime = -7n;
  await normalise(root, { clamp: CLAMP, identity });
  for (const { node } of walkTree(root)) assert.ok(node.mtime <= CLAMP);
  assert.equal(getNode(root, "etc/b")?.mtime, -7n);
  assert.equal(getNode(root, "etc/a")?.mtime, CLAMP);
});

test("/tmp is mounted by somebody: the image's way, else systemd's tmp.mount", async () => {
  const wants = "usr/lib/systemd/system/local-fs.target.wants/tmp.mount";
  const unit = { "usr/lib/systemd/system/local-fs.target": "" };
  const bare = system(unit);
  const notes = await normalise(bare, { clamp: CLAMP });
  assert.equal(getNode(bare, wants)?.type, "symlink");
  assert.match(await textAt(bare, "usr/lib/systemd/system/tmp.mount"), /^Where=\/tmp$/m);
  assert.deepEqual(
    notes.map(({ code }) => code),
    ["tmp-mount"],
  );
  for (const own of [
    { "etc/fstab": "tmpfs /tmp tmpfs\n" },
    { "etc/systemd/system/tmp.mount": "" },
    { "etc/systemd/system/local-fs.target.wants/tmp.mount": "" },
  ] as Record<string, string>[]) {
    const root = system({ ...unit, ...own });
    await normalise(root, { clamp: CLAMP });
    assert.equal(getNode(root, wants), undefined, Object.keys(own)[0]);
  }
});
