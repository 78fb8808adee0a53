// What the fuzzed formats share: seeds, ways to spoil them, ways to read what comes out.
import assert from "node:assert/strict";
import { type ByteString, concatBytes, encodeUtf8, fromUtf8 } from "../../../core/src/bytes/index.ts";
import { bytesSource, type Source } from "../../../core/src/source/index.ts";
import {
  attributes,
  type Directory,
  directory,
  type Node,
  putNode,
  regularFile,
  resolvePath,
  walkTree,
} from "../../../core/src/tree/index.ts";
import {
  type Mutant,
  mutateBytes,
  mutateJson,
  mutateText,
  type Placement,
  type Random,
  type Table,
} from "../../support/mutate.ts";

export interface Seed {
  readonly bytes: Uint8Array;
  readonly placements: readonly Placement[];
  /** Makes checksums right again, in place, so that a changed input is judged by what it says. */
  repair?(bytes: Uint8Array): void;
}

export const b = (text: string): ByteString => fromUtf8(text);
export const at = (struct: Table, offset: number): Placement => ({ struct, offset });
export const every = (struct: Table, start: number, count: number): Placement[] =>
  Array.from({ length: count }, (_, i) => at(struct, start + i * struct.size));
export const pad = (bytes: Uint8Array, to: number): Uint8Array =>
  concatBytes(bytes, new Uint8Array(-bytes.length & (to - 1)));
export const file = (content: string | Uint8Array, mode = 0o644): Node =>
  regularFile(attributes(mode), bytesSource(typeof content === "string" ? encodeUtf8(content) : content));

export function treeOf(nodes: Readonly<Record<string, Node | string | Uint8Array>>): Directory {
  const root = directory(attributes(0o755));
  for (const [path, node] of Object.entries(nodes))
    putNode(root, b(path), typeof node === "string" || node instanceof Uint8Array ? file(node) : node);
  return root;
}

/** Bytes that are read of each file at its start and at its end; some claim to have more than any disk. */
const SAMPLE = 64 * 1024;

export const shape = (what: string, bytes: Uint8Array | string): Mutant => ({
  what,
  bytes: typeof bytes === "string" ? encodeUtf8(bytes) : bytes,
});

function* alternate(all: readonly Iterator<Mutant>[]): Generator<Mutant> {
  for (;;)
    for (const one of all) {
      const { value, done } = one.next();
      if (done !== true) yield value;
    }
}

/** Of all seeds in turn; every second input gets its checksums set right. */
function* spoil(seeds: readonly Seed[], random: Random): Generator<Mutant> {
  const all = seeds.map(({ bytes, placements }) => mutateBytes(bytes, placements, random));
  let count = 0;
  for (const mutant of alternate(all)) {
    const seed = seeds[count++ % seeds.length];
    if (seed?.repair !== undefined && random.below(2) === 0) seed.repair(mutant.bytes);
    yield mutant;
  }
}

export const binary = (seeds: () => readonly Seed[] | Promise<readonly Seed[]>) => async (random: Random) =>
  spoil(await seeds(), random);
export const text =
  (...seeds: readonly string[]) =>
  (random: Random) =>
    alternate(seeds.map((seed) => mutateText(seed, random)));
export const json =
  (...seeds: readonly unknown[]) =>
  (random: Random) =>
    alternate(seeds.map((seed) => mutateJson(JSON.stringify(seed), random)));

export async function sample(source: Source): Promise<void> {
  const length = Math.min(SAMPLE, source.size);
  const start = await source.read(0, length);
  const end = await source.read(source.size - length, length);
  assert.equal(start.length, length);
  assert.equal(end.length, length);
}

/** Walks all names, reads of every file, and follows what looks like a path. */
export async function readFiles(tree: Directory): Promise<void> {
  for (const { path, node } of walkTree(tree)) {
    if (node.type === "file") await sample(node.content);
    if (node.type === "symlink") resolvePath(tree, path);
  }
}

/** What expressions that look back are slow with: many of one character, and then another. */
export const runOf = (character: string, count: number) => `${character.repeat(count)}x`;
