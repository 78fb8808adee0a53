// Our EROFS images against fsck.erofs, dump.erofs and the kernel's mount; images of mkfs.erofs against our reader.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";

import { bytesOf, fromHex, fromUtf8, toHex } from "../../core/src/bytes/index.ts";
import {
  checkErofs,
  openErofs,
  readTree,
  type WriteErofsOptions,
  writeErofs,
} from "../../core/src/formats/erofs/index.ts";
import { patternBytes, tree } from "../../core/src/formats/erofs/trees.test.ts";
import { readTar } from "../../core/src/formats/tar/index.ts";
import { bytesSource, readAll, type Source, sliceSource } from "../../core/src/source/index.ts";
import {
  attributes,
  countNames,
  type Directory,
  directory,
  directoryLinks,
  getNode,
  type Node,
  putNode,
  regularFile,
  symlink,
  TYPE_BITS,
  walkTree,
} from "../../core/src/tree/index.ts";
import { type Oracle, requireOracle } from "../support/oracle.ts";
import { findRoot } from "../support/roots.ts";

/** One name of a tree, as lstat, listxattr and read see it. Names and values in hex, since they are bytes. */
interface Seen {
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: string; // nanoseconds
  readonly links: number;
  readonly device: string | null;
  readonly xattrs: readonly string[];
  readonly content: string | null; // sha256 of a file, hex of a link's target
}

// user. xattrs cannot be read on links and devices: the VFS forbids it (xattr(7)), so they are left out on both sides.
const LISTER = `
import hashlib, json, os, stat, sys
def see(path, shown):
    s = os.lstat(path)
    ordinary = stat.S_ISREG(s.st_mode) or stat.S_ISDIR(s.st_mode)
    names = [n for n in os.listxattr(path, follow_symlinks=False) if ordinary or not n.startswith("user.")]
    content = None
    if stat.S_ISREG(s.st_mode):
        h = hashlib.sha256()
        with open(path, "rb") as f:
            while block := f.read(1 << 20): h.update(block)
        content = h.hexdigest()
    elif stat.S_ISLNK(s.st_mode): content = os.readlink(path).hex()
    device = stat.S_ISCHR(s.st_mode) or stat.S_ISBLK(s.st_mode)
    assert s.st_ino != 0
    print(json.dumps({"path": shown.hex(), "mode": s.st_mode, "uid": s.st_uid, "gid": s.st_gid,
        "mtime": str(s.st_mtime_ns), "links": s.st_nlink,
        "device": f"{os.major(s.st_rdev)}:{os.minor(s.st_rdev)}" if device else None,
        "xattrs": sorted(os.fsencode(n).hex() + "=" + os.getxattr(path, n, follow_symlinks=False).hex() for n in names),
        "content": content}))
    if stat.S_ISDIR(s.st_mode):
        for name in sorted(os.listdir(path)): see(path + b"/" + name, shown + b"/" + name if shown else name)
sys.setrecursionlimit(10000)
see(os.fsencode(sys.argv[1]), b"")
`;

async function seenByKernel(python: Oracle, root: string): Promise<Seen[]> {
  const { stdout } = await python.ok(["-c", LISTER, root], { env: { PYTHONUTF8: "1" } });
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Seen);
}

async function expected(root: Directory): Promise<Seen[]> {
  const names = countNames(root);
  const seen: Seen[] = [];
  for (const { path, node } of walkTree(root)) {
    const isOrdinary = node.type === "file" || node.type === "directory";
    const isDevice = node.type === "character" || node.type === "block";
    let content: string | null = null;
    if (node.type === "symlink") content = toHex(bytesOf(node.target));
    if (node.type === "file")
      content = createHash("sha256")
        .update(await readAll(node.content, 2 ** 30, path))
        .digest("hex");
    seen.push({
      path: toHex(bytesOf(path)),
      mode: TYPE_BITS[node.type] | node.mode,
      uid: node.uid,
      gid: node.gid,
      mtime: String(node.mtime),
      links: node.type === "directory" ? directoryLinks(node) : names.get(node)!,
      device: isDevice ? `${node.major}:${node.minor}` : null,
      xattrs: [...node.xattrs]
        .filter(([name]) => isOrdinary || !name.startsWith("user."))
        .map(([name, value]) => `${toHex(bytesOf(name))}=${toHex(value)}`)
        .sort(),
      content,
    });
  }
  return seen;
}

