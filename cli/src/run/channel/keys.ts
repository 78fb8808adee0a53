/** Key files of channels: public ones, and private ones that sign. */
import process from "node:process";
import { encodeUtf8 } from "@ashlar/core/bytes";
import { PolicyError } from "@ashlar/core/errors";
import { nodeHashes, openFile, openPrivateKey } from "@ashlar/core/node";
import { type ChannelSigner, channelSigner, type TufKey, tufKeyOf } from "@ashlar/core/ops/channel";
import { MAX_KEY_SIZE, parsePem, parsePublicKey } from "@ashlar/core/ops/trust";
import { readAll } from "@ashlar/core/source";

export interface ChannelKey {
  readonly key: TufKey;
  /** Where the file held a private key. */
  readonly signer: ChannelSigner | undefined;
}

/** From the environment: a command that a CI runs has nobody to ask. */
async function passwordOf(): Promise<Uint8Array | undefined> {
  const password = process.env["ASHLAR_PASSWORD"] ?? process.env["COSIGN_PASSWORD"];
  return password === undefined ? undefined : encodeUtf8(password);
}

/** Errors: those of key files. */
export async function readKey(path: string): Promise<ChannelKey> {
  await using file = await openFile(path);
  const bytes = await readAll(file, MAX_KEY_SIZE, path);
  if (parsePem(bytes, path).label === "PUBLIC KEY")
    return { key: tufKeyOf(parsePublicKey(bytes, nodeHashes, path)), signer: undefined };
  const signer = channelSigner(await openPrivateKey(bytes, path, passwordOf));
  return { key: signer.key, signer };
}

export async function readKeys(paths: readonly string[] | undefined): Promise<ChannelKey[]> {
  const keys: ChannelKey[] = [];
  for (const path of paths ?? []) keys.push(await readKey(path));
  return keys;
}

export const signersOf = (keys: readonly ChannelKey[]): ChannelSigner[] =>
  keys.flatMap(({ signer }) => (signer === undefined ? [] : [signer]));

/** Throws PolicyError `no-private-key` where one of the files holds a public key. */
export async function readSigners(paths: readonly string[] | undefined): Promise<ChannelSigner[]> {
  const signers: ChannelSigner[] = [];
  for (const path of paths ?? []) {
    const { signer } = await readKey(path);
    if (signer === undefined)
      throw new PolicyError("no-private-key", `${path}: is a public key, it cannot sign`, { path });
    signers.push(signer);
  }
  return signers;
}
