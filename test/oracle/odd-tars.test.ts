// Archives of a root as every program writes them, and as none should: `tar:` gives what GNU tar unpacks and what the
// directory itself gives, or an error; nothing is lost in silence. The kernel's mount of the result is compared too.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { fromUtf8 } from "../../core/src/bytes/index.ts";
import { attributes, directory } from "../../core/src/tree/index.ts";
import { folder, requireMount, withMount, writeImage } from "../support/erofs-images.ts";
import { failsWith, listInput, openInput, withInput } from "../support/inputs.ts";
import { type Listing, listDirectory } from "../support/listing.ts";
import { ODD_TARS } from "../support/odd-tars.ts";
import { requireOracle, requireRoot } from "../support/oracle.ts";
import { REPOSITORY } from "../support/roots.ts";
import { assertOneLine, run } from "../support/samples.ts";

function shell(command: string, ...args: readonly string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
  assert.equal(status, 0, `${command} ${args.join(" ")}: ${stderr}`);
}

/** A directory with what old formats can hold too; `full` with everything that a file system has. */
function makeSample(root: string, kind: "plain" | "full"): void {
  const at = (path: string) => join(root, path);
  mkdirSync(at("usr/bin"), { recursive: true });
  mkdirSync(at("etc"));
  mkdirSync(at("tmp"));
  chmodSync(at("tmp"), 0o1777);
  writeFileSync(at("usr/bin/su"), "set-id\n");
  shell("chown", "12:34", at("usr/bin/su"));
  chmodSync(at("usr/bin/su"), 0o6755);
  writeFileSync(at("empty"), "");
  writeFileSync(at("block"), Buffer.alloc(512, 1));
  writeFileSync(at("large"), Buffer.alloc(300_001, "0123456789abcde"));
  linkSync(at("large"), at("usr/hard"));
  symlinkSync("bin/su", at("usr/link"));
  symlinkSync("../../nowhere", at("dangling"));
  if (kind === "full") {
    const deep = `${"d".repeat(70)}/${"e".repeat(70)}`;
    mkdirSync(at(deep), { recursive: true });
    writeFileSync(at(`${deep}/${"f".repeat(90)}`), "deep");
    linkSync(at(`${deep}/${"f".repeat(90)}`), at("to-deep"));
    writeFileSync(at("g".repeat(255)), "wide");
    symlinkSync("h/".repeat(150), at("long-target"));
    writeFileSync(Buffer.from([...Buffer.from(`${root}/caf`), 0xe9, 0xff, 0x0a]), "not UTF-8");
    linkSync(at("usr/link"), at("usr/link-of-link"));
    shell("mknod", at("null"), "c", "1", "3");
    shell("mknod", at("disk"), "b", "259", "70000");
    shell("mkfifo", at("fifo"));
    writeFileSync(at("owner"), "");
    shell("chown", "-h", "3000000:4000000000", at("owner"));
    shell("setfattr", "-n", "user.text", "-v", "0x0a310a3d00ff", at("large"));
    shell("setfattr", "-n", "security.capability", "-v", "0x0100000200040000000000000000000000000000", at("block"));
    writeFileSync(at("etc/passwd"), "root:x:0:0::/:/bin/sh\ndaemon:x:1:1::/:/bin/false\n");
    writeFileSync(at("etc/group"), "root:x:0:\ndaemon:x:1:\n");
    shell("setfacl", "-m", "u:daemon:r,u:4242:rw,g:daemon:rx", at("large"));
    shell("setfacl", "-m", "u:4242:rx", "-d", "-m", "g:4343:rwx", at("etc"));
    shell("setfacl", "-d", "-m", "u::rwx,g::rx,o::-", at("usr"));
    const sparse = (name: string, size: number, runs: readonly (readonly [at: number, length: number])[]) => {
      const file = openSync(at(name), "w");
      for (const [place, length] of runs) writeSync(file, Buffer.alloc(length, 65 + (place % 23)), 0, length, place);
      closeSync(file);
      truncateSync(at(name), size);
    };
    sparse("holes", 1_000_001, [
      [100_000, 10],
      [999_000, 1001],
    ]);
    sparse("hole-only", 500_000, []);
    sparse(
      "hole-many",
      4_000_000,
      Array.from({ length: 40 }, (_, i) => [i * 100_000, 5000 + i] as const),
    );
  }
  shell("find", root, "-exec", "touch", "-h", "-d", "@1700000000", "{}", "+");
  if (kind === "full") {
    shell("touch", "-d", "1960-02-03 04:05:06Z", at("empty"));
    shell("touch", "-d", "2286-01-01 00:00:00Z", at("block"));
    shell("touch", "-d", "@1700000000.123456789", at("large"), at("usr"));
    shell("touch", "-d", "1960-01-02 03:04:05.250000000Z", at("owner"));
  }
  utimesSync(root, 1_600_000_000, 1_600_000_000);
}