function assertSame(actual: readonly Seen[], wanted: readonly Seen[], what: string): void {
  const byPath = (list: readonly Seen[]) => new Map(list.map((seen) => [seen.path, seen]));
  const [a, b] = [byPath(actual), byPath(wanted)];
  for (const [path, seen] of b) assert.deepEqual(a.get(path), seen, `${what}: ${Buffer.from(path, "hex")}`);
  assert.equal(a.size, b.size, what);
}

async function writeImage(root: Directory, path: string, options: WriteErofsOptions): Promise<void> {
  const handle = await open(path, "w");
  const hashes = { create: () => hasher(), hash: () => assert.fail("not used") };
  await writeErofs(
    root,
    { writeAt: async (at, bytes) => void (await handle.write(bytes, 0, bytes.length, at)) },
    { hashes, ...options },
  );
  await handle.close();
}

function hasher() {
  const hash = createHash("sha256");
  return { update: (bytes: Uint8Array) => void hash.update(bytes), digest: () => new Uint8Array(hash.digest()) };
}

async function fileSource(path: string): Promise<Source & AsyncDisposable> {
  const handle = await open(path);
  return {
    size: (await handle.stat()).size,
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      const { bytesRead } = await handle.read(bytes, 0, length, offset);
      return bytes.subarray(0, bytesRead);
    },
    [Symbol.asyncDispose]: () => handle.close(),
  };
}

async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "ashlar-erofs-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** What a mount needs; undefined, and the test skipped, where it is missing at home. */
function requireMount(t: TestContext): { mount: Oracle; umount: Oracle; python: Oracle } | undefined {
  if (process.getuid?.() !== 0) {
    if (process.env["CI"]) throw new Error("mounting needs root");
    t.skip("mounting needs root");
    return undefined;
  }
  const mount = requireOracle(t, "mount", { from: "host" });
  const umount = requireOracle(t, "umount", { from: "host" });
  const python = requireOracle(t, "python3", { from: "host" });
  return mount && umount && python && { mount, umount, python };
}

async function withMount<T>(
  { mount, umount }: { mount: Oracle; umount: Oracle },
  image: string,
  use: (root: string) => Promise<T>,
): Promise<T> {
  const at = `${image}.mnt`;
  await mkdir(at, { recursive: true });
  await mount.ok(["-t", "erofs", "-o", "loop,ro", image, at]);
  try {
    return await use(at);
  } finally {
    await umount.ok([at]);
  }
}

