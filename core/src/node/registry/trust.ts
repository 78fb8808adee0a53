/**
 * Certificates: the system's authorities, and for single registries those of `certs.d` (containers-certs.d(5)): `*.crt`
 * are authorities, `*.cert` with `*.key` show who we are.
 */
import { X509Certificate } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import tls, { type ConnectionOptions, type SecureContext } from "node:tls";
import { oneLine } from "../../bytes/index.ts";
import { FormatError, SourceError } from "../../errors/index.ts";
import { DOCKER_HUB, DOCKER_HUB_API } from "../../ops/registry/index.ts";
import { readFailure } from "../errors.ts";

/** The first that has a folder for the registry counts. */
function folders(environment: NodeJS.ProcessEnv): string[] {
  const config = environment["XDG_CONFIG_HOME"] || join(environment["HOME"] || homedir(), ".config");
  return [join(config, "containers/certs.d"), "/etc/containers/certs.d", "/etc/docker/certs.d"];
}

/** Files of one folder. */
const MAX_FILES = 100;

/** Reads what there is for each host when it is first spoken to. */
export function createTrust(environment: NodeJS.ProcessEnv): (host: string) => Promise<ConnectionOptions> {
  const known = new Map<string, Promise<ConnectionOptions>>();
  let authorities: string[] | undefined;
  let common: SecureContext | undefined;
  async function load(host: string): Promise<ConnectionOptions> {
    authorities ??= systemAuthorities(environment);
    const { ca, cert, key } = await readFolders(host, environment);
    if (ca.length === 0 && cert === undefined) {
      common ??= tls.createSecureContext({ ca: authorities }); // 20 ms (measured): once, not for each host
      return { secureContext: common };
    }
    try {
      const own = cert === undefined || key === undefined ? {} : { cert, key };
      return { secureContext: tls.createSecureContext({ ca: [...authorities, ...ca], ...own }) };
    } catch (cause) {
      const reason = oneLine((cause as Error).message);
      throw new FormatError("bad-certificate", `certs.d of ${host}: not a certificate or key: ${reason}`, { cause });
    }
  }
  return (host) => {
    const there = known.get(host) ?? load(host);
    known.set(host, there);
    return there;
  };
}

/** Where OpenSSL looks unless SSL_CERT_DIR and SSL_CERT_FILE say otherwise. */
const AUTHORITIES_FOLDER = "/etc/ssl/certs";
const AUTHORITIES_FILE = "/etc/ssl/cert.pem";

/** Those that the system trusts, as other programs do; Node's own list where the system has none. */
function systemAuthorities(environment: NodeJS.ProcessEnv): string[] {
  const system = readSystem(environment);
  return [...(system.length > 0 ? system : tls.getCACertificates("bundled")), ...tls.getCACertificates("extra")];
}

/** Where there is no folder, as in an image without ca-certificates, Node would say so on the terminal, whatever comes of it. */
function readSystem(environment: NodeJS.ProcessEnv): string[] {
  if (existsSync(environment["SSL_CERT_DIR"] || AUTHORITIES_FOLDER)) return tls.getCACertificates("system");
  try {
    const text = readFileSync(environment["SSL_CERT_FILE"] || AUTHORITIES_FILE, "latin1");
    return (text.match(CERTIFICATES) ?? []).filter(isCertificate);
  } catch {
    return []; // not there, or not for us
  }
}

const CERTIFICATES = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

function isCertificate(text: string): boolean {
  try {
    new X509Certificate(text);
    return true;
  } catch {
    return false; // one that is broken is passed over, as OpenSSL does
  }
}

interface HostCertificates {
  readonly ca: readonly Buffer[];
  readonly cert?: Buffer | undefined;
  readonly key?: Buffer | undefined;
}

async function readFolders(host: string, environment: NodeJS.ProcessEnv): Promise<HostCertificates> {
  // Docker's registry is known by another name than that of its API.
  const hosts = host === DOCKER_HUB_API ? [DOCKER_HUB, host] : [host];
  for (const path of folders(environment).flatMap((folder) => hosts.map((name) => join(folder, name)))) {
    const names = await readdir(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ENOTDIR") return undefined;
      throw readFailure(path, error);
    });
    if (names === undefined) continue;
    if (names.length > MAX_FILES)
      throw new SourceError("too-large", `${path}: has more than ${MAX_FILES} files`, { path });
    const read = (name: string): Promise<Buffer> =>
      readFile(join(path, name)).catch((error: unknown) => {
        throw readFailure(join(path, name), error);
      });
    const client = names.filter((name) => name.endsWith(".cert")).sort()[0];
    const keyName = client?.replace(/\.cert$/, ".key");
    if (keyName !== undefined && !names.includes(keyName))
      throw new SourceError("not-found", `${join(path, keyName)}: the key of ${client} is missing`, { path });
    return {
      ca: await Promise.all(names.filter((name) => name.endsWith(".crt")).map(read)),
      ...(client === undefined || keyName === undefined ? {} : { cert: await read(client), key: await read(keyName) }),
    };
  }
  return { ca: [] };
}