/** Python's tarfile as people call it. Names are bytes, as the file system has them. */
const PYTHON = `
import os, sys, tarfile
with tarfile.open(sys.argv[1], "w", format=getattr(tarfile, sys.argv[2]), errors="surrogateescape") as tar:
    tar.add(sys.argv[3], arcname=".")
`;

interface Writer {
  readonly sample: "plain" | "full";
  /** Program and arguments, before FILE and directory. */
  readonly command: (file: string, root: string) => readonly [string, ...string[]];
  /** Whether the archive says all that the directory says. */
  readonly saysAll?: boolean;
}

const gnu =
  (...options: readonly string[]) =>
  (file: string, root: string) =>
    ["tar", ...options, "--warning=none", "-cf", file, "-C", root, "."] as const;
const bsd =
  (...options: readonly string[]) =>
  (file: string, root: string) =>
    ["bsdtar", ...options, "-cf", file, "-C", root, "."] as const;
const python = (format: string) => (file: string, root: string) =>
  ["python3", "-c", PYTHON, file, format, root] as const;
const ALL = ["--format=posix", "--xattrs", "--xattrs-include=*", "--acls", "--numeric-owner"];

const WRITERS: Readonly<Record<string, Writer>> = {
  "GNU tar, v7": { sample: "plain", command: gnu("--format=v7") },
  "GNU tar, ustar": { sample: "plain", command: gnu("--format=ustar") },
  "GNU tar, oldgnu": { sample: "full", command: gnu("--format=oldgnu") },
  "GNU tar, oldgnu, sparse": { sample: "full", command: gnu("--format=oldgnu", "-S") },
  "GNU tar, gnu, sparse": { sample: "full", command: gnu("--format=gnu", "-S", "--sort=inode") },
  "GNU tar, posix": { sample: "full", command: gnu("--format=posix") },
  "GNU tar, everything": { sample: "full", command: gnu(...ALL, "--sort=none"), saysAll: true },
  "GNU tar, everything, by name": { sample: "full", command: gnu(...ALL, "--sort=name"), saysAll: true },
  "GNU tar, sparse 0.0": { sample: "full", command: gnu(...ALL, "-S", "--sparse-version=0.0"), saysAll: true },
  "GNU tar, sparse 0.1": { sample: "full", command: gnu(...ALL, "-S", "--sparse-version=0.1"), saysAll: true },
  "GNU tar, sparse 1.0": { sample: "full", command: gnu(...ALL, "-S", "--sparse-version=1.0"), saysAll: true },
  "GNU tar, one member a record": { sample: "full", command: gnu(...ALL, "-b1"), saysAll: true },
  "bsdtar, v7": { sample: "plain", command: bsd("--format=v7tar") },
  "bsdtar, ustar": { sample: "plain", command: bsd("--format=ustar") },
  "bsdtar, gnutar": { sample: "full", command: bsd("--format=gnutar") },
  "bsdtar, pax": { sample: "full", command: bsd("--format=pax", "--acls", "--xattrs"), saysAll: true },
  "bsdtar, pax, no sparse": {
    sample: "full",
    command: bsd("--format=pax", "--acls", "--xattrs", "--no-read-sparse"),
    saysAll: true,
  },
  "Python, ustar": { sample: "plain", command: python("USTAR_FORMAT") },
  "Python, GNU": { sample: "full", command: python("GNU_FORMAT") },
  "Python, pax": { sample: "full", command: python("PAX_FORMAT") },
};

/** What GNU tar unpacks. */
async function unpacked(t: TestContext, archive: string, into: string): Promise<Listing | undefined> {
  const tar = requireOracle(t, "tar");
  if (tar === undefined) return undefined;
  mkdirSync(into, { recursive: true });
  const options = [
    "--warning=none",
    "--numeric-owner",
    "--xattrs",
    "--xattrs-include=*",
    "--acls",
    "--delay-directory-restore",
  ];
  await tar.ok([...options, "-xpf", archive, "-C", into]);
  return listDirectory(into);
}

const plainOf = (listing: Listing) => Object.fromEntries(listing);

for (const [name, { sample, command, saysAll }] of Object.entries(WRITERS))
  test(`${name}: the tree that GNU tar unpacks${saysAll ? ", and that the directory is" : ""}`, async (t) => {
    if (!requireRoot(t)) return;
    const work = await folder(t);
    const [root, archive] = [join(work, "root"), join(work, "x.tar")];
    mkdirSync(root);
    makeSample(root, sample);
    const [program, ...args] = command(archive, root);
    // libarchive writes -1.25 as -1.75.
    if (program === "bsdtar" && sample === "full") shell("touch", "-d", "1960-01-02 03:04:05Z", join(root, "owner"));
    if (requireOracle(t, program) === undefined) return;
    shell(program, ...args);
    const expected = await unpacked(t, archive, join(work, "unpacked"));
    if (expected === undefined) return;
    assert.deepEqual(plainOf(await listInput(`tar:${archive}`)), plainOf(expected));
    if (saysAll !== true) return;
    assert.deepEqual(plainOf(expected), plainOf(listDirectory(root)), "the archive says all that there is");
    const images = new Set<string>();
    for (const reference of [`tar:${archive}`, `dir:${root}`])
      await withInput(reference, {}, async ({ tree }) => {
        await writeImage(tree, join(work, "image"), {});
        images.add(readFileSync(join(work, "image")).toString("latin1"));
      });
    assert.equal(images.size, 1, "one image");
  });

