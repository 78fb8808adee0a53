import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ByteString, encodeUtf8 } from "../../bytes/index.ts";
import type { UnsupportedError } from "../../errors/index.ts";
import { Automaton } from "./automaton.ts";
import { matchesByTrying } from "./backtrack.ts";
import { compileContexts, type PolicyFiles, parseFileContexts, parseSubstitutions, policyName } from "./index.ts";
import { parseRegex, type Regex } from "./regex.ts";

const path = (text: string): ByteString => text as ByteString;

/** Patterns whose meaning JavaScript shares, as text. */
const pattern = fc.letrec<{ whole: string; item: string; atom: string }>((tie) => ({
  whole: fc.array(tie("item"), { maxLength: 4 }).map((items) => items.join("")),
  item: fc
    .tuple(tie("atom"), fc.constantFrom("", "", "", "*", "+", "?", "{2}", "{1,2}", "{0,}", "*?", "+?"))
    .map(([atom, quantifier]) => atom + quantifier),
  atom: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom("a", "b", "c", "/", ".", "\\.", "[ab]", "[^a/]", "[a-c]", "\\d", "\\w", "[\\w.]", "\\x62", "0"),
    tie("whole").map((text) => `(${text})`),
    fc.tuple(tie("whole"), tie("whole")).map(([a, b]) => `(${a}|${b})`),
    fc.tuple(tie("whole"), tie("whole")).map(([a, b]) => `(?:${a}|${b})`),
  ),
})).whole;

const text = fc.string({ unit: fc.constantFrom(..."aabbc/.0\n\xff"), maxLength: 10 });

/** Undefined where it takes too many steps. */
function tried(regex: Regex, text: string): boolean | undefined {
  try {
    return matchesByTrying(regex, text, 0);
  } catch (error) {
    assert.equal((error as UnsupportedError).code, "selinux-regex");
    return undefined;
  }
}

test("patterns mean what they mean to JavaScript, where the two agree", () => {
  fc.assert(
    fc.property(pattern, fc.array(text, { minLength: 1, maxLength: 8 }), (source, texts) => {
      const expected = new RegExp(`^(?:${source})$`, "s");
      const regex = parseRegex(source);
      const automaton = new Automaton({ used: 0 });
      automaton.add(regex, 7);
      for (const one of texts) {
        const matches = expected.test(one);
        assert.equal(automaton.match(one, 0), matches ? 7 : -1, `${source} on ${JSON.stringify(one)}`);
        assert.equal(tried(regex, one) ?? matches, matches, `${source} tried on ${JSON.stringify(one)}`);
      }
    }),
    { numRuns: 500 },
  );
});

test("look-ahead", () => {
  for (const [source, yes, no] of [
    ["/a(?!b).*", ["/ac", "/a"], ["/ab", "/abc"]],
    ["/(?=.*x)[a-z]+", ["/abxc"], ["/abc", "/"]],
  ] as const) {
    for (const one of yes) assert.ok(matchesByTrying(parseRegex(source), one, 0), `${source} ${one}`);
    for (const one of no) assert.ok(!matchesByTrying(parseRegex(source), one, 0), `${source} ${one}`);
  }
});

test("classes of POSIX, and braces that are no counts", () => {
  for (const [source, one, matches] of [
    ["[[:alpha:]_]+", "aZ_", true],
    ["[[:alpha:]]+", "a1", false],
    ["[[:^digit:]]", "5", false],
    ["[]a]+", "]a", true],
    ["[^]a]", "]", false],
    ["[a\\]]+", "a]", true],
    ["[a-]+", "-a", true],
    ["x{,2}", "x{,2}", true],
    ["\\S+", "a b", false],
    ["\\D", "\xb2", true],
  ] as const) {
    const automaton = new Automaton({ used: 0 });
    automaton.add(parseRegex(source), 0);
    assert.equal(automaton.match(one, 0) === 0, matches, `${source} on ${one}`);
  }
});

for (const bad of [
  "(",
  ")",
  "[a",
  "[b-a]",
  "*a",
  "a**",
  "a++",
  "a{3,2}",
  "a{2000}",
  "\\",
  "\\1",
  "(?<=a)",
  "(?>a)",
  "(?i)a",
  "[[:none:]]",
  "^*",
  "\\Qa",
  "(*FAIL)",
])
  test(`the pattern ${bad} is refused`, () => {
    assert.throws(() => parseRegex(bad), { kind: "UnsupportedError", code: "selinux-regex" });
  });

