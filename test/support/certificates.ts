// A certificate authority for servers on the loopback interface, made anew for each test by OpenSSL.
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Certificates {
  /** Paths of PEM files. */
  readonly authority: string;
  readonly certificate: string;
  readonly key: string;
}

/** Writes into `folder` an authority and a certificate of it for localhost and 127.0.0.1. */
export function makeCertificates(folder: string): Certificates {
  mkdirSync(folder, { recursive: true });
  const at = (name: string): string => join(folder, name);
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl("req", "-x509", ...curve, "-days", "2", "-subj", "/CN=ashlar test authority", ...AUTHORITY, "-keyout", at("ca.key"), "-out", at("ca.crt")); // biome-ignore format: one command
  openssl("req", ...curve, "-subj", "/CN=localhost", "-keyout", at("server.key"), "-out", at("server.csr"));
  writeFileSync(at("extensions"), "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n");
  openssl("x509", "-req", "-in", at("server.csr"), "-CA", at("ca.crt"), "-CAkey", at("ca.key"), "-CAcreateserial", "-days", "2", "-extfile", at("extensions"), "-out", at("server.crt")); // biome-ignore format: one command
  return { authority: at("ca.crt"), certificate: at("server.crt"), key: at("server.key") };
}

/** Writes into `folder` a key and a certificate that it signs itself. */
export function makeSigningKey(folder: string, name: string): { readonly certificate: string; readonly key: string } {
  mkdirSync(folder, { recursive: true });
  const paths = { certificate: join(folder, `${name}.crt`), key: join(folder, `${name}.key`) };
  const curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl("req", "-x509", ...curve, "-days", "2", "-subj", `/CN=${name}`, "-keyout", paths.key, "-out", paths.certificate); // biome-ignore format: one command
  return paths;
}

const AUTHORITY = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"];

function openssl(...args: string[]): void {
  const { status, stderr, error } = spawnSync("openssl", args, { encoding: "utf8" });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`openssl ${args.join(" ")}: ${stderr}`);
}
