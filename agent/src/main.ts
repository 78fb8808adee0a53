/** Entry of the `ashlar` command in the single executable, which is one CommonJS module and cannot wait at its top level. */
import process from "node:process";
import { runCommand } from "../../cli/src/command.ts";

/** What Node itself says where the top level of a module waits for something that nobody will ever do. */
const NEVER_SETTLED = 13;

async function main(): Promise<void> {
  let isOver = false;
  // Otherwise a lost promise would look like success.
  process.once("exit", () => {
    if (!isOver) process.exitCode ||= NEVER_SETTLED;
  });
  await runCommand();
  isOver = true;
}

void main();
