// Spoils test input on purpose, knowing its structure: binary by the field tables, text by lines and words, JSON by values.
// The same seed gives the same inputs, so the number of a case is enough to have it again.

/** Numbers that look random and are the same for the same seed. */
export interface Random {
  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number;
  pick<T>(list: readonly T[]): T;
  bytes(size: number): Uint8Array;
  /** A copy in another order. */
  shuffle<T>(list: readonly T[]): T[];
}

/** The generator sfc32 (PractRand), started from a text. */
export function seededRandom(seed: string): Random {
  let [a, b, c, counter] = [0x9e3779b9, 0x243f6a88, 0xb7e15162, 1];
  for (const character of seed) a = Math.imul(a ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  function next(): number {
    const result = (a + b + counter) >>> 0;
    counter = (counter + 1) >>> 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) >>> 0;
    c = (((c << 21) | (c >>> 11)) + result) >>> 0;
    return result;
  }
  for (let i = 0; i < 16; i++) next();
  const below = (limit: number): number => next() % limit;
  return {
    below,
    pick<T>(list: readonly T[]): T {
      if (list.length === 0) throw new RangeError("nothing to pick from");
      return list[below(list.length)] as T; // in range
    },
    bytes: (size) => Uint8Array.from({ length: size }, () => below(256)),
    shuffle<T>(list: readonly T[]): T[] {
      const result = [...list];
      for (let i = result.length - 1; i > 0; i--) {
        const j = below(i + 1);
        [result[i], result[j]] = [result[j] as T, result[i] as T]; // in range
      }
      return result;
    },
  };
}

const copyBytes = (bytes: Uint8Array): Uint8Array => new Uint8Array(bytes); // slice() of a Buffer would be a view

/** A field table as `defineStruct` gives it. */
export interface Table {
  readonly name: string;
  readonly size: number;
  readonly fields: Readonly<Record<string, TableField>>;
}

interface TableField {
  readonly offset: number;
  readonly size: number;
  read(view: DataView): unknown;
  // biome-ignore lint/suspicious/noExplicitAny: fields of all types come through here, and `unknown` refuses their writers
  write(view: DataView, value: any): void;
}

/** Where a structure lies in an input. */
export interface Placement {
  readonly struct: Table;
  /** Bytes. */
  readonly offset: number;
}

export interface Mutant {
  /** What was done, for people. */
  readonly what: string;
  readonly bytes: Uint8Array;
}

interface Patch {
  readonly what: string;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** How a field holds a number; found by writing a 1, so that the table stays the only place that knows. */
function layoutOf({ offset, size, read, write }: TableField): "little" | "big" | "bytes" | "text" {
  const scratch = new Uint8Array(offset + size);
  const view = new DataView(scratch.buffer);
  try {
    const zero = read(view);
    if (zero instanceof Uint8Array) return "bytes";
    write(view, typeof zero === "bigint" ? 1n : 1);
  } catch {
    return "text"; // zeros are no digits
  }
  if (scratch[offset] === 1) return "little";
  return scratch[offset + size - 1] === 1 ? "big" : "text";
}

function integerBytes(value: bigint, size: number, little: boolean): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let i = 0, rest = BigInt.asUintN(8 * size, value); i < size; i++, rest >>= 8n)
    bytes[little ? i : size - 1 - i] = Number(rest & 0xffn);
  return bytes;
}

function integerOf(bytes: Uint8Array, little: boolean): bigint {
  let value = 0n;
  for (let i = 0; i < bytes.length; i++) value = (value << 8n) | BigInt(bytes[little ? bytes.length - 1 - i : i]!); // in range
  return value;
}

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));
const filled = (size: number, byte: number): Uint8Array => new Uint8Array(size).fill(byte);

/** A number as a field of text holds it; nothing where it holds none. */
function textOf({ offset, size, write }: TableField, value: number): Uint8Array {
  const scratch = new Uint8Array(offset + size);
  try {
    write(new DataView(scratch.buffer), value);
  } catch {
    return new Uint8Array(0);
  }
  return scratch.subarray(offset);
}

/** Texts that a field of digits may hold, right and wrong; octal, decimal, hexadecimal and base-256 among them. */
function digitTexts(size: number): Uint8Array[] {
  const fit = (text: string) => ascii(text.slice(0, size).padEnd(size, "\0"));
  const full = ["0", "1", "7", "8", "9", "f", "F", " ", "-", "+", "x"].map((digit) => ascii(digit.repeat(size)));
  const right = ["1", "10", "-1", "0x10", " 7 ", "7\0", "1e9"].map(fit);
  const left = ascii("1".padStart(size, "0"));
  const base256 = [0x80, 0xff].flatMap((first) => [0, 1, 0x7f, 0xff].map((rest) => set(filled(size, rest), 0, first)));
  return [...full, ...right, left, ...base256, filled(size, 0)];
}

