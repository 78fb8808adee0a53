/** Kernel command line: bootc's `/usr/lib/bootc/kargs.d/*.toml`, the user's own arguments, and the root hash. */
import { parse } from "smol-toml";
import * as v from "valibot";
import { decodeUtf8Strict, oneLine, showBytes } from "../../bytes/index.ts";
import { FormatError, PolicyError } from "../../errors/index.ts";
import { readAll } from "../../source/index.ts";
import { type Directory, resolvePath, sortedEntries } from "../../tree/index.ts";
import type { Architecture } from "./architecture.ts";

const KARGS_DIRECTORY = "usr/lib/bootc/kargs.d";
const MAX_KARGS_FILE = 64 * 1024; // bytes
/** x86 kernels take 2048 bytes (COMMAND_LINE_SIZE), arm64 2048 too; one byte is the terminator. */
export const MAX_COMMAND_LINE = 2047;

/** bootc refuses unknown keys too (its lint `bootc-kargs`). */
const KargsFile = v.strictObject({
  kargs: v.array(v.string()),
  "match-architectures": v.optional(v.array(v.string())),
});

/** Arguments that would turn off or redirect what the root hash protects. */
const RESERVED = ["root", "roothash", "usrhash", "rootfstype", "systemd.verity", "rd.systemd.verity"];
const RESERVED_PREFIX = /^(rd\.)?systemd\.verity_/;

function checkArgument(argument: string, where: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (argument === "" || /[\x00-\x1f\x7f]/.test(argument))
    throw new FormatError(
      "bad-karg",
      `${where}: kernel argument ${JSON.stringify(argument)} is empty or has control characters`,
    );
  // The kernel strips quotes and takes - for _; an entry may hold several words.
  for (const word of argument.replaceAll('"', "").split(" ")) {
    const name = word.split("=", 1)[0]!.replaceAll("-", "_"); // split always gives one piece
    if (RESERVED.includes(name) || RESERVED_PREFIX.test(name))
      throw new PolicyError("reserved-karg", `${where}: kernel argument ${name}= is Ashlar's to set`);
  }
  return argument;
}

/** The arguments of kargs.d in the order of file names, those for `architecture` alone. */
export async function readKargs(tree: Directory, architecture: Architecture): Promise<string[]> {
  const found = resolvePath(tree, KARGS_DIRECTORY);
  if (found?.node.type !== "directory") return [];
  const kargs: string[] = [];
  for (const [name, entry] of sortedEntries(found.node)) {
    if (!name.endsWith(".toml")) continue;
    const path = `/${KARGS_DIRECTORY}/${showBytes(name)}`;
    const node = entry.type === "symlink" ? resolvePath(tree, `${KARGS_DIRECTORY}/${name}`)?.node : entry;
    if (node?.type !== "file") throw new FormatError("bad-kargs-file", `${path}: is not a regular file`, { path });
    const text = decodeUtf8Strict(await readAll(node.content, MAX_KARGS_FILE, path));
    if (text === undefined) throw new FormatError("bad-kargs-file", `${path}: is not UTF-8`, { path });
    const file = parseKargsFile(text, path);
    const architectures = file["match-architectures"];
    if (architectures === undefined || architectures.includes(architecture.rustName))
      kargs.push(...file.kargs.map((argument) => checkArgument(argument, path)));
  }
  return kargs;
}

function parseKargsFile(text: string, path: string): v.InferOutput<typeof KargsFile> {
  let value: unknown;
  try {
    value = parse(text);
  } catch (cause) {
    const reason = (cause as Error).message.split("\n", 1)[0];
    throw new FormatError("bad-kargs-file", `${path}: ${oneLine(reason ?? "")}`, { path, cause });
  }
  const result = v.safeParse(KargsFile, value);
  if (!result.success)
    throw new FormatError(
      "bad-kargs-file",
      `${path}: ${oneLine(v.getDotPath(result.issues[0]) ?? "file")}: ${oneLine(result.issues[0].message)}`,
      {
        path,
      },
    );
  return result.output;
}

/**
 * What every Ashlar machine starts with: the verity root; a reboot instead of a dead screen, so that tries count down;
 * and a repair of /var without questions, since nobody is there to answer and a refusal would reboot for ever.
 */
function ownArguments(rootHash: string): string[] {
  return [`roothash=${rootHash}`, "rootfstype=erofs", "panic=30", "fsck.repair=yes"];
}

/** The whole command line. `kargs` come from the image, `extra` from the user; later ones win where the kernel says so. */
export function composeCommandLine(rootHash: string, kargs: readonly string[], extra: readonly string[]): string {
  const line = [
    ...ownArguments(rootHash),
    ...kargs,
    ...extra.map((argument) => checkArgument(argument, "--karg")),
  ].join(" ");
  if (line.length > MAX_COMMAND_LINE)
    throw new PolicyError(
      "long-command-line",
      `the kernel command line has ${line.length} characters, the kernel takes ${MAX_COMMAND_LINE}`,
    );
  return line;
}
