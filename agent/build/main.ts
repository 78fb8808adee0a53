// scripts/build-agent: writes the single executable and says what it is.
import { createHash } from "node:crypto";
import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { buildExecutable } from "./executable.ts";

const { positionals, values } = parseArgs({ allowPositionals: true, options: { arch: { type: "string" } } });
const [output] = positionals;
if (output === undefined || positionals.length > 1) {
  process.stderr.write("usage: scripts/build-agent [--arch x86-64|arm64] FILE\n");
  process.exit(2);
}

const bytes = await buildExecutable(values.arch).catch((error: unknown) => {
  process.stderr.write(`build-agent: ${(error as Error).message}\n`);
  process.exit(1);
});
await mkdir(dirname(output), { recursive: true });
const temporary = `${output}.${process.pid}.tmp`;
try {
  await writeFile(temporary, bytes, { mode: 0o755 });
  await rename(temporary, output); // also over one that runs
} finally {
  await rm(temporary, { force: true });
}
const digest = createHash("sha256").update(bytes).digest("hex");
process.stdout.write(`${output}: ${bytes.length} bytes, sha256:${digest}\n`);
