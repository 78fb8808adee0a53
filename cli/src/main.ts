/** Entry of the `ashlar` command where its sources are files. */
import { runCommand } from "./command.ts";

await runCommand();
