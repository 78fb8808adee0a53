// How memory and time grow: many small files, and few large ones. Each run is `ashlar seal tar:-` in a process of its own, fed
// from here, so what is measured is reading, EROFS, hash tree and release together. Prints the table of docs/performance.md.
//
//   node bench/scale.ts                 100 000, 300 000 and 1 000 000 files; 2 GB and 20 GB
//   node bench/scale.ts files=50000     one run; also bytes=2e9
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fromUtf8 } from "../core/src/bytes/index.ts";
import { encodeTarHeader, TAR_END, tarPadding } from "../core/src/formats/tar/index.ts";
import { REPOSITORY } from "../test/support/roots.ts";

interface Run {
  readonly files: number;
  /** Bytes of each file. */
  readonly size: number;
}

const FILES_PER_DIRECTORY = 100;
const BUFFER_SIZE = 1024 * 1024;

/** Small files hold their own number; large ones zeros, which make holes on disk and cost as much to hash as anything. */
async function* archive({ files, size }: Run): AsyncGenerator<Uint8Array> {
  let buffer = Buffer.alloc(BUFFER_SIZE);
  let used = 0;
  const zeros = new Uint8Array(BUFFER_SIZE);
  function* put(bytes: Uint8Array): Generator<Uint8Array> {
    if (used + bytes.length > BUFFER_SIZE) {
      yield buffer.subarray(0, used);
      buffer = Buffer.alloc(BUFFER_SIZE); // the pipe may still hold the old one
      used = 0;
    }
    buffer.set(bytes, used);
    used += bytes.length;
  }
  for (let i = 0; i < files; i++) {
    const folder = `usr/share/folder-${Math.floor(i / FILES_PER_DIRECTORY)}`;
    const common = { uid: i % 1000, mtime: BigInt(1_600_000_000 + (i % 5000)) * 1_000_000_000n };
    if (i % FILES_PER_DIRECTORY === 0)
      yield* put(encodeTarHeader({ path: fromUtf8(`${folder}/`), type: "directory", ...common }));
    yield* put(encodeTarHeader({ path: fromUtf8(`${folder}/file-number-${i}.conf`), type: "file", size, ...common }));
    if (size <= 512) yield* put(Buffer.from(`${i}`.padEnd(size, "-")));
    else
      for (let left = size; left > 0; left -= BUFFER_SIZE) yield* put(zeros.subarray(0, Math.min(left, BUFFER_SIZE)));
    yield* put(tarPadding(size));
  }
  yield* put(TAR_END);
  yield buffer.subarray(0, used);
}

interface Outcome {
  /** Seconds. */
  readonly wall: number;
  readonly cpu: number;
  /** Bytes: the highest resident size the process ever had. */
  readonly peakMemory: number;
}

async function seal(run: Run): Promise<Outcome> {
  const folder = mkdtempSync(join(process.env["ASHLAR_BENCH_DIR"] ?? tmpdir(), "ashlar-scale-"));
  const before = cpuOfChildren();
  const begun = performance.now();
  try {
    const child = spawn(
      process.execPath,
      [join(REPOSITORY, "cli/src/main.ts"), "seal", "tar:-", "-o", folder, "--name", "scale", "--quiet"],
      { stdio: ["pipe", "ignore", "inherit"] },
    );
    let peakMemory = 0;
    const sampler = setInterval(() => {
      try {
        const status = readFileSync(`/proc/${child.pid}/status`, "latin1");
        peakMemory = Math.max(peakMemory, Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024);
      } catch {
        // ended meanwhile
      }
    }, 50);
    const ended = new Promise<number | null>((resolve, reject) => {
      child.on("error", reject);
      child.on("close", resolve);
    });
    child.stdin.on("error", () => {}); // the exit code says why
    for await (const bytes of archive(run))
      if (!child.stdin.write(bytes)) await new Promise((resolve) => child.stdin.once("drain", resolve));
    child.stdin.end();
    const status = await ended;
    clearInterval(sampler);
    if (status !== 0) throw new Error(`ashlar seal: exit code ${status}`);
    return { wall: (performance.now() - begun) / 1000, cpu: cpuOfChildren() - before, peakMemory };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Seconds of CPU of all children that were waited for (proc(5), /proc/self/stat, cutime and cstime). */
function cpuOfChildren(): number {
  const stat = readFileSync("/proc/self/stat", "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[13]) + Number(fields[14])) / 100; // USER_HZ of Linux
}

const LARGE = 10_000_000; // bytes of a large file
const ALL: readonly Run[] = [
  { files: 1000, size: 400 },
  { files: 100_000, size: 400 },
  { files: 300_000, size: 400 },
  { files: 1_000_000, size: 400 },
  { files: 200, size: LARGE },
  { files: 2000, size: LARGE },
];

function chosen(): readonly Run[] {
  const [, key, value] = /^(files|bytes)=([\d.e]+)$/.exec(process.argv[2] ?? "") ?? [];
  if (key === undefined) return ALL;
  return [key === "files" ? { files: Number(value), size: 400 } : { files: Number(value) / LARGE, size: LARGE }];
}

console.log("| files | bytes of each | wall s | CPU s | peak memory MB | memory per file, bytes | µs CPU per file |");
console.log("| --: | --: | --: | --: | --: | --: | --: |");
let base: number | undefined;
for (const run of chosen()) {
  const { wall, cpu, peakMemory } = await seal(run);
  base ??= peakMemory; // of a run with next to nothing in it
  const perFile = run.size === LARGE ? "" : ((peakMemory - base) / run.files).toFixed(0);
  console.log(
    `| ${run.files} | ${run.size} | ${wall.toFixed(1)} | ${cpu.toFixed(1)} | ${(peakMemory / 1e6).toFixed(0)} | ${perFile} | ${((cpu * 1e6) / run.files).toFixed(0)} |`,
  );
}
