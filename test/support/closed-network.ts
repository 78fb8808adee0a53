// A network that cannot be left: a namespace with nothing in it but a loopback interface.
import { spawn } from "node:child_process";
import { once } from "node:events";

import type { Lifetime } from "./registry.ts";

/** What enters it, to be put before a command. It is there until the test ends; needs root. */
export async function closedNetwork(t: Lifetime): Promise<readonly string[]> {
  const script = "ip link set lo up && echo up && exec sleep infinity";
  const command = ["setpriv", "--pdeathsig", "KILL", "sh", "-c", script];
  const child = spawn("unshare", ["--net", ...command], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => void child.kill("SIGKILL"));
  await once(child.stdout, "data");
  return ["nsenter", `--target=${child.pid}`, "--net"];
}
