import { buildCommand } from "@stricli/core";
import { jsonFlag, type OutputFlags, type RegistryFlags, registryFlags, text } from "./flags.ts";

export interface LoginFlags extends OutputFlags, RegistryFlags {
  readonly username?: string | undefined;
  readonly passwordStdin: boolean;
}

export type LogoutFlags = OutputFlags & Pick<RegistryFlags, "authfile">;

const registry = { brief: "HOST[:PORT], or a part of it: HOST/NAME", parse: String, placeholder: "REGISTRY" } as const;

export const loginCommand = buildCommand({
  loader: async () => (await import("../run/login.ts")).runLogin,
  parameters: {
    flags: {
      username: text("Who (default: asked for)", "NAME"),
      passwordStdin: {
        kind: "boolean",
        brief: "Read the password from standard input (default: asked for)",
        default: false,
      },
      ...registryFlags,
      json: jsonFlag,
    },
    aliases: { u: "username" },
    positional: { kind: "tuple", parameters: [registry] },
  },
  docs: {
    brief: "Store credentials for a registry, where podman and skopeo find them too",
    fullDescription: [
      "Asks the registry first; credentials that it refuses are not stored. They go to --authfile, to",
      "REGISTRY_AUTH_FILE, to XDG_RUNTIME_DIR/containers/auth.json or to ~/.config/containers/auth.json; or to the",
      "credential helper that the file names.",
      "",
      "  ashlar login registry.example",
      "  pass show registry | ashlar login registry.example -u ci --password-stdin",
    ].join("\n"),
  },
});

export const logoutCommand = buildCommand({
  loader: async () => (await import("../run/login.ts")).runLogout,
  parameters: {
    flags: { authfile: registryFlags.authfile, json: jsonFlag },
    positional: { kind: "tuple", parameters: [registry] },
  },
  docs: {
    brief: "Remove stored credentials of a registry",
    fullDescription: "Removes what ashlar login has stored.\n\n  ashlar logout registry.example",
  },
});
