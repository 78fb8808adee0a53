/** What a tar entry means in a layer. OCI image-spec 1.1, layer.md. */
import { type ByteString, showBytes } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import type { TarEntry } from "../../formats/tar/index.ts";
import { splitPath } from "../../tree/index.ts";

/** Paths are clean: names joined by `/`, none of them empty, `.` or `..`; the root is the empty path. */
export type LayerEntry =
  | { readonly kind: "node"; readonly path: ByteString; readonly entry: TarEntry }
  | { readonly kind: "link"; readonly path: ByteString; readonly target: ByteString; readonly entry: TarEntry }
  /** Removes `path` from the layers below. */
  | { readonly kind: "whiteout"; readonly path: ByteString; readonly entry: TarEntry }
  /** Removes what the layers below have in the directory `path`. */
  | { readonly kind: "opaque"; readonly path: ByteString; readonly entry: TarEntry };

const WHITEOUT = ".wh.";
const OPAQUE = ".wh..wh..opq";
/** AUFS keeps its own files under such names (`.wh..wh.plnk`, `.wh..wh.aufs`, `.wh..wh.orph`); they mean nothing here. */
const AUFS = ".wh..wh.";

/** Bytes of one name; Linux: NAME_MAX. */
const MAX_NAME_LENGTH = 255;
/** Bytes of a symbolic link's target; Linux: PATH_MAX without the NUL. */
const MAX_TARGET_LENGTH = 4095;
const MAX_MAJOR = 0xfff; // Linux dev_t: 12 bits
const MAX_MINOR = 0xfffff; // Linux dev_t: 20 bits

/** Error for an entry: names layer, entry and the place in the uncompressed layer. */
export function entryError(code: string, entry: TarEntry, what: string, problem: string): FormatError {
  const shown = showBytes(entry.path).slice(0, 300);
  return new FormatError(code, `${what}: entry ${JSON.stringify(shown)} at ${entry.headerOffset}: ${problem}`, {
    offset: entry.headerOffset,
    path: shown,
  });
}

/**
 * Undefined for what is to be ignored. Errors: FormatError `absolute-path`, `path-traversal`, `name-too-long`,
 * `path-too-long`, `bad-whiteout`, `bad-device`, `root-type`.
 */
export function classifyEntry(entry: TarEntry, what: string): LayerEntry | undefined {
  const names = cleanPath(entry.path, entry, what, "the path");
  const name = names.at(-1);
  for (const part of names) {
    if (!part.startsWith(WHITEOUT)) continue;
    if (part === OPAQUE && part === name) break;
    if (part.startsWith(AUFS)) return undefined;
    if (part !== name || names.indexOf(part) !== names.length - 1)
      throw entryError("bad-whiteout", entry, what, "a whiteout cannot be a directory");
  }
  if (name === OPAQUE) return { kind: "opaque", path: names.slice(0, -1).join("/") as ByteString, entry };
  if (name?.startsWith(WHITEOUT)) {
    const hidden = name.slice(WHITEOUT.length);
    // `.wh...` would remove the parent; CVE-2018-15664's kin.
    if (hidden === "" || hidden === "." || hidden === "..")
      throw entryError("bad-whiteout", entry, what, "the whiteout names nothing");
    return { kind: "whiteout", path: [...names.slice(0, -1), hidden].join("/") as ByteString, entry };
  }
  return nodeOrLink(entry, what, names);
}

/** The same for an archive that is no layer: `.wh.` is a name like any other. */
export function classifyPlainEntry(entry: TarEntry, what: string): LayerEntry {
  return nodeOrLink(entry, what, cleanPath(entry.path, entry, what, "the path"));
}

function nodeOrLink(entry: TarEntry, what: string, names: readonly ByteString[]): LayerEntry {
  const path = names.join("/") as ByteString;
  if (names.length === 0 && entry.type !== "directory")
    throw entryError("root-type", entry, what, `the root cannot be a ${entry.type}`);
  if (entry.type === "hardlink") {
    // Absolute targets are taken from the root: some builders write them, and they mean nothing else.
    const relative = entry.linkTarget.replace(/^\/+/, "") as ByteString;
    const target = cleanPath(relative, entry, what, "the link target").join("/") as ByteString;
    return { kind: "link", path, target, entry };
  }
  if (entry.type === "symlink" && entry.linkTarget.length > MAX_TARGET_LENGTH)
    throw entryError("path-too-long", entry, what, `the link target has more than ${MAX_TARGET_LENGTH} bytes`);
  if (outside(entry.devMajor, MAX_MAJOR) || outside(entry.devMinor, MAX_MINOR))
    throw entryError("bad-device", entry, what, `no Linux device: ${entry.devMajor}:${entry.devMinor}`);
  return { kind: "node", path, entry };
}

function outside(value: number, max: number): boolean {
  return value < 0 || value > max;
}

function cleanPath(path: ByteString, entry: TarEntry, what: string, which: string): ByteString[] {
  if (path.startsWith("/")) throw entryError("absolute-path", entry, what, `${which} is absolute`);
  const names = splitPath(path);
  for (const name of names) {
    if (name === "..")
      throw entryError(
        "path-traversal",
        entry,
        what,
        `${which} ${JSON.stringify(showBytes(path).slice(0, 300))} holds ".."`,
      );
    if (name.length > MAX_NAME_LENGTH)
      throw entryError(
        "name-too-long",
        entry,
        what,
        `${which} holds a name of ${name.length} bytes, more than ${MAX_NAME_LENGTH}`,
      );
  }
  return names;
}
