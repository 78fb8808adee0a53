// Foreign programs that tests compare with: the machine's own version, the newer one of the tools root, or one that was built.
import { spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";

import { findPeer, findRoot, IN_TOOLS, type PeerName, type RootName } from "./roots.ts";

export interface OracleResult {
  readonly status: number | null; // null: ended by a signal
  readonly stdout: string;
  readonly stderr: string;
  readonly bytes: Uint8Array; // stdout as it came
}

export interface OracleOptions {
  readonly input?: Uint8Array | string;
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>; // on top of ours
  readonly timeout?: number; // milliseconds; 300 000 when absent
}

export interface Oracle {
  readonly name: string;
  readonly from: "host" | "tools" | "peers";
  /** Of the program, or of what runs it. */
  readonly path: string;
  run(args: readonly string[], options?: OracleOptions): Promise<OracleResult>;
  /** Like `run`, and throws with the program's stderr when the status is not 0. */
  ok(args: readonly string[], options?: OracleOptions): Promise<OracleResult>;
}

/** The host's program first, then the tools root's, unless `from` names one. */
export function oracle(name: string, { from }: { from?: "host" | "tools" } = {}): Oracle | undefined {
  if (from !== "tools") {
    const path = findProgram(name, [...(process.env["PATH"] ?? "").split(":"), ...PROGRAM_FOLDERS]);
    if (path !== undefined) return makeOracle(name, "host", [path], {});
  }
  if (from !== "host") {
    const root = findRoot("tools");
    if (
      root !== undefined &&
      findProgram(
        name,
        PROGRAM_FOLDERS.map((folder) => join(root, folder)),
      ) !== undefined
    )
      return makeOracle(name, "tools", [IN_TOOLS, name], { ASHLAR_TOOLS_ROOT: root });
  }
  return undefined;
}

/** As `oracle`, but a missing program skips the test visibly at home (then the result is undefined) and fails it in CI. */
export function requireOracle(
  t: TestContext,
  name: string,
  options: { from?: "host" | "tools" } = {},
): Oracle | undefined {
  const found = oracle(name, options);
  if (found !== undefined) return found;
  const what = `${name}${options.from === undefined ? "" : ` (${options.from})`} is not there; run scripts/fetch-roots`;
  if (process.env["CI"]) throw new Error(what);
  t.skip(what);
  return undefined;
}

/** Skips at home, fails in CI: for what needs root rather than a program. */
export function requireRoot(t: TestContext): boolean {
  if (process.getuid?.() === 0) return true;
  if (process.env["CI"]) throw new Error("needs root");
  t.skip("needs root");
  return false;
}

/** The tar of a system that scripts/fetch-roots makes; missing: as for {@link requireOracle}. */
export function requireSystem(t: TestContext, name: Exclude<RootName, "tools">): string | undefined {
  const tar = findRoot(name);
  if (tar !== undefined) return tar;
  const what = `no ${name} root; run scripts/fetch-roots ${name}`;
  if (process.env["CI"]) throw new Error(what);
  t.skip(what);
  return undefined;
}

/** A program of scripts/fetch-peers, at the one version that it pins; missing: as for {@link requireOracle}. */
export function requirePeer(t: TestContext, name: PeerName): Oracle | undefined {
  const path = findPeer(name);
  if (path !== undefined) return makeOracle(name, "peers", [path], {});
  const what = `${name} is not there; run scripts/fetch-peers ${name}`;
  if (process.env["CI"]) throw new Error(what);
  t.skip(what);
  return undefined;
}

// An ordinary user's PATH lacks sbin; systemd keeps some tools in a folder of its own.
const PROGRAM_FOLDERS = ["/usr/sbin", "/usr/bin", "/usr/lib/systemd"];

function findProgram(name: string, folders: readonly string[]): string | undefined {
  for (const folder of folders) {
    if (folder === "") continue;
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // not in this folder
    }
  }
  return undefined;
}

function makeOracle(
  name: string,
  from: Oracle["from"],
  command: readonly [string, ...string[]],
  extra: Record<string, string>,
): Oracle {
  const run = (args: readonly string[], options: OracleOptions = {}): Promise<OracleResult> =>
    new Promise((resolve, reject) => {
      const child = spawn(command[0], [...command.slice(1), ...args], {
        cwd: options.cwd,
        // Messages are compared, so their language is fixed.
        env: { ...process.env, LC_ALL: "C.UTF-8", ...extra, ...options.env },
        timeout: options.timeout ?? 300_000,
        killSignal: "SIGKILL",
        stdio: ["pipe", "pipe", "pipe"],
      });
      const stdout: Uint8Array[] = [];
      const stderr: Uint8Array[] = [];
      child.stdout.on("data", (chunk: Uint8Array) => stdout.push(chunk));
      child.stderr.on("data", (chunk: Uint8Array) => stderr.push(chunk));
      child.stdin.on("error", () => {}); // a program that does not read its input closes the pipe
      child.stdin.end(options.input ?? "");
      child.on("error", reject);
      child.on("close", (status) => {
        const bytes = Buffer.concat(stdout);
        resolve({ status, bytes, stdout: bytes.toString(), stderr: Buffer.concat(stderr).toString() });
      });
    });
  return {
    name,
    from,
    path: command[0],
    run,
    async ok(args, options) {
      const result = await run(args, options);
      if (result.status !== 0) {
        const said = (result.stderr || result.stdout).trim();
        throw new Error(`${name} (${from}) ${args.join(" ")}: status ${result.status}: ${said}`);
      }
      return result;
    },
  };
}
