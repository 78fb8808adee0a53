// How long something took, in a measure that a busy machine does not change much.
import process from "node:process";

/** Milliseconds since this call, on the clock or of the processor, whichever are fewer: waiting for others is no effort. */
export function startEffort(): () => number {
  const start = performance.now();
  const startCpu = process.cpuUsage();
  return () => {
    const { user, system } = process.cpuUsage(startCpu);
    return Math.min(performance.now() - start, (user + system) / 1000);
  };
}
