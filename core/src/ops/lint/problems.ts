/**
 * Everything that `ashlar build` would refuse an image for. The build's own functions are called, in its order, on a
 * copy of the tree. The build stops at the first error; here what was missing is put into the copy, empty, and the
 * step is tried again, so that all of them come to light.
 */
import { type ByteString, encodeUtf8, showBytes } from "../../bytes/index.ts";
import { isAshlarError, PolicyError } from "../../errors/index.ts";
import { assembleUki } from "../../formats/pe/index.ts";
import { bytesSource, emptySource, readAll } from "../../source/index.ts";
import {
  attributes,
  type Directory,
  directory,
  type Node,
  putNode,
  regularFile,
  removeNode,
  resolvePath,
} from "../../tree/index.ts";
import { type Architecture, architectureOf } from "../build/architecture.ts";
import { type BootFiles, findBootFiles } from "../build/boot-files.ts";
import { assembleInitrdTree } from "../build/initrd/index.ts";
import { composeCommandLine, readKargs } from "../build/kargs.ts";
import { findKernel, type Kernel } from "../build/kernel.ts";
import { normalise } from "../build/normalise.ts";
import { type Identity, identify } from "../release/identity.ts";
import type { Note } from "../report.ts";
import type { LintInput, LintOptions } from "./context.ts";

export type Step = "identity" | "architecture" | "kernel" | "boot-files" | "kargs" | "normalise" | "initrd" | "uki";

/** An error of the build. */
export interface Problem {
  readonly step: Step;
  readonly code: string;
  readonly message: string;
  readonly path: string | undefined;
}

export interface BuildProblems {
  readonly problems: readonly Problem[];
  readonly kernel: Kernel | undefined;
  readonly architecture: Architecture | undefined;
  /** The kernel's configuration, where the image has it. */
  readonly kernelConfig: Uint8Array | undefined;
  /** What the build would change. */
  readonly notes: readonly Note[];
}

/** Attempts of one step. A container image without any of systemd lacks some forty files. */
const MAX_ATTEMPTS = 100;
const MAX_KERNEL_CONFIG = 4 * 1024 * 1024; // bytes, as in the build
/** Stands for what the image lacks, so that the steps behind it can be tried. */
const PLACEHOLDER: Identity = { imageId: "lint", imageVersion: "0" };
const PLACEHOLDER_HASH = "0".repeat(64);

/** Directories and their entries anew; attributes too, since the build clamps times. Names of a hard link stay one. */
export function cloneTree(root: Directory): Directory {
  const clones = new Map<Node, Node>();
  function clone(node: Node): Node {
    if (node.type === "directory") return cloneDirectory(node);
    let copy = clones.get(node);
    if (copy === undefined) {
      copy = { ...node };
      clones.set(node, copy);
    }
    return copy;
  }
  function cloneDirectory(node: Directory): Directory {
    const copy = directory(node);
    for (const [name, entry] of node.entries) copy.entries.set(name, clone(entry));
    return copy;
  }
  return cloneDirectory(root);
}

