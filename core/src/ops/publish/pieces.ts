/** Finds out what an artifact is put together from: which of its bytes are in a section or another artifact, which are zeros. */
import { type ByteString, byteString } from "../../bytes/index.ts";
import { type Digest, formatDigest, type Hashes } from "../../hash/index.ts";
import { passingChunksOf, type ReadOptions, type Source } from "../../source/index.ts";

/** Something that an artifact may hold. `T` is how the caller names it. */
export interface Candidate<T> {
  readonly name: T;
  readonly source: Source;
}

/** Bytes of the artifact in a row: of a candidate, zeros, or `literal`, which are found nowhere else. */
export interface FoundPiece<T> {
  readonly from: T | "zeros" | "literal";
  /** Bytes from the start of the artifact. */
  readonly offset: number;
  /** Bytes from the start of the candidate. */
  readonly at: number;
  readonly size: number;
}

export interface FoundPieces<T> {
  readonly pieces: readonly FoundPiece<T>[];
  /** Of the whole artifact, which is read once. */
  readonly digest: Digest;
}

/** A candidate is looked for where sectors begin: sections of PE images and files on a FAT volume stand there. */
const SECTOR_SIZE = 512;
const WINDOW_SIZE = 1024 * 1024;
/** Bytes in which a candidate must have a sector that is not zero, to be looked for. */
const MAX_LEADING_ZEROS = 1024 * 1024;
/** Zeros and finds of fewer bytes between literals are literals too: a piece of their own would cost more. */
const MIN_PIECE = 4096;

export async function findPieces<T>(
  artifact: Source,
  candidates: readonly Candidate<T>[],
  hashes: Hashes,
  options: ReadOptions & { readonly onProgress?: (amount: number) => void } = {},
): Promise<FoundPieces<T>> {
  const starts = await indexStarts(candidates);
  const hasher = hashes.create("sha256");
  const found = pieceList<T>();
  let offset = 0; // of the window
  let match: { readonly candidate: Candidate<T>; at: number } | undefined;
  for await (const window of passingChunksOf(artifact, { ...options, chunkSize: WINDOW_SIZE })) {
    hasher.update(window);
    for (let at = 0; at < window.length; ) {
      if (match !== undefined) {
        const { candidate } = match;
        const same = await sameBytes(window, at, candidate.source, match.at);
        found.add(candidate.name, offset + at, match.at, same);
        at += same;
        match.at += same;
        if (at < window.length) match = undefined;
        continue;
      }
      const zeros = wholeSectors(at + zerosAt(window, at), window.length, offset) - at;
      if (zeros > 0) {
        found.add("zeros", offset + at, 0, zeros);
        at += zeros;
        continue;
      }
      const end = Math.min(window.length, at + SECTOR_SIZE - ((offset + at) % SECTOR_SIZE));
      if (end - at === SECTOR_SIZE)
        match = await bestMatch(window, at, starts.get(byteString(window.subarray(at, end))));
      if (match !== undefined) continue;
      found.add("literal", offset + at, 0, end - at);
      at = end;
    }
    offset += window.length;
    options.onProgress?.(window.length);
  }
  return { pieces: tidy(found.pieces), digest: formatDigest("sha256", hasher.digest()) };
}

/** The end of zeros, back to where a sector begins: one that begins with zeros may be the first of a candidate. */
function wholeSectors(end: number, windowSize: number, offset: number): number {
  return end === windowSize ? end : end - ((offset + end) % SECTOR_SIZE);
}

type Start<T> = { readonly candidate: Candidate<T>; readonly at: number };

/** The first sector of each candidate that is not zero, and where it is in the candidate. */
async function indexStarts<T>(candidates: readonly Candidate<T>[]): Promise<Map<ByteString, Start<T>[]>> {
  const starts = new Map<ByteString, Start<T>[]>();
  for (const candidate of candidates)
    for (let at = 0; at < MAX_LEADING_ZEROS && at + SECTOR_SIZE <= candidate.source.size; at += SECTOR_SIZE) {
      const sector = await candidate.source.read(at, SECTOR_SIZE);
      if (zerosAt(sector, 0) === SECTOR_SIZE) continue;
      const key = byteString(sector);
      starts.set(key, [...(starts.get(key) ?? []), { candidate, at }]);
      break;
    }
  return starts;
}

/** Of those that begin alike, the one that goes on longest within the window. */
async function bestMatch<T>(window: Uint8Array, at: number, starts: readonly Start<T>[] = []) {
  let best: { candidate: Candidate<T>; at: number } | undefined;
  let length = 0;
  for (const start of starts) {
    const same = await sameBytes(window, at, start.candidate.source, start.at);
    if (same > length) {
      best = { candidate: start.candidate, at: start.at };
      length = same;
    }
  }
  return best;
}

/** How many bytes of `window` from `at` on are those of `source` from `from` on. */
async function sameBytes(window: Uint8Array, at: number, source: Source, from: number): Promise<number> {
  const length = Math.min(window.length - at, source.size - from);
  if (length <= 0) return 0;
  const other = await source.read(from, length);
  for (let i = 0; i < length; i++) if (window[at + i] !== other[i]) return i;
  return length;
}

/** How many zeros stand at `at`. Four bytes at a time: gigabytes of a disk are holes. */
function zerosAt(bytes: Uint8Array, at: number): number {
  let end = at;
  while (end < bytes.length && (bytes.byteOffset + end) % 4 !== 0) if (bytes[end++] !== 0) return end - 1 - at;
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset + end, Math.floor((bytes.length - end) / 4));
  let word = 0;
  while (word < words.length && words[word] === 0) word++;
  end += word * 4;
  while (end < bytes.length && bytes[end] === 0) end++;
  return end - at;
}

/** Joins neighbours that continue each other. */
function pieceList<T>() {
  const pieces: FoundPiece<T>[] = [];
  return {
    pieces,
    add(from: FoundPiece<T>["from"], offset: number, at: number, size: number): void {
      if (size === 0) return;
      const last = pieces.at(-1);
      const continues = last?.from === from && (isPlain(from) || last.at + last.size === at);
      if (last !== undefined && continues) pieces[pieces.length - 1] = { ...last, size: last.size + size };
      else pieces.push({ from, offset, at: isPlain(from) ? 0 : at, size });
    },
  };
}

function isPlain(from: unknown): boolean {
  return from === "zeros" || from === "literal";
}

/** Small pieces beside literals become part of them. */
function tidy<T>(pieces: readonly FoundPiece<T>[]): readonly FoundPiece<T>[] {
  const list = pieceList<T>();
  for (const [index, piece] of pieces.entries()) {
    const beside = list.pieces.at(-1)?.from === "literal" || pieces[index + 1]?.from === "literal";
    const from = piece.size < MIN_PIECE && beside ? "literal" : piece.from;
    list.add(from, piece.offset, piece.at, piece.size);
  }
  return list.pieces;
}