function set(bytes: Uint8Array, at: number, value: number): Uint8Array {
  if (at < bytes.length) bytes[at] = value;
  return bytes;
}

/** Each field at 0, 1, the largest value, the one below, the sign bit, the size of the input, and one off what it is. */
function fieldPatches(seed: Uint8Array, placements: readonly Placement[]): Patch[] {
  const patches: Patch[] = [];
  for (const { struct, offset } of placements)
    for (const [key, field] of Object.entries(struct.fields)) {
      const at = offset + field.offset;
      const { size } = field;
      if (at + size > seed.length) continue;
      const what = `${struct.name}.${key} at ${at}`;
      const add = (bytes: Uint8Array, how: string) => patches.push({ what: `${what}: ${how}`, offset: at, bytes });
      const now = seed.subarray(at, at + size);
      const layout = layoutOf(field);
      if (layout === "little" || layout === "big" || (layout === "bytes" && size <= 8)) {
        const little = layout !== "big";
        const value = integerOf(now, little);
        const bits = BigInt(8 * size);
        const values = [0n, 1n, 2n, (1n << bits) - 1n, (1n << bits) - 2n, 1n << (bits - 1n), (1n << (bits - 1n)) - 1n];
        values.push(value + 1n, value - 1n, value << 1n, BigInt(seed.length), BigInt(seed.length) - 1n);
        if (size === 8) values.push(1n << 53n, (1n << 53n) - 1n, 1n << 32n);
        for (const number of values)
          add(integerBytes(number, size, little), `0x${BigInt.asUintN(8 * size, number).toString(16)}`);
      } else if (layout === "text") {
        for (const value of [0, 1, 2, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 2, 2 ** 32 - 1, seed.length, seed.length - 1])
          add(textOf(field, value), String(value));
      } else {
        for (const byte of [0x00, 0xff, 0x80, 0x41, 0x2f]) add(filled(size, byte), `all 0x${byte.toString(16)}`);
        for (const place of [0, size - 1]) add(set(copyBytes(now), place, now[place]! ^ 1), `bit 0 of byte ${place}`);
      }
      const isDigits = now.every((byte) => byte === 0 || byte === 0x20 || (byte >= 0x30 && byte <= 0x66));
      if (layout === "text" || (layout === "bytes" && size <= 32 && isDigits))
        for (const text of digitTexts(size)) add(text, JSON.stringify(String.fromCharCode(...text)));
    }
  return patches;
}

function patched(bytes: Uint8Array, { offset, bytes: patch }: Patch): Uint8Array {
  const result = copyBytes(bytes);
  result.set(patch, offset);
  return result;
}

/** Changes that need no knowledge of the structure. */
function blindly(seed: Uint8Array, random: Random): Mutant {
  const { length } = seed;
  const start = random.below(length + 1);
  const size = 1 + random.below(Math.min(4096, length + 1));
  const part = seed.subarray(start, start + size);
  const join = (...parts: readonly Uint8Array[]) => Uint8Array.from(Buffer.concat(parts));
  switch (random.below(9)) {
    case 0: {
      const bytes = copyBytes(seed);
      const count = 1 + random.below(16);
      for (let i = 0; i < count && length > 0; i++) bytes[random.below(length)]! ^= 1 << random.below(8);
      return { what: `${count} bits flipped`, bytes };
    }
    case 1: {
      const bytes = copyBytes(seed);
      const count = 1 + random.below(8);
      for (let i = 0; i < count && length > 0; i++) bytes[random.below(length)] = random.below(256);
      return { what: `${count} bytes random`, bytes };
    }
    case 2:
      return { what: `cut off at ${start}`, bytes: seed.slice(0, start) };
    case 3: {
      const more = random.bytes(size);
      return { what: `${size} bytes more`, bytes: join(seed, random.below(2) === 0 ? more : filled(size, 0)) };
    }
    case 4:
      return {
        what: `${part.length} bytes at ${start} twice`,
        bytes: join(seed.subarray(0, start), part, seed.subarray(start)),
      };
    case 5:
      return {
        what: `${part.length} bytes at ${start} gone`,
        bytes: join(seed.subarray(0, start), seed.subarray(start + size)),
      };
    case 6: {
      const block = random.pick([16, 32, 128, 512, 4096]);
      const blocks = Math.floor(length / block);
      if (blocks < 2) return { what: "nothing", bytes: copyBytes(seed) };
      const [a, b] = [random.below(blocks) * block, random.below(blocks) * block];
      const bytes = copyBytes(seed);
      bytes.set(seed.subarray(a, a + block), b);
      bytes.set(seed.subarray(b, b + block), a);
      return { what: `${block} bytes at ${a} and ${b} swapped`, bytes };
    }
    case 7: {
      const bytes = copyBytes(seed);
      const to = random.below(length + 1);
      bytes.set(part.subarray(0, length - to), to);
      return { what: `${part.length} bytes of ${start} over those at ${to}`, bytes };
    }
    default: {
      const byte = random.pick([0x00, 0xff, 0x20, 0x0a, 0x30]);
      const bytes = copyBytes(seed);
      bytes.fill(byte, start, start + size);
      return { what: `${size} bytes at ${start} are 0x${byte.toString(16)}`, bytes };
    }
  }
}

