/** One line or one JSON object a node, in the manner of `ls -l` and GNU tar. */
import { type ByteString, showBytes, toHex } from "@ashlar/core/bytes";
import type { Node } from "@ashlar/core/tree";

const TYPE_LETTERS: Readonly<Record<Node["type"], string>> = {
  directory: "d",
  file: "-",
  symlink: "l",
  character: "c",
  block: "b",
  fifo: "p",
  socket: "s",
};

/** `rwxr-sr-t` of the low 12 bits. */
function permissions(mode: number): string {
  const triple = (shift: number, special: number, letter: string): string => {
    const bits = mode >> shift;
    const set = (mode & special) !== 0;
    const execute = (bits & 1) !== 0 ? (set ? letter : "x") : set ? letter.toUpperCase() : "-";
    return `${bits & 4 ? "r" : "-"}${bits & 2 ? "w" : "-"}${execute}`;
  };
  return triple(6, 0o4000, "s") + triple(3, 0o2000, "s") + triple(0, 0o1000, "t");
}

/** ISO 8601 in UTC, to the nanosecond where there is a fraction. */
export function formatTimestamp(time: bigint): string {
  const nanoseconds = ((time % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
  const seconds = Number((time - nanoseconds) / 1_000_000_000n);
  const whole = new Date(seconds * 1000);
  if (Number.isNaN(whole.getTime())) return `@${seconds}`;
  const fraction = nanoseconds === 0n ? "" : `.${String(nanoseconds).padStart(9, "0")}`;
  return whole.toISOString().replace(".000Z", `${fraction}Z`);
}

function sizeOf(node: Node): string {
  if (node.type === "file") return String(node.content.size);
  if (node.type === "character" || node.type === "block") return `${node.major}, ${node.minor}`;
  return "-";
}

export interface Listed {
  readonly path: ByteString;
  readonly node: Node;
  readonly links: number;
}

export function longLine({ path, node, links }: Listed): string {
  const owner = `${node.uid}:${node.gid}`;
  const target = node.type === "symlink" ? ` -> ${showBytes(node.target)}` : "";
  const start = `${TYPE_LETTERS[node.type]}${permissions(node.mode)} ${String(links).padStart(3)} ${owner.padEnd(9)}`;
  return `${start} ${sizeOf(node).padStart(10)} ${formatTimestamp(node.mtime)} ${showBytes(path)}${target}`;
}

/** For programs; byte strings are shown with escapes, xattr values as hexadecimal. */
export function jsonEntry({ path, node, links }: Listed): Record<string, unknown> {
  const entry: Record<string, unknown> = {
    path: showBytes(path),
    type: node.type,
    mode: node.mode.toString(8).padStart(4, "0"),
    uid: node.uid,
    gid: node.gid,
    mtime: formatTimestamp(node.mtime),
    links,
  };
  if (node.type === "file") entry["size"] = node.content.size;
  if (node.type === "symlink") entry["target"] = showBytes(node.target);
  if (node.type === "character" || node.type === "block")
    Object.assign(entry, { major: node.major, minor: node.minor });
  if (node.xattrs.size > 0)
    entry["xattrs"] = Object.fromEntries(
      [...node.xattrs].sort().map(([name, value]) => [showBytes(name), toHex(value)]),
    );
  return entry;
}
