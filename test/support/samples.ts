// Small images for the tests of the command, and ways to run it: as another user, with an odd environment, to be interrupted.
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { type ImageInput, type OciLayout, writeLayout } from "./oci.ts";
import { REPOSITORY } from "./roots.ts";
import { type TarEntry, tarBytes } from "./tar.ts";

export const isRoot = process.getuid?.() === 0;
/** An ordinary user that owns nothing. */
export const NOBODY = 65534;

export const SAMPLE_LABELS = {
  "org.opencontainers.image.title": "sample",
  "org.opencontainers.image.version": "1",
} as const;
export const SAMPLE_ARTIFACTS = ["sample_1.release.json", "sample_1.root.erofs", "sample_1.root.verity"] as const;

/** Bytes that compress badly and differ in every block; the same for the same seed. */
export function noise(size: number, seed: string): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; i * 32 < size; i++) parts.push(createHash("sha256").update(`${seed} ${i}`).digest());
  return Buffer.concat(parts).subarray(0, size);
}

/** Every kind of file there is, in an order that is not the canonical one. */
export const SAMPLE_ENTRIES: readonly TarEntry[] = [
  { name: "usr/" },
  { name: "usr/bin/", mode: 0o755 },
  { name: "usr/bin/tool", content: noise(70_000, "tool"), mode: 0o755 },
  { name: "usr/bin/set-id", content: "set-id\n", mode: 0o6755 },
  { name: "etc/", mode: 0o750, mtime: 1_700_000_000.25 },
  { name: "etc/motd", content: "hello\n", mode: 0o640, uid: 12, gid: 34, mtime: 1_600_000_000.1234567 },
  { name: "etc/old", content: "before 1970\n", mtime: -1.5 },
  { name: "etc/alias", type: "symlink", target: "motd" },
  { name: "bin", type: "symlink", target: "usr/bin" },
  { name: "absolute", type: "symlink", target: "/etc/motd" },
  { name: "outside", type: "symlink", target: "../../../../../etc/motd" },
  { name: "round", type: "symlink", target: "round" },
  { name: "hard", type: "link", target: "usr/bin/tool" },
  { name: "xattr", content: "x", mode: 0o444, xattrs: { "user.ashlar": new Uint8Array([0, 1, 255]) } },
  { name: "sticky/", mode: 0o1777 },
  { name: "closed/", mode: 0o000 },
  { name: "closed/inside", content: "inside\n" },
  { name: "empty", content: "" },
  { name: "sparse", content: Buffer.concat([Buffer.alloc(1 << 20), noise(5000, "sparse"), Buffer.alloc(1 << 20)]) },
  { name: "null", type: "character", device: [1, 3], mode: 0o666 },
  { name: "disk", type: "block", device: [259, 70_000], mode: 0o660, gid: 6 },
  { name: "fifo", type: "fifo", mode: 0o600 },
  { name: new Uint8Array([...Buffer.from("not-utf8-"), 0xff]), content: "bytes\n" },
  { name: "grün", content: "text\n" },
  { name: "esc\x1b[31m\nred", content: "control\n" },
  { name: "txt.\u202eexe", content: "bidi\n" },
  { name: `${"long/".repeat(40)}name`, content: "long\n" },
];

/** A folder that goes when the test ends. Others may enter it, so that an ordinary user can read what is in it. */
export function workFolder(t: { after(action: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-cli-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export function sampleLayout(directory: string, image: Partial<ImageInput> = {}): Promise<OciLayout> {
  return writeLayout(directory, {
    labels: SAMPLE_LABELS,
    layers: [{ tar: tarBytes(SAMPLE_ENTRIES) }],
    ...image,
  });
}

/** sha256 of every file of a directory, hidden ones too, by name. */
export function digests(directory: string): Record<string, string> {
  const found = readdirSync(directory).sort();
  return Object.fromEntries(
    found.map((name) => [
      name,
      createHash("sha256")
        .update(readFileSync(join(directory, name)))
        .digest("hex"),
    ]),
  );
}

export interface RunOptions {
  readonly cwd?: string | undefined;
  /** Replaces the environment; PATH is kept. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  /** Octal, as umask(1) takes it. */
  readonly umask?: string | undefined;
  /** As an ordinary user without any capability; needs root, else we are one already. */
  readonly ordinary?: boolean | undefined;
  /** Put around the command, such as `["prlimit", "--fsize=1000"]`. */
  readonly wrapper?: readonly string[] | undefined;
}

export interface RunResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

const DROP = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--bounding-set=-all", "--inh-caps=-all"];

/**
 * Puts the checkout where an ordinary user can reach it, wherever it is, in a mount namespace of its own, and goes on as
 * that user.
 */
function asOrdinary(): string[] {
  mkdirSync(REACHABLE, { recursive: true, mode: 0o755 });
  const script = 'mount --bind "$1" "$2" && shift 2 && exec "$@"';
  return ["unshare", "-m", "sh", "-c", script, "sh", REPOSITORY, REACHABLE, "setpriv", ...DROP, "--no-new-privs"];
}

/** An empty directory that stays; nothing is ever in it outside of the namespace. */
const REACHABLE = join(tmpdir(), "ashlar-checkout");

/** The running command: the script at the root of the checkout, in a process group of its own. */
export function startAshlar(args: readonly string[], options: RunOptions = {}): ChildProcess {
  const { cwd, env, umask, ordinary = false, wrapper = [] } = options;
  const drops = ordinary && isRoot;
  const command = [
    ...(drops ? asOrdinary() : []),
    ...(umask === undefined ? [] : ["sh", "-c", `umask ${umask}; exec "$@"`, "sh"]),
    ...wrapper,
    join(drops ? REACHABLE : REPOSITORY, "ashlar"),
    ...args,
  ];
  return spawn(command[0]!, command.slice(1), {
    cwd,
    env: env === undefined ? process.env : { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
    timeout: 300_000, // nothing takes that long on any machine; a command that hangs must not hang the tests
    killSignal: "SIGKILL",
  });
}

export async function ended(child: ChildProcess): Promise<RunResult> {
  const closed = new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status, signal) => resolve([status, signal]));
  });
  const [stdout, stderr, [status, signal]] = await Promise.all([text(child.stdout!), text(child.stderr!), closed]);
  return { status, signal, stdout, stderr };
}

export function run(args: readonly string[], options?: RunOptions): Promise<RunResult> {
  return ended(startAshlar(args, options));
}

/** As {@link run}, and throws with all that was said unless it succeeds. */
export async function runOk(args: readonly string[], options?: RunOptions): Promise<RunResult> {
  const result = await run(args, options);
  assert.equal(result.status, 0, `ashlar ${args.join(" ")}: ${result.stdout}${result.stderr}`);
  return result;
}

/** One line on standard error that begins with the program's name and holds no stack and no control character. */
export function assertOneLine(stderr: string, pattern: RegExp): void {
  assert.match(stderr, /^ashlar: [^\n]+\n$/);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there
  assert.doesNotMatch(stderr.trimEnd(), /[\0-\x1f\x7f-\x9f]|\bat .*\.ts:\d+/);
  assert.match(stderr, pattern);
}
