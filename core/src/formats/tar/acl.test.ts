import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ByteString, fromUtf8, toHex } from "../../bytes/index.ts";
import { encodeAcl, isPlainMode, MAX_ACL_ENTRIES, modeOfAcl, type NumberedAclEntry, parseAcl } from "./acl.ts";

const parsed = (text: string) => {
  const entries = parseAcl(fromUtf8(text));
  if (typeof entries === "string") throw new Error(entries);
  return entries;
};

test("text forms: GNU tar's, star's, libarchive's, Solaris's, with comments", () => {
  const expected = [
    { tag: "owner", permissions: 6, who: undefined },
    { tag: "user", permissions: 4, who: 7 },
    { tag: "owningGroup", permissions: 4, who: undefined },
    { tag: "mask", permissions: 6, who: undefined },
    { tag: "other", permissions: 0, who: undefined },
  ];
  for (const text of [
    "user::rw-\nuser:7:r--\ngroup::r--\nmask::rw-\nother::---\n",
    "user::rw-,user:ann:r--:7,group::r--,mask::rw-,other::---",
    "user::rw-,user:7:r--,group::r--,mask:rw-,other:---",
    "u::rw,u:7:r,g::r,m::rw,o::",
    "# file: x\nuser::rw-\nuser:7:r--\t#effective:r--\n\ngroup::r--\nmask::rw-\nother::---",
  ])
    assert.deepEqual(parsed(text), expected, text);
  assert.equal(parsed("user:ann:r--")[0]?.who, "ann");
  assert.equal(parsed(`user:${0xfffffffe}:r--`)[0]?.who, 0xfffffffe);
  assert.equal(modeOfAcl(parsed("user::rwx,user:7:r--,group::r-x,mask::rw-,other::--x")), 0o761);
  assert.equal(modeOfAcl(parsed("user::rwx,group::r-x,other::--x")), 0o751);
  assert.ok(isPlainMode(parsed("user::rwx,group::r-x,other::--x")));
  assert.ok(!isPlainMode(parsed("user::rwx,group::r-x,other::--x,mask::rwx")));
  for (const text of ["x", "user", "user:r", "user::rq-", "what::rwx", "mask:7:rwx", "user:a:rwx:b", "user:a:b:c:d"])
    assert.equal(typeof parseAcl(fromUtf8(text)), "string", text);
  assert.equal(typeof parseAcl("u::r,".repeat(MAX_ACL_ENTRIES + 1) as ByteString), "string");
});

test("bytes as the kernel has them, in its order", () => {
  const hex = (text: string) => {
    const bytes = encodeAcl(parsed(text) as NumberedAclEntry[]);
    return typeof bytes === "string" ? bytes : toHex(bytes);
  };
  assert.equal(
    hex("other::---,mask::rw-,group:3:r-x,group::r--,user:9:rwx,user:8:r--,user::rw-"),
    "0200000001000600ffffffff02000400080000000200070009000000" +
      "04000400ffffffff080005000300000010000600ffffffff20000000ffffffff",
  );
  assert.match(hex("user::rw-,group::r--"), /no entry for other/);
  assert.match(hex("user::rw-,group::r--,other::r--,user:8:rwx"), /no mask/);
  assert.match(hex("user::rw-,user::r--,group::r--,other::r--"), /two entries for owner/);
  assert.match(hex("user::rw-,user:8:r,user:8:r,group::r--,mask::r,other::r--"), /two entries for user 8/);
});

test("any text: entries or a sentence", () => {
  const part = fc.constantFrom(
    "user",
    "group",
    "mask",
    "other",
    ":",
    ",",
    "\n",
    "rwx",
    "r",
    "-",
    "7",
    "#",
    " ",
    "é",
    "\0",
  );
  fc.assert(
    fc.property(fc.array(part, { maxLength: 40 }), (parts) => {
      const entries = parseAcl(fromUtf8(parts.join("")));
      if (typeof entries !== "string" && entries.every(({ who }) => typeof who !== "string"))
        encodeAcl(entries as NumberedAclEntry[]);
    }),
  );
});
