import { generateKey, writeKeyPair } from "@ashlar/core/node/trust";
import { describeKey } from "@ashlar/core/ops/trust";
import type { KeygenFlags } from "../commands/keygen.ts";
import { newPassword } from "./password.ts";
import { inSession } from "./session.ts";

export function runKeygen(flags: KeygenFlags): Promise<void> {
  return inSession(flags, async (session) => {
    const { output, type, passwordFile } = flags;
    const password = flags.password ? await newPassword(passwordFile, session.signal) : undefined;
    const made = await generateKey(type, password, `${output}.pub`);
    const { privateKey, publicKey } = await writeKeyPair(output, made);
    const encrypted = password !== undefined;
    if (flags.json)
      session.printJson({ schema: "ashlar.keygen/v1", privateKey, publicKey, type, encrypted, id: made.publicKey.id });
    else {
      session.print(`${privateKey}: the private key, ${encrypted ? "encrypted" : "not encrypted"}`);
      session.print(`${publicKey}: ${describeKey(made.publicKey)}`);
    }
  });
}
