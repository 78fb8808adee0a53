/** Copies files of the image into the initrd with all they need: links on the way, interpreters, libraries. */
import { type ByteString, byteString, showBytes } from "../../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../../errors/index.ts";
import { type Elf, isElf, parseElf } from "../../../formats/elf/index.ts";
import { readAll } from "../../../source/index.ts";
import {
  attributes,
  type Directory,
  getNode,
  putNode,
  type RegularFile,
  regularFile,
  resolvePath,
  showPath,
  symlink,
} from "../../../tree/index.ts";
import { configuredDirectories, expandOrigin, LOADER_DIRECTORIES } from "./libraries.ts";
import { WANTED_LIBRARIES } from "./programs.ts";

/** Bytes of a program or library; libsystemd-shared has 4 MB. */
const MAX_PROGRAM = 64 * 1024 * 1024;
/** Programs and libraries in one initrd, at most; a real one has about 100. */
const MAX_PROGRAMS = 4096;
/** Bytes of a first line `#!…` that Linux looks at (BINPRM_BUF_SIZE). */
const MAX_SHEBANG = 256;

export interface Collector {
  /** Copies what is at the path, following links; false where nothing is. Directories are not copied. */
  add(path: string): Promise<boolean>;
}

interface Program {
  /** Without any link in it. */
  readonly path: ByteString;
  readonly node: RegularFile;
}

export async function createCollector(image: Directory, initrd: Directory): Promise<Collector> {
  const configured = await configuredDirectories(image);
  const copies = new Map<RegularFile, RegularFile>();
  const elves = new Map<RegularFile, Elf | undefined>();
  const done = new Set<ByteString>();

  async function elfOf({ path, node }: Program): Promise<Elf | undefined> {
    if (!elves.has(node)) {
      const start = await node.content.read(0, Math.min(4, node.content.size));
      let elf: Elf | undefined;
      if (isElf(start)) {
        const bytes = await readAll(node.content, MAX_PROGRAM, showPath(path));
        try {
          elf = parseElf(bytes);
        } catch (cause) {
          if (!(cause instanceof FormatError)) throw cause;
          throw new FormatError(cause.code, `${showPath(path)}: ${cause.message}`, { path: showPath(path), cause });
        }
      }
      elves.set(node, elf);
    }
    return elves.get(node);
  }

  /** The file at `path`, its links and itself put into the initrd. */
  function copy(path: string): Program | undefined {
    const found = resolvePath(image, path);
    if (found?.node.type !== "file") return undefined;
    for (const link of found.links) {
      const node = getNode(image, link);
      // What is in the initrd under this name is the same link, or the build's own and meant so.
      if (node?.type === "symlink" && getNode(initrd, link) === undefined)
        putNode(initrd, link, symlink(attributes(0o777), node.target));
    }
    const { path: real, node } = found;
    let mine = copies.get(node);
    if (mine === undefined) {
      // Owner is root anyway; set-id bits have no use before there are users.
      mine = regularFile(attributes(node.mode & 0o755), node.content);
      copies.set(node, mine);
    }
    if (getNode(initrd, real) === undefined) putNode(initrd, real, mine);
    return { path: real, node };
  }

  /** @param inherited directories that the loaders of this file search: a library that they brought serves it too. */
  async function addProgram(path: string, inherited: readonly string[], loader: string | undefined): Promise<boolean> {
    const program = copy(path);
    if (program === undefined) return false;
    if (done.has(program.path)) return true;
    done.add(program.path);
    if (done.size > MAX_PROGRAMS)
      throw new UnsupportedError(
        "initrd-size",
        `the initrd would have more than ${MAX_PROGRAMS} programs and libraries`,
      );
    const elf = await elfOf(program);
    if (elf === undefined) {
      const interpreter = await shebangOf(program.node);
      if (interpreter !== undefined && !(await addProgram(interpreter, [], undefined)))
        throw missing(program, interpreter, "interpreter");
      return true;
    }
    if (elf.interpreter !== undefined && !(await addProgram(elf.interpreter, [], undefined)))
      throw missing(program, elf.interpreter, "interpreter");
    const origin = parentOf(program.path);
    const own = elf.runpath.length > 0 ? elf.runpath : elf.rpath;
    const search = [...own.map((directory) => expandOrigin(directory, origin)), ...inherited];
    const through = elf.interpreter ?? loader;
    for (const name of elf.needed)
      if (!(await addLibrary(name, elf, search, through))) throw missing(program, name, "library");
    for (const { priority, sonames } of elf.dlopen) {
      const wanted = (name: string) => WANTED_LIBRARIES.some((start) => name.startsWith(start));
      if (priority !== "required" && priority !== "recommended" && !sonames.some(wanted)) continue;
      for (const name of sonames) if (await addLibrary(name, elf, search, through)) break;
    }
    return true;
  }

  async function addLibrary(
    name: ByteString,
    user: Elf,
    search: readonly string[],
    loader: string | undefined,
  ): Promise<boolean> {
    if (name.includes("/")) return addProgram(name, search, loader);
    const known = [...search, ...LOADER_DIRECTORIES];
    for (const directory of [...known, ...configured]) {
      const path = `${directory}/${name}`;
      const found = resolvePath(image, path);
      if (found?.node.type !== "file") continue;
      const elf = await elfOf({ path: found.path, node: found.node });
      if (elf === undefined || elf.machine !== user.machine || elf.bits !== user.bits) continue;
      await addProgram(path, search, loader);
      if (!known.includes(directory) && loader !== undefined) linkBesideLoader(name, found.path, loader);
      return true;
    }
    return false;
  }

  /** The initrd has no loader cache, so a library from a configured directory gets a name where the loader looks anyway. */
  function linkBesideLoader(name: ByteString, real: ByteString, loader: string): void {
    const resolved = resolvePath(image, loader);
    if (resolved === undefined) return;
    const link = `${parentOf(resolved.path)}/${name}`;
    if (getNode(initrd, link) === undefined)
      putNode(initrd, link, symlink(attributes(0o777), `/${real}` as ByteString));
  }

  return { add: (path) => addProgram(path, [], undefined) };
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

async function shebangOf({ content }: RegularFile): Promise<string | undefined> {
  const start = byteString(await content.read(0, Math.min(MAX_SHEBANG, content.size)));
  return /^#![ \t]*(\/[^\s]+)/.exec(start)?.[1];
}

function missing({ path }: Program, name: string, what: string): UnsupportedError {
  const shown = showBytes(name as ByteString);
  return new UnsupportedError("no-library", `${showPath(path)}: its ${what} ${shown} is not in the image`, {
    path: showPath(path),
    expected: shown,
  });
}