/**
 * Without end: every field at each of its limits in random order, then several at once, and between them changes that
 * know no structure.
 */
export function* mutateBytes(seed: Uint8Array, placements: readonly Placement[], random: Random): Generator<Mutant> {
  const patches = random.shuffle(fieldPatches(seed, placements));
  for (let next = 0; ; ) {
    if (patches.length > 0 && random.below(4) > 0) {
      const single = patches[next++];
      if (single !== undefined) {
        yield { what: single.what, bytes: patched(seed, single) };
        continue;
      }
      const chosen = Array.from({ length: 2 + random.below(3) }, () => random.pick(patches));
      yield { what: chosen.map(({ what }) => what).join(", "), bytes: chosen.reduce(patched, seed) };
    } else {
      const first = blindly(seed, random);
      yield random.below(4) === 0 ? { what: `${first.what}, more`, bytes: blindly(first.bytes, random).bytes } : first;
    }
  }
}

const NUMBERS = [
  "0",
  "-1",
  "1",
  "07",
  "0x10",
  "1e308",
  "-0",
  "NaN",
  "9".repeat(400),
  "18446744073709551616",
  "4294967296",
];
/** One character a byte, as in the texts below. */
const AWKWARD = [
  "\0",
  "\x1b[2J",
  "\r",
  "\t",
  "\x7f",
  "\xff\xfe",
  "\xc3",
  "'",
  '"',
  "\\",
  "=",
  ":",
  "/",
  "..",
  "#",
  "%",
  "[",
  "{",
  "\xe2\x80\xa8",
];
/** Characters that a run is made of, to find what takes the square of it. */
const RUNS = ["a", " ", "/", "\0", "=", "\\", '"', "'", ".", "-", ":", "[", "a.", "0", ",", "\t", "{", "../"];

