/** What the lints look at: the image, and the facts that several of them need, each found out once. */
import type { Source } from "../../source/index.ts";
import { readAll } from "../../source/index.ts";
import { type Directory, resolvePath } from "../../tree/index.ts";
import { MAX_OS_RELEASE, parseOsRelease } from "../build/os-release.ts";
import { newestTime } from "../seal/times.ts";
import { type Distribution, distributionOf } from "./cures.ts";
import { DEFAULT_MAX_PATHS, type PathList, pathList } from "./finding.ts";
import { type BuildProblems, findBuildProblems } from "./problems.ts";

/** A system image, wherever it comes from. */
export interface LintInput {
  /** Is not changed. */
  readonly tree: Directory;
  /** OCI's name; undefined where nothing says it, which the build refuses. */
  readonly architecture: string | undefined;
  /** Nanoseconds since 1970. */
  readonly created: bigint | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Where the build looks for systemd's stub and boot loader when `tree` has none. */
  readonly tools?: Directory | undefined;
}

/** Those of the build that decide whether it refuses an image, and what to look for. */
export interface LintOptions {
  readonly imageId?: string | undefined;
  readonly imageVersion?: string | undefined;
  readonly kernel?: string | undefined;
  readonly kargs?: readonly string[] | undefined;
  /** Nanoseconds since 1970; default the creation of the image, else its newest time. */
  readonly clamp?: bigint | undefined;
  /** Names of lints not to run. Throws RangeError for one that there is not. */
  readonly skip?: readonly string[] | undefined;
  /** How many paths of a finding are kept; the rest is counted. */
  readonly maxPaths?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Where the clamp comes from. */
export type ClampOrigin = "given" | "creation" | "newest";

export interface LintContext extends LintInput {
  readonly options: LintOptions;
  readonly distribution: Distribution;
  /** No time in the root is later than this; nanoseconds since 1970. */
  readonly clamp: bigint;
  readonly clampOrigin: ClampOrigin;
  /** When the image was built, as far as it can be known; nanoseconds since 1970. */
  readonly builtAt: bigint;
  /** What `ashlar build` would refuse; asked once. */
  build(): Promise<BuildProblems>;
  /** A file, links followed; undefined where there is none. */
  file(path: string): Source | undefined;
  /** The bytes of a file; undefined where there is none or it has more than `limit`. */
  read(path: string, limit: number): Promise<Uint8Array | undefined>;
  paths(): PathList;
}

export async function createContext(input: LintInput, options: LintOptions): Promise<LintContext> {
  const { tree, created } = input;
  function file(path: string): Source | undefined {
    const found = resolvePath(tree, path);
    return found?.node.type === "file" ? found.node.content : undefined;
  }
  async function read(path: string, limit: number): Promise<Uint8Array | undefined> {
    const content = file(path);
    return content === undefined || content.size > limit ? undefined : readAll(content, limit, path);
  }
  const osRelease =
    (await read("usr/lib/os-release", MAX_OS_RELEASE)) ?? (await read("etc/os-release", MAX_OS_RELEASE));
  const newest = newestTime(tree);
  // A creation before the newest file was set by hand, as reproducible builders do: then it is not when it was built.
  const builtAt = created === undefined || created < newest ? newest : created;
  const clamp = options.clamp ?? created ?? newest;
  let problems: Promise<BuildProblems> | undefined;
  return {
    ...input,
    options,
    distribution: distributionOf(osRelease === undefined ? new Map() : parseOsRelease(osRelease)),
    clamp,
    clampOrigin: options.clamp !== undefined ? "given" : created !== undefined ? "creation" : "newest",
    builtAt,
    build() {
      problems ??= findBuildProblems(input, clamp, options);
      return problems;
    },
    file,
    read,
    paths: () => pathList(options.maxPaths ?? DEFAULT_MAX_PATHS),
  };
}
