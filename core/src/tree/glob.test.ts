import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fromUtf8 } from "../bytes/index.ts";
import { parseGlob } from "./index.ts";

const matches = (pattern: string, path: string): boolean => parseGlob(pattern).matches(fromUtf8(path));

test("names anywhere, paths from the root, all below", () => {
  const cases: [pattern: string, yes: string[], no: string[]][] = [
    ["*.xz", ["a.xz", "usr/lib/b.xz", ".xz"], ["a.xz/b", "xz"]],
    ["usr/bin/env", ["usr/bin/env"], ["bin/env", "x/usr/bin/env", "usr/bin/env2"]],
    ["/etc", ["etc"], ["usr/etc", "etc/passwd"]],
    ["usr/lib/", ["usr/lib/a", "usr/lib/a/b"], ["usr/libx/a", "a/usr/lib/b"]],
    ["firmware/", ["usr/lib/firmware/a", "firmware/b/c"], ["firmwares/a"]],
    ["usr/**/lib*.so", ["usr/libc.so", "usr/a/b/libc.so"], ["libc.so", "usr/libc.so.6"]],
    ["usr/**", ["usr/a", "usr/a/b"], ["usrx/a"]],
    ["a/*/c", ["a/b/c"], ["a/c", "a/b/b/c"]],
    ["*a*b*", ["ab", "xaxbx", "aab"], ["ba"]],
    ["?.txt", ["a.txt", "ü.txt"], ["ab.txt", ".txt"]],
    ["[a-c!][!x]", ["ay", "!y"], ["ax", "dy"]],
    ["\\*", ["*"], ["a"]],
    ["**", ["a", "a/b"], []],
  ];
  for (const [pattern, yes, no] of cases) {
    for (const path of yes) assert.ok(matches(pattern, path), `${pattern} and ${path}`);
    for (const path of no) assert.ok(!matches(pattern, path), `${pattern} and ${path}`);
  }
});

test("what is no pattern", () => {
  for (const pattern of ["", "/", "a/../b", "./a", "[a", "a\\"])
    assert.throws(() => parseGlob(pattern), { kind: "PolicyError", code: "bad-pattern" }, pattern);
});

test("as a regular expression says", () => {
  const letters = (characters: string, maxLength: number) =>
    fc.array(fc.constantFrom(...characters), { minLength: 1, maxLength }).map((all) => all.join(""));
  fc.assert(
    fc.property(letters("ab*?", 8), letters("ab", 10), (pattern, name) => {
      if (pattern === "**") return;
      const same = new RegExp(`^${pattern.replaceAll("?", ".").replaceAll("*", ".*")}$`);
      assert.equal(matches(pattern, name), same.test(name));
    }),
  );
});

test("a pattern of many runs takes no long time", () => {
  assert.equal(matches(`${"*a".repeat(2000)}b`, "a".repeat(4000)), false);
  assert.equal(matches(`${"**/a/".repeat(1000)}b`, "a/".repeat(2000)), false);
});