/** One change of a text, whose characters are bytes. */
function changeText(text: string, random: Random): string {
  const lines = text.split("\n");
  const line = random.below(lines.length);
  const words = (lines[line] ?? "").split(/(\s+|[=:,"'%/])/);
  const word = random.below(words.length);
  const withWord = (value: string): string => {
    words[word] = value;
    lines[line] = words.join("");
    return lines.join("\n");
  };
  const at = random.below(text.length + 1);
  const insert = (value: string): string => text.slice(0, at) + value + text.slice(at);
  switch (random.below(13)) {
    case 0:
      lines.splice(random.below(lines.length + 1), 0, lines[line] ?? "");
      return lines.join("\n");
    case 1:
      lines.splice(line, 1);
      return lines.join("\n");
    case 2:
      return withWord(`${words[word]}${words[word]}`);
    case 3:
      return withWord("");
    case 4:
      return withWord(random.pick(NUMBERS));
    case 5:
      return withWord(random.pick(words));
    case 6:
      return insert(random.pick(AWKWARD));
    case 7:
      return insert(random.pick(RUNS).repeat(random.pick([10, 300, 5000, 70_000])) + random.pick(["", "x", "\n"]));
    case 8:
      return `${lines[line]?.slice(0, MAX_TEXT / 3000)}\n`.repeat(random.pick([2, 100, 3000]));
    case 9:
      return text.slice(0, at);
    case 10:
      return text.replaceAll("\n", random.pick(["\r\n", "\0", " ", "\n\n"]));
    case 11:
      return insert(String.fromCharCode(...random.bytes(1 + random.below(8))));
    default:
      return random.shuffle(lines).join("\n");
  }
}

/** Longer texts than this are not made longer: the square of something shows before. */
const MAX_TEXT = 512 * 1024; // bytes

/** Without end: one to four changes of lines, words and characters. */
export function* mutateText(seed: Uint8Array | string, random: Random): Generator<Mutant> {
  const text = Buffer.from(seed).toString("latin1");
  for (;;) {
    let changed = text;
    const count = 1 + random.below(4);
    for (let i = 0; i < count; i++) changed = changeText(changed, random).slice(0, MAX_TEXT);
    yield { what: `text, ${count} changes`, bytes: Uint8Array.from(Buffer.from(changed, "latin1")) };
  }
}

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Bytes that repetition makes at most; readers take documents of 4 MiB. */
const MAX_JSON = 2 * 1024 * 1024;

/** Stands for what `JSON.stringify` would not write: a nesting that only text can have. */
const DEEP = "\u0001deep";
const DEPTH = 100_000;

const sizeOf = (value: Json): number => JSON.stringify(value).length;

/** Another value than this one; copies of it are copies, so that a further change meets one of them. */
function otherValue(value: Json, random: Random): Json {
  const others: readonly (readonly Json[])[] = [
    [null, true, false, 0, -1, 1.5, 1e308, 2 ** 53],
    ["", "\0", "\n\x1b[2J\u202e", "../../x", "x".repeat(100_000), DEEP],
    [[], {}, [value], { value }],
  ];
  if (random.below(8) === 0) {
    const count = Math.min(20_000, Math.ceil(MAX_JSON / (1 + sizeOf(value))));
    return Array.from({ length: count }, () => structuredClone(value));
  }
  if (typeof value === "string" && random.below(2) === 0)
    return random.pick([
      `${value}${value}`,
      value.slice(1),
      value.toUpperCase(),
      `${value}\n`,
      `${"a.".repeat(50_000)}:`,
    ]);
  if (typeof value === "number" && random.below(2) === 0)
    return random.pick([value + 1, -value, String(value), value * 1e6]);
  return random.pick(random.pick(others));
}

/** Every place of a document: what holds it and under which key. */
function placesOf(value: Json, found: { holder: Record<string, Json>; key: string }[] = []) {
  if (typeof value === "object" && value !== null)
    for (const key of Object.keys(value)) {
      const holder = value as Record<string, Json>; // an array's indexes are keys too
      found.push({ holder, key });
      placesOf(holder[key] ?? null, found);
    }
  return found;
}

function changeJson(document: { root: Json }, random: Random): string {
  const { holder, key } = random.pick(placesOf(document as unknown as Json));
  const value = holder[key] ?? null;
  switch (random.below(6)) {
    case 0:
      if (Array.isArray(holder)) holder.splice(Number(key), 1);
      else if (holder !== (document as unknown)) delete holder[key];
      return `${key} gone`;
    case 1: {
      if (Array.isArray(holder)) {
        holder.push(otherValue(value, random));
        return "an element more";
      }
      const name = random.pick([
        "__proto__",
        "constructor",
        "toString",
        "",
        "\n",
        "x".repeat(1000),
        "config",
        "manifests",
      ]);
      Object.defineProperty(holder, name, {
        value: otherValue(value, random),
        enumerable: true,
        configurable: true,
        writable: true,
      });
      return `${JSON.stringify(name.slice(0, 20))} beside ${key}`;
    }
    case 2: {
      const other = random.pick(placesOf(document as unknown as Json));
      holder[key] = structuredClone(other.holder[other.key] ?? null);
      return `${other.key} for ${key}`;
    }
    default:
      holder[key] = otherValue(value, random);
      return `another ${key}`;
  }
}

/** Without end: values of other types and sizes, members gone, added and twice, deep nesting; and the text spoiled. */
export function* mutateJson(seed: string, random: Random): Generator<Mutant> {
  const texts = mutateText(seed, random);
  for (;;) {
    if (random.below(5) === 0) {
      const { value } = texts.next();
      if (value !== undefined) yield value;
      continue;
    }
    const document = { root: JSON.parse(seed) as Json };
    const done = Array.from({ length: 1 + random.below(2) }, () => changeJson(document, random));
    let text = JSON.stringify(document.root).slice(0, 4 * MAX_JSON);
    let deep = 0;
    text = text.replaceAll(JSON.stringify(DEEP), () =>
      deep++ > 2 ? "0" : random.pick(["[", '{"a":']).repeat(DEPTH) + random.pick(["", "]".repeat(DEPTH)]),
    );
    if (random.below(8) === 0) {
      const member = /"[^"\\]{1,40}":/.exec(text)?.[0];
      if (member !== undefined)
        text = text.replace(member, () => `${member}${random.pick(["null", "[]", '"x"', "{}"])},${member}`);
      done.push("a key twice");
    }
    yield { what: done.join(", "), bytes: Uint8Array.from(Buffer.from(text)) };
  }
}
