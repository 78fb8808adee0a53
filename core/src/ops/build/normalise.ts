/**
 * Turns the tree of a container image into the root of a machine. Each rule has a name; docs/normalisation.md gives
 * the reasons, and each change is noted under that name. Parts that only a machine should have are emptied, times are
 * clamped, mount points are made, and what would break the sealed boot is taken out.
 */
import { type ByteString, byteString, bytesOf, encodeUtf8, equalBytes, trimEndOf } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { bytesSource, emptySource, readAll } from "../../source/index.ts";
import {
  attributes,
  type Directory,
  directory,
  getNode,
  type Node,
  putNode,
  regularFile,
  removeNode,
  resolvePath,
  symlink,
} from "../../tree/index.ts";
import type { Identity } from "../release/identity.ts";
import type { Note } from "../report.ts";
import { clampTimes } from "../seal/times.ts";
import { MAX_OS_RELEASE, setOsRelease } from "./os-release.ts";

export interface NormalisePolicy {
  /** No time in the result is later than this; nanoseconds since 1970. */
  readonly clamp: bigint;
  /** Written into os-release where given. */
  readonly identity?: Identity | undefined;
}

const MAX_FSTAB = 1024 * 1024; // bytes

/** Empty on a machine until something is mounted there. Mode for those that the image lacks. */
const MOUNT_POINTS: readonly (readonly [path: string, mode: number])[] = [
  ["boot", 0o755],
  ["dev", 0o755],
  ["efi", 0o755],
  ["proc", 0o555],
  ["run", 0o755],
  ["sys", 0o555],
  ["tmp", 0o1777],
];

/** Must be there to be mounted over; their content stays. */
const KEPT_DIRECTORIES: readonly string[] = ["etc", "var"];

/** Secrets and marks that must differ between machines, or that make a machine look like a container. */
const REMOVED: readonly (readonly [path: string, rule: string, reason: string])[] = [
  [".dockerenv", "container-marks", "makes systemd believe that it runs in a container"],
  ["var/lib/systemd/random-seed", "machine-secrets", "must differ between machines"],
  ["var/lib/systemd/credential.secret", "machine-secrets", "must differ between machines"],
];

/** Mount points that an fstab line may not claim: Ashlar's units and gpt-auto own them. */
const OWNED_MOUNT_POINTS = new Set(["/", "/boot", "/efi", "/boot/efi", "/var"]);

/** Changes `root` in place. Throws FormatError `not-a-directory` or `no-os-release`. */
export async function normalise(root: Directory, policy: NormalisePolicy): Promise<Note[]> {
  const notes: Note[] = [];
  makeMountPoints(root, policy.clamp, notes);
  await emptyMachineId(root, policy.clamp, notes);
  removeUnwanted(root, notes);
  await cleanFstab(root, notes);
  await mountTmp(root, policy.clamp, notes);
  if (policy.identity !== undefined) await stampOsRelease(root, policy.identity, policy.clamp);
  clampTimes(root, policy.clamp);
  return notes;
}

/** A directory of the root itself; a link there (`/boot -> usr/boot`) could not be mounted on safely. */
function topDirectory(root: Directory, name: string): Directory | undefined {
  const node = getNode(root, name);
  if (node === undefined || node.type === "directory") return node;
  throw new FormatError("not-a-directory", `/${name}: is a ${node.type}, the machine needs a directory there`, {
    path: `/${name}`,
  });
}

function makeMountPoints(root: Directory, mtime: bigint, notes: Note[]): void {
  for (const [name, mode] of MOUNT_POINTS) {
    const there = topDirectory(root, name);
    if (there === undefined) putNode(root, name, directory(attributes(mode, { mtime })));
    else if (there.entries.size > 0) {
      notes.push({ code: "mount-points", message: `/${name}: ${there.entries.size} entries removed` });
      there.entries.clear();
    }
  }
  for (const name of KEPT_DIRECTORIES)
    if (topDirectory(root, name) === undefined) putNode(root, name, directory(attributes(0o755, { mtime })));
}

/** An empty file, not a missing one: systemd writes it once through the overlay, and no first-boot questions are asked. */
async function emptyMachineId(root: Directory, mtime: bigint, notes: Note[]): Promise<void> {
  const before = getNode(root, "etc/machine-id");
  if (before?.type === "file" && before.content.size > 0)
    notes.push({ code: "machine-id", message: "/etc/machine-id: emptied" });
  putNode(root, "etc/machine-id", regularFile(attributes(0o444, { mtime }), emptySource));
  const copy = getNode(root, "var/lib/dbus/machine-id");
  if (copy?.type === "file") {
    removeNode(root, "var/lib/dbus/machine-id");
    notes.push({ code: "machine-id", message: "/var/lib/dbus/machine-id: removed, D-Bus reads /etc/machine-id" });
  }
}

