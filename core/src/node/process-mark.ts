/** Marks that say which process made a thing, so that another can tell whether its maker still runs. */
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";

/** `HOST-PID-START-RANDOM`: 8 hexadecimal digits, two decimal numbers, 8 hexadecimal digits. */
const MARK = /^([0-9a-f]{8})-(\d{1,10})-(\d{1,20})-[0-9a-f]{8}$/;

/** Where process ids mean the same: this machine, and the same PID namespace of it. */
function hostMark(): string {
  let namespace = "";
  try {
    namespace = readlinkSync("/proc/self/ns/pid");
  } catch {
    // not Linux: one namespace
  }
  return createHash("sha256").update(`${hostname()}\0${namespace}`).digest("hex").slice(0, 8);
}

/** Clock ticks from boot to the start of a process (proc(5), field 22), so that a reused id is told apart; 0 where unknown. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "0"; // the third field is the first behind the name
  } catch {
    return "0";
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM"; // somebody else's process
  }
}

/** A mark of this process, another one each time. */
export function newMark(): string {
  return `${hostMark()}-${process.pid}-${startOf(process.pid)}-${randomBytes(4).toString("hex")}`;
}

/** Whether the process that made `mark` has ended; `unknown` for one of another machine or namespace, or for no mark. */
export function makerOf(mark: string): "running" | "ended" | "unknown" {
  const [, host, pid, start] = MARK.exec(mark) ?? [];
  if (host !== hostMark()) return "unknown";
  return isAlive(Number(pid)) && startOf(Number(pid)) === start ? "running" : "ended";
}
