import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { isAshlarError } from "../../errors/index.ts";
import { isElf, parseElf } from "./index.ts";
import { sampleElf } from "./sample.ts";

/** A file that has everything we read. */
function sample(bits: 1 | 2, order: 1 | 2, dlopen = DLOPEN): Uint8Array {
  return sampleElf({
    bits,
    order,
    interpreter: "/lib/ld.so",
    soname: "libself.so.3",
    needed: ["libone.so.1", "libtwo.so"],
    runpath: "$ORIGIN/../lib:/opt/lib",
    dlopen,
  });
}

const DLOPEN = '[{"soname":["libx.so.1","libx.so.0"],"priority":"recommended","feature":"x"}]';

for (const bits of [1, 2] as const)
  for (const order of [1, 2] as const)
    test(`${bits * 32} bits, ${order === 1 ? "little" : "big"}-endian`, () => {
      assert.deepEqual(parseElf(sample(bits, order)), {
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
  const dlopen = (text: string) => parseElf(sample(2, 1, text)).dlopen;
  assert.deepEqual(dlopen('[{"soname":["a.so"],"future":1},{"soname":["../b"]},7,{}]'), [
    { feature: undefined, priority: undefined, sonames: ["a.so"] },
  ]);
  assert.throws(() => dlopen("[{"), { code: "bad-elf" });
  assert.throws(() => dlopen("{}"), { code: "bad-elf" });
});

test("any bytes give a value or one of our errors", () => {
  const bytes = sample(2, 1);
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
