/** Passwords of keys: from a file, from the environment, or from the person at the terminal. */
import { openSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { ReadStream } from "node:tty";
import { decodeUtf8, encodeUtf8 } from "@ashlar/core/bytes";
import { PolicyError } from "@ashlar/core/errors";
import { openFile } from "@ashlar/core/node";
import type { AskPassword } from "@ashlar/core/node/trust";
import { readAll } from "@ashlar/core/source";

/** Bytes of a password file. */
const MAX_PASSWORD = 4096;
const VARIABLES = ["ASHLAR_PASSWORD", "COSIGN_PASSWORD"] as const;

/** The password that needs no person: undefined where none was given, which is not the same as an empty one. */
async function givenPassword(file: string | undefined): Promise<Uint8Array | undefined> {
  if (file !== undefined) {
    await using source = await openFile(file);
    const [line = ""] = decodeUtf8(await readAll(source, MAX_PASSWORD, file)).split(/\r?\n/);
    return encodeUtf8(line);
  }
  for (const name of VARIABLES) {
    const value = process.env[name];
    if (value !== undefined) return encodeUtf8(value);
  }
  return undefined;
}

/** To open a key with. Undefined where nobody can be asked. */
export function passwordSource(file: string | undefined, signal: AbortSignal): AskPassword {
  return async (what) => (await givenPassword(file)) ?? promptFor(`Password for ${what}: `, signal);
}

/** For a new key: asked for twice. Throws PolicyError `no-password` where nobody can be asked. */
export async function newPassword(file: string | undefined, signal: AbortSignal): Promise<Uint8Array> {
  const given = (await givenPassword(file)) ?? (await promptTwice(signal));
  if (given !== undefined) return given;
  throw new PolicyError(
    "no-password",
    `no password for the new key: give --password-file, set ${VARIABLES[0]}, or say --no-password`,
  );
}

async function promptTwice(signal: AbortSignal): Promise<Uint8Array | undefined> {
  const first = await promptFor("Password for the new key: ", signal);
  if (first === undefined) return undefined;
  const second = await promptFor("The same again: ", signal);
  if (second === undefined || decodeUtf8(first) !== decodeUtf8(second))
    throw new PolicyError("wrong-password", "the two passwords differ");
  return first;
}

/** Asks on the terminal itself, so that standard input and output may be anything. Nothing is echoed. */
export async function promptFor(question: string, signal: AbortSignal): Promise<Uint8Array | undefined> {
  let descriptor: number;
  try {
    descriptor = openSync("/dev/tty", "r");
  } catch {
    return undefined; // no terminal
  }
  const terminal = new ReadStream(descriptor);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: terminal, output: silent, terminal: true });
  process.stderr.write(question);
  try {
    return await new Promise<Uint8Array | undefined>((resolve, reject) => {
      lines.once("line", (line) => resolve(encodeUtf8(line)));
      lines.once("close", () => resolve(undefined));
      lines.once("SIGINT", () => process.kill(process.pid, "SIGINT")); // and so to `signal`
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  } finally {
    lines.close();
    terminal.destroy();
    process.stderr.write("\n");
  }
}