test("patterns that take other engines for ever are over at once", () => {
  const automaton = new Automaton({ used: 0 });
  automaton.add(parseRegex("(a+)+b"), 0);
  automaton.add(parseRegex("(a|aa|a.)*c"), 1);
  assert.equal(automaton.match("a".repeat(4000), 0), -1);
  assert.throws(() => matchesByTrying(parseRegex("(?=(a+)+b)a*"), "a".repeat(60), 0), { code: "selinux-regex" });
  assert.throws(() => parseRegex(`${"(".repeat(200)}a${")".repeat(200)}`), { code: "selinux-regex" });
  const budget = { used: 0 };
  assert.throws(() => new Automaton(budget).add(parseRegex("(((a{1000}){1000}){1000}){1000}"), 0), {
    code: "selinux-regex",
  });
});

function policy(files: Partial<Record<keyof PolicyFiles, string>>): PolicyFiles {
  const specs = (key: "base" | "homedirs" | "local") => parseFileContexts(encodeUtf8(files[key] ?? ""), key);
  const subs = (key: "subs" | "subsDist") => parseSubstitutions(encodeUtf8(files[key] ?? ""));
  return {
    base: specs("base"),
    homedirs: specs("homedirs"),
    local: specs("local"),
    subs: subs("subs"),
    subsDist: subs("subsDist"),
  };
}

test("the two readings of a policy", () => {
  const files = policy({
    base: "# comment\n\n/.*\tu:default\n/usr/bin/x\t--\tu:literal\n/usr/bin/.*\tu:bin\n/usr/bin/dir -d u:dir\n/none <<none>>\n/none/.* u:below\n",
    homedirs: "/home/[^/]+ -d u:home\n/usr/bin/y u:home_y\n",
    local: "/usr/bin/y u:local_y\n/home/joe u:joe\n",
    subs: "/opt /usr\n",
    subsDist: "/usr/lib64 /usr/lib\n/x /\n/bin /usr/bin\n",
  });
  const theirs = compileContexts(files, "libselinux");
  const rust = compileContexts(files, "composefs-rs");
  for (const [at, type, expected, expectedRust] of [
    ["/", "directory", "u:default", "u:default"],
    ["/usr/bin/x", "file", "u:literal", "u:bin"], // what is spelled out wins
    ["/usr/bin/x", "directory", "u:bin", "u:bin"],
    ["/usr/bin/dir", "directory", "u:dir", "u:dir"],
    ["/usr/bin/y", "file", "u:local_y", "u:home_y"], // the order of the files
    ["/home/joe", "directory", "u:joe", "u:home"],
    ["/none", "file", undefined, undefined],
    ["/none/a", "file", "u:below", "u:below"],
    ["/opt/bin/x", "file", "u:literal", "u:default"], // substitutions are the caller's there
    ["/bin/x", "file", "u:literal", "u:default"],
    ["/binary", "file", "u:default", "u:default"],
    ["/x/usr/bin/x", "file", "u:literal", "u:default"],
  ] as const) {
    assert.equal(theirs.lookup(path(at), type), expected, at);
    assert.equal(rust.lookup(path(at), type), expectedRust, at);
  }
});

test("bad files are refused with their line", () => {
  for (const [bytes, message] of [
    ["/a\n", "f: line 1 has 1 fields"],
    ["\n/a -x u:t\n", "f: line 2 has the file type -x"],
    ["/a d u:t\n", "f: line 1 has the file type d"],
    ["/a -- u:t more\n", "f: line 1 has 4 fields"],
  ] as const)
    assert.throws(() => parseFileContexts(encodeUtf8(bytes), "f"), { kind: "FormatError", message });
});

test("the name of the policy", () => {
  assert.equal(policyName(encodeUtf8("# SELINUXTYPE=no\nSELINUX=enforcing\n SELINUXTYPE = targeted \n")), "targeted");
  assert.equal(policyName(encodeUtf8("SELINUX=disabled\n")), undefined);
  for (const bad of ["SELINUXTYPE=../etc\n", "SELINUXTYPE=\n", "SELINUXTYPE=a/b\n"])
    assert.throws(() => policyName(encodeUtf8(bad)), { code: "selinux-config" });
});
