/** The text files that depmod leaves in /usr/lib/modules/KVER: one line an entry. Spec: modules.dep(5), modprobe.d(5). */
import { type ByteString, byteString, showBytes } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";

/** Modules of one kernel, at most; Debian's generic kernel has about 4000. */
export const MAX_MODULES = 65536;
/** Bytes of one line, at most. */
export const MAX_LINE = 65536;

/** A line of modules.dep. Paths are relative to the folder of the file. */
export interface Module {
  /** With `_` for `-`, without folder and endings: as the kernel calls it. */
  readonly name: ByteString;
  readonly path: ByteString;
  /** Paths of what must be loaded before it, indirect ones included. */
  readonly depends: readonly ByteString[];
  /** Its place in modules.dep; the smaller one wins where an alias fits several. */
  readonly priority: number;
}

export interface ModuleAlias {
  /** A shell pattern for what the kernel asks for: `pci:v00001AF4d00001001sv*`, `crypto-sha256`, `symbol:name`. */
  readonly pattern: ByteString;
  readonly module: ByteString;
}

/** `kernel/drivers/md/dm-verity.ko.xz` → `dm_verity`. */
export function moduleName(path: string): ByteString {
  const file = path.slice(path.lastIndexOf("/") + 1);
  return normaliseName(file.replace(/\.ko(?:\.[a-z0-9]+)?$/, ""));
}

/** The kernel takes `-` and `_` for the same. */
export function normaliseName(name: string): ByteString {
  return name.replaceAll("-", "_") as ByteString;
}

/** As {@link normaliseName}, but what stands in brackets is left as it is: there `-` is a range. */
export function normaliseAlias(pattern: ByteString): ByteString {
  return pattern.replace(/\[[^\]]*\]?|-/g, (part) => (part === "-" ? "_" : part)) as ByteString;
}

function* lines(bytes: Uint8Array, what: string): Generator<ByteString> {
  let number = 0;
  for (const line of byteString(bytes).split("\n") as ByteString[]) {
    number++;
    if (line.length > MAX_LINE)
      throw new FormatError("long-line", `${what}: line ${number} has ${line.length} bytes, more than ${MAX_LINE}`);
    if (line.trim() !== "" && !line.startsWith("#")) yield line;
  }
}

const words = (line: ByteString): ByteString[] => line.split(/[ \t]+/).filter((word) => word !== "") as ByteString[];

/** Module name → module. Throws FormatError `bad-line`, `bad-path`, `long-line` or `too-many-modules`. */
export function parseModulesDep(bytes: Uint8Array): Map<ByteString, Module> {
  const modules = new Map<ByteString, Module>();
  for (const line of lines(bytes, "modules.dep")) {
    const colon = line.indexOf(":");
    if (colon < 1) throw new FormatError("bad-line", `modules.dep: no colon in ${JSON.stringify(line.slice(0, 80))}`);
    const path = checkedPath(line.slice(0, colon) as ByteString);
    const depends = words(line.slice(colon + 1) as ByteString).map(checkedPath);
    const name = moduleName(path);
    if (!modules.has(name)) modules.set(name, { name, path, depends, priority: modules.size });
    if (modules.size > MAX_MODULES)
      throw new FormatError("too-many-modules", `modules.dep: more than ${MAX_MODULES} modules`);
  }
  return modules;
}

function checkedPath(path: ByteString): ByteString {
  if (path.startsWith("/") || path.split("/").includes(".."))
    throw new FormatError("bad-path", `modules.dep: ${showBytes(path)} is not inside the folder`);
  return path;
}

/** Names of what is built into the kernel. */
export function parseModulesBuiltin(bytes: Uint8Array): Set<ByteString> {
  return new Set([...lines(bytes, "modules.builtin")].map((line) => moduleName(line.trim())));
}

/** Lines `alias PATTERN MODULE`: modules.alias and modules.symbols. Others are skipped. */
export function parseModulesAlias(bytes: Uint8Array): ModuleAlias[] {
  const aliases: ModuleAlias[] = [];
  for (const line of lines(bytes, "modules.alias")) {
    const [keyword, pattern, module] = words(line);
    if (keyword === "alias" && pattern !== undefined && module !== undefined)
      aliases.push({ pattern, module: normaliseName(module) });
  }
  return aliases;
}

/**
 * Module name → what it would like to have: lines `softdep MODULE pre: A B post: C` and `weakdep MODULE A B`, the
 * names being modules or aliases. In which order they load is modprobe's business; here they only must be there.
 */
export function parseModulesSoftdep(...files: readonly Uint8Array[]): Map<ByteString, ByteString[]> {
  const wishes = new Map<ByteString, ByteString[]>();
  for (const bytes of files)
    for (const line of lines(bytes, "modules.softdep")) {
      const [keyword, module, ...rest] = words(line);
      if ((keyword !== "softdep" && keyword !== "weakdep") || module === undefined) continue;
      const name = normaliseName(module);
      const list = wishes.get(name) ?? [];
      list.push(...rest.filter((word) => word !== "pre:" && word !== "post:"));
      wishes.set(name, list);
    }
  return wishes;
}
