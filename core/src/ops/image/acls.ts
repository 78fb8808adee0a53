/** ACLs that an archive holds as text become xattrs, as a file system would have kept them. */
import { type ByteString, byteString, showBytes } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import {
  type AclEntry,
  encodeAcl,
  isPlainMode,
  modeOfAcl,
  type NumberedAclEntry,
  parseAcl,
  type TarEntry,
} from "../../formats/tar/index.ts";
import { readAll } from "../../source/index.ts";
import { attributes, type Directory, directory, resolvePath } from "../../tree/index.ts";
import { applyLayer } from "./apply.ts";
import { entryError, type LayerEntry } from "./entries.ts";
import type { LayerDiff } from "./layer.ts";

const ACCESS = "system.posix_acl_access" as ByteString;
const DEFAULT = "system.posix_acl_default" as ByteString;
/** Bytes of /etc/passwd or /etc/group. */
const MAX_ACCOUNTS = 16 * 1024 * 1024;
const MODE_OF_ACL = 0o777;

type Numbers = ReadonlyMap<string, number>;
interface Accounts {
  readonly user: Numbers;
  readonly group: Numbers;
}

/**
 * The entries of an archive with their ACLs among the xattrs, and the modes that go with them. GNU tar writes names for
 * users and groups: they are looked up in the archive's own `etc/passwd` and `etc/group`. Errors: FormatError
 * `bad-acl`; UnsupportedError `acl-name` for a name that is not there.
 */
export async function withAcls(diff: LayerDiff): Promise<readonly LayerEntry[]> {
  if (!diff.entries.some(({ kind, entry }) => kind === "node" && hasAcl(entry))) return diff.entries;
  let accounts: Promise<Accounts> | undefined; // read where a name needs them
  const result: LayerEntry[] = [];
  for (const found of diff.entries) {
    const { entry } = found;
    if (found.kind !== "node" || !hasAcl(entry)) {
      result.push(found);
      continue;
    }
    const fail = (problem: string): never => {
      throw entryError("bad-acl", entry, diff.what, problem);
    };
    const number = async ({ tag, who, permissions }: AclEntry): Promise<NumberedAclEntry> => {
      if (typeof who !== "string") return { tag, who, permissions };
      accounts ??= readAccounts(diff);
      const kind = tag === "user" ? "user" : "group";
      const id = (await accounts)[kind].get(who);
      if (id !== undefined) return { tag, who: id, permissions };
      throw unknownName(kind, who, entry, diff.what);
    };
    const xattrs = new Map(entry.xattrs);
    let { mode } = entry;
    for (const [name, text] of [
      [ACCESS, entry.accessAcl],
      [DEFAULT, entry.defaultAcl],
    ] as const) {
      if (text === undefined || xattrs.has(name)) continue; // bytes say more than text
      const parsed = parseAcl(text);
      if (typeof parsed === "string") return fail(parsed);
      if (parsed.length === 0) continue;
      if (name === DEFAULT && entry.type !== "directory") return fail("only a directory can have a default ACL");
      const value = encodeAcl(await Promise.all(parsed.map(number)));
      if (typeof value === "string") return fail(value);
      if (name === ACCESS) mode = (mode & ~MODE_OF_ACL) | modeOfAcl(parsed);
      if (name === DEFAULT || !isPlainMode(parsed)) xattrs.set(name, value);
    }
    result.push({ ...found, entry: { ...entry, mode, xattrs } });
  }
  return result;
}

function hasAcl({ type, accessAcl, defaultAcl }: TarEntry): boolean {
  return type !== "symlink" && (accessAcl !== undefined || defaultAcl !== undefined);
}

function unknownName(kind: "user" | "group", who: ByteString, entry: TarEntry, what: string): UnsupportedError {
  const [path, name] = [showBytes(entry.path).slice(0, 300), JSON.stringify(showBytes(who).slice(0, 80))];
  const file = kind === "user" ? "etc/passwd" : "etc/group";
  return new UnsupportedError(
    "acl-name",
    `${what}: entry ${JSON.stringify(path)} at ${entry.headerOffset}: its ACL names the ${kind} ${name} without a number, which ${file} does not have`,
    { offset: entry.headerOffset, path },
  );
}

/** By the archive's own files, since the names are those of the system that is in it. */
async function readAccounts(diff: LayerDiff): Promise<Accounts> {
  const tree = directory(attributes(0o755));
  applyLayer(tree, diff);
  return { user: await readNumbers(tree, "etc/passwd"), group: await readNumbers(tree, "etc/group") };
}

/** Third field of the lines, by the first: passwd(5), group(5). The first line of a name counts. */
async function readNumbers(tree: Directory, path: string): Promise<Numbers> {
  const node = resolvePath(tree, path)?.node;
  const numbers = new Map<string, number>();
  if (node?.type !== "file") return numbers;
  for (const line of byteString(await readAll(node.content, MAX_ACCOUNTS, path)).split("\n")) {
    const [name = "", , id = ""] = line.split(":");
    if (/^[0-9]{1,10}$/.test(id) && !numbers.has(name)) numbers.set(name, Number(id));
  }
  return numbers;
}
