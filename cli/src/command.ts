/** The `ashlar` command, as `main.ts` and the single executable call it. */
import process from "node:process";
import { proposeCompletions, run, type StricliProcess } from "@stricli/core";
import { app } from "./app.ts";
import { EXIT } from "./exit-codes.ts";

// Whatever the caller's umask is, we must be able to use the directories we make ourselves.
process.umask(process.umask() & 0o077);

// A reader that goes away (`ashlar ls … | head`) is no error, but what is known to have failed stays failed.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(process.exitCode ?? EXIT.ok);
  process.stderr.write(`ashlar: standard output: ${error.message}\n`);
  process.exit(EXIT.SinkError);
});
// Progress that nobody can see is no reason to stop.
process.stderr.on("error", () => {});

/** Runs the command that the process was started with; its exit code is the process's. */
export async function runCommand(): Promise<void> {
  const given = process.argv.slice(2);
  // `ashlar help build` is what many try first.
  const inputs = given[0] === "help" ? [...given.slice(1), "--help"] : given;
  const context = { process: process as StricliProcess };
  if (inputs[0] === "__complete") {
    // What the completion scripts ask; see run/completion.ts.
    for (const { completion } of await proposeCompletions(app, inputs.slice(1), context))
      process.stdout.write(`${completion}\n`);
  } else await run(app, inputs, context);
  // stricli counts its own failures (unknown command, bad flag) below zero; to a shell they are all wrong usage.
  if (typeof process.exitCode === "number" && process.exitCode < 0) process.exitCode = EXIT.usage;
}
