/** Writes the binary indexes. The same entries in any order give the same bytes. */
import { type ByteString, bytesOf, concatBytes, showBytes } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import {
  CHARACTER_LIMIT,
  INDEX_MAGIC,
  INDEX_VERSION,
  NODE_CHILDREN,
  NODE_OFFSET_MASK,
  NODE_PREFIX,
  NODE_VALUES,
  RawIndexHeader,
} from "./format.ts";
import { type Module, type ModuleAlias, normaliseAlias } from "./text.ts";

/** Bytes of a key, at most: the trie is as deep. */
export const MAX_KEY = 4096;

export interface IndexEntry {
  readonly key: ByteString;
  readonly value: ByteString;
  /** Values of one key come in ascending order of this. */
  readonly priority: number;
}

/** modules.dep.bin */
export function encodeDepIndex(modules: readonly Module[]): Uint8Array<ArrayBuffer> {
  return encodeIndex(
    modules.map((module) => ({ key: module.name, value: depLine(module), priority: module.priority })),
  );
}

/** A line of modules.dep, without its end. */
export function depLine({ path, depends }: Module): ByteString {
  return [`${path}:`, ...depends].join(" ") as ByteString;
}

/** modules.alias.bin or modules.symbols.bin. Aliases of modules that are not among `modules` are left out. */
export function encodeAliasIndex(
  aliases: readonly ModuleAlias[],
  modules: readonly Pick<Module, "name" | "priority">[],
): Uint8Array<ArrayBuffer> {
  const priorities = new Map(modules.map(({ name, priority }) => [name, priority]));
  return encodeIndex(
    aliases.flatMap(({ pattern, module }) => {
      const priority = priorities.get(module);
      return priority === undefined ? [] : [{ key: normaliseAlias(pattern), value: module, priority }];
    }),
  );
}

/** Throws FormatError `bad-key` for a key that is empty, too long or not ASCII; UnsupportedError `index-size` past 256 MiB. */
export function encodeIndex(entries: readonly IndexEntry[]): Uint8Array<ArrayBuffer> {
  const sorted = [...entries].sort(
    (a, b) => compare(a.key, b.key) || a.priority - b.priority || compare(a.value, b.value),
  );
  for (const { key } of sorted)
    if (key === "" || key.length > MAX_KEY || [...key].some((c) => c === "\0" || c.charCodeAt(0) >= CHARACTER_LIMIT))
      throw new FormatError("bad-key", `module index: bad key ${showBytes(key.slice(0, 80) as ByteString)}`);
  const parts: Uint8Array[] = [];
  let position = RawIndexHeader.size;
  const root = writeNode(
    sorted,
    0,
    (part) => {
      parts.push(part);
      position += part.length;
      if (position > NODE_OFFSET_MASK)
        throw new UnsupportedError("index-size", `module index of more than ${NODE_OFFSET_MASK} bytes`);
    },
    () => position,
  );
  return concatBytes(RawIndexHeader.encode({ magic: INDEX_MAGIC, version: INDEX_VERSION, root }), ...parts);
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/**
 * Writes the node of the entries, which are sorted and agree in their first `depth` characters, its children first.
 * Returns the reference to it.
 */
function writeNode(
  entries: readonly IndexEntry[],
  depth: number,
  write: (part: Uint8Array) => void,
  position: () => number,
): number {
  const first = entries[0];
  const last = entries.at(-1);
  let common = depth;
  // Sorted: what the first and the last have in common, all have. The root never has a prefix.
  while (depth > 0 && common < (first?.key.length ?? 0) && first?.key[common] === last?.key[common]) common++;
  const prefix = (first?.key.slice(depth, common) ?? "") as ByteString;

  let at = 0; // index of the next entry
  while (at < entries.length && entries[at]?.key.length === common) at++;
  const values = entries.slice(0, at);
  const children = new Map<number, number>(); // character → reference
  while (at < entries.length) {
    const character = entries[at]!.key.charCodeAt(common); // at < length, and the key is longer than `common`
    let end = at + 1;
    while (end < entries.length && entries[end]!.key.charCodeAt(common) === character) end++;
    children.set(character, writeNode(entries.slice(at, end), common + 1, write, position));
    at = end;
  }

  let reference = position();
  if (prefix !== "") {
    reference += NODE_PREFIX;
    write(bytesOf(`${prefix}\0` as ByteString));
  }
  if (children.size > 0) {
    reference += NODE_CHILDREN;
    write(encodeChildren(children));
  }
  if (values.length > 0) {
    reference += NODE_VALUES;
    write(u32(values.length));
    for (const { priority, value } of values) {
      write(u32(priority));
      write(bytesOf(`${value}\0` as ByteString));
    }
  }
  return reference;
}

function encodeChildren(children: ReadonlyMap<number, number>): Uint8Array {
  const characters = [...children.keys()];
  const first = Math.min(...characters);
  const last = Math.max(...characters);
  const references = Array.from({ length: last - first + 1 }, (_, i) => u32(children.get(first + i) ?? 0));
  return concatBytes(Uint8Array.of(first, last), ...references);
}

function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}
