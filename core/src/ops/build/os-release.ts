/** os-release(5): the `KEY=value` file with shell quoting that names a system. Bytes we do not change stay as they are. */
import { type ByteString, byteString, bytesOf, decodeUtf8 } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";

/** An os-release larger than this is refused; real ones have a few hundred bytes. */
export const MAX_OS_RELEASE = 64 * 1024;

const ASSIGNMENT = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/;

/** Removes one level of shell quoting, as systemd's env-file parser does for values on one line. */
function unquote(value: string): string {
  const quoted = /^(["'])(.*)\1$/.exec(value.trim());
  if (quoted === null) return value.trim();
  return quoted[1] === "'" ? quoted[2]! : quoted[2]!.replace(/\\(["$`\\])/g, "$1"); // group 2 always takes part
}

/** The assignments of the file; the last one of a key counts. Lines that are none are ignored, as systemd does. */
export function parseOsRelease(bytes: Uint8Array): ReadonlyMap<string, string> {
  if (bytes.length > MAX_OS_RELEASE)
    throw new FormatError("too-large", `os-release has ${bytes.length} bytes, more than ${MAX_OS_RELEASE}`);
  const values = new Map<string, string>();
  for (const line of decodeUtf8(bytes).split("\n")) {
    const match = ASSIGNMENT.exec(line);
    if (match !== null) values.set(match[1]!, unquote(match[2]!)); // both groups always take part
  }
  return values;
}

/** Sets keys: their old lines go, the new ones come at the end in the given order. Values must need no quoting. */
export function setOsRelease(bytes: Uint8Array, values: Readonly<Record<string, string>>): Uint8Array {
  const kept = byteString(bytes)
    .split("\n")
    .filter((line) => !Object.hasOwn(values, ASSIGNMENT.exec(line)?.[1] ?? ""));
  while (kept.at(-1) === "") kept.pop();
  for (const [key, value] of Object.entries(values)) {
    if (!/^[A-Za-z0-9._~^+-]*$/.test(value)) throw new RangeError(`${key}=${value} would need quoting`);
    kept.push(`${key}=${value}`);
  }
  return bytesOf(`${kept.join("\n")}\n` as ByteString);
}
