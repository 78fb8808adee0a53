/**
 * A streaming tar reader: v7, ustar, GNU and PAX, as README.md describes. It looks at headers only; content passes
 * through as views of the chunks that came in.
 */
import { type ByteString, isZero } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { BLOCK_SIZE, MAX_GLOBAL_RECORDS, MAX_PATH_LENGTH, MAX_PAX_SIZE, RawHeader, TYPEFLAG } from "./format.ts";
import { assertChecksum, dialectOf, gnuTail, headerSize, parseHeader, textField } from "./header.ts";
import { parseNumber } from "./numbers.ts";
import { type PaxRecord, parsePax } from "./pax.ts";
import { takeMap, takeOldMap, unwrap } from "./read-sparse.ts";
import { checkSegments, parsePaxSparse, type SparseSegment } from "./sparse.ts";
import { fill, type Input, padding, pass, position, type Steps, type TarEvent, take, truncated } from "./steps.ts";

export interface TarOptions {
  /** Names the archive in errors. Default: `tar archive`. */
  readonly what?: string;
  /**
   * Accept an archive that ends where a header could stand, with no zero block: for bytes whose digest is known, since
   * such an end cannot be told from truncation. Default: false.
   */
  readonly allowMissingEnd?: boolean;
  /**
   * What follows the two zero blocks: `ignored`, as GNU tar has it; or `zeros`, since anything else is lost, such as the
   * second of two archives that were put together with `cat`. Default: `ignored`.
   */
  readonly afterEnd?: "ignored" | "zeros";
}

export interface TarParser {
  /**
   * Takes the next bytes of the archive. All events of the bytes before must have been taken; they may be overwritten
   * or given back by then.
   */
  push(chunk: Uint8Array): void;
  /** The next event, or undefined where more bytes are needed or the archive is over. */
  next(): TarEvent | undefined;
  /** Bytes that may be skipped instead of pushed, where `next` has just given undefined: what is left of a content. */
  readonly skippable: number;
  /** Passes over bytes that are not pushed, at most {@link skippable}; for archives that can be read anywhere. */
  skip(length: number): void;
  /** Says that no more bytes come. Throws FormatError `truncated` where some are missing. */
  end(): void;
}

/**
 * A synchronous parser that bytes are pushed into. Errors: FormatError `truncated`, `bad-checksum`, `bad-number`,
 * `bad-path`, `bad-pax`, `bad-xattr`, `bad-sparse`, `too-large`, `lone-zero-block`, `trailing-bytes`; UnsupportedError
 * `tar-type`, `star-sparse`.
 * Once it has thrown it is over.
 */
export function tarParser(options: TarOptions = {}): TarParser {
  const input: Input = { chunk: new Uint8Array(0), at: 0, start: 0, ended: false, passing: 0, skipped: 0 };
  const steps = parseArchive(input, options);
  return {
    push(chunk) {
      if (input.at < input.chunk.length) throw new TypeError("push: events of the last chunk were not taken");
      input.start += input.at; // not the chunk's length: its memory may have been given back
      input.chunk = chunk;
      input.at = 0;
    },
    next() {
      const step = steps.next();
      return step.done ? undefined : step.value;
    },
    get skippable() {
      return input.passing;
    },
    skip(length) {
      if (length < 0 || length > input.passing) throw new RangeError(`skip: ${length} bytes of ${input.passing}`);
      input.skipped = length;
    },
    end() {
      input.ended = true;
      for (let step = steps.next(); !step.done; step = steps.next())
        if (step.value !== undefined) throw new TypeError("end: events of the last chunk were not taken");
    },
  };
}

/** What extension headers have said so far. */
interface Pending {
  local: PaxRecord[] | undefined;
  longName: ByteString | undefined;
  longLink: ByteString | undefined;
}

function* parseArchive(input: Input, options: TarOptions): Steps<void> {
  const { what = "tar archive", allowMissingEnd = false, afterEnd = "ignored" } = options;
  let globals: PaxRecord[] = [];
  let pending: Pending = { local: undefined, longName: undefined, longLink: undefined };
  for (;;) {
    const headerOffset = position(input);
    const inHeader = () => `${what}: header at ${headerOffset}`;
    const isPending = pending.local !== undefined || pending.longName !== undefined || pending.longLink !== undefined;
    if (!(yield* fill(input))) {
      if (isPending || !allowMissingEnd) throw truncated(input, inHeader(), BLOCK_SIZE);
      return;
    }
    const header = yield* take(input, BLOCK_SIZE, inHeader);
    if (header[0] === 0 && isZero(header)) {
      if (isPending)
        throw new FormatError("truncated", `${inHeader()}: the archive ends after an extension header`, {
          offset: headerOffset,
        });
      return yield* passEnd(input, what, afterEnd);
    }
    assertChecksum(header, headerOffset, what);
    switch (RawHeader.view(header).typeflag[0]) {
      case TYPEFLAG.pax:
        pending.local = yield* takePax(input, header, headerOffset, what);
        break;
      case TYPEFLAG.paxGlobal:
        globals = mergeGlobals(globals, yield* takePax(input, header, headerOffset, what), headerOffset, what);
        break;
      case TYPEFLAG.gnuLongName:
        pending.longName = yield* takeLongName(input, header, headerOffset, what);
        break;
      case TYPEFLAG.gnuLongLink:
        pending.longLink = yield* takeLongName(input, header, headerOffset, what);
        break;
      case TYPEFLAG.gnuVolume: {
        const size = headerSize(header, headerOffset, what);
        yield* pass(input, size + padding(size), false, inHeader);
        break;
      }
      default:
        yield* parseEntry(input, header, headerOffset, globals, pending, what);
        pending = { local: undefined, longName: undefined, longLink: undefined };
    }
  }
}