/** Random trees side by side, then what random ones rarely have. */
function sampleTree(seed: number, { names = 70_000 } = {}): Directory {
  const root = directory(attributes(0o755, { mtime: 1_700_000_000_123_456_789n }));
  for (const [i, random] of fc.sample(tree, { seed, numRuns: 60 }).entries()) {
    // The kernel refuses to show a capability that is none.
    for (const { node } of walkTree(random))
      node.xattrs = new Map([...node.xattrs].filter(([name]) => name !== "security.capability"));
    root.entries.set(fromUtf8(`tree ${i}`), random);
  }
  const put = (path: string, node: Node): void => putNode(root, fromUtf8(path), node);
  const withXattrs = (entries: Record<string, Uint8Array>) =>
    attributes(0o755, {
      xattrs: new Map(Object.entries(entries).map(([name, value]) => [fromUtf8(name), value] as const)),
    });
  const capability = fromHex("0100000200200000000000000000000000000000");
  const acl = fromHex("0200000001000700ffffffff04000500ffffffff080005000400000010000500ffffffff20000500ffffffff");
  const nothing = bytesSource(new Uint8Array(0));
  put("special/ping", regularFile(withXattrs({ "security.capability": capability }), nothing));
  put("special/ping too", regularFile(withXattrs({ "security.capability": capability }), nothing));
  put("special/acl", directory(withXattrs({ "system.posix_acl_access": acl, "system.posix_acl_default": acl })));
  put("special/huge xattr", regularFile(withXattrs({ "user.v": patternBytes(60_000, 5) }), nothing));
  put("special/large", regularFile(attributes(0o600), bytesSource(patternBytes(5_000_001, 9))));
  const linked = regularFile(attributes(0o4755, { uid: 70_000 }), bytesSource(patternBytes(100, 3)));
  for (let i = 0; i < names; i++) put(`linked/${i}`, linked); // more names than 16 bits count
  for (let i = 0; i < 300; i++) put(`links/${i}`, symlink(attributes(0o777), fromUtf8("l".repeat(1 + i * 13))));
  for (let i = 0; i < 300; i++)
    put(`tails/${i}`, regularFile(attributes(0o644), bytesSource(patternBytes(4096 * (i % 3) + i * 13, i & 255))));
  let deep = "deep";
  for (let i = 0; i < 400; i++) deep += `/d${i % 10}`;
  put(deep, regularFile(attributes(0o644), bytesSource(patternBytes(1, 1))));
  return root;
}

const OPTION_SETS: readonly WriteErofsOptions[] = [
  {},
  { tails: "inline" },
  { blockSize: 512, tails: "inline" },
  { blockSize: 1024 },
  { blockSize: 2048, tails: "inline", volumeName: "ashlar" },
];

for (const [i, options] of OPTION_SETS.entries()) {
  const shown = JSON.stringify(options);
  test(`the kernel reads back what was written: ${shown}`, async (t) => {
    const tools = requireMount(t);
    if (tools === undefined) return;
    const path = join(await folder(t), "image");
    const root = sampleTree(i);
    await writeImage(root, path, options);
    const seen = await withMount(tools, path, (at) => seenByKernel(tools.python, at));
    assertSame(seen, await expected(root), shown);
  });
  for (const from of ["host", "tools"] as const) {
    test(`fsck.erofs (${from}) is content: ${shown}`, async (t) => {
      const fsck = requireOracle(t, "fsck.erofs", { from });
      if (fsck === undefined) return;
      if (from === "host" && (options.blockSize ?? 4096) !== 4096) {
        t.skip("fsck.erofs before 1.7 reads blocks of 4096 bytes only");
        return;
      }
      const path = join(await folder(t), "image");
      await writeImage(sampleTree(i), path, options);
      await fsck.ok(["--extract", path]); // decodes all data, writes nothing
      await using source = await fileSource(path);
      assert.deepEqual(await checkErofs(source), []);
    });
  }
}

test("dump.erofs shows the superblock we meant", async (t) => {
  for (const from of ["host", "tools"] as const) {
    const dump = requireOracle(t, "dump.erofs", { from });
    if (dump === undefined) return;
    const path = join(await folder(t), "image");
    await writeImage(sampleTree(7), path, { uuid: fromHex("00112233445566778899aabbccddeeff") });
    const { stdout } = await dump.ok(["-s", path]);
    assert.match(stdout, /Filesystem UUID:\s+00112233-4455-6677-8899-aabbccddeeff/);
    assert.match(stdout, /Filesystem root nid:\s+1\n/);
    assert.match(stdout, /features:\s+sb_csum mtime\s/);
  }
});

const MKFS_SETS: readonly { readonly from: "host" | "tools"; readonly arguments: readonly string[] }[] = [
  { from: "host", arguments: [] },
  { from: "host", arguments: ["-Enoinline_data"] },
  { from: "host", arguments: ["-Eforce-inode-extended", "-x1"] },
  { from: "tools", arguments: [] },
  { from: "tools", arguments: ["-Eforce-inode-compact", "-T1700000000", "--all-root"] },
  { from: "tools", arguments: ["--chunksize=4096"] },
  { from: "tools", arguments: ["--chunksize=16384", "-Eforce-chunk-indexes"] },
  { from: "tools", arguments: ["-b1024"] },
];