export async function findBuildProblems(input: LintInput, clamp: bigint, options: LintOptions): Promise<BuildProblems> {
  const problems: Problem[] = [];

  /** Runs a step of the build; what the build would end with becomes a problem. */
  async function attempt<T>(step: Step, work: () => T | Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      problems.push(problemOf(step, error));
      return undefined;
    }
  }

  /** As `attempt`; `cure` repairs the copy so that the next try comes further, and says whether it could. */
  async function attemptAll<T>(
    step: Step,
    work: () => T | Promise<T>,
    cure: (problem: Problem) => boolean,
  ): Promise<T | undefined> {
    for (let attempts = 0; attempts < MAX_ATTEMPTS; attempts++) {
      options.signal?.throwIfAborted();
      const before = problems.length;
      const result = await attempt(step, work);
      const problem = problems[before];
      if (problem === undefined) return result;
      const isNew = !problems
        .slice(0, before)
        .some(({ code, message }) => code === problem.code && message === problem.message);
      if (!isNew) problems.pop(); // the cure was none
      if (!isNew || !cure(problem)) return undefined;
    }
    return undefined;
  }

  await attempt("identity", () => identify(options, input.labels));
  const architecture = await attempt("architecture", () => {
    if (input.architecture !== undefined) return architectureOf(input.architecture);
    throw new PolicyError("no-architecture", "nothing in the image says what machine it is for; --platform does");
  });
  const kernel = await attempt("kernel", () => findKernel(input.tree, options.kernel));
  const kernelConfig = await attempt(
    "kernel",
    () => kernel?.config && readAll(kernel.config, MAX_KERNEL_CONFIG, "kernel configuration"),
  );
  const copy = cloneTree(input.tree);
  const trees = input.tools === undefined ? [copy] : [copy, input.tools];
  const bootFiles =
    architecture && (await attemptAll("boot-files", () => findBootFiles(trees, architecture), putEmptyFile(copy)));
  const hasBootFiles = !problems.some(({ step }) => step === "boot-files");
  const kargs =
    architecture &&
    (await attemptAll(
      "kargs",
      () => readKargs(copy, architecture),
      (problem) => removeKargsFile(copy, problem),
    ));
  await attempt("kargs", () => composeCommandLine(PLACEHOLDER_HASH, kargs ?? [], options.kargs ?? []));

  // The kernel is read before /boot is emptied; the rest of the build sees the normalised tree.
  const repairs: ((tree: Directory) => void)[] = [];
  const normalised = await attemptAll(
    "normalise",
    async () => {
      // What was put into the first copy or taken from it means nothing to these steps; a million files cost 170 MB a copy.
      const tree = repairs.length === 0 ? copy : cloneTree(input.tree);
      for (const repair of repairs) repair(tree);
      return { tree, notes: await normalise(tree, { clamp, identity: PLACEHOLDER }) };
    },
    ({ code, path }) => {
      if (path === undefined) return false;
      const node = () =>
        code === "not-a-directory"
          ? directory(attributes(0o755))
          : regularFile(attributes(0o644), bytesSource(encodeUtf8("ID=lint\n")));
      repairs.push((tree) => putNode(tree, path, node()));
      return true;
    },
  );
  const machine = normalised?.tree ?? cloneTree(input.tree);
  const before = problems.length;
  await attemptAll(
    "initrd",
    () => assembleInitrdTree(machine, { kernelVersion: kernel?.version ?? "none", etc: "persistent" }),
    putEmptyFile(machine),
  );
  // Without a kernel there are no modules, and that has been said.
  if (kernel === undefined)
    for (let index = problems.length - 1; index >= before; index--)
      if (problems[index]?.code === "no-modules") problems.splice(index, 1);
  if (architecture !== undefined && kernel !== undefined && bootFiles !== undefined && hasBootFiles)
    await attempt("uki", () => joinUki(bootFiles, architecture, kernel));
  return { problems, kernel, architecture, kernelConfig, notes: normalised?.notes ?? [] };
}

/** As the build does it, with stand-ins for what it makes itself. */
async function joinUki({ stub }: BootFiles, { systemd }: Architecture, kernel: Kernel): Promise<void> {
  await assembleUki({
    stub,
    architecture: systemd,
    sections: [
      { name: ".osrel", content: encodeUtf8("ID=lint\n") },
      { name: ".cmdline", content: encodeUtf8(`roothash=${PLACEHOLDER_HASH}`) },
      { name: ".uname", content: encodeUtf8(kernel.version) },
      { name: ".initrd", content: encodeUtf8("initrd") },
      { name: ".linux", content: kernel.image },
    ],
  });
}

/**
 * An error of the image becomes a problem. What is wrong with the bytes on the way here (IntegrityError, SourceError but
 * for a file that is too large) is none of the image, and faults of ours are none either: they go on.
 */
function problemOf(step: Step, error: unknown): Problem {
  const isOfImage =
    isAshlarError(error) &&
    (error.kind === "FormatError" ||
      error.kind === "UnsupportedError" ||
      error.kind === "PolicyError" ||
      (error.kind === "SourceError" && error.code === "too-large"));
  if (!isOfImage) throw error;
  return { step, code: error.code, message: error.message, path: error.details.path };
}

/** Puts an empty file where one was missing. It has no interpreter, no library and no content that could be refused. */
function putEmptyFile(tree: Directory): (problem: Problem) => boolean {
  return ({ path }) => {
    if (path === undefined) return false;
    try {
      putNode(tree, path, regularFile(attributes(0o755), emptySource));
    } catch (error) {
      if (isAshlarError(error)) return false;
      throw error; // a fault of ours
    }
    return true;
  };
}

/** The errors of kargs.d begin with the path of the file. */
function removeKargsFile(tree: Directory, { message }: Problem): boolean {
  const folder = "usr/lib/bootc/kargs.d";
  const found = resolvePath(tree, folder);
  if (found?.node.type !== "directory") return false;
  const named = [...found.node.entries.keys()].filter((name) => message.startsWith(`/${folder}/${showBytes(name)}`));
  const longest = named.sort((a, b) => b.length - a.length)[0];
  return longest !== undefined && removeNode(tree, `${found.path}/${longest}` as ByteString);
}
