// EROFS images of sample trees, and what the kernel, our readers and the trees themselves say is in them.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import fc from "fast-check";

import { bytesOf, fromHex, fromUtf8, toHex } from "../../core/src/bytes/index.ts";
import { type WriteErofsOptions, writeErofs } from "../../core/src/formats/erofs/index.ts";
import { patternBytes, tree } from "../../core/src/formats/erofs/trees.test.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import { bytesSource, readAll, type Source } from "../../core/src/source/index.ts";
import {
  attributes,
  countNames,
  type Directory,
  directory,
  directoryLinks,
  type Node,
  putNode,
  regularFile,
  symlink,
  TYPE_BITS,
  walkTree,
} from "../../core/src/tree/index.ts";
import { type Oracle, requireOracle } from "./oracle.ts";

/** One name of a tree, as lstat, listxattr and read see it. Names and values in hex, since they are bytes. */
export interface Seen {
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

export async function seenByKernel(python: Oracle, root: string): Promise<Seen[]> {
  const { stdout } = await python.ok(["-c", LISTER, root], { env: { PYTHONUTF8: "1" } });
  return stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Seen);
}

export async function expected(root: Directory): Promise<Seen[]> {
  const names = countNames(root);
  const digests = new Map<Node, string>(); // each content is read once, however many names it has
  const seen: Seen[] = [];
  for (const { path, node } of walkTree(root)) {
    const isOrdinary = node.type === "file" || node.type === "directory";
    const isDevice = node.type === "character" || node.type === "block";
    let content: string | null = null;
    if (node.type === "symlink") content = toHex(bytesOf(node.target));
    if (node.type === "file") {
      content =
        digests.get(node) ??
        createHash("sha256")
          .update(await readAll(node.content, 2 ** 30, path))
          .digest("hex");
      digests.set(node, content);
    }
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

export function assertSame(actual: readonly Seen[], wanted: readonly Seen[], what: string): void {
  const byPath = (list: readonly Seen[]) => new Map(list.map((seen) => [seen.path, seen]));
  const [a, b] = [byPath(actual), byPath(wanted)];
  for (const [path, seen] of b) assert.deepEqual(a.get(path), seen, `${what}: ${Buffer.from(path, "hex")}`);
  assert.equal(a.size, b.size, what);
}

/**
 * Writes it into a file of its own, also where there is one of that name: a loop device that is going away is taken again by
 * a mount of the same file, with what it still holds of the file as it was.
 */
export async function writeImage(root: Directory, path: string, options: WriteErofsOptions): Promise<void> {
  await rm(path, { force: true });
  await using handle = await open(path, "wx");
  await writeErofs(
    root,
    { writeAt: async (at, bytes) => void (await handle.write(bytes, 0, bytes.length, at)) },
    { hashes: nodeHashes, ...options },
  );
}

export async function fileSource(path: string): Promise<Source & AsyncDisposable> {
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

export async function folder(t: TestContext): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "ashlar-erofs-"));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** What a mount needs; undefined, and the test skipped, where it is missing at home. */
export function requireMount(t: TestContext): { mount: Oracle; umount: Oracle; python: Oracle } | undefined {
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

export async function withMount<T>(
  { mount, umount }: { mount: Oracle; umount: Oracle },
  image: string,
  use: (root: string) => Promise<T>,
  options: readonly string[] = [],
): Promise<T> {
  const at = `${image}.mnt`;
  await mkdir(at, { recursive: true });
  await mount.ok(["-t", "erofs", "-o", ["loop", "ro", ...options].join(","), image, at]);
  try {
    return await use(at);
  } finally {
    await umount.ok([at]);
  }
}

/** Random trees side by side, then what random ones rarely have. */
export function sampleTree(seed: number, { names = 70_000 } = {}): Directory {
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
