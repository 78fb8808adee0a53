/**
 * The files of a policy that say which path gets which label. Spec: selabel_file(5), selinux_config(5); libselinux 3.11,
 * label_file.c and label_support.c.
 */
import { type ByteString, byteString, showBytes } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import type { NodeType } from "../../tree/index.ts";
import { MAX_PATTERN } from "./regex.ts";

/** A line of file_contexts. */
export interface ContextSpec {
  readonly pattern: ByteString;
  /** The character of selabel_file(5); undefined for all types. */
  readonly type: string | undefined;
  /** Undefined for `<<none>>`: what matches gets no label. */
  readonly context: ByteString | undefined;
}

/** Paths at or below `from` are looked up as if they were at `to`. */
export interface Substitution {
  readonly from: ByteString;
  readonly to: ByteString;
}

/** Bytes of one file; Fedora's file_contexts has 0.5 MB. */
export const MAX_CONTEXTS_SIZE = 16 * 1024 * 1024;
/** Lines that count. Fedora has 6500. */
const MAX_SPECS = 100_000;
/** Bytes of a line of substitutions that libselinux reads. */
const MAX_FIELD = 4096;

/** Behind the dash of a type field, by type. */
export const TYPE_CHARACTERS: Readonly<Record<NodeType, string>> = {
  file: "-",
  directory: "d",
  character: "c",
  block: "b",
  symlink: "l",
  socket: "s",
  fifo: "p",
};

const TYPES: ReadonlySet<string> = /* @__PURE__ */ new Set(Object.values(TYPE_CHARACTERS));

/** Fields of the lines that hold any, with their numbers. */
function* fieldsOf(bytes: Uint8Array): Generator<readonly [number: number, fields: ByteString[]]> {
  let number = 0;
  let count = 0;
  for (const line of byteString(bytes).split("\n")) {
    number++;
    const fields = line.split(/[ \t\v\f\r]+/).filter((field) => field !== "") as ByteString[];
    if (fields.length === 0 || fields[0]!.startsWith("#")) continue;
    if (++count > MAX_SPECS) throw new FormatError("selinux-contexts", `more than ${MAX_SPECS} lines of file contexts`);
    yield [number, fields];
  }
}

/** Throws FormatError `selinux-contexts` with file and line. */
export function parseFileContexts(bytes: Uint8Array, file: string): ContextSpec[] {
  const specs: ContextSpec[] = [];
  for (const [line, fields] of fieldsOf(bytes)) {
    const bad = (what: string) => new FormatError("selinux-contexts", `${file}: line ${line} ${what}`, { path: file });
    const [pattern, second, third] = fields;
    if (pattern === undefined || second === undefined || fields.length > 3) throw bad(`has ${fields.length} fields`);
    if (pattern.length > MAX_PATTERN) throw bad(`has a pattern of ${pattern.length} bytes`);
    const type = third === undefined ? undefined : second.slice(1);
    if (type !== undefined && (!second.startsWith("-") || !TYPES.has(type)))
      throw bad(`has the file type ${showBytes(second.slice(0, 40) as ByteString)}`);
    const context = third ?? second;
    specs.push({ pattern, type, context: context === "<<none>>" ? undefined : context });
  }
  return specs;
}

/** Lines without a second field are ignored, as libselinux does. In the order of the file. */
export function parseSubstitutions(bytes: Uint8Array): Substitution[] {
  const found: Substitution[] = [];
  for (const [, [from, to]] of fieldsOf(bytes))
    if (from !== undefined && to !== undefined && from.length < MAX_FIELD && to.length < MAX_FIELD)
      found.push({ from, to });
  return found;
}

/** SELINUXTYPE of /etc/selinux/config: the folder of the policy. Undefined where it is not set. */
export function policyName(config: Uint8Array): string | undefined {
  for (const line of byteString(config).split("\n")) {
    const equal = line.indexOf("=");
    if (equal < 0 || line.slice(0, equal).trim().toUpperCase() !== "SELINUXTYPE") continue;
    const name = line.slice(equal + 1).trim();
    if (!/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$/.test(name))
      throw new FormatError(
        "selinux-config",
        `SELINUXTYPE in /etc/selinux/config is ${JSON.stringify(name.slice(0, 80))}`,
      );
    return name;
  }
  return undefined;
}