function removeUnwanted(root: Directory, notes: Note[]): void {
  for (const [path, code, reason] of REMOVED)
    if (removeNode(root, path)) notes.push({ code, message: `/${path}: removed, ${reason}` });
}

/** A regular file that may be changed: its own node at `path`, so that other names of a hard link keep their content. */
function detach(root: Directory, path: string, file: Node & { type: "file" }, content: Uint8Array): void {
  putNode(root, path, { ...file, content: bytesSource(content) });
}

async function cleanFstab(root: Directory, notes: Note[]): Promise<void> {
  const fstab = getNode(root, "etc/fstab");
  if (fstab?.type !== "file") return;
  const before: string = byteString(await readAll(fstab.content, MAX_FSTAB, "/etc/fstab"));
  const kept = before.split("\n").filter((line) => {
    const mountPoint = line.trim().startsWith("#") ? undefined : line.trim().split(/[ \t]+/)[1];
    if (mountPoint === undefined || !OWNED_MOUNT_POINTS.has(withoutTrailingSlash(mountPoint))) return true;
    notes.push({ code: "fstab", message: `/etc/fstab: line for ${mountPoint} dropped` });
    return false;
  });
  if (kept.length !== before.split("\n").length)
    detach(root, "etc/fstab", fstab, bytesOf(kept.join("\n") as ByteString));
}

const UNITS = "usr/lib/systemd/system";

/** systemd's own tmp.mount says the same (systemd.special(7), API file systems); Debian 12 keeps it out of the way. */
const TMP_MOUNT = `[Unit]
Description=Temporary Directory /tmp
DefaultDependencies=no
Conflicts=umount.target
Before=local-fs.target umount.target
After=swap.target

[Mount]
What=tmpfs
Where=/tmp
Type=tmpfs
Options=mode=1777,strictatime,nosuid,nodev,size=50%,nr_inodes=1m
`;

/** `/tmp` lies in the sealed root, so that something must be mounted on it. Where the image says what, that stays. */
async function mountTmp(root: Directory, mtime: bigint, notes: Note[]): Promise<void> {
  if (getNode(root, UNITS)?.type !== "directory") return; // no system, or none of systemd's
  const units = ["etc/systemd/system", UNITS];
  if (units.some((folder) => getNode(root, `${folder}/local-fs.target.wants/tmp.mount`) !== undefined)) return;
  if (getNode(root, "etc/systemd/system/tmp.mount") !== undefined) return; // masked, or somebody's own
  const fstab = getNode(root, "etc/fstab");
  if (
    fstab?.type === "file" &&
    /^[^#\n]*[ \t]\/tmp[ \t]/m.test(byteString(await readAll(fstab.content, MAX_FSTAB, "/etc/fstab")))
  )
    return;
  if (getNode(root, `${UNITS}/tmp.mount`) === undefined)
    putNode(root, `${UNITS}/tmp.mount`, regularFile(attributes(0o644, { mtime }), bytesSource(encodeUtf8(TMP_MOUNT))));
  const wants = symlink(attributes(0o777, { mtime }), "../tmp.mount" as ByteString);
  putNode(root, `${UNITS}/local-fs.target.wants/tmp.mount`, wants, mtime);
  notes.push({ code: "tmp-mount", message: "/tmp: tmp.mount enabled, nothing else mounts it" });
}

function withoutTrailingSlash(path: string): string {
  return path === "/" ? path : trimEndOf(path, "/");
}

/** `/etc/os-release` is usually a link to the other; where it is a file of its own, systemd reads it first, so both are set. */
async function stampOsRelease(root: Directory, identity: Identity, mtime: bigint): Promise<void> {
  const values = { IMAGE_ID: identity.imageId, IMAGE_VERSION: identity.imageVersion };
  let found = false;
  for (const path of ["usr/lib/os-release", "etc/os-release"]) {
    const node = getNode(root, path);
    if (node?.type !== "file") continue;
    found = true;
    const before = await readAll(node.content, MAX_OS_RELEASE, `/${path}`);
    const after = setOsRelease(before, values);
    if (equalBytes(before, after)) continue;
    detach(root, path, { ...node, mtime }, after);
  }
  if (!found)
    throw new FormatError("no-os-release", "/usr/lib/os-release: not in the image; every system must have one", {
      path: "/usr/lib/os-release",
    });
}

/** The bytes of os-release as the tree has them. Throws FormatError `no-os-release`. */
export async function readOsRelease(root: Directory): Promise<Uint8Array> {
  const found = resolvePath(root, "etc/os-release") ?? resolvePath(root, "usr/lib/os-release");
  if (found?.node.type !== "file")
    throw new FormatError("no-os-release", "/usr/lib/os-release: not in the image; every system must have one", {
      path: "/usr/lib/os-release",
    });
  return readAll(found.node.content, MAX_OS_RELEASE, "/usr/lib/os-release");
}
