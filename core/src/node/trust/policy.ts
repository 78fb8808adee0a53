/** Policies of containers as they lie on this machine: policy.json, the keys it names, registries.d. */
import { readdir, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { isAshlarError } from "../../errors/index.ts";
import {
  dockerScopes,
  type KeySource,
  MAX_KEY_SIZE,
  type Policy,
  type PublicKey,
  parsePolicy,
  parsePublicKey,
} from "../../ops/trust/index.ts";
import { readAll } from "../../source/index.ts";
import { readFailure } from "../errors.ts";
import { openFile } from "../files.ts";
import { nodeHashes } from "../hashes.ts";

/** Bytes; policies are a few kilobytes. */
const MAX_POLICY_SIZE = 1024 * 1024;
const USER_REGISTRIES_D = ".config/containers/registries.d";
const SYSTEM_REGISTRIES_D = "/etc/containers/registries.d";

async function readSmall(path: string, limit: number): Promise<Uint8Array> {
  await using file = await openFile(path);
  return Uint8Array.from(await readAll(file, limit, path));
}

/** Errors: SourceError, and those of `parsePublicKey`. */
export async function readPublicKey(path: string): Promise<PublicKey> {
  return parsePublicKey(await readSmall(path, MAX_KEY_SIZE), nodeHashes, path);
}

export async function loadPolicyKey(source: KeySource): Promise<PublicKey> {
  return "path" in source
    ? readPublicKey(source.path)
    : parsePublicKey(source.data, nodeHashes, "keyData of the policy");
}

export async function readPolicy(path: string): Promise<Policy> {
  return parsePolicy(await readSmall(path, MAX_POLICY_SIZE), path);
}

/**
 * Whether `use-sigstore-attachments` is set for an image of a registry.
 * @param directory that of the user where it is there, else the system's
 */
export async function usesSigstoreAttachments(name: string, directory?: string): Promise<boolean> {
  const { MAX_REGISTRIES_D_SIZE, parseRegistriesD, usesAttachments } = await import("../../ops/trust/registries-d.ts");
  const files: [string, Uint8Array][] = [];
  const folder = directory ?? (await defaultRegistriesD());
  for (const entry of (await listDirectory(folder, directory === undefined)).sort())
    if (entry.endsWith(".yaml")) {
      const path = join(folder, entry);
      files.push([path, await readSmall(path, MAX_REGISTRIES_D_SIZE)]);
    }
  return usesAttachments(parseRegistriesD(files), dockerScopes(name));
}

async function defaultRegistriesD(): Promise<string> {
  const own = join(homedir(), USER_REGISTRIES_D);
  const found = await stat(own).catch(() => undefined);
  return found?.isDirectory() ? own : SYSTEM_REGISTRIES_D;
}

async function listDirectory(path: string, mayBeMissing: boolean): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    const failure = readFailure(path, error);
    if (mayBeMissing && isAshlarError(failure) && failure.code === "not-found") return [];
    throw failure;
  }
}
