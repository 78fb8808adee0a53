/** Credentials from the places where podman, skopeo and Docker keep them. */
import { spawn } from "node:child_process";
import { readFile, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { SourceError } from "../../errors/index.ts";
import {
  type AuthFile,
  type Credentials,
  credentialKeys,
  helperKey,
  MAX_AUTH_FILE,
  parseAuthFile,
  parseHelperAnswer,
  type RepositoryName,
} from "../../ops/registry/index.ts";
import { readFailure } from "../errors.ts";

/** Bytes of a helper's answer that are read. */
const MAX_ANSWER = 1024 * 1024;

export interface CredentialOptions {
  /** The only file that is read. */
  readonly authFile?: string | undefined;
  readonly environment: NodeJS.ProcessEnv;
}

/** In the order in which they are looked into. */
export function authFiles({ authFile, environment }: CredentialOptions): { path: string; required: boolean }[] {
  const only = authFile ?? environment["REGISTRY_AUTH_FILE"];
  if (only) return [{ path: only, required: true }];
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
  const program = `docker-credential-${helper}`;
  const child = spawn(program, ["get"], { stdio: ["pipe", "pipe", "ignore"], env: environment });
  const parts: Buffer[] = [];
  let size = 0;
  child.stdout.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size <= MAX_ANSWER) parts.push(chunk);
    else child.kill();
  });
  child.stdin.on("error", () => {}); // it may end without reading
  child.stdin.end(helperKey(key));
  const status = await new Promise<number | null>((resolve, reject) => {
    child.on("error", (cause) =>
      reject(new SourceError("credential-helper", `${program}: cannot be run: ${cause.message}`, { cause })),
    );
    child.on("close", resolve);
  });
  const answer = Buffer.concat(parts);
  if (status === 0) return parseHelperAnswer(answer, program);
  // What helpers say then is fixed by the protocol (docker/docker-credential-helpers).
  if (/credentials not found/i.test(answer.toString())) return undefined;
  throw new SourceError("credential-helper", `${program}: failed with exit code ${status}`);
}