test("images of mkfs.erofs read as the kernel reads them", async (t) => {
  const tools = requireMount(t);
  if (tools === undefined) return;
  const directory = await folder(t);
  const ours = join(directory, "ours");
  const root = sampleTree(11, { names: 300 }); // more would not fit the compact inodes that one set asks for
  for (const { node, parent, path } of [...walkTree(root)]) {
    // What mkfs.erofs 1.5 cannot read: user. xattrs of links and devices, and names of 255 bytes, which it cuts.
    if (node.type !== "file" && node.type !== "directory")
      node.xattrs = new Map([...node.xattrs].filter(([name]) => !name.startsWith("user.")));
    for (const name of parent?.entries.keys() ?? [])
      if (name.length === 255 && path.endsWith(name)) parent?.entries.delete(name);
  }
  await writeImage(root, ours, { tails: "inline" });
  await withMount(tools, ours, async (input) => {
    for (const { from, arguments: options } of MKFS_SETS) {
      const shown = `mkfs.erofs (${from}) ${options.join(" ")}`;
      await t.test(shown, async (t) => {
        const mkfs = requireOracle(t, "mkfs.erofs", { from });
        if (mkfs === undefined) return;
        const theirs = join(directory, "theirs");
        await rm(theirs, { force: true });
        await mkfs.ok(["-d1", ...options, theirs, input]);
        await using source = await fileSource(theirs);
        const root = await readTree(await openErofs(source));
        const seen = await withMount(tools, theirs, (at) => seenByKernel(tools.python, at));
        assertSame(seen, await expected(root), shown);
      });
    }
  });
});

test("a whole Debian system, from its tar", async (t) => {
  const tar = findRoot("trixie");
  const tools = requireMount(t);
  if (tools === undefined) return;
  if (tar === undefined) {
    if (process.env["CI"]) throw new Error("no trixie root; run scripts/fetch-roots trixie");
    t.skip("no trixie root; run scripts/fetch-roots trixie");
    return;
  }
  const path = join(await folder(t), "image");
  await using source = await fileSource(tar);
  const root = await treeOfTar(tar, source);
  for (const tails of ["blocks", "inline"] as const) {
    await writeImage(root, path, { tails });
    const seen = await withMount(tools, path, (at) => seenByKernel(tools.python, at));
    assertSame(seen, await expected(root), tails);
    await using image = await fileSource(path);
    assert.deepEqual(await checkErofs(image), []);
  }
});

/** One plain archive: no whiteouts, every parent there; contents stay in the archive. */
async function treeOfTar(path: string, source: Source): Promise<Directory> {
  const root = directory(attributes(0o755));
  for await (const { entry } of readTar(createReadStream(path))) {
    const { type, mode, uid, gid, mtime, xattrs } = entry;
    const own = { mode, uid, gid, mtime, xattrs };
    const name = fromUtf8(entry.path.replace(/^\.?\/+/, "").replace(/\/$/, ""));
    if (name === "" || name === ".") Object.assign(root, own);
    else if (type === "hardlink") {
      const target = getNode(root, entry.linkTarget);
      assert.ok(target, entry.linkTarget);
      putNode(root, name, target);
    } else if (type === "directory") putNode(root, name, directory(own));
    else if (type === "symlink") putNode(root, name, symlink(own, entry.linkTarget));
    else if (type === "file") {
      assert.equal(entry.segments, undefined, "a sparse member");
      putNode(root, name, regularFile(own, sliceSource(source, entry.contentOffset, entry.size)));
    } else if (type === "fifo") putNode(root, name, { type, ...own });
    else putNode(root, name, { type, ...own, major: entry.devMajor, minor: entry.devMinor });
  }
  return root;
}
