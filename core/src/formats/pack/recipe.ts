/** The recipe of a root: which block of which pack each of its blocks is. See README.md. */
import { type Cursor, concatBytes, cursor, equalBytes } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { type BlockHashParameters, type Digest, digestBytes, formatDigest } from "../../hash/index.ts";
import {
  ALGORITHM_NUMBERS,
  FILTERS,
  MAX_BLOCKS,
  MAX_FRAMES,
  MAX_PACKS,
  MAX_RECIPE_SIZE,
  MAX_RUNS,
  RawPackEntry,
  RawRecipeHeader,
  RECIPE_MAGIC,
  RECIPE_VERSION,
} from "./format.ts";
import { blocksPerFrame, type PackShape, parseFraming, parseParameters } from "./shape.ts";

export interface PackReference extends Omit<PackShape, "parameters"> {
  /** Of the blob; always SHA-256. */
  readonly digest: Digest;
  /** Bytes of the blob. */
  readonly size: number;
}

/** Consecutive blocks of the root that are consecutive blocks of a pack, or zeros. */
export interface Run {
  /** First block in the root. */
  readonly start: number;
  readonly count: number;
  /** Index of the pack; undefined for zeros. */
  readonly pack: number | undefined;
  /** First block in the pack; 0 for zeros. */
  readonly first: number;
}

export interface Recipe {
  readonly parameters: BlockHashParameters;
  /** Blocks of the root. */
  readonly blocks: number;
  readonly packs: readonly PackReference[];
  /** They tile the root in order; no two neighbours are one. */
  readonly runs: readonly Run[];
}

/** Collects blocks in the order of the root into runs. */
export function runCollector(): { add(pack: number | undefined, first: number, count?: number): void; runs: Run[] } {
  const runs: Run[] = [];
  let start = 0;
  return {
    runs,
    add(pack, place, count = 1) {
      const last = runs.at(-1);
      const first = pack === undefined ? 0 : place;
      if (last !== undefined && isContinued(last, pack, first))
        runs[runs.length - 1] = { ...last, count: last.count + count };
      else runs.push({ start, count, pack, first });
      start += count;
    },
  };
}

function isContinued(last: Run, pack: number | undefined, first: number): boolean {
  return last.pack === pack && (pack === undefined || last.first + last.count === first);
}

/** Runs are written as numbers of 7 bits a byte, the lowest first, as in LEB128; signed ones as 2n or -2n-1 (zigzag). */
function writeNumber(value: number, out: number[]): void {
  let rest = value;
  while (rest >= 0x80) {
    out.push((rest % 0x80) + 0x80);
    rest = Math.floor(rest / 0x80);
  }
  out.push(rest);
}

/** Throws RangeError for a recipe that {@link parseRecipe} would refuse by its bounds. */
export function encodeRecipe({ parameters, blocks, packs, runs }: Recipe): Uint8Array {
  if (blocks < 1 || blocks > MAX_BLOCKS || packs.length > MAX_PACKS || runs.length > MAX_RUNS)
    throw new RangeError(`a recipe of ${blocks} blocks, ${packs.length} packs and ${runs.length} runs is too large`);
  const header = RawRecipeHeader.encode({
    magic: RECIPE_MAGIC,
    version: RECIPE_VERSION,
    algorithm: ALGORITHM_NUMBERS[parameters.algorithm],
    blockSize: parameters.blockSize,
    blocks,
    runs: runs.length,
    packs: packs.length,
    saltSize: parameters.salt.length,
    reserved: new Uint8Array(0),
  });
  const entries = packs.map(({ digest, filter, ...rest }) =>
    RawPackEntry.encode({
      ...rest,
      digest: digestBytes(digest),
      filter: FILTERS.indexOf(filter),
      reserved: new Uint8Array(0),
    }),
  );
  const numbers: number[] = [];
  const ends = packs.map(() => 0); // where the last run of each pack ended
  for (const { pack, count, first } of runs) {
    writeNumber(pack === undefined ? 0 : pack + 1, numbers);
    writeNumber(count, numbers);
    if (pack === undefined) continue;
    const distance = first - ends[pack]!; // runs name packs of the list
    writeNumber(distance < 0 ? -2 * distance - 1 : 2 * distance, numbers);
    ends[pack] = first + count;
  }
  return concatBytes(header, parameters.salt, ...entries, Uint8Array.from(numbers));
}

