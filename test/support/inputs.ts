// Inputs of the command as the library reads them on this machine.
import assert from "node:assert/strict";
import { tmpdir } from "node:os";
import { isAshlarError } from "../../core/src/errors/index.ts";
import { fileScratch, nodeDecompressors, nodeFiles, nodeHashes } from "../../core/src/node/index.ts";
import { type Input, type InputOptions, parseReference, readInput } from "../../core/src/ops/image/index.ts";
import { type Listing, listTree } from "./listing.ts";

/** What the reference means; to be disposed of. */
export function openInput(reference: string, options: InputOptions = {}): Promise<Input> {
  const environment = {
    hashes: nodeHashes,
    files: nodeFiles,
    scratch: fileScratch(tmpdir()),
    decompressors: nodeDecompressors,
  };
  return readInput(parseReference(reference), environment, options);
}

/** The same for as long as `use` takes. */
export async function withInput<T>(
  reference: string,
  options: InputOptions,
  use: (input: Input) => Promise<T>,
): Promise<T> {
  const input = await openInput(reference, options);
  try {
    return await use(input);
  } finally {
    await input.dispose();
  }
}

export const listInput = (reference: string, options: InputOptions = {}): Promise<Listing> =>
  withInput(reference, options, (input) => listTree(input.tree));

/** For `assert.rejects`: an error of ours with that code and a message of one line. */
export const failsWith = (code: string) => (error: unknown) => {
  assert.ok(isAshlarError(error) && error.code === code, `expected ${code}, got ${error}`);
  assert.ok(!error.message.includes("\n") && error.message.length < 800, error.message);
  return true;
};
