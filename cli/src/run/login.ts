import process from "node:process";
import { createInterface } from "node:readline/promises";
import { decodeUtf8 } from "@ashlar/core/bytes";
import { PolicyError, SourceError } from "@ashlar/core/errors";
import { openRegistries } from "@ashlar/core/node/registry";
import { formatName, parseRegistryName } from "@ashlar/core/ops/registry";
import type { LoginFlags, LogoutFlags } from "../commands/login.ts";
import { promptFor } from "./password.ts";
import { registryOptions } from "./registries.ts";
import { inSession } from "./session.ts";

/** Bytes of a password. Tokens may have some thousand. */
const MAX_PASSWORD = 64 * 1024;

async function readPassword(): Promise<string> {
  let text = "";
  for await (const chunk of process.stdin.setEncoding("utf8")) {
    text += chunk;
    if (text.length > MAX_PASSWORD)
      throw new SourceError("too-large", `standard input: a password has at most ${MAX_PASSWORD} bytes`);
  }
  return text.replace(/\r?\n$/, "");
}

async function askName(signal: AbortSignal): Promise<string | undefined> {
  if (process.stdin.isTTY !== true) return undefined;
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await lines.question("Username: ", { signal })).trim() || undefined;
  } finally {
    lines.close();
  }
}

function missing(what: string): PolicyError {
  return new PolicyError("no-credentials", `no ${what} was given`);
}

const shown = (registry: string): string => {
  const name = parseRegistryName(registry);
  return name.repository === "" ? name.host : formatName(name);
};

export function runLogin(flags: LoginFlags, registry: string): Promise<void> {
  return inSession(flags, async (session) => {
    const name = parseRegistryName(registry);
    const username = flags.username ?? (flags.passwordStdin ? undefined : await askName(session.signal));
    if (username === undefined || username.includes(":")) throw missing("username (--username)");
    const asked = flags.passwordStdin ? undefined : await promptFor("Password: ", session.signal);
    const password = flags.passwordStdin ? await readPassword() : asked && decodeUtf8(asked);
    if (password === undefined || password === "") throw missing("password (--password-stdin)");
    const registries = openRegistries(registryOptions(flags));
    try {
      const place = await registries.login(name, { username, password });
      if (flags.json) session.printJson({ schema: "ashlar.login/v1", registry: shown(registry), username, place });
      else session.print(`logged in to ${shown(registry)} as ${username} (${place})`);
    } finally {
      registries.close();
    }
  });
}

export function runLogout(flags: LogoutFlags, registry: string): Promise<void> {
  return inSession(flags, async (session) => {
    const registries = openRegistries({ authFile: flags.authfile });
    const place = await registries.logout(parseRegistryName(registry));
    if (place === undefined)
      throw new SourceError("not-logged-in", `${shown(registry)}: no credentials of it are stored`);
    if (flags.json) session.printJson({ schema: "ashlar.logout/v1", registry: shown(registry), place });
    else session.print(`logged out of ${shown(registry)} (${place})`);
  });
}
