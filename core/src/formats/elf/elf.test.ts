import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { concatBytes, encodeUtf8 } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { IDENT_SIZE, RawIdent, TABLES } from "./format.ts";
import { isElf, parseElf } from "./index.ts";

interface Sample {
  readonly class: 1 | 2;
  readonly order: 1 | 2;
  readonly dlopen?: string;
}

const STRINGS = "\0libone.so.1\0libtwo.so\0libself.so.3\0$ORIGIN/../lib:/opt/lib\0";
const ADDRESS = 0x10000;

/** A file that has everything we read: interpreter, dynamic section, strings, a note. */
function sample({
  class: bits,
  order,
  dlopen = '[{"soname":["libx.so.1","libx.so.0"],"priority":"recommended","feature":"x"}]',
}: Sample): Uint8Array {
  const tables = TABLES[bits][order];
  const value = (number: number) => (bits === 1 ? number : BigInt(number)) as never;
  const interpreter = encodeUtf8("/lib/ld.so\0");
  const strings = encodeUtf8(STRINGS);
  const description = encodeUtf8(dlopen);
  const note = concatBytes(
    tables.note.encode({ nameSize: 4, descriptionSize: description.length, type: 0x407c0c0a }),
    encodeUtf8("FDO\0"),
    description,
    new Uint8Array(-description.length & 3),
  );
  const at = (text: string) => STRINGS.indexOf(text);
  const start = IDENT_SIZE + tables.header.size + 4 * tables.segment.size;
  const stringsAt = start + interpreter.length;
  const entries: [number, number][] = [
    [1, at("libone")],
    [1, at("libtwo")],
    [14, at("libself")],
    [29, at("$ORIGIN")],
    [5, ADDRESS + stringsAt],
    [10, strings.length],
    [0x6ffffffb, 1],
    [0, 0],
    [1, 9999],
  ];
  const dynamic = concatBytes(
    ...entries.map(([tag, number]) => tables.dynamic.encode({ tag: value(tag), value: value(number) })),
  );
  const noteAt = stringsAt + strings.length + dynamic.length;
  const size = noteAt + note.length;
  const segment = (type: number, offset: number, fileSize: number) =>
    tables.segment.encode({
      type,
      flags: 4,
      offset,
      address: ADDRESS + offset,
      physicalAddress: value(0),
      fileSize,
      memorySize: value(fileSize),
      alignment: value(4),
    });
  return concatBytes(
    RawIdent.encode({
      magic: encodeUtf8("\x7fELF"),
      class: bits,
      order,
      version: 1,
      abi: 0,
      abiVersion: 0,
      padding: new Uint8Array(7),
    }),
    tables.header.encode({
      type: 3,
      machine: 62,
      version: 1,
      entry: value(0),
      programHeaders: IDENT_SIZE + tables.header.size,
      sectionHeaders: value(0),
      flags: 0,
      headerSize: IDENT_SIZE + tables.header.size,
      programHeaderSize: tables.segment.size,
      programHeaderCount: 4,
      sectionHeaderSize: 0,
      sectionHeaderCount: 0,
      sectionNames: 0,
    }),
    segment(3, start, interpreter.length),
    segment(1, 0, size),
    segment(2, stringsAt + strings.length, dynamic.length),
    segment(4, noteAt, note.length),
    interpreter,
    strings,
    dynamic,
    note,
  );
}

for (const bits of [1, 2] as const)
  for (const order of [1, 2] as const)
    test(`${bits * 32} bits, ${order === 1 ? "little" : "big"}-endian`, () => {
      assert.deepEqual(parseElf(sample({ class: bits, order })), {
        bits: bits * 32,
        littleEndian: order === 1,
        machine: 62,
        interpreter: "/lib/ld.so",
        soname: "libself.so.3",
        needed: ["libone.so.1", "libtwo.so"],
        runpath: ["$ORIGIN/../lib", "/opt/lib"],
        rpath: [],
        dlopen: [{ feature: "x", priority: "recommended", sonames: ["libx.so.1", "libx.so.0"] }],
      });
    });

test("a dlopen note may hold what is not known yet, but must be JSON", () => {
  const dlopen = (text: string) => parseElf(sample({ class: 2, order: 1, dlopen: text })).dlopen;
  assert.deepEqual(dlopen('[{"soname":["a.so"],"future":1},{"soname":["../b"]},7,{}]'), [
    { feature: undefined, priority: undefined, sonames: ["a.so"] },
  ]);
  assert.throws(() => dlopen("[{"), { code: "bad-elf" });
  assert.throws(() => dlopen("{}"), { code: "bad-elf" });
});

test("any bytes give a value or one of our errors", () => {
  const bytes = sample({ class: 2, order: 1 });
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.uint8Array({ minLength: 1, maxLength: 16 }), (at, noise) => {
      const copy = bytes.slice();
      copy.set(noise.subarray(0, copy.length - at), at);
      for (const input of [copy, copy.subarray(0, at)])
        try {
          parseElf(input);
        } catch (error) {
          assert.ok(isAshlarError(error), String(error));
        }
    }),
    { numRuns: 1000 },
  );
});

test("programs of this machine read as readelf reads them", (t) => {
  if (spawnSync("readelf", ["--version"]).status !== 0) return t.skip("readelf is not installed");
  const programs = ["/usr/bin", "/usr/lib/systemd"]
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder).map((name) => `${folder}/${name}`))
    .filter((path) => existsSync(path) && statSync(path).isFile() && statSync(path).size < 4e6)
    .filter((path) => isElf(readFileSync(path)))
    .slice(0, 60);
  for (const path of programs) {
    const text = spawnSync("readelf", ["-Wld", path], { encoding: "latin1" }).stdout;
    const { needed, interpreter, runpath, rpath } = parseElf(readFileSync(path));
    const all = (pattern: RegExp) => [...text.matchAll(pattern)].map((match) => match[1]);
    assert.deepEqual(needed, all(/\(NEEDED\).*\[(.*)\]/g), path);
    assert.equal(interpreter, all(/interpreter: (.*)\]/g)[0], path);
    assert.deepEqual(
      [...runpath, ...rpath],
      all(/\((?:RUNPATH|RPATH)\).*\[(.*)\]/g).flatMap((p) => p!.split(":")),
      path,
    );
  }
  assert.ok(programs.length > 0);
});
