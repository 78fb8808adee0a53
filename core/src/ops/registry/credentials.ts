/** Who we are to a registry. */
import { encodeUtf8 } from "../../bytes/index.ts";

/** What is known for a registry. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
  /** An OAuth2 refresh token that stands for both (`identitytoken`). */
  readonly identityToken?: string | undefined;
  /** A bearer token that the registry takes as it is (`registrytoken`). */
  readonly registryToken?: string | undefined;
}

/** Value of an Authorization header (RFC 7617). */
export function basicAuthorization({ username, password }: Credentials): string {
  return `Basic ${encodeBase64(encodeUtf8(`${username}:${password}`))}`;
}

export function encodeBase64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
