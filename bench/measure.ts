// Runs a command and says what it cost: wall time, CPU seconds of it and all its children, peak memory of all of them.
import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";

export interface Cost {
  /** Seconds. */
  readonly wall: number;
  /** Seconds, user and system, of the command and everything it waited for. */
  readonly cpu: number;
  /** Bytes, the largest sum of the proportional set sizes of all its processes; undefined where it was not sampled. */
  readonly peakMemory: number | undefined;
}

/** Milliseconds between two samples of memory. */
const SAMPLE_INTERVAL = 25;

/** All processes below `pid`, itself included. */
function family(pid: number): number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc"))
    if (/^\d+$/.test(name))
      try {
        // pid (comm) state ppid …; the name may hold spaces and parentheses
        const stat = readFileSync(`/proc/${name}/stat`, "latin1");
        parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
      } catch {
        // ended meanwhile
      }
  const members = [pid];
  for (let i = 0; i < members.length; i++)
    for (const [child, parent] of parents) if (parent === members[i]) members.push(child);
  return members;
}

function memoryOf(pid: number): number {
  try {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "latin1");
    return Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/**
 * Sampling reads the page tables of whom it samples, which has to wait meanwhile: it adds a third to the time of a process
 * with 200 MB and several threads. So a run is either timed or sampled; what a sampled run took means nothing.
 */
export async function measure(
  command: string,
  args: readonly string[],
  { samplesMemory }: { readonly samplesMemory: boolean },
): Promise<Cost> {
  const children = cpuOfChildren();
  const begun = performance.now();
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"] });
  let complaint = "";
  child.stderr.on("data", (text: Buffer) => {
    complaint = (complaint + text.toString()).slice(-4000);
  });
  let peakMemory = 0;
  function sample(): void {
    if (child.pid === undefined) return;
    const memory = family(child.pid).reduce((sum, pid) => sum + memoryOf(pid), 0);
    peakMemory = Math.max(peakMemory, memory);
  }
  const sampler = samplesMemory ? setInterval(sample, SAMPLE_INTERVAL) : undefined;
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  const wall = (performance.now() - begun) / 1000;
  clearInterval(sampler);
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: exit code ${status}\n${complaint}`);
  return { wall, cpu: cpuOfChildren() - children, peakMemory: samplesMemory ? peakMemory : undefined };
}

/** Seconds of CPU of all children that were waited for (proc(5), /proc/self/stat, cutime and cstime). */
function cpuOfChildren(): number {
  const stat = readFileSync("/proc/self/stat", "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const ticks = Number(fields[13]) + Number(fields[14]); // counted from `state`
  return ticks / 100; // USER_HZ of Linux
}
