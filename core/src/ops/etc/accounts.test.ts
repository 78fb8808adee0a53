import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { ByteString } from "../../bytes/index.ts";
import { mergeAccounts } from "./accounts.ts";

const merge = (name: string, base: string, local: string, next: string, winner: "local" | "image" = "local") => {
  const { text, conflicts } = mergeAccounts(name, base as ByteString, local as ByteString, next as ByteString, winner);
  return { text, conflicts: conflicts.map(({ kind, entry, what }) => `${kind} ${entry}: ${what}`) };
};

test("fields of an entry are merged one by one", () => {
  const base = "www:x:33:33:www:/var/www:/bin/false\n";
  const local = "www:x:33:33:www:/srv:/bin/false\n";
  const next = "www:x:33:33:web:/var/www:/bin/nologin\n";
  assert.deepEqual(merge("passwd", base, local, next), { text: "www:x:33:33:web:/srv:/bin/nologin\n", conflicts: [] });
});

test("a field that both changed is the winner's, and its value is not in the message", () => {
  const [base, local, next] = ["a:!:1::::::\n", "a:$y$mine:5::::::\n", "a:$y$theirs:9::::::\n"];
  const conflicts = ["both-changed a: field 2"];
  assert.deepEqual(merge("shadow", base, local, next), { text: local, conflicts });
  assert.deepEqual(merge("shadow", base, local, next, "image"), { text: next, conflicts });
});

test("the day of a change of password goes with the password, and is never contested", () => {
  const local = "a:$y$mine:20000::::::\n";
  assert.deepEqual(merge("shadow", "a:!:1::::::\n", local, "a:!:2::::::\n"), { text: local, conflicts: [] });
});

test("members that were added here stay, those of the image come, those removed here stay away", () => {
  assert.deepEqual(merge("group", "g:x:5:a,b\n", "g:x:5:b,ann\n", "g:x:5:a,b,svc\n"), {
    text: "g:x:5:b,svc,ann\n",
    conflicts: [],
  });
});

test("an entry that was removed here stays removed; that the image changed it is said", () => {
  assert.deepEqual(merge("group", "games:x:60:\n", "", "games:x:60:\n"), { text: "", conflicts: [] });
  assert.deepEqual(merge("group", "games:x:60:\n", "", "games:x:61:\n").conflicts, ["removed-here games: the entry"]);
});

test("a number that the image gives anew is remarked", () => {
  assert.deepEqual(merge("passwd", "s:x:998:998::/:/f\n", "s:x:998:998::/:/f\n", "s:x:997:998::/:/f\n"), {
    text: "s:x:997:998::/:/f\n",
    conflicts: ["number-changed s: number 998 is 997 in the image"],
  });
});

test("a number that an account of the image moves to, where somebody is here, is not taken", () => {
  const base = "s:x:998:1::/:/f\n";
  const local = `${base}ann:x:997:1::/:/f\n`;
  assert.deepEqual(merge("passwd", base, local, "s:x:997:1::/:/f\n"), {
    text: local,
    conflicts: ["number-changed s: number 998 is 997 in the image", "number-taken s: number 997 is ann here"],
  });
});

test("numbers that are shared on purpose, here or in the image, stay so", () => {
  const base = "root:x:0:0::/:/f\n";
  const text = "root:x:0:0::/:/f\ntoor:x:0:0::/:/f\nadmin:x:0:0::/:/f\n";
  assert.deepEqual(merge("passwd", base, `${base}admin:x:0:0::/:/f\n`, `${base}toor:x:0:0::/:/f\n`), {
    text: `${base}admin:x:0:0::/:/f\n`,
    conflicts: ["number-taken toor: number 0 is admin here"],
  });
  assert.deepEqual(merge("passwd", base, text, text), { text, conflicts: [] });
  assert.deepEqual(merge("passwd", text, text.replace("admin", "other"), text).conflicts, []);
});

test("ranges of subordinate ids do not overlap after a merge", () => {
  assert.deepEqual(merge("subuid", "", "ann:100000:65536\n", "svc:165535:10\nbob:165536:65536\n"), {
    text: "bob:165536:65536\nann:100000:65536\n",
    conflicts: ["number-taken svc: number 165535 is ann here"],
  });
});

test("lines that are no entries are kept as they are; those for NIS come last", () => {
  assert.deepEqual(merge("passwd", "# a\n", "# a\nbroken\n+::::::\n", "# a\n# b\ns:x:1:1::/:/f"), {
    text: "# a\n# b\ns:x:1:1::/:/f\nbroken\n+::::::\n",
    conflicts: [],
  });
});

const line = fc
  .tuple(fc.constantFrom("a", "b", "c", "d"), fc.constantFrom("x", "!"), fc.integer({ min: 1, max: 4 }))
  .map(([name, password, id]) => `${name}:${password}:${id}:\n`);
const database = fc.uniqueArray(line, { selector: (text) => text[0], maxLength: 4 }).map((lines) => lines.join(""));
const sorted = (text: string) => text.split("\n").sort();

test("what one side alone has changed is in the result", () => {
  fc.assert(
    fc.property(database, database, (base, other) => {
      assert.deepEqual(sorted(merge("group", base, other, base).text), sorted(other));
      assert.deepEqual(sorted(merge("group", base, base, other).text), sorted(other));
      assert.deepEqual(sorted(merge("group", base, other, other).text), sorted(other));
    }),
  );
});

test("no two entries share a number that shared none before", () => {
  fc.assert(
    fc.property(database, database, database, (base, local, next) => {
      const sharing = (text: string) => {
        const entries = text
          .split("\n")
          .filter((entry) => entry !== "")
          .map((entry) => entry.split(":"));
        return entries.flatMap((a) =>
          entries.filter((b) => a[0]! < b[0]! && a[2] === b[2]).map((b) => `${a[0]} ${b[0]}`),
        );
      };
      const allowed = new Set([...sharing(local), ...sharing(next)]);
      for (const pair of sharing(merge("group", base, local, next).text)) assert.ok(allowed.has(pair), pair);
    }),
    { numRuns: 1000 },
  );
});

const anything = fc
  .array(fc.constantFrom("a", "b", ":", ":", ":", "\n", "\n", "1", "2", "#", "+", ",", "\xff", "\0", "9".repeat(20)), {
    maxLength: 60,
  })
  .map((pieces) => pieces.join(""));
const lines = (text: string) => text.split("\n").filter((entry) => entry !== "");

test("whatever stands in a database, what one side alone has changed is in the result line by line", () => {
  fc.assert(
    fc.property(fc.constantFrom("passwd", "group", "shadow", "gshadow", "subuid"), anything, anything, (name, a, b) => {
      assert.deepEqual(lines(merge(name, a, b, a).text).sort(), lines(b).sort());
      assert.deepEqual(lines(merge(name, a, a, b).text).sort(), lines(b).sort());
    }),
    { numRuns: 2000 },
  );
});

test("whatever stands in three of them, there is a result, and merging again adds nothing", () => {
  fc.assert(
    fc.property(fc.constantFrom("group", "shadow", "subgid"), anything, anything, anything, (name, a, b, c) => {
      const { text } = merge(name, a, b, c);
      assert.deepEqual(lines(merge(name, c, text, c).text).sort(), lines(text).sort());
    }),
    { numRuns: 2000 },
  );
});