function fail(what: string, message: string): never {
  throw new FormatError("bad-recipe", `${what}: ${message}`, { path: what });
}

/**
 * There is one way to write a recipe: anything else is refused. Throws FormatError `bad-recipe`, `truncated`;
 * UnsupportedError `recipe-version`, `pack-algorithm`, `pack-filter`.
 * @param what names it in errors
 */
export function parseRecipe(bytes: Uint8Array, what: string): Recipe {
  if (bytes.length > MAX_RECIPE_SIZE) fail(what, `has ${bytes.length} bytes, more than ${MAX_RECIPE_SIZE}`);
  const header = RawRecipeHeader.view(bytes);
  if (!equalBytes(header.magic, RECIPE_MAGIC)) fail(what, "is not a recipe: the magic is missing");
  if (header.version !== RECIPE_VERSION)
    throw new UnsupportedError("recipe-version", `${what}: recipes of version ${header.version} are not implemented`);
  const { blocks, runs: runCount, packs: packCount } = header;
  if (blocks < 1 || blocks > MAX_BLOCKS) fail(what, `a root of ${blocks} blocks; 1 to ${MAX_BLOCKS} can be`);
  if (packCount > MAX_PACKS || runCount > MAX_RUNS || runCount > blocks)
    fail(what, `${packCount} packs and ${runCount} runs are more than can be`);
  const input = cursor(bytes, what, RawRecipeHeader.size);
  const parameters = parseParameters(header, input.take(header.saltSize), "bad-recipe", what);
  const packs = Array.from({ length: packCount }, () => parsePack(input.take(RawPackEntry.size), parameters, what));
  if (new Set(packs.map(({ digest }) => digest)).size !== packs.length) fail(what, "names a pack twice");
  const runs: Run[] = [];
  const ends = packs.map(() => 0);
  let start = 0;
  for (let i = 0; i < runCount; i++) {
    const number = readNumber(input, what);
    const count = readNumber(input, what);
    const pack = number === 0 ? undefined : number - 1;
    let first = 0;
    if (pack !== undefined) {
      const reference = packs[pack];
      if (reference === undefined) fail(what, `run ${i} is of pack ${pack} of ${packs.length}`);
      const zigzag = readNumber(input, what);
      const distance = zigzag % 2 === 0 ? zigzag / 2 : -(zigzag + 1) / 2;
      first = ends[pack]! + distance; // as many as packs
      if (first < 0 || first + count > reference.blocks)
        fail(what, `run ${i} is of blocks ${first} to ${first + count} of a pack of ${reference.blocks}`);
      ends[pack] = first + count;
    }
    if (count < 1 || start + count > blocks) fail(what, `run ${i} ends at block ${start + count} of ${blocks}`);
    const last = runs.at(-1);
    if (last !== undefined && isContinued(last, pack, first)) fail(what, `runs ${i - 1} and ${i} are one`);
    runs.push({ start, count, pack, first });
    start += count;
  }
  if (start !== blocks || input.remaining > 0) fail(what, `its runs make ${start} of ${blocks} blocks`);
  return { parameters, blocks, packs, runs };
}

function parsePack(bytes: Uint8Array, parameters: BlockHashParameters, what: string): PackReference {
  const entry = RawPackEntry.view(bytes);
  const { digest, size, blocks } = entry;
  const framing = parseFraming(entry, "bad-recipe", what);
  if (blocks < 1 || Math.ceil(blocks / blocksPerFrame({ parameters, ...framing })) > MAX_FRAMES)
    fail(what, `a pack of ${blocks} blocks`);
  return { digest: formatDigest("sha256", digest), size, blocks, ...framing };
}

/** Bytes of the longest number: any below 2^35, which no field here passes. */
const MAX_NUMBER_SIZE = 5;

function readNumber(input: Cursor, what: string): number {
  let value = 0;
  for (let i = 0; i < MAX_NUMBER_SIZE; i++) {
    const byte = input.u8();
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) {
      if (byte === 0 && i > 0) fail(what, `a number with needless zeros at ${input.position}`);
      return value;
    }
  }
  return fail(what, `a number of more than ${MAX_NUMBER_SIZE} bytes at ${input.position}`);
}
