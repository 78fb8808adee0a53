/** The agent: the `ashlar` command as a single executable, and the units that call it, in the root of a system. */
import { type ByteString, encodeUtf8 } from "../../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../../errors/index.ts";
import { isElf, parseElf } from "../../../formats/elf/index.ts";
import { type Digest, formatDigest, type Hashes } from "../../../hash/index.ts";
import {
  bytesSource,
  passingChunksOf,
  type ReadOptions,
  readAll,
  type ScratchSpace,
  type Source,
} from "../../../source/index.ts";
import {
  attributes,
  type Directory,
  getNode,
  putNode,
  regularFile,
  resolvePath,
  symlink,
} from "../../../tree/index.ts";
import { architectureOfElf } from "../../image/index.ts";
import type { Note } from "../../report.ts";
import type { Architecture } from "../architecture.ts";
import { configuredDirectories, LOADER_DIRECTORIES } from "../initrd/libraries.ts";
import { AGENT_FILES, AGENT_LINKS } from "./units.ts";

/** Where the executable is in the root. */
export const AGENT_PATH = "usr/bin/ashlar";
/** Name among the inputs of a release. */
export const AGENT_INPUT = "agent";

/** Bytes; Node makes up nearly all of it, 110 MB. */
const MAX_AGENT_SIZE = 512 * 1024 * 1024;
const COPY_SIZE = 1024 * 1024; // bytes
/** Renames the UKI of a boot that went well. */
const BLESS_PATH = "usr/lib/systemd/systemd-bless-boot";

/** An executable that can no longer change. */
export interface Agent {
  readonly content: Source;
  /** Of the executable itself, wherever it came from. */
  readonly digest: Digest;
  dispose(): Promise<void>;
}

/** Takes a copy, and its digest. @param what names it in errors. Throws FormatError `bad-agent`; errors of the source. */
export async function copyAgent(
  source: Source,
  what: string,
  { hashes, scratch, signal }: { readonly hashes: Hashes; readonly scratch: ScratchSpace } & ReadOptions,
): Promise<Agent> {
  if (source.size > MAX_AGENT_SIZE || !isElf(await source.read(0, Math.min(4, source.size), { signal })))
    throw new FormatError("bad-agent", `${what}: is not an executable of Linux; scripts/build-agent makes one`, {
      path: what,
    });
  const copy = await scratch.create();
  try {
    const hasher = hashes.create("sha256");
    for await (const chunk of passingChunksOf(source, { chunkSize: COPY_SIZE, signal })) {
      hasher.update(chunk);
      await copy.append(chunk);
    }
    return { content: copy, digest: formatDigest("sha256", hasher.digest()), dispose: () => copy.dispose() };
  } catch (error) {
    await copy.dispose();
    throw error;
  }
}

/** The executable in an image or root that has it. Throws FormatError `no-agent`. */
export function findAgent(tree: Directory, what: string): Source {
  const found = resolvePath(tree, AGENT_PATH);
  if (found?.node.type === "file") return found.node.content;
  throw new FormatError("no-agent", `${what}: has no file /${AGENT_PATH}`, { path: `/${AGENT_PATH}` });
}

/**
 * Puts the agent and its units into the tree. Throws FormatError `agent-architecture` for one that is for another machine;
 * UnsupportedError `agent-library` and `no-bless` where it could not start, or no boot would ever be confirmed.
 */
export async function putAgent(
  root: Directory,
  { content }: Pick<Agent, "content">,
  architecture: Architecture,
  mtime: bigint,
): Promise<Note[]> {
  await assertStarts(root, content, architecture);
  if (resolvePath(root, BLESS_PATH)?.node.type !== "file")
    throw new UnsupportedError(
      "no-bless",
      `/${BLESS_PATH}: not in the image; without it no boot of a new release is confirmed (Debian: systemd-boot, Fedora: systemd-udev)`,
      { path: `/${BLESS_PATH}` },
    );
  const notes: Note[] = [];
  if (getNode(root, AGENT_PATH) !== undefined)
    notes.push({ code: "agent", message: `/${AGENT_PATH}: replaced by the agent` });
  putNode(root, AGENT_PATH, regularFile(attributes(0o755, { mtime }), content), mtime);
  for (const [path, text] of Object.entries(AGENT_FILES))
    putNode(root, path, regularFile(attributes(0o644, { mtime }), bytesSource(encodeUtf8(text))), mtime);
  for (const [unit, folder] of Object.entries(AGENT_LINKS))
    putNode(root, `${folder}/${unit}`, symlink(attributes(0o777, { mtime }), `../${unit}` as ByteString), mtime);
  return notes;
}

async function assertStarts(root: Directory, content: Source, architecture: Architecture): Promise<void> {
  const elf = parseElf(await readAll(content, MAX_AGENT_SIZE, "the agent"));
  const actual = architectureOfElf(elf);
  if (actual !== architecture.oci)
    throw new FormatError(
      "agent-architecture",
      `the agent is for ${actual ?? "an unknown machine"}, the image for ${architecture.oci}`,
      { expected: architecture.oci, actual },
    );
  const folders = [...LOADER_DIRECTORIES, ...(await configuredDirectories(root))];
  const missing = elf.needed.find(
    (name) => !folders.some((folder) => resolvePath(root, `${folder}/${name}`)?.node.type === "file"),
  );
  if (missing !== undefined)
    throw new UnsupportedError("agent-library", `the agent needs ${missing}, which the image lacks`, {
      path: missing,
    });
}
