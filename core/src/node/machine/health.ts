/** Programs that say whether the machine is healthy, run one after the other with a limit of time. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { access, constants, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { isAshlarError, SourceError } from "../../errors/index.ts";
import {
  HEALTH_FOLDERS,
  type HealthHost,
  type HealthProgram,
  MAX_HEALTH_CHECKS,
  MAX_HEALTH_OUTPUT,
  type ProgramOutcome,
} from "../../ops/machine/index.ts";
import { readFailure } from "../errors.ts";

/** Milliseconds between the request to end and the end. */
const GRACE = 2000;
/** Milliseconds that systemd may take to list units. */
const LIST_LIMIT = 30_000;

async function programsIn(folder: string): Promise<HealthProgram[]> {
  let names: string[];
  try {
    names = (await readdir(folder)).filter((name) => !name.startsWith(".") && !name.endsWith("~")).sort();
  } catch (error) {
    const failure = readFailure(folder, error);
    if (isAshlarError(failure) && failure.code === "not-found") return [];
    throw failure;
  }
  if (names.length > MAX_HEALTH_CHECKS)
    return [{ name: folder, problem: `has ${names.length} files, more than ${MAX_HEALTH_CHECKS}` }];
  return Promise.all(names.map((name) => look(join(folder, name))));
}

async function look(path: string): Promise<HealthProgram> {
  try {
    if (!(await stat(path)).isFile()) return { name: path, problem: "is not a program" };
    await access(path, constants.X_OK);
    return { name: path };
  } catch (error) {
    const isForbidden = (error as NodeJS.ErrnoException).code === "EACCES";
    return { name: path, problem: isForbidden ? "is not executable" : "leads nowhere" };
  }
}

/** The program and all that it has started: they are a process group. */
function signalGroup({ pid }: ChildProcess, name: NodeJS.Signals): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, name);
  } catch {
    // all of it has ended
  }
}

function runProgram(path: string, limit: number, signal: AbortSignal | undefined): Promise<ProgramOutcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(path, [], { cwd: "/", detached: true, stdio: ["ignore", "pipe", "pipe"] });
    let output: Uint8Array = new Uint8Array(0);
    let timedOut = false;
    const timers: NodeJS.Timeout[] = [];
    const end = () => {
      signalGroup(child, "SIGTERM");
      timers.push(setTimeout(() => signalGroup(child, "SIGKILL"), GRACE));
    };
    timers.push(
      setTimeout(() => {
        timedOut = true;
        end();
      }, limit),
    );
    const stop = signal as globalThis.AbortSignal | undefined;
    stop?.addEventListener("abort", end, { once: true });
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Uint8Array) => {
        output = Buffer.concat([output, chunk.subarray(-MAX_HEALTH_OUTPUT)]).subarray(-MAX_HEALTH_OUTPUT);
      });
    const finish = (status: number | undefined, reason?: string) => {
      for (const timer of timers) clearTimeout(timer);
      stop?.removeEventListener("abort", end);
      for (const stream of [child.stdout, child.stderr]) stream.destroy();
      if (signal?.aborted === true) reject(signal.reason);
      else resolve({ status, reason, timedOut, output });
    };
    child.on("error", (error) => finish(undefined, `cannot be started: ${error.message}`));
    // What is left of its group ends with it. What has left the group may hold the outputs open for ever: then "close" never comes.
    child.on("exit", (status, name) => {
      for (const timer of timers) clearTimeout(timer); // it has answered
      signalGroup(child, "SIGKILL");
      const done = () => finish(status ?? undefined, name === null ? undefined : `ended by ${name}`);
      child.on("close", done);
      timers.push(setTimeout(done, GRACE));
    });
  });
}

export function healthHost(folders: readonly string[] = HEALTH_FOLDERS): HealthHost {
  return {
    async programs() {
      const lists: HealthProgram[] = [];
      for (const folder of folders) lists.push(...(await programsIn(folder)));
      return lists;
    },
    run: ({ name }, limit, signal) => runProgram(name, limit, signal),
    async failedUnits() {
      const args = ["list-units", "--state=failed", "--plain", "--no-legend", "--full"];
      try {
        const { stdout } = await promisify(execFile)("systemctl", args, { timeout: LIST_LIMIT });
        return stdout
          .split("\n")
          .map((line) => line.trim().split(/\s+/)[0] ?? "")
          .filter((name) => name !== "");
      } catch (cause) {
        throw new SourceError("no-units", "systemd did not list its failed units", { cause });
      }
    },
    elapsed: () => performance.now(),
  };
}