for (const name of readdirSync(join(REPOSITORY, "testdata/tar")).filter((name) => name.endsWith(".gz")))
  test(`${name}: the tree that GNU tar unpacks`, async (t) => {
    if (!requireRoot(t)) return;
    const work = await folder(t);
    const archive = join(work, "x.tar");
    writeFileSync(archive, gunzipSync(readFileSync(join(REPOSITORY, "testdata/tar", name))));
    const expected = await unpacked(t, archive, join(work, "unpacked"));
    if (expected !== undefined) assert.deepEqual(plainOf(await listInput(`tar:${archive}`)), plainOf(expected));
  });

/** A line a path: type and mode, owner, xattrs, size or target. */
function linesOf(listing: Listing): string[] {
  return [...listing].map(([path, { type, mode, owner, xattrs, size, target }]) => {
    const shown = [path || ".", (Number.parseInt(type ?? "", 8) | Number.parseInt(mode ?? "", 8)).toString(8), owner];
    return [...shown, xattrs, size ?? (target === undefined ? "" : `-> ${target}`)]
      .filter((part) => part !== "")
      .join(" ");
  });
}

test("odd archives: right content, or an error that says what and where", async (t) => {
  if (!requireRoot(t)) return;
  const work = await folder(t);
  for (const [index, [name, { bytes, gives }]] of Object.entries(ODD_TARS).entries())
    await t.test(name, async (t) => {
      const archive = join(work, `${index}.tar`);
      writeFileSync(archive, bytes());
      const read = listInput(`tar:${archive}`);
      if (gives === "GNU tar") {
        const expected = await unpacked(t, archive, join(work, `${index}`));
        if (expected !== undefined) assert.deepEqual(plainOf(await read), plainOf(expected));
      } else if ("tree" in gives) assert.deepEqual(linesOf(await read), gives.tree);
      else await assert.rejects(read, failsWith(gives.error));
    });
});

test("what the kernel shows of odd archives, sealed, is what GNU tar unpacks", async (t) => {
  const tools = requireMount(t);
  if (tools === undefined) return;
  const work = await folder(t);
  const root = directory(attributes(0o755));
  const expected = new Map<string, Listing>();
  await using inputs = new AsyncDisposableStack();
  for (const [index, { bytes, gives }] of Object.values(ODD_TARS).entries()) {
    if (gives !== "GNU tar") continue;
    const archive = join(work, `${index}.tar`);
    writeFileSync(archive, bytes());
    const listing = await unpacked(t, archive, join(work, `${index}`));
    if (listing === undefined) return;
    expected.set(`${index}`, listing);
    const input = await openInput(`tar:${archive}`);
    inputs.defer(() => input.dispose());
    root.entries.set(fromUtf8(`${index}`), input.tree);
  }
  await writeImage(root, join(work, "image"), {});
  await withMount(tools, join(work, "image"), async (at) => {
    for (const [name, listing] of expected) assert.deepEqual(plainOf(listDirectory(join(at, name))), plainOf(listing));
  });
});

/** Exit codes by class. */
const EXITS: Readonly<Record<string, readonly [exit: number, message: RegExp]>> = {
  "star's sparse files, by type": [4, /entry "a" at 512: is a sparse file as only star/],
  "a sparse map past the end of the file": [3, /entry at \d+: sparse segment of 3 bytes at 8998 .* the end at 9000/],
  "a link to nothing": [3, /entry "b" at 512: hard link to "a", which is not there/],
  "a link to itself": [3, /entry "a" at 512: hard link to "a", which is not there/],
  "no zero block": [3, /header at 3584: the archive ends at 3584, 512 bytes are missing/],
  "cut in a content": [3, /content of the entry at 1024: the archive ends at 2136, 100 bytes are missing/],
  "two archives one after the other": [3, /other bytes follow the end of the archive, at 4608/],
  "an ACL of somebody who is not there": [4, /names the user "eve" without a number, which etc\/passwd does not have/],
  "a name that leads out": [3, /the path "\.\.\/a" holds "\.\."/],
  xz: [4, /is compressed with xz; plain tar, gzip and zstd are read/],
  nothing: [3, /the archive ends at 0/],
};

for (const [name, [exit, message]] of Object.entries(EXITS))
  test(`seal: ${name}`, async (t) => {
    const work = await folder(t);
    const archive = join(work, "x.tar");
    writeFileSync(archive, ODD_TARS[name]!.bytes());
    const result = await run(["seal", `tar:${archive}`, "--name", "x", "--quiet", "-o", join(work, "out")]);
    assertOneLine(result.stderr, message);
    assert.equal(result.status, exit);
    assert.ok(!existsSync(join(work, "out")), "nothing is left behind");
  });
