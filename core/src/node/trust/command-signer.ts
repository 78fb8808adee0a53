/** Signatures by another program, for keys in HSMs and signing services; docs/signatures.md has the contract. */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { type FileHandle, open, unlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { decodeUtf8Strict, fromBase64, oneLine, toHex, trimEndOf } from "../../bytes/index.ts";
import { IntegrityError, isAshlarError, PolicyError, SourceError } from "../../errors/index.ts";
import { ecdsaToDer, type PublicKey, type SignatureVerifier, type Signer } from "../../ops/trust/index.ts";
import { writeFailure } from "../errors.ts";
import { newPartialName } from "../leftovers.ts";

/** Bytes of output that are taken: a signature in base64 with room. */
const MAX_OUTPUT = 64 * 1024;
/** Characters of what the program complains that are kept. */
const MAX_COMPLAINT = 4000;
/** Milliseconds: a person may have to touch a token. */
const DEFAULT_TIMEOUT = 120_000;

export interface CommandSignerOptions {
  /** For `/bin/sh -c`. */
  readonly command: string;
  /** Of the key that the program signs with: what comes back is checked with it. */
  readonly publicKey: PublicKey;
  readonly verifier: SignatureVerifier;
  /** Milliseconds until the program is ended. */
  readonly timeout?: number | undefined;
}

const ALGORITHM_NAMES = { "ecdsa-p256": "ecdsa-p256-sha256", ed25519: "ed25519", rsa: "rsa-pkcs1-sha256" } as const;

/**
 * Errors of `sign`: SourceError `signer-failed`, `signer-timeout`; IntegrityError `bad-signature` where what came is not a
 * signature by the key.
 */
export function commandSigner({
  command,
  publicKey,
  verifier,
  timeout = DEFAULT_TIMEOUT,
}: CommandSignerOptions): Signer {
  if (command.trim() === "") throw new PolicyError("no-signer", "the signer's command is empty");
  return {
    publicKey,
    async sign(message, options) {
      const digest = Uint8Array.from(createHash("sha256").update(message).digest());
      const environment = {
        ASHLAR_SIGN_ALGORITHM: ALGORITHM_NAMES[publicKey.type],
        ASHLAR_SIGN_SHA256: toHex(digest),
      };
      const input = publicKey.type === "ed25519" ? message : digest;
      const output = await runSigner(command, input, environment, timeout, options?.signal);
      for (const candidate of candidates(output, publicKey))
        if (await verifier.verify(publicKey, message, candidate)) return candidate;
      throw new IntegrityError(
        "bad-signature",
        `signer ${shown(command)}: what it wrote (${output.length} bytes) is no signature by ${publicKey.name}`,
      );
    },
  };
}

/** What the output may mean: the bytes, or base64 of them; ECDSA also as `r ‖ s`, as PKCS#11 has it. */
function* candidates(output: Uint8Array, { type }: PublicKey): Generator<Uint8Array> {
  const forms = [output];
  try {
    const text = decodeUtf8Strict(output);
    if (text !== undefined) forms.push(fromBase64(trimEndOf(text, "\r\n ")));
  } catch (error) {
    if (!isAshlarError(error)) throw error; // not base64
  }
  for (const form of forms) {
    yield form;
    if (type === "ecdsa-p256" && form.length === 64) yield ecdsaToDer(form);
  }
}

const shown = (command: string): string => JSON.stringify(oneLine(command).slice(0, 80));

/**
 * What the program reads: a file without a name. Programs open /dev/stdin, which fails where it is the socket that Node
 * makes for a pipe.
 */
async function inputFile(input: Uint8Array): Promise<FileHandle> {
  const path = join(tmpdir(), newPartialName());
  try {
    const file = await open(path, "wx+", 0o600);
    await unlink(path);
    await file.write(input, 0, input.length, 0); // at a place of its own: the offset, which is shared, stays at the start
    return file;
  } catch (error) {
    throw writeFailure(path, error);
  }
}

async function runSigner(
  command: string,
  input: Uint8Array,
  environment: Readonly<Record<string, string>>,
  timeout: number,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  signal?.throwIfAborted();
  const file = await inputFile(input);
  // In our own session, so that the program can ask for a PIN on the terminal.
  const child = spawn("/bin/sh", ["-c", command], {
    stdio: [file.fd, "pipe", "pipe"],
    env: { ...process.env, ...environment },
  });
  const { stdout, stderr } = child as ChildProcessByStdio<null, Readable, Readable>; // as stdio says
  let ended: "timeout" | "too-much" | undefined;
  const stop = (): void => {
    child.kill("SIGKILL");
    for (const stream of [stdout, stderr]) stream.destroy(); // what the shell has started may still hold them
  };
  const end = (reason: "timeout" | "too-much"): void => {
    ended ??= reason;
    stop();
  };
  const timer = setTimeout(() => end("timeout"), timeout);
  signal?.addEventListener("abort", stop, { once: true });
  if (signal?.aborted) stop(); // while the program was started
  const output: Uint8Array[] = [];
  let size = 0;
  let complaint = "";
  stdout.on("data", (chunk: Uint8Array) => {
    size += chunk.length;
    if (size > MAX_OUTPUT) end("too-much");
    else output.push(chunk);
  });
  stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-MAX_COMPLAINT);
  });
  const closed = new Promise<number | null>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", resolve);
  });
  // The program has a file of its own by now. Closing ours takes its time, in which the program may have ended: all that
  // listens to it does so already.
  const [status] = await Promise.all([closed, file.close()]).finally(() => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  });
  signal?.throwIfAborted();
  if (ended === "timeout")
    throw new SourceError("signer-timeout", `signer ${shown(command)}: did not end within ${timeout / 1000} s`);
  if (ended === "too-much")
    throw new SourceError("signer-failed", `signer ${shown(command)}: wrote more than ${MAX_OUTPUT} bytes`);
  if (status !== 0) {
    const said = complaint.trim().split("\n").at(-1)?.slice(0, 500) || "it said nothing";
    throw new SourceError("signer-failed", `signer ${shown(command)}: exit code ${status}: ${oneLine(said)}`);
  }
  return Uint8Array.from(Buffer.concat(output));
}