/** After the first zero block: a second one or nothing. */
function* passEnd(input: Input, what: string, afterEnd: "ignored" | "zeros"): Steps<void> {
  if (!(yield* fill(input))) return;
  const offset = position(input);
  const second = yield* take(input, BLOCK_SIZE, () => `${what}: second zero block`);
  if (!isZero(second))
    throw new FormatError("lone-zero-block", `${what}: a header follows a single zero block at ${offset}`, { offset });
  while (yield* fill(input)) {
    const rest = input.chunk.subarray(input.at);
    if (afterEnd === "zeros" && !isZero(rest)) {
      const at = position(input) + rest.findIndex((byte) => byte !== 0);
      throw new FormatError("trailing-bytes", `${what}: other bytes follow the end of the archive, at ${at}`, {
        offset: at,
      });
    }
    input.at = input.chunk.length;
  }
}

function* takePax(input: Input, header: Uint8Array, headerOffset: number, what: string): Steps<PaxRecord[]> {
  const size = headerSize(header, headerOffset, what);
  const context = () => `${what}: PAX header at ${headerOffset}`;
  if (size > MAX_PAX_SIZE)
    throw new FormatError("too-large", `${context()} has ${size} bytes, more than ${MAX_PAX_SIZE}`, {
      offset: headerOffset,
      expected: MAX_PAX_SIZE,
      actual: size,
    });
  const bytes = (yield* take(input, size, context)).slice(); // records outlive the chunk
  yield* pass(input, padding(size), false, context);
  const records = parsePax(bytes);
  if (!Array.isArray(records))
    throw new FormatError("bad-pax", `${context()}: ${records.problem}`, {
      offset: headerOffset + BLOCK_SIZE + records.offset,
    });
  return records;
}

/** Later global headers add to earlier ones and win over them. */
function mergeGlobals(
  old: readonly PaxRecord[],
  added: readonly PaxRecord[],
  offset: number,
  what: string,
): PaxRecord[] {
  const merged = new Map([...old, ...added].map((record) => [record.key, record]));
  if (merged.size > MAX_GLOBAL_RECORDS)
    throw new FormatError("too-large", `${what}: more than ${MAX_GLOBAL_RECORDS} global PAX records at ${offset}`, {
      offset,
    });
  let size = 0;
  for (const { key, value } of merged.values()) size += key.length + value.length;
  if (size > MAX_PAX_SIZE)
    throw new FormatError("too-large", `${what}: global PAX records at ${offset} pass ${MAX_PAX_SIZE} bytes together`, {
      offset,
    });
  // Each kept record holds the buffer of its header, so copies are kept.
  return [...merged.values()].map(({ key, value }) => ({ key, value: value.slice() }));
}

function* takeLongName(input: Input, header: Uint8Array, headerOffset: number, what: string): Steps<ByteString> {
  const size = headerSize(header, headerOffset, what);
  const context = () => `${what}: long name at ${headerOffset}`;
  if (size > MAX_PATH_LENGTH + 1)
    throw new FormatError("bad-path", `${context()} has ${size} bytes, more than ${MAX_PATH_LENGTH}`, {
      offset: headerOffset,
    });
  const name = textField(yield* take(input, size, context));
  yield* pass(input, padding(size), false, context);
  return name;
}

function* parseEntry(
  input: Input,
  header: Uint8Array,
  headerOffset: number,
  globals: readonly PaxRecord[],
  pending: Pending,
  what: string,
): Steps<void> {
  const records = pending.local === undefined ? globals : [...globals, ...pending.local];
  const { longName, longLink } = pending;
  let entry = parseHeader(header, headerOffset, { records, longName, longLink }, what);
  const stored = entry.storedSize; // with the map of sparse format 1.0
  let segments: SparseSegment[] | undefined;
  let mapSize = 0;
  if (entry.type === "file") {
    const fail = (problem: string): never => {
      throw new FormatError("bad-sparse", `${what}: entry at ${headerOffset}: ${problem}`, { offset: headerOffset });
    };
    const context = () => `${what}: sparse map of the entry at ${headerOffset}`;
    const isOldSparse = RawHeader.view(header).typeflag[0] === TYPEFLAG.gnuSparse && dialectOf(header) === "gnu";
    const sparse = isOldSparse ? undefined : records.length === 0 ? undefined : parsePaxSparse(records);
    if (typeof sparse === "string") return fail(sparse);
    if (isOldSparse) {
      const size = parseNumber(gnuTail(header).realsize) ?? fail("realsize is no number");
      const map = yield* takeOldMap(input, header, fail, context);
      entry = { ...entry, size };
      segments = unwrap(checkSegments(map, size, stored), fail);
    } else if (sparse !== undefined) {
      const map = sparse.major === 0 ? sparse.segments : [];
      if (sparse.major === 1) mapSize = yield* takeMap(input, stored, map, fail, context);
      entry = { ...entry, path: sparse.name ?? entry.path, size: sparse.realSize, storedSize: stored - mapSize };
      segments = unwrap(checkSegments(map, sparse.realSize, stored - mapSize), fail);
      if (entry.path.length > MAX_PATH_LENGTH || entry.path.includes("\0")) fail("GNU.sparse.name is no path");
    }
  }
  yield { kind: "entry", entry: { ...entry, contentOffset: position(input), segments } };
  const inContent = () => `${what}: content of the entry at ${headerOffset}`;
  yield* pass(input, stored - mapSize, true, inContent);
  yield* pass(input, padding(stored), false, inContent);
}
