/** PEM, the textual form of keys (RFC 7468): labelled base64 between two lines. */
import { decodeUtf8Strict, fromBase64, oneLine, toBase64 } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { MAX_KEY_SIZE } from "./format.ts";

export interface PemBlock {
  /** What stands in the lines around it, such as `PUBLIC KEY`. */
  readonly label: string;
  readonly bytes: Uint8Array;
}

const BEGIN = /^-----BEGIN ([A-Z0-9 ]{1,64})-----$/;
const LINE_LENGTH = 64; // characters, as every writer has them

/**
 * The only block of `bytes`; text before and after it is ignored, as readers of PEM do. Headers (RFC 1421, as in the old
 * encrypted keys of OpenSSL) are not. Errors: FormatError `bad-pem`, `too-large`.
 * @param what names the file in errors
 */
export function parsePem(bytes: Uint8Array, what: string): PemBlock {
  if (bytes.length > MAX_KEY_SIZE)
    throw new FormatError("too-large", `${what} has ${bytes.length} bytes, more than ${MAX_KEY_SIZE}: not a key`);
  const lines = (decodeUtf8Strict(bytes) ?? "").split("\n").map((line) => line.trim());
  const start = lines.findIndex((line) => BEGIN.test(line));
  const label = BEGIN.exec(lines[start] ?? "")?.[1];
  if (label === undefined) throw new FormatError("bad-pem", `${what}: is not PEM: no line -----BEGIN …-----`);
  const end = lines.indexOf(`-----END ${label}-----`, start);
  if (end < 0) throw new FormatError("bad-pem", `${what}: has no line -----END ${oneLine(label)}-----`);
  if (lines.some((line, index) => index > end && BEGIN.test(line)))
    throw new FormatError("bad-pem", `${what}: holds more than one key or certificate`);
  return { label, bytes: fromBase64(lines.slice(start + 1, end).join(""), what) };
}

export function encodePem({ label, bytes }: PemBlock): string {
  const text = toBase64(bytes);
  const lines = [`-----BEGIN ${label}-----`];
  for (let at = 0; at < text.length; at += LINE_LENGTH) lines.push(text.slice(at, at + LINE_LENGTH));
  return [...lines, `-----END ${label}-----`, ""].join("\n");
}
