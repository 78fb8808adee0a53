/** The options of a build, from what its release records. */
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { AGENT_INPUT, type BuildOptions, ROOT_TIMEOUTS } from "../build/index.ts";
import { BUILD_OPTIONS, FORMAT_VERSION, type Release, SEAL_OPTIONS } from "../release/release.ts";
import type { SealContentOptions } from "../seal/index.ts";

/** Inputs by name that a build can be given again. */
const INPUTS = ["image", "tools", AGENT_INPUT];

/** A release with a command line is one of a system. */
export function isSystem({ commandLine }: Release): boolean {
  return commandLine !== undefined;
}

/**
 * Throws UnsupportedError `format-version`, `unknown-input`, `unknown-option` where this Ashlar would build something else:
 * a difference would say nothing then.
 */
export function assertReproducible(release: Release, what: string): void {
  const { formatVersion, inputs, options } = release;
  if (formatVersion !== FORMAT_VERSION)
    throw new UnsupportedError(
      "format-version",
      `${what}: was built by the rules of format version ${formatVersion}, this Ashlar builds by version ${FORMAT_VERSION}`,
      { expected: FORMAT_VERSION, actual: formatVersion },
    );
  const input = inputs.find(({ name }) => !INPUTS.includes(name));
  if (input !== undefined)
    throw new UnsupportedError(
      "unknown-input",
      `${what}: was built with input ${show(input.name)}, which is not known here`,
    );
  const known: readonly string[] = isSystem(release) ? BUILD_OPTIONS : SEAL_OPTIONS;
  const option = Object.keys(options).find((name) => !known.includes(name));
  if (option !== undefined)
    throw new UnsupportedError(
      "unknown-option",
      `${what}: was built with option ${show(option)}, which is not known here`,
    );
}

function show(text: string): string {
  return JSON.stringify(text.slice(0, 80));
}

/** Throws FormatError `bad-release` where an option is missing or makes no sense. */
export function buildOptionsOf(release: Release, what: string): BuildOptions {
  const read = optionReader(release, what);
  return {
    ...commonOptions(release, read),
    kernel: release.kernelVersion,
    kargs: read.texts("kargs"),
    etc: read.choice("etc", ["persistent", "transient"]),
    rootTimeout: read.seconds("rootTimeout"),
    espSize: read.size("espSize"),
    slotSize: read.size("slotSize"),
    varSize: read.size("varSize"),
    sectorSize: read.size("sectorSize") === 4096 ? 4096 : 512,
  };
}

export function sealOptionsOf(release: Release, what: string): SealContentOptions {
  return { ...commonOptions(release, optionReader(release, what)), algorithm: release.verity.algorithm };
}

function commonOptions(release: Release, read: OptionReader) {
  const { imageId, imageVersion, verity, artifacts, options } = release;
  const root = artifacts.find(({ role }) => role === "root")?.name ?? "";
  return {
    name: root.endsWith(ROOT_SUFFIX) ? root.slice(0, -ROOT_SUFFIX.length) : undefined,
    imageId,
    imageVersion,
    clamp: read.time("timestamp"),
    tails: read.choice("tails", ["blocks", "inline", "ztailpacking", "fragments"]),
    ...(options["compress"] === undefined ? {} : compressionOptions(options, read)),
    ...(options["chunksize"] === undefined ? {} : { chunksize: read.size("chunksize"), targetKernel: "any" }),
    ...(options["dataFirst"] === undefined ? {} : { dataFirst: read.texts("dataFirst") }),
    // Where files were labelled the policy's name is recorded; the image has it.
    selinux: release.options["selinux"] === undefined ? ("none" as const) : ("policy" as const),
    salt: verity.salt,
  };
}

/** As it was chosen then, whatever would be chosen now; for which kernel is not recorded. */
function compressionOptions({ cluster, packing, compressHints }: Release["options"], read: OptionReader) {
  return {
    compress: read.text("compress"),
    cluster: cluster === undefined ? undefined : read.size("cluster"),
    targetKernel: "any",
    packing: packing === undefined ? ("blocks" as const) : read.choice("packing", ["blocks", "bytes"]),
    ...(compressHints === undefined ? {} : { compressHints: read.texts("compressHints") }),
  };
}

const ROOT_SUFFIX = ".root.erofs";

type OptionReader = ReturnType<typeof optionReader>;

function optionReader({ options }: Release, what: string) {
  function fail(name: string, expected: string): never {
    throw new FormatError("bad-release", `${what}: option ${name} is not ${expected}`, { path: what });
  }
  return {
    choice<T extends string>(name: string, values: readonly T[]): T {
      return values.find((value) => value === options[name]) ?? fail(name, values.join(" or "));
    },
    text(name: string): string {
      const value = options[name];
      return typeof value === "string" ? value : fail(name, "text");
    },
    size(name: string): number {
      const value = options[name];
      return typeof value === "number" && Number.isSafeInteger(value) && value >= 0
        ? value
        : fail(name, "a number of bytes");
    },
    seconds(name: string): number {
      const value = options[name];
      return typeof value === "number" && value >= ROOT_TIMEOUTS.least && value <= ROOT_TIMEOUTS.most
        ? value
        : fail(name, "a time in seconds");
    },
    texts(name: string): readonly string[] {
      const value = options[name];
      return Array.isArray(value) ? value : fail(name, "a list");
    },
    /** `1700000000` or `1700000000.000000001` → nanoseconds. */
    time(name: string): bigint {
      const match = /^(-?\d{1,12})(?:\.(\d{9}))?$/.exec(String(options[name]));
      if (match === null) return fail(name, "a time");
      return BigInt(match[1]!) * 1_000_000_000n + BigInt(match[2] ?? "0"); // the first group always takes part
    },
  };
}
