/** Credentials from the places where podman, skopeo and Docker keep them. */
import { spawn } from "node:child_process";
import { readFile, realpath, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { SourceError } from "../../errors/index.ts";
import {
  type AuthFile,
  type Credentials,
  credentialKeys,
  editAuthFile,
  formatName,
  helperKey,
  MAX_AUTH_FILE,
  parseAuthFile,
  parseHelperAnswer,
  type RepositoryName,
} from "../../ops/registry/index.ts";
import { readFailure } from "../errors.ts";
import { createPendingFile } from "./pending-file.ts";

/** Milliseconds: a person may have to unlock a keyring. */
const HELPER_TIMEOUT = 120_000;
/** Bytes of a helper's answer that are read. */
const MAX_ANSWER = 1024 * 1024;

export interface CredentialOptions {
  /** The only file that is read. */
  readonly authFile?: string | undefined;
  readonly environment: NodeJS.ProcessEnv;
}

/** In the order in which they are looked into. */
export function authFiles({ authFile, environment }: CredentialOptions): { path: string; required: boolean }[] {
  const only = authFile || environment["REGISTRY_AUTH_FILE"];
  if (only) return [{ path: only, required: only === authFile }]; // a variable may name what login is yet to make
  const home = environment["HOME"] || homedir();
  const runtime = environment["XDG_RUNTIME_DIR"];
  const config = environment["XDG_CONFIG_HOME"] || join(home, ".config");
  const docker = environment["DOCKER_CONFIG"] || join(home, ".docker");
  return [
    ...(runtime ? [join(runtime, "containers/auth.json")] : []),
    join(config, "containers/auth.json"),
    join(docker, "config.json"),
  ].map((path) => ({ path, required: false }));
}

/** The first that is found for a repository. Errors: SourceError `credential-helper`; FormatError `bad-auth-file`. */
export async function findCredentials(
  name: RepositoryName,
  options: CredentialOptions,
): Promise<Credentials | undefined> {
  for (const { path, required } of authFiles(options)) {
    const bytes = await readSmallFile(path, required);
    if (bytes === undefined) continue;
    const found = await findInFile(parseAuthFile(bytes, path), name, options.environment);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Undefined where there is no such file and none is required. */
export async function readSmallFile(path: string, required: boolean): Promise<Uint8Array | undefined> {
  try {
    const { size } = await stat(path);
    if (size > MAX_AUTH_FILE)
      throw new SourceError("too-large", `${path}: has ${size} bytes, more than ${MAX_AUTH_FILE}`, { path });
    return await readFile(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (!required && (code === "ENOENT" || code === "ENOTDIR")) return undefined;
    throw readFailure(path, error);
  }
}

async function findInFile(
  file: AuthFile,
  name: RepositoryName,
  environment: NodeJS.ProcessEnv,
): Promise<Credentials | undefined> {
  for (const key of credentialKeys(name)) {
    const helper = file.helpers.get(key);
    if (helper !== undefined) return askHelper(helper, key, environment);
    const credentials = file.credentials.get(key);
    if (credentials !== undefined) return credentials;
  }
  return file.store === undefined ? undefined : askHelper(file.store, name.host, environment);
}

/** Undefined where the helper knows nothing of it. */
async function askHelper(
  helper: string,
  key: string,
  environment: NodeJS.ProcessEnv,
): Promise<Credentials | undefined> {
  const { status, answer } = await runHelper(helper, "get", helperKey(key), environment);
  if (status === 0) return parseHelperAnswer(answer, programOf(helper));
  if (isNotFound(answer)) return undefined;
  throw helperFailed(helper, status);
}

const programOf = (helper: string): string => `docker-credential-${helper}`;

/** What helpers say then is fixed by the protocol (docker/docker-credential-helpers). */
const isNotFound = (answer: Buffer): boolean => /credentials not found/i.test(answer.toString());

function helperFailed(helper: string, status: number | null): SourceError {
  const how = status === null ? "was ended, or did not end by itself" : `failed with exit code ${status}`;
  return new SourceError("credential-helper", `${programOf(helper)}: ${how}`);
}

async function runHelper(
  helper: string,
  action: "get" | "store" | "erase",
  input: string,
  environment: NodeJS.ProcessEnv,
): Promise<{ status: number | null; answer: Buffer }> {
  const program = programOf(helper);
  const child = spawn(program, [action], {
    stdio: ["pipe", "pipe", "ignore"],
    env: environment,
    timeout: HELPER_TIMEOUT,
    killSignal: "SIGKILL",
  });
  const parts: Buffer[] = [];
  let size = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size <= MAX_ANSWER) parts.push(chunk);
    else child.kill();
  });
  child.stdin.on("error", () => {}); // it may end without reading
  child.stdin.end(input);
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on("error", (cause) =>
      reject(new SourceError("credential-helper", `${program}: cannot be run: ${cause.message}`, { cause })),
    );
    child.on("close", resolve);
  });
  return { status, answer: Buffer.concat(parts) };
}

/** The file that `login` writes, as podman does: the only one that was named, else that of this session, else the user's. */
export function writtenAuthFile({ authFile, environment }: CredentialOptions): string {
  const only = authFile ?? environment["REGISTRY_AUTH_FILE"];
  if (only) return only;
  const runtime = environment["XDG_RUNTIME_DIR"];
  if (runtime) return join(runtime, "containers/auth.json");
  return join(
    environment["XDG_CONFIG_HOME"] || join(environment["HOME"] || homedir(), ".config"),
    "containers/auth.json",
  );
}

/**
 * Stores the credentials of a registry or a part of it, or takes them out. Where the file leaves them to a helper, the
 * helper has them. Returns the place; undefined where there was nothing to take out.
 * Errors: those of the file; SourceError `credential-helper`.
 */
export async function storeCredentials(
  name: RepositoryName,
  credentials: Credentials | undefined,
  options: CredentialOptions,
): Promise<string | undefined> {
  const given = writtenAuthFile(options);
  const path = await realpath(given).catch(() => given); // what a link leads to is replaced, not the link
  const bytes = await readSmallFile(path, false);
  const file = parseAuthFile(bytes ?? new Uint8Array(0), path);
  const key = name.repository === "" ? name.host : formatName(name);
  const helper = file.helpers.get(key) ?? file.store;
  if (helper !== undefined) return changeInHelper(helper, key, credentials, options.environment);
  const edited = editAuthFile(bytes, key, credentials, path);
  if (edited === undefined) return undefined;
  const pending = await createPendingFile(path, { mode: 0o600, folderMode: 0o700 });
  try {
    await pending.write(edited);
    await pending.publish();
  } finally {
    await pending.discard();
  }
  return path;
}

async function changeInHelper(
  helper: string,
  key: string,
  credentials: Credentials | undefined,
  environment: NodeJS.ProcessEnv,
): Promise<string | undefined> {
  const address = helperKey(key);
  const input =
    credentials === undefined
      ? address
      : JSON.stringify({ ServerURL: address, Username: credentials.username, Secret: credentials.password });
  const action = credentials === undefined ? "erase" : "store";
  const { status, answer } = await runHelper(helper, action, input, environment);
  if (status === 0) return programOf(helper);
  if (credentials === undefined && isNotFound(answer)) return undefined;
  throw helperFailed(helper, status);
}
