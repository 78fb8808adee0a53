/** Key files of channels: public ones, and private ones that sign; public ones sign too where a command does it for them. */
import { PolicyError } from "@ashlar/core/errors";
import { nodeHashes, openFile } from "@ashlar/core/node";
import { commandSigner, nodeVerifier, openPrivateKey } from "@ashlar/core/node/trust";
import { type ChannelSigner, channelSigner, type TufKey, tufKeyOf } from "@ashlar/core/ops/channel";
import { MAX_KEY_SIZE, parsePem, parsePublicKey } from "@ashlar/core/ops/trust";
import { readAll } from "@ashlar/core/source";
import type { KeyFlags } from "../../commands/channel-flags.ts";
import { passwordSource } from "../password.ts";
import type { Session } from "../session.ts";

export interface ChannelKey {
  readonly key: TufKey;
  /** Where the key can sign. */
  readonly signer: ChannelSigner | undefined;
}

export interface KeyReader {
  /** Errors: those of key files, and UnsupportedError `key-scheme`. */
  read(path: string): Promise<ChannelKey>;
  readAll(paths: readonly string[] | undefined): Promise<ChannelKey[]>;
  /** Of `--key`. Throws PolicyError `no-private-key` for a public key without --signer. */
  signers(): Promise<ChannelSigner[]>;
}

export function keyReader(flags: KeyFlags, { signal }: Pick<Session, "signal">): KeyReader {
  const askPassword = passwordSource(flags.passwordFile, signal);
  async function read(path: string, command?: string): Promise<ChannelKey> {
    await using file = await openFile(path);
    const bytes = await readAll(file, MAX_KEY_SIZE, path);
    if (parsePem(bytes, path).label === "PUBLIC KEY") {
      const publicKey = parsePublicKey(bytes, nodeHashes, path);
      const signer =
        command === undefined
          ? undefined
          : channelSigner(commandSigner({ command, publicKey, verifier: nodeVerifier, timeout: timeoutOf(flags) }));
      return { key: tufKeyOf(publicKey), signer };
    }
    const signer = channelSigner(await openPrivateKey(bytes, path, askPassword));
    return { key: signer.key, signer };
  }
  return {
    read,
    async readAll(paths) {
      const keys: ChannelKey[] = [];
      for (const path of paths ?? []) keys.push(await read(path)); // one after the other: each may ask for a password
      return keys;
    },
    async signers() {
      const signers: ChannelSigner[] = [];
      for (const path of flags.key ?? []) {
        const { signer } = await read(path, flags.signer);
        if (signer === undefined)
          throw new PolicyError("no-private-key", `${path}: is a public key, it cannot sign`, { path });
        signers.push(signer);
      }
      return signers;
    },
  };
}

const timeoutOf = ({ signerTimeout }: KeyFlags): number | undefined =>
  signerTimeout === undefined ? undefined : signerTimeout * 1000;

export const signersOf = (keys: readonly ChannelKey[]): ChannelSigner[] =>
  keys.flatMap(({ signer }) => (signer === undefined ? [] : [signer]));
