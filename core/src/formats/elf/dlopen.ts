/** The JSON inside a `.note.dlopen` note. Spec: systemd.io/ELF_DLOPEN_METADATA. */
import { type ByteString, fromUtf8, trimEndOf } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import type { DlopenNote } from "./read.ts";

/** Libraries in one note, at most. */
const MAX_LIBRARIES = 256;

/** Members that are unknown are ignored; a library without a usable `soname` too. Throws FormatError `bad-elf`. */
export function parseDlopen(text: string): DlopenNote[] {
  let value: unknown;
  try {
    value = JSON.parse(trimEndOf(text, "\0"));
  } catch (cause) {
    throw new FormatError("bad-elf", "ELF note of FDO: not JSON", { cause });
  }
  if (!Array.isArray(value) || value.length > MAX_LIBRARIES)
    throw new FormatError("bad-elf", `ELF note of FDO: not an array of at most ${MAX_LIBRARIES} libraries`);
  return value.flatMap((library: unknown) => {
    const sonames = sonamesOf(member(library, "soname"));
    if (sonames.length === 0) return [];
    return [{ feature: textOf(member(library, "feature")), priority: textOf(member(library, "priority")), sonames }];
  });
}

function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** File names only: a soname with a slash would be a path. */
function sonamesOf(value: unknown): ByteString[] {
  if (!Array.isArray(value)) return [];
  return value
    .filter(
      (name): name is string => typeof name === "string" && /^[^/\0]+$/.test(name) && name !== "." && name !== "..",
    )
    .map(fromUtf8);
}
