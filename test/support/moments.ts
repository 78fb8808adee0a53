// Moments of a running command, told by what it has written and not by the clock: a busy machine moves no moment.
import type { ChildProcess } from "node:child_process";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

/** Bytes that a process has written to anything so far (proc(5), `wchar`); undefined when it is gone. */
function writtenBytes(pid: number | undefined): number | undefined {
  try {
    const count = /^wchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, "latin1"))?.[1];
    return count === undefined ? undefined : Number(count);
  } catch {
    return undefined;
  }
}

const isRunning = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null;

/** Resolves when `condition` holds or the command has ended. */
export async function whenever(child: ChildProcess, condition: () => boolean): Promise<void> {
  while (isRunning(child) && !condition()) await sleep(1);
}

/** Resolves when the command has written so many bytes, or has ended. */
export function whenWritten(child: ChildProcess, bytes: number): Promise<void> {
  return whenever(child, () => (writtenBytes(child.pid) ?? Number.POSITIVE_INFINITY) >= bytes);
}

/** All that a command writes until it ends: what was seen last. */
export async function totalWritten(child: ChildProcess): Promise<number> {
  let total = 0;
  await whenever(child, () => {
    total = Math.max(total, writtenBytes(child.pid) ?? 0);
    return false;
  });
  return total;
}
