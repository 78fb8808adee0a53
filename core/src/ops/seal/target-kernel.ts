/** The kernel that is to read a root: what its version and configuration say about compression. */
import { decodeUtf8 } from "../../bytes/index.ts";
import { PolicyError } from "../../errors/index.ts";
import { readAll } from "../../source/index.ts";
import type { Directory } from "../../tree/index.ts";
import { type Kernel, listKernels } from "../build/kernel.ts";

export interface TargetKernel {
  /** As it was given or found, for people. */
  readonly name: string;
  readonly major: number;
  readonly minor: number;
  /** `CONFIG_X=y` lines; undefined where only the version is known, which is trusted then. */
  readonly config: string | undefined;
}

/** What a kernel must have: since which version, and what its configuration must say. */
export interface KernelNeed {
  readonly since: readonly [major: number, minor: number];
  readonly option?: string | undefined;
}

/** Bytes; those of distributions have 0.3 MB. */
const MAX_CONFIG_SIZE = 4 * 1024 * 1024;

/** What is assumed of a kernel of which nothing is known: the oldest that mounts any root. */
export const OLDEST_KERNEL: TargetKernel = { name: "5.10", major: 5, minor: 10, config: undefined };

/** Throws PolicyError `bad-kernel-version`. */
export function parseKernelVersion(text: string): { readonly major: number; readonly minor: number } {
  const match = /^(\d{1,3})\.(\d{1,3})(?![0-9])/.exec(text);
  if (match === null) throw new PolicyError("bad-kernel-version", `not a kernel version: ${JSON.stringify(text)}`);
  return { major: Number(match[1]), minor: Number(match[2]) }; // both groups take part
}

export async function describeKernel({ version, config }: Pick<Kernel, "version" | "config">): Promise<TargetKernel> {
  const bytes = config && (await readAll(config, MAX_CONFIG_SIZE, "kernel configuration"));
  return { name: version, ...parseKernelVersion(version), config: bytes && decodeUtf8(bytes) };
}

/**
 * @param wanted `auto` (the default): the oldest kernel of the tree, undefined where it has none; `any`: undefined; else a version
 */
export async function targetKernel(tree: Directory, wanted = "auto"): Promise<TargetKernel | undefined> {
  if (wanted === "any") return undefined;
  if (wanted !== "auto") return { name: wanted, ...parseKernelVersion(wanted), config: undefined };
  const found = await Promise.all(listKernels(tree).map(describeKernel));
  const [oldest] = found.sort((a, b) => a.major - b.major || a.minor - b.minor);
  return oldest;
}

/** What `kernel` lacks of `need`, in words; undefined where it has it. */
export function lackOf(kernel: TargetKernel, { since, option }: KernelNeed): string | undefined {
  const [major, minor] = since;
  if (kernel.major < major || (kernel.major === major && kernel.minor < minor))
    return `Linux ${major}.${minor} reads it, this is ${kernel.name}`;
  if (option !== undefined && kernel.config !== undefined && !new RegExp(`^${option}=y$`, "m").test(kernel.config))
    return `Linux ${kernel.name} was built without ${option}`;
  return undefined;
}
