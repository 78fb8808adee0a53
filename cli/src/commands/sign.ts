import { buildCommand } from "@stricli/core";
import { parseSeconds, parseText } from "../parse.ts";
import { jsonFlag, type OutputFlags, quietFlag, type RegistryFlags, registryFlags, text } from "./flags.ts";

export interface SignFlags extends OutputFlags, RegistryFlags {
  readonly key: string;
  readonly signer?: string | undefined;
  readonly signerTimeout?: number | undefined;
  readonly passwordFile?: string | undefined;
  readonly form: "both" | "classic" | "bundle";
  readonly identity?: string | undefined;
  readonly provenance: boolean;
  readonly builderId?: string | undefined;
  readonly quiet: boolean;
}

export const signCommand = buildCommand({
  loader: async () => (await import("../run/sign.ts")).runSign,
  parameters: {
    flags: {
      key: {
        kind: "parsed",
        parse: parseText,
        brief: "Private key (PEM: PKCS#8 or cosign's); with --signer the public key",
        placeholder: "FILE",
      },
      signer: text("Command that signs: digest on its standard input, signature on its output", "CMD"),
      signerTimeout: {
        kind: "parsed",
        parse: parseSeconds,
        brief: "How long the command may take (default: 120)",
        placeholder: "SECONDS",
        optional: true,
      },
      passwordFile: text("File whose first line is the password of the key", "FILE"),
      form: {
        kind: "enum",
        values: ["both", "classic", "bundle"],
        brief: "classic: simple signing, for podman, skopeo and older cosign; bundle: for cosign 3",
        default: "both",
      },
      identity: text("Name to sign under, HOST/NAME (default: the repository)", "NAME"),
      provenance: { kind: "boolean", brief: "Attach signed provenance of the release too", default: false },
      builderId: text("URI that names in the provenance who built", "URI"),
      ...registryFlags,
      json: jsonFlag,
      quiet: quietFlag,
    },
    positional: {
      kind: "tuple",
      parameters: [{ brief: "Release or image in a repository", parse: String, placeholder: "REF" }],
    },
  },
  docs: {
    brief: "Sign a release or image in a repository, as cosign verifies it",
    fullDescription: [
      "Signs the digest of the manifest or index that REF means, and stores the signature beside it. Signing again",
      "what the same key has signed changes nothing. No transparency log takes part.",
      "The password comes from --password-file, else from ASHLAR_PASSWORD or COSIGN_PASSWORD, else it is asked for.",
      "",
      "  ashlar sign registry.example/os:42 --key release.key",
      "  ashlar sign registry.example/os:42 --key release.key --provenance --builder-id https://ci.example/os",
      "  ashlar sign registry.example/os:42 --key hsm.pub --signer 'pkcs11-tool --sign -m ECDSA -f openssl -i /dev/stdin'",
    ].join("\n"),
  },
});
