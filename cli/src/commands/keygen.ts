import { buildCommand } from "@stricli/core";
import { parsePath } from "../parse.ts";
import { jsonFlag, type OutputFlags, text } from "./flags.ts";

export interface KeygenFlags extends OutputFlags {
  readonly output: string;
  readonly type: "ecdsa-p256" | "ed25519" | "rsa-3072";
  readonly password: boolean;
  readonly passwordFile?: string | undefined;
}

export const keygenCommand = buildCommand({
  loader: async () => (await import("../run/keygen.ts")).runKeygen,
  parameters: {
    flags: {
      output: {
        kind: "parsed",
        parse: parsePath,
        brief: "Where to put the pair: PREFIX.key and PREFIX.pub",
        placeholder: "PREFIX",
        default: "ashlar",
      },
      type: {
        kind: "enum",
        values: ["ecdsa-p256", "ed25519", "rsa-3072"],
        brief: "Kind of key; cosign makes and takes ecdsa-p256",
        default: "ecdsa-p256",
      },
      password: { kind: "boolean", brief: "Encrypt the private key, in cosign's form", default: true },
      passwordFile: text("File whose first line is the password", "FILE"),
      json: jsonFlag,
    },
    aliases: { o: "output" },
    positional: { kind: "tuple", parameters: [] },
  },
  docs: {
    brief: "Make a pair of keys to sign with",
    fullDescription: [
      "Writes PREFIX.key, readable by its owner alone, and PREFIX.pub. Nothing is overwritten. The private key is",
      "encrypted as cosign does it, so that cosign signs with it too; with --no-password it is plain PKCS#8.",
      "The password comes from --password-file, else from ASHLAR_PASSWORD or COSIGN_PASSWORD, else it is asked for.",
      "",
      "  ashlar keygen -o release",
      "  ashlar keygen -o ci --no-password --type ed25519",
    ].join("\n"),
  },
});
