// Where the cached Debian roots, other people's programs and the checkout are, for the test side.
import { spawnSync } from "node:child_process";
import { homedir } from "node:os";
import { join } from "node:path";

export const REPOSITORY = join(import.meta.dirname, "../..");
export const IN_TOOLS = join(REPOSITORY, "scripts/lib/in-tools");

export type PeerName =
  | "crane"
  | "oras"
  | "cosign"
  | "tuf-client"
  | "registry"
  | "go-registry"
  | "newer-node"
  | "qemu-arm64";

/** Path of a program of scripts/fetch-peers that is in the cache already. */
export function findPeer(name: PeerName): string | undefined {
  const script = join(REPOSITORY, "scripts/fetch-peers");
  const { status, stdout } = spawnSync(script, ["--path", name], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return status === 0 ? stdout.trim() : undefined;
}

export type RootName = "tools" | "trixie" | "trixie-arm64" | "bookworm" | "selinux";

/** Path of a root that is in the cache already: a directory for `tools`, else a tar file. */
export function findRoot(name: RootName): string | undefined {
  return fetchRoots(["--path", name], "ignore");
}

/** Path of a root, made now if need be (about half a minute; needs root or user namespaces, and a Debian mirror). */
export function makeRoot(name: RootName): string {
  const path = fetchRoots([name], "inherit");
  if (path === undefined) throw new Error(`scripts/fetch-roots ${name} failed`);
  return path;
}

/** The same folder as in scripts/lib/common.sh. */
export function cacheDirectory(env: NodeJS.ProcessEnv = process.env): string {
  return env["ASHLAR_CACHE"] || join(env["XDG_CACHE_HOME"] || join(env["HOME"] || homedir(), ".cache"), "ashlar");
}

function fetchRoots(args: readonly string[], stderr: "ignore" | "inherit"): string | undefined {
  const script = join(REPOSITORY, "scripts/fetch-roots");
  const { status, stdout } = spawnSync(script, args, { encoding: "utf8", stdio: ["ignore", "pipe", stderr] });
  return status === 0 ? stdout.trim() : undefined;
}
