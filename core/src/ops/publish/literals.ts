/** Bytes of artifacts that are found nowhere else, in a few layers. */
import { concatBytes } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import { type Digest, digestOf, type Hashes } from "../../hash/index.ts";
import type { Source } from "../../source/index.ts";
import type { Compressors } from "../environment.ts";
import type { AssemblyPiece } from "./assembly.ts";
import { MAX_ALL_LITERALS, MAX_LITERALS } from "./layers.ts";

/** As many bytes in a row, such as a boot loader, are a layer of their own: it may be the same in the next release. */
export const MIN_OWN_LAYER = 16 * 1024;

interface Group {
  readonly parts: Uint8Array[];
  size: number;
}

/** A piece whose layer may not have its digest yet. */
export interface DraftPiece {
  readonly layer?: Digest | undefined;
  readonly artifact?: string | undefined;
  readonly group?: Group | undefined;
  readonly at?: number | undefined;
  readonly size: number;
}

export interface LiteralCollector {
  /** Reads `size` bytes from `offset` on. */
  add(source: Source, offset: number, size: number): Promise<DraftPiece[]>;
  /** A part of a file of at most {@link MAX_LITERALS} bytes, which is a layer of its own, read the first time. */
  addFile(file: Source, at: number, size: number): Promise<DraftPiece>;
  finish(
    compress: Compressors["zstd"],
    hashes: Hashes,
  ): Promise<{ readonly layers: readonly Uint8Array[]; resolve(draft: DraftPiece): AssemblyPiece }>;
}

export function literalCollector(): LiteralCollector {
  const groups: Group[] = [];
  let shared: Group | undefined;
  const files = new Map<Source, Group>();
  let total = 0;

  function count(size: number): void {
    total += size;
    if (total > MAX_ALL_LITERALS)
      throw new UnsupportedError(
        "too-many-literals",
        `the artifacts have more than ${MAX_ALL_LITERALS} bytes that are neither in the root nor in the UKI`,
      );
  }

  function groupFor(size: number): Group {
    if (size < MIN_OWN_LAYER && shared !== undefined && shared.size + size <= MAX_LITERALS) return shared;
    const group: Group = { parts: [], size: 0 };
    groups.push(group);
    if (size < MIN_OWN_LAYER) shared = group;
    return group;
  }

  return {
    async add(source, offset, size) {
      count(size);
      const pieces: DraftPiece[] = [];
      for (let done = 0; done < size; ) {
        const length = Math.min(MAX_LITERALS, size - done);
        const group = groupFor(length);
        group.parts.push(Uint8Array.from(await source.read(offset + done, length)));
        pieces.push({ group, ...(group.size === 0 ? {} : { at: group.size }), size: length });
        group.size += length;
        done += length;
      }
      return pieces;
    },
    async addFile(file, at, size) {
      let group = files.get(file);
      if (group === undefined) {
        count(file.size);
        group = { parts: [Uint8Array.from(await file.read(0, file.size))], size: file.size };
        groups.push(group);
        files.set(file, group);
      }
      return { group, ...(at === 0 ? {} : { at }), size };
    },
    async finish(compress, hashes) {
      const layers = new Map<Digest, Uint8Array>();
      const digests = new Map<Group, Digest>();
      for (const group of groups) {
        const bytes = await compress(concatBytes(...group.parts));
        const digest = digestOf(hashes, bytes);
        layers.set(digest, bytes);
        digests.set(group, digest);
      }
      return {
        layers: [...layers.values()],
        resolve: ({ group, layer = group && digests.get(group), artifact, at, size }) => ({
          ...(layer === undefined ? {} : { layer }),
          ...(artifact === undefined ? {} : { artifact }),
          ...(at === undefined ? {} : { at }),
          size,
        }),
      };
    },
  };
}
