// How other people's clients are told of a registry's address, certificate, name and password.
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { PASSWORD, type Registry, USER } from "./registry.ts";

export interface ClientSettings {
  /** A home with `certs.d` and `auth.json` where containers' tools look for them, and Docker's `config.json`. */
  readonly home: string;
  /** In place of the environment of whoever runs the tests, whose own settings and proxies count for nothing here. */
  readonly env: Readonly<Record<string, string>>;
  /** Of `skopeo inspect` and such; with `src-` or `dest-` before the name for `skopeo copy`. */
  skopeo(side?: "src-" | "dest-" | ""): string[];
  readonly buildah: readonly string[];
  readonly crane: readonly string[];
  readonly oras: readonly string[];
  readonly ashlar: readonly string[];
}

export interface SettingsOptions {
  /** Where clients are to connect: the registry itself when absent, else a proxy in front of it. */
  readonly host?: string;
  /** False: nobody has logged in. */
  readonly login?: boolean;
}

/** Writes the files that clients want into a new folder below `folder`. */
export function clientSettings(folder: string, registry: Registry, options: SettingsOptions = {}): ClientSettings {
  const { host = registry.host, login = true } = options;
  const home = join(folder, `home-${host.replace(":", "-")}${login ? "" : "-nobody"}`);
  const containers = join(home, ".config/containers");
  const certificates = join(containers, "certs.d", host);
  mkdirSync(certificates, { recursive: true });
  mkdirSync(join(home, ".docker"), { recursive: true });
  const isTls = registry.certificates !== undefined && host === registry.host;
  if (isTls) copyFileSync(registry.certificates.authority, join(certificates, "ca.crt"));
  else writeFileSync(join(containers, "registries.conf"), `[[registry]]\nlocation = "${host}"\ninsecure = true\n`);
  const hasAuth = registry.auth !== undefined && login;
  const auth = Buffer.from(`${USER}:${PASSWORD}`).toString("base64");
  const auths = JSON.stringify({ auths: hasAuth ? { [host]: { auth } } : {} });
  for (const file of [".config/containers/auth.json", ".docker/config.json"]) writeFileSync(join(home, file), auths);
  return {
    home,
    env: {
      HOME: home,
      REGISTRY_AUTH_FILE: join(containers, "auth.json"),
      DOCKER_CONFIG: join(home, ".docker"),
      ...(isTls ? { SSL_CERT_FILE: registry.certificates.authority } : {}),
    },
    skopeo: (side: "src-" | "dest-" | "" = "") => [`--${side}cert-dir=${certificates}`, `--${side}tls-verify=${isTls}`],
    buildah: [`--cert-dir=${certificates}`, `--tls-verify=${isTls}`],
    crane: isTls ? [] : ["--insecure"],
    ashlar: isTls ? [] : ["--no-tls-verify"],
    oras: isTls ? ["--ca-file", registry.certificates.authority] : ["--plain-http"],
  };
}
