// Runs the command as people do: the script at the root of the checkout.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { REPOSITORY } from "./roots.ts";

export interface AshlarResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface AshlarOptions {
  readonly cwd?: string;
  /** Replaces the environment; PATH is kept. */
  readonly env?: Readonly<Record<string, string>>;
  /** Bytes. */
  readonly maxOutput?: number;
}

const COMMAND = join(REPOSITORY, "ashlar");

export function ashlar(
  args: readonly string[],
  { cwd, env, maxOutput = 64 * 1024 * 1024 }: AshlarOptions = {},
): AshlarResult {
  const environment = env === undefined ? process.env : { PATH: process.env["PATH"] ?? "", ...env };
  const { status, stdout, stderr } = spawnSync(COMMAND, args, {
    cwd,
    env: environment,
    maxBuffer: maxOutput,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}

/** As {@link ashlar}, and throws with all that was said unless it succeeds. */
export function ashlarOk(args: readonly string[], options?: AshlarOptions): AshlarResult {
  const result = ashlar(args, options);
  if (result.status !== 0)
    throw new Error(`ashlar ${args.join(" ")}: exit code ${result.status}\n${result.stdout}${result.stderr}`);
  return result;
}

/** The parts of release.json that tests look at. */
export interface ReleaseFile {
  readonly architecture: string;
  readonly rootHash: string;
  readonly inputs: readonly { readonly name: string; readonly digest: string }[];
  readonly kernelVersion: string;
  readonly artifacts: readonly {
    readonly role: string;
    readonly name: string;
    readonly size: number;
    readonly digest: string;
  }[];
}

export function readRelease(path: string): ReleaseFile {
  return JSON.parse(readFileSync(path, "utf8")) as ReleaseFile;
}
