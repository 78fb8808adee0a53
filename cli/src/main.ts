/** Entry of the `ashlar` command. */
import process from "node:process";
import { run, type StricliProcess } from "@stricli/core";
import { app } from "./app.ts";
import { EXIT } from "./exit-codes.ts";

// Whatever the caller's umask is, we must be able to use the directories we make ourselves.
process.umask(process.umask() & 0o077);

// A reader that goes away (`ashlar ls … | head`) is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(EXIT.ok);
  throw error;
});

await run(app, process.argv.slice(2), { process: process as StricliProcess });
// stricli counts its own failures (unknown command, bad flag) below zero; to a shell they are all wrong usage.
if (typeof process.exitCode === "number" && process.exitCode < 0) process.exitCode = EXIT.usage;
