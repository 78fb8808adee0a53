// Trees as listings that read well when they differ: of a tree in memory, and of a directory on disk.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { lstatSync, readdirSync, readFileSync, readlinkSync } from "node:fs";

import { type ByteString, byteString, bytesOf } from "../../core/src/bytes/index.ts";
import { type Directory, type Node, TYPE_BITS, walkTree } from "../../core/src/tree/index.ts";

/** Path → one line a property, so that a difference reads well. Hard links show as the first path of their inode. */
export type Listing = Map<string, Record<string, string>>;

const sha = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex").slice(0, 16);
const shown = (path: ByteString) => Buffer.from(bytesOf(path)).toString("latin1");

export async function listTree(root: Directory): Promise<Listing> {
  const listing: Listing = new Map();
  const first = new Map<Node, string>();
  for (const { path, node } of walkTree(root)) {
    const properties: Record<string, string> = {
      type: TYPE_BITS[node.type].toString(8),
      mode: node.mode.toString(8),
      owner: `${node.uid}:${node.gid}`,
      mtime: `${node.mtime}`,
      xattrs: showXattrs(node.xattrs),
    };
    if (node.type !== "directory") {
      if (!first.has(node)) first.set(node, shown(path));
      properties["inode"] = first.get(node)!; // set just before
    }
    if (node.type === "symlink") properties["target"] = shown(node.target);
    if (node.type === "character" || node.type === "block") properties["device"] = `${node.major}:${node.minor}`;
    if (node.type === "file") {
      properties["size"] = `${node.content.size}`;
      properties["content"] = sha(await node.content.read(0, node.content.size));
    }
    listing.set(shown(path), properties);
  }
  return listing;
}

function showXattrs(xattrs: ReadonlyMap<ByteString, Uint8Array>): string {
  return [...xattrs]
    .map(([name, value]) => `${name}=${Buffer.from(value).toString("hex")}`)
    .sort()
    .join(" ");
}

export function listDirectory(root: string): Listing {
  const listing: Listing = new Map();
  const first = new Map<bigint, string>();
  const xattrs = readXattrs(root);
  function visit(path: ByteString): void {
    const place = Buffer.concat([Buffer.from(`${root}/`), bytesOf(path)]);
    const stat = lstatSync(place, { bigint: true });
    const format = stat.mode & 0o170000n;
    const properties: Record<string, string> = {
      type: format.toString(8),
      mode: (stat.mode & 0o7777n).toString(8),
      owner: `${stat.uid}:${stat.gid}`,
      mtime: `${stat.mtimeNs}`,
      xattrs: showXattrs(xattrs.get(path) ?? new Map()),
    };
    if (!stat.isDirectory()) {
      if (!first.has(stat.ino)) first.set(stat.ino, shown(path));
      properties["inode"] = first.get(stat.ino)!; // set just before
    }
    if (stat.isSymbolicLink()) properties["target"] = readlinkSync(place, "buffer").toString("latin1");
    if (stat.isCharacterDevice() || stat.isBlockDevice())
      properties["device"] = `${(stat.rdev >> 8n) & 0xfffn}:${(stat.rdev & 0xffn) | ((stat.rdev >> 12n) & 0xfff00n)}`;
    if (stat.isFile()) {
      properties["size"] = `${stat.size}`;
      properties["content"] = sha(readFileSync(place));
    }
    listing.set(shown(path), properties);
    if (!stat.isDirectory()) return;
    const names = readdirSync(place, { encoding: "buffer" }).map((name) => byteString(name));
    for (const name of names.sort((a, b) => (a < b ? -1 : 1)))
      visit((path === "" ? name : `${path}/${name}`) as ByteString);
  }
  visit("" as ByteString);
  return listing;
}

/** Node has no call for xattrs. */
function readXattrs(root: string): Map<ByteString, Map<ByteString, Uint8Array>> {
  const { stdout } = spawnSync("getfattr", ["-R", "-P", "-h", "-d", "-m", "-", "-e", "hex", "."], {
    cwd: root,
    maxBuffer: 1 << 28,
    encoding: "latin1",
  });
  const unquote = (text: string) =>
    text.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))) as ByteString;
  const all = new Map<ByteString, Map<ByteString, Uint8Array>>();
  for (const block of stdout.split("\n\n")) {
    const [head, ...lines] = block.split("\n").filter((line) => line !== "");
    if (head === undefined) continue;
    const path = unquote(head.replace(/^# file: (\.\/)?/, ""));
    const values = lines.map((line): [ByteString, Uint8Array] => {
      const at = line.indexOf("=");
      return at < 0
        ? [unquote(line), new Uint8Array(0)]
        : [unquote(line.slice(0, at)), new Uint8Array(Buffer.from(line.slice(at + 3), "hex"))];
    });
    all.set(path === "." ? ("" as ByteString) : path, new Map(values));
  }
  return all;
}
