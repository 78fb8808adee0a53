/** One run of the agent at a time. The lock goes with the process, however that ends. */
import { open, stat } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { oneLine } from "../../bytes/index.ts";
import { SinkError } from "../../errors/index.ts";
import { readLine } from "../block-devices.ts";
import { writeFailure } from "../errors.ts";
import { deviceNumbers, makeDirectories } from "../files.ts";
import { loadTakeLock } from "../native.ts";

/** Bytes of the file that are shown. */
const MAX_HOLDER = 200;

/** Milliseconds between two looks at whether the other has done. */
const PAUSE = 100;

/** Throws SinkError `busy`, with what the holder wrote of itself. @param wait milliseconds */
export async function lockAgent(path: string, verb: string, wait = 0): Promise<{ release(): Promise<void> }> {
  try {
    await makeDirectories(dirname(path));
    // For nobody else to open: whoever can read a file can take its lock, and would keep the machine from its updates.
    const handle = await open(path, "a+", 0o600);
    const takeLock = loadTakeLock();
    let isTaken = takeLock?.(handle.fd) ?? true;
    for (let waited = 0; !isTaken && waited < wait; waited += PAUSE) {
      await sleep(PAUSE);
      isTaken = takeLock?.(handle.fd) ?? true;
    }
    if (!isTaken) {
      const { buffer, bytesRead } = await handle.read(new Uint8Array(MAX_HOLDER), 0, MAX_HOLDER, 0);
      await handle.close();
      const holder = oneLine(new TextDecoder().decode(buffer.subarray(0, bytesRead)).trim());
      throw new SinkError("busy", `another run changes this machine: ${holder || "it does not say which"}`, { path });
    }
    await handle.truncate(0);
    await handle.write(`ashlar ${verb}, process ${process.pid}\n`);
    return { release: () => handle.close() };
  } catch (error) {
    throw writeFailure(path, error);
  }
}

/** Whether somebody has the lock, as the kernel lists them (proc_locks(5)): nobody needs to be able to open the file. */
export async function isAgentLocked(path: string): Promise<boolean> {
  const file = await stat(path).catch(() => undefined);
  if (file === undefined) return false;
  const device = deviceNumbers({ rdev: file.dev }).split(":");
  const numbers = device.map((number) => Number(number).toString(16).padStart(2, "0"));
  const place = `${numbers.join(":")}:${file.ino}`; // as the kernel writes it
  const locks = (await readLine("/proc/locks"))?.split("\n") ?? [];
  return locks.some((line) => /\bFLOCK\b.* ([0-9a-f]+:[0-9a-f]+:\d+) /.exec(line)?.[1] === place);
}
