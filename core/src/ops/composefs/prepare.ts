/**
 * What composefs-rs does to a container's root before it makes an image of it, and bootc after that. The rules, oddities
 * included, decide the digest, so nothing here is a matter of taste. Source: composefs-rs 0fbc853 (`transform_for_oci`,
 * `transform_for_boot`).
 */
import type { ByteString } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { type Attributes, type Directory, getNode, NO_XATTRS, walkTree } from "../../tree/index.ts";
import type { Reporter } from "../report.ts";
import { labelForComposefs, readSystemPolicy, stripLabels } from "../selinux/index.ts";

const CAPABILITY = "security.capability" as ByteString;
const SECOND = 1_000_000_000n; // nanoseconds

function directoryAt(root: Directory, path: string): Directory {
  const node = getNode(root, path);
  if (node?.type !== "directory")
    throw new FormatError("composefs-layout", `/${path} ${node === undefined ? "is missing" : `is a ${node.type}`}`, {
      path: `/${path}`,
    });
  return node;
}

/**
 * The root gets the attributes of /usr, since layers seldom describe it; /run, which is a mount at run time, is emptied;
 * of all xattrs only file capabilities stay. Changes `root`. Throws FormatError `composefs-layout` without /usr.
 */
export function transformForOci(root: Directory): void {
  const usr = directoryAt(root, "usr");
  copyAttributes(root, usr);
  const run = getNode(root, "run");
  if (run?.type === "directory") {
    run.entries.clear();
    run.mtime = usr.mtime;
  }
  for (const { node } of walkTree(root)) {
    if (node.xattrs.size === 0) continue;
    const value = node.xattrs.get(CAPABILITY);
    node.xattrs = value === undefined ? NO_XATTRS : new Map([[CAPABILITY, value]]);
  }
}

function copyAttributes(to: Attributes, { mode, uid, gid, mtime, xattrs }: Attributes): void {
  Object.assign(to, { mode, uid, gid, mtime, xattrs });
}

/** All of it: after {@link transformForOci}, {@link transformForBoot} and the labels of the root's own policy. */
export async function prepareForBoot(root: Directory, reporter: Reporter): Promise<void> {
  transformForBoot(root);
  const policy = await readSystemPolicy(root);
  if (policy === undefined) {
    stripLabels(root);
    reporter.note({ code: "selinux-none", message: "no SELinux policy in the image: its files have no labels" });
  } else labelForComposefs(root, policy);
}

/**
 * After {@link transformForOci}: /boot, which holds the UKI that carries the digest, and /sysroot are emptied. Both must
 * be there (FormatError `composefs-layout`). Labels are another step.
 */
function transformForBoot(root: Directory): void {
  const usr = directoryAt(root, "usr");
  for (const name of ["boot", "sysroot"]) {
    const directory = directoryAt(root, name);
    directory.entries.clear();
    // Only the seconds are those of /usr: composefs-rs leaves the nanoseconds of the directory itself.
    directory.mtime = floorSecond(usr.mtime) + (directory.mtime - floorSecond(directory.mtime));
  }
}

function floorSecond(time: bigint): bigint {
  const rest = ((time % SECOND) + SECOND) % SECOND;
  return time - rest;
}
