/** What goes wrong between us and a server, in the words of our classes. */
import { isAshlarError, SourceError } from "../../errors/index.ts";

const CONNECTION: Readonly<Record<string, string>> = {
  ECONNREFUSED: "the connection was refused",
  ECONNRESET: "the connection was reset",
  ECONNABORTED: "the connection was aborted",
  EPIPE: "the connection was closed",
  EHOSTUNREACH: "the host cannot be reached",
  ENETUNREACH: "the network cannot be reached",
  EADDRNOTAVAIL: "no address is available",
  EAI_AGAIN: "the name could not be looked up for the moment",
};

const CERTIFICATE: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is self-signed",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate comes from an authority that is not trusted",
  UNABLE_TO_GET_ISSUER_CERT: "its certificate comes from an authority that is not trusted",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate comes from an authority that is not trusted",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate comes from an authority that is not trusted",
  CERT_HAS_EXPIRED: "its certificate has expired",
  CERT_NOT_YET_VALID: "its certificate is not valid yet",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another name",
};

/** Our errors pass as they are. @param host as people write it */
export function connectionFailure(host: string, error: unknown): Error {
  if (isAshlarError(error)) return error;
  const { code = "", message = String(error) } = (error ?? {}) as NodeJS.ErrnoException;
  // Of a host with several addresses Node says what each of them said.
  const inner = (error as AggregateError | undefined)?.errors?.[0] as NodeJS.ErrnoException | undefined;
  const known = CONNECTION[code] ?? CONNECTION[inner?.code ?? ""];
  if (code === "ENOTFOUND") return new SourceError("host-not-found", `${host}: no such host`, { cause: error });
  if (code === "ETIMEDOUT" || inner?.code === "ETIMEDOUT")
    return new SourceError("timeout", `${host}: nothing came for too long`, { cause: error });
  const certificate = CERTIFICATE[code];
  if (certificate !== undefined) return new SourceError("tls", `${host}: ${certificate}`, { cause: error });
  if (code === "EPROTO" || code.startsWith("ERR_SSL") || code.startsWith("ERR_TLS"))
    return new SourceError("tls", `${host}: no encrypted connection: ${reasonOf(message)}`, { cause: error });
  if (/^(CERT|UNABLE|INVALID|CRL|HOSTNAME)_/.test(code))
    return new SourceError("tls", `${host}: its certificate is not accepted: ${code}`, { cause: error });
  if (code.startsWith("HPE_"))
    return new SourceError("bad-response", `${host}: the answer is no HTTP (${code})`, { cause: error });
  return new SourceError("connection", `${host}: ${known ?? reasonOf(message)}`, { cause: error });
}

/** OpenSSL says where in its sources; the reason stands before that. */
function reasonOf(message: string): string {
  const [, reason] = /:SSL routines:[^:]*:([^:]+):/.exec(message) ?? [];
  if (reason === "wrong version number" || reason === "packet length too long")
    return "it speaks no TLS, which has to be allowed: insecure in registries.conf, or --no-tls-verify";
  return (reason ?? message).split("\n")[0]!.slice(0, 200); // split gives one part at least
}

export function abortReason(signal: { readonly aborted: boolean; readonly reason: unknown } | undefined): unknown {
  return signal?.aborted ? signal.reason : undefined;
}
