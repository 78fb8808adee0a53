import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ByteString, byteString, bytesOf, concatBytes, encodeUtf8, fromUtf8 } from "../../bytes/index.ts";
import { FormatError, isAshlarError, UnsupportedError } from "../../errors/index.ts";
import { bytesSource, type Source, sliceSource } from "../../source/index.ts";
import { RawGnuTail, RawHeader } from "./format.ts";
import { readTar, readTarEntries, type TarEntry, type TarOptions, tarParser } from "./index.ts";
import { encodePaxRecord } from "./pax.ts";
import { encodeTar, encodeTarHeader, sealHeader, TAR_END, type TarInput, tarPadding } from "./write.ts";

type Read = { readonly entry: TarEntry; readonly content: Uint8Array };

/** Everything in an archive that comes in chunks of `chunkSize` bytes. */
function read(bytes: Uint8Array, chunkSize = bytes.length, options: TarOptions = {}): Read[] {
  const parser = tarParser({ what: "layer 1", ...options });
  const members: { entry: TarEntry; parts: Uint8Array[] }[] = [];
  const drain = () => {
    for (let event = parser.next(); event !== undefined; event = parser.next())
      if (event.kind === "entry") members.push({ entry: event.entry, parts: [] });
      else members.at(-1)!.parts.push(event.bytes.slice()); // data follows its entry
  };
  for (let at = 0; at < bytes.length; at += chunkSize) {
    const chunk = bytes.slice(at, at + chunkSize);
    parser.push(chunk);
    drain();
    chunk.buffer.transfer(0); // whoever lent it takes it back
  }
  parser.end();
  return members.map(({ entry, parts }) => ({ entry, content: concatBytes(...parts) }));
}

const b = fromUtf8;
const failsWith = (code: string) => (error: unknown) => error instanceof FormatError && error.code === code;
const file = (path: string, content = "content"): TarInput & { content: Uint8Array } => ({
  path: b(path),
  type: "file",
  content: encodeUtf8(content),
});
/** A member with fields of its header replaced, and any bytes between header and content. */
function member(
  input: TarInput,
  fields: Partial<Record<keyof typeof RawHeader.fields, string>>,
  content = "",
): Uint8Array {
  const header = encodeTarHeader({ ...input, size: content.length });
  for (const [name, text] of Object.entries(fields)) {
    const { offset, size } = RawHeader.fields[name as keyof typeof RawHeader.fields];
    header.fill(0, offset, offset + size).set(bytesOf(text as ByteString), offset);
  }
  if (fields.chksum === undefined) sealHeader(header);
  return concatBytes(header, bytesOf(content as ByteString), tarPadding(content.length));
}
function pax(records: readonly (readonly [string, string])[], flag = "x"): Uint8Array {
  const body = concatBytes(
    ...records.map(([key, value]) => encodePaxRecord(key as ByteString, bytesOf(value as ByteString))),
  );
  return member({ path: b("PaxHeader"), type: "file" }, { typeflag: flag }, byteString(body));
}
const only = (...parts: readonly Uint8Array[]): Read => {
  const [first, ...rest] = read(concatBytes(...parts, TAR_END));
  assert.ok(first !== undefined && rest.length === 0);
  return first;
};

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** Counts the bytes that are asked of a source. */
function countReads(counted: Source): { readonly source: Source; bytes(): number } {
  let bytes = 0;
  const { readInto } = counted;
  const source: Source = {
    size: counted.size,
    read(offset, length) {
      bytes += length;
      return counted.read(offset, length);
    },
    ...(readInto && {
      readInto(offset, target) {
        bytes += target.length;
        return readInto(offset, target);
      },
    }),
  };
  return { source, bytes: () => bytes };
}

const name = fc
  .string({ minLength: 1, maxLength: 260, unit: fc.integer({ min: 1, max: 255 }).map((c) => String.fromCharCode(c)) })
  .map((text) => text as ByteString);
const input = fc.record({
  path: name.map((text) => text.replace(/\/+$/, "x") as ByteString),
  type: fc.constant("file" as const),
  content: fc.uint8Array({ maxLength: 2000 }),
  mode: fc.nat(0o7777),
  uid: fc.nat(0xffffffff),
  gid: fc.nat(0xffffffff),
  mtime: fc.bigInt({ min: -(10n ** 20n), max: 10n ** 20n }),
  xattrs: fc
    .dictionary(fc.stringMatching(/^user\.[a-z=\n]{1,20}$/), fc.uint8Array({ maxLength: 50 }))
    .map((o) => new Map(Object.entries(o) as [ByteString, Uint8Array][])),
});

test("what the writer writes is read back, however it is cut", () => {
  fc.assert(
    fc.property(fc.array(input, { maxLength: 5 }), fc.integer({ min: 1, max: 3000 }), (inputs, chunkSize) => {
      // A key ends at its first "=", so a name that holds one cannot be told from the value.
      const clean = inputs.map((each) => ({
        ...each,
        xattrs: new Map([...each.xattrs].filter(([key]) => !key.includes("="))),
      }));
      const members = read(encodeTar(clean), chunkSize);
      assert.deepEqual(
        members.map(({ entry: { path, type, mode, uid, gid, mtime, xattrs }, content }) => ({
          path,
          type,
          content,
          mode,
          uid,
          gid,
          mtime,
          xattrs,
        })),
        clean.map(({ content, ...rest }) => ({ ...rest, content: new Uint8Array(content) })),
      );
    }),
  );
});

test("contentOffset finds the content", () => {
  const bytes = encodeTar([file("a"), file("b".repeat(200), "another"), file("c", "x".repeat(1000))]);
  for (const { entry, content } of read(bytes, 700))
    assert.deepEqual(bytes.subarray(entry.contentOffset, entry.contentOffset + entry.storedSize), content);
});

test("readTar gives content once, or skips it", async () => {
  async function* chunks() {
    const bytes = encodeTar([file("a"), file("b", "x".repeat(3000)), file("c")]);
    for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
  }
  const seen: string[] = [];
  for await (const { entry, content } of readTar(chunks())) {
    let size = 0;
    if (entry.path !== "a") for await (const part of content) size += part.length;
    seen.push(`${entry.path} ${size}`);
  }
  assert.deepEqual(seen, ["a 0", "b 3000", "c 7"]);
  for await (const { content } of readTar(chunks())) {
    for await (const _ of content) break; // the rest of the content is passed over
  }
});

test("readTarEntries gives the entries of an archive that can be read anywhere, and leaves large contents alone", async () => {
  const inputs = Array.from({ length: 200 }, (_, i) => file(`file ${i}`, "x".repeat((i * i * 13) % 9000)));
  const bytes = encodeTar([...inputs, file("large", "x".repeat(3_000_000)), file("last")]);
  const plain = bytesSource(bytes);
  const filling: Source = {
    ...plain,
    readInto: (at, target) => void target.set(bytes.subarray(at, at + target.length)),
  };
  const expected = read(bytes).map(({ entry }) => entry);
  for (const archive of [plain, filling]) {
    const counted = countReads(archive);
    assert.deepEqual(await collect(readTarEntries(counted.source)), expected);
    assert.ok(counted.bytes() < bytes.length - 2_990_000, `${counted.bytes()} bytes were read`);
  }
  for (const end of [700, bytes.length - 2000, bytes.length - 1024])
    await assert.rejects(
      collect(readTarEntries(sliceSource(plain, 0, end), { what: "layer 1" })),
      failsWith("truncated"),
    );
});

test("skip stands in for content that is not read", () => {
  const bytes = encodeTar([file("a", "x".repeat(5000)), file("b")]);
  const parser = tarParser();
  parser.push(bytes.subarray(0, 600));
  const names: string[] = [];
  const drain = () => {
    for (let event = parser.next(); event !== undefined; event = parser.next())
      if (event.kind === "entry") names.push(event.entry.path);
  };
  drain();
  assert.equal(parser.skippable, 5000 - 88);
  parser.skip(parser.skippable);
  drain();
  parser.push(bytes.subarray(512 + 5000));
  drain();
  parser.end();
  assert.deepEqual(names, ["a", "b"]);
});

test("the end: two zero blocks, one and nothing, none where that is allowed", () => {
  const body = encodeTar([file("a")]).subarray(0, 1024);
  assert.equal(read(concatBytes(body, new Uint8Array(512))).length, 1);
  assert.equal(read(concatBytes(body, new Uint8Array(10240))).length, 1);
  assert.equal(read(body, 512, { allowMissingEnd: true }).length, 1);
  assert.throws(() => read(body), failsWith("truncated"));
  assert.throws(() => read(new Uint8Array(0)), failsWith("truncated"));
  assert.throws(() => read(concatBytes(body, new Uint8Array(512), body)), failsWith("lone-zero-block"));
  // A second archive behind the first, or anything else, is passed over.
  assert.equal(read(concatBytes(body, TAR_END, body, encodeUtf8("garbage"))).length, 1);
  const strict = (rest: Uint8Array, chunkSize: number) =>
    read(concatBytes(body, TAR_END, rest), chunkSize, { afterEnd: "zeros" });
  for (const chunkSize of [1, 512, 5000]) {
    assert.equal(strict(new Uint8Array(3000), chunkSize).length, 1);
    for (const rest of [body, concatBytes(new Uint8Array(700), encodeUtf8("x"))])
      assert.throws(
        () => strict(rest, chunkSize),
        (error: unknown) =>
          failsWith("trailing-bytes")(error) &&
          (error as FormatError).details.offset === 2048 + rest.findIndex((byte) => byte !== 0),
      );
  }
});

test("truncation anywhere is an error that says where", () => {
  const bytes = encodeTar([
    file("a"),
    { ...file("b".repeat(150)), xattrs: new Map([[b("user.x"), new Uint8Array(30)]]) },
  ]);
  const end = bytes.length - 1024;
  for (let size = 1; size <= end; size += 37)
    assert.throws(
      () => read(bytes.subarray(0, size), 100),
      (error: unknown) => failsWith("truncated")(error) && /^layer 1: .*ends at \d+/.test((error as Error).message),
      `${size}`,
    );
});

test("numbers: octal with any padding, base-256, negative", () => {
  const input = { path: b("x"), type: "file" } as const;
  assert.equal(only(member(input, { mode: "   755 \0" })).entry.mode, 0o755);
  assert.equal(only(member(input, { mode: "0100644\0" })).entry.mode, 0o644);
  assert.equal(only(member(input, { mode: "00000755" })).entry.mode, 0o755);
  assert.equal(only(member(input, { mode: "" })).entry.mode, 0);
  assert.equal(only(member(input, { mode: "644\0junk" })).entry.mode, 0o644);
  assert.throws(() => read(member(input, { mode: "0o644\0" })), failsWith("bad-number"));
  assert.throws(() => read(member(input, { uid: "64 4\0" })), failsWith("bad-number"));
  assert.equal(only(member(input, { uid: "\x80\0\0\0\xee\x6b\x28\x00" })).entry.uid, 4_000_000_000);
  assert.throws(() => read(member(input, { uid: "\xff".repeat(8) })), failsWith("bad-number"));
  assert.equal(only(member(input, { mtime: `${"\xff".repeat(11)}\xfe` })).entry.mtime, -2_000_000_000n);
  assert.throws(() => read(member(input, { size: "\xff".repeat(12) })), failsWith("bad-number"));
  assert.throws(() => read(member(input, { size: `\x80${"\xff".repeat(11)}` })), failsWith("bad-number"));
});

test("sizes past 8 GiB are passed over without being read", () => {
  const size = 9 * 1024 ** 3;
  for (const header of [
    member({ path: b("big"), type: "file" }, { size: "\x80\0\0\0\0\0\0\x02\x40\0\0\0" }),
    concatBytes(pax([["size", String(size)]]), member({ path: b("big"), type: "file" }, {})),
  ]) {
    const parser = tarParser();
    parser.push(header);
    const event = parser.next();
    assert.ok(event?.kind === "entry" && event.entry.size === size);
    assert.equal(parser.next(), undefined);
    parser.skip(parser.skippable);
    assert.equal(parser.next(), undefined);
    parser.push(TAR_END);
    assert.equal(parser.next(), undefined);
    parser.end();
  }
});

test("checksums: unsigned, signed, wrong", () => {
  const input = { path: "\xff\xfe" as ByteString, type: "file" } as const;
  const header = encodeTarHeader(input);
  const sums = (signed: boolean) => {
    let sum = 8 * 32;
    header.forEach((byte, i) => {
      if (i < 148 || i >= 156) sum += signed && byte > 127 ? byte - 256 : byte;
    });
    return sum.toString(8);
  };
  assert.equal(only(member(input, { chksum: `${sums(true)}\0` })).entry.path, "\xff\xfe");
  assert.equal(only(member(input, { chksum: `${sums(false)}\0 ` })).entry.path, "\xff\xfe");
  assert.throws(() => read(member(input, { chksum: "1234\0" })), failsWith("bad-checksum"));
  assert.throws(() => read(new Uint8Array(1024).fill(65)), failsWith("bad-checksum"));
});

test("paths: ustar prefix, star's prefix, GNU long names, v7 directories", () => {
  const input = { path: b("name"), type: "file" } as const;
  assert.equal(only(member(input, { prefix: "some/where" })).entry.path, "some/where/name");
  assert.equal(
    only(member(input, { prefix: `short${"\0".repeat(126)}00000000000 `, padding: `${"\0".repeat(8)}tar\0` })).entry
      .path,
    "short/name",
  );
  assert.equal(only(member(input, { prefix: "1234", magic: "ustar ", version: " " })).entry.path, "name");
  const long = "l".repeat(300);
  const gnu = (flag: string, text: string) =>
    member({ path: b("././@LongLink"), type: "file" }, { typeflag: flag }, `${text}\0`);
  assert.equal(only(gnu("L", long), member(input, {})).entry.path, long);
  const link = only(
    gnu("K", long),
    gnu("L", `${long}/x`),
    member({ ...input, type: "symlink", linkTarget: b("short") }, {}),
  );
  assert.deepEqual([link.entry.path, link.entry.linkTarget], [`${long}/x`, long]);
  assert.equal(
    only(member({ ...input, path: b("dir/") }, { typeflag: "\0", magic: "", version: "" })).entry.type,
    "directory",
  );
  assert.equal(only(member(input, { typeflag: "7" }, "abc")).entry.type, "file");
  assert.throws(() => read(gnu("L", "x".repeat(5000))), failsWith("bad-path"));
  assert.throws(() => read(concatBytes(gnu("L", long), TAR_END)), failsWith("truncated"));
  assert.throws(() => read(member({ ...input, path: b("") }, {})), failsWith("bad-path"));
});

test("PAX: local over global over header; empty takes back; bytes stay bytes", () => {
  const input = { path: b("name"), type: "file", uid: 3 } as const;
  const globals = pax(
    [
      ["uid", "5"],
      ["mtime", "7"],
      ["comment", "git"],
    ],
    "g",
  );
  assert.equal(only(globals, member(input, {})).entry.uid, 5);
  assert.equal(only(globals, pax([["uid", "9"]]), member(input, {})).entry.uid, 9);
  assert.equal(only(globals, pax([["uid", ""]]), member(input, {})).entry.uid, 3);
  const [, second] = read(concatBytes(globals, pax([["uid", "9"]]), member(input, {}), member(input, {}), TAR_END));
  assert.deepEqual([second?.entry.uid, second?.entry.mtime], [5, 7_000_000_000n]);
  assert.equal(only(pax([["path", "caf\xe9\n=1"]]), member(input, {})).entry.path, "caf\xe9\n=1");
  for (const [text, mtime] of [
    ["1.5", 1_500_000_000n],
    ["-1.25", -1_250_000_000n],
    ["1.", 1_000_000_000n],
    ["0.1234567899", 123_456_789n],
    ["10413792000", 10_413_792_000_000_000_000n],
  ] as const)
    assert.equal(only(pax([["mtime", text]]), member(input, {})).entry.mtime, mtime);
  for (const text of ["", ".5", "1e3", "x", "--1", "99999999999999999999"].slice(1))
    assert.throws(() => read(concatBytes(pax([["mtime", text]]), member(input, {}))), failsWith("bad-number"), text);
  assert.throws(() => read(concatBytes(pax([["path", "a\0b"]]), member(input, {}))), failsWith("bad-path"));
  assert.throws(() => read(concatBytes(pax([["uid", "-1"]]), member(input, {}))), failsWith("bad-number"));
  for (const text of ["x", "5 a=", "999 a=b\n", "6 a=bc", "3 =\n", "0 a=b\n", "4 a\n"])
    assert.throws(
      () => read(concatBytes(member(input, { typeflag: "x" }, text), member(input, {}))),
      failsWith("bad-pax"),
      text,
    );
  const huge = member(input, { typeflag: "x", size: "77777777777" });
  assert.throws(() => read(huge), failsWith("too-large"));
});

test("xattrs: SCHILY as bytes, LIBARCHIVE as base64, both limited", () => {
  const input = { path: b("name"), type: "file" } as const;
  const xattrs = (...records: [string, string][]) =>
    Object.fromEntries(
      [...only(pax(records), member(input, {})).entry.xattrs].map(([key, value]) => [key, byteString(value)]),
    );
  assert.deepEqual(xattrs(["SCHILY.xattr.user.a", "\n1=\0\xff"], ["SCHILY.xattr.user.empty", ""]), {
    "user.a": "\n1=\0\xff",
    "user.empty": "",
  });
  assert.deepEqual(xattrs(["LIBARCHIVE.xattr.user.%41%3d", "aGVsbG8"]), { "user.A=": "hello" });
  assert.deepEqual(xattrs(["LIBARCHIVE.xattr.user.a", "aGVsbG8="], ["SCHILY.xattr.user.a", "raw"]), {
    "user.a": "raw",
  });
  assert.deepEqual(xattrs(["SCHILY.xattr.user.a", "raw"], ["LIBARCHIVE.xattr.user.a", "aGVsbG8="]), {
    "user.a": "raw",
  });
  const bad = (key: string, value: string) =>
    assert.throws(() => read(concatBytes(pax([[key, value]]), member(input, {}))), failsWith("bad-xattr"));
  bad("LIBARCHIVE.xattr.user.a", "a");
  bad("LIBARCHIVE.xattr.user.a", "a*bc");
  bad("SCHILY.xattr.", "x");
  bad(`SCHILY.xattr.${"n".repeat(256)}`, "x");
  bad("SCHILY.xattr.user.a", "x".repeat(65537));
});

test("sparse: maps that do not fit are errors", () => {
  const input = { path: b("GNUSparseFile.0/s"), type: "file" } as const;
  const sparse01 = (map: string, size: string, stored: string) =>
    only(
      pax([
        ["GNU.sparse.major", "0"],
        ["GNU.sparse.minor", "1"],
        ["GNU.sparse.name", "s"],
        ["GNU.sparse.size", size],
        ["GNU.sparse.map", map],
      ]),
      member(input, {}, stored),
    );
  const { entry, content } = sparse01("0,1,100,2,200,0", "200", "abc");
  assert.deepEqual(
    [entry.path, entry.size, entry.storedSize, entry.segments],
    [
      "s",
      200,
      3,
      [
        { offset: 0, size: 1 },
        { offset: 100, size: 2 },
      ],
    ],
  );
  assert.equal(byteString(content), "abc");
  for (const [map, size] of [
    ["0,1,0,2", "200"],
    ["100,2,0,1", "200"],
    ["0,3", "2"],
    ["0,2", "200"],
    ["0,1,5", "200"],
    ["0,x", "200"],
    ["0,3", "-200"],
    ["9007199254740991,3", "9007199254740991"],
    ["0,3", ""],
  ] as const)
    assert.throws(() => sparse01(map, size, "abc"), failsWith("bad-sparse"), `${map} ${size}`);
  const sparse10 = (map: string, realsize = "5000") =>
    only(
      pax([
        ["GNU.sparse.major", "1"],
        ["GNU.sparse.minor", "0"],
        ["GNU.sparse.name", "s"],
        ["GNU.sparse.realsize", realsize],
      ]),
      member(input, {}, `${map.padEnd(512, "\0")}abc`),
    );
  const ten = sparse10("1\n4000\n3\n");
  assert.deepEqual(
    [ten.entry.segments, ten.entry.size, byteString(ten.content)],
    [[{ offset: 4000, size: 3 }], 5000, "abc"],
  );
  for (const map of ["1\n4000\n", "2\n0\n1\n", "99999999\n", "x\n", "1\n4999\n3\n", "1\n-1\n3\n"])
    assert.throws(() => sparse10(map), failsWith("bad-sparse"), map);
});

test("types that no image has are refused", () => {
  for (const flag of ["D", "M", "N", "9", "s"])
    assert.throws(() => read(member({ path: b("x"), type: "file" }, { typeflag: flag })), UnsupportedError);
  assert.equal(read(concatBytes(member({ path: b("volume"), type: "file" }, { typeflag: "V" }), TAR_END)).length, 0);
});

test("fuzz: any header field at its limits, any cut, any flip: a value or an error of ours", () => {
  const gnu = member({ path: b("sparse"), type: "file" }, { typeflag: "S", magic: "ustar ", version: " " }, "abc");
  gnu.set(bytesOf("00000000000\x0000000000003\0" as ByteString), 345 + RawGnuTail.fields.sparse.offset);
  gnu.set(bytesOf("00000000100\0" as ByteString), 345 + RawGnuTail.fields.realsize.offset);
  sealHeader(gnu);
  const seeds = [
    encodeTar([
      file("a"),
      { ...file("b".repeat(120)), mtime: -5n, xattrs: new Map([[b("user.x"), new Uint8Array(9)]]) },
      { path: b("l"), type: "hardlink", linkTarget: b("a") },
    ]),
    concatBytes(gnu, TAR_END),
    concatBytes(
      pax([
        ["GNU.sparse.major", "1"],
        ["GNU.sparse.minor", "0"],
        ["GNU.sparse.realsize", "99"],
      ]),
      member({ path: b("s"), type: "file" }, {}, `${"1\n9\n3\n".padEnd(512, "\0")}abc`),
      TAR_END,
    ),
    concatBytes(
      pax([["uid", "1"]], "g"),
      member({ path: b("L"), type: "file" }, { typeflag: "L" }, "long\0"),
      member({ path: b("d"), type: "directory" }, {}),
      TAR_END,
    ),
  ];
  const fields = [
    ...Object.values(RawHeader.fields),
    ...Object.values(RawGnuTail.fields).map(({ offset, size }) => ({ offset: offset + 345, size })),
  ];
  const fillings = ["\0", " ", "0", "7", "9", "\x80", "\xff", "\x7f", "/", "A"];
  const mutation = fc.oneof(
    fc.record({
      kind: fc.constant("field" as const),
      block: fc.nat(6),
      field: fc.constantFrom(...fields),
      filling: fc.constantFrom(...fillings),
      whole: fc.boolean(),
    }),
    fc.record({
      kind: fc.constant("neighbour" as const),
      block: fc.nat(6),
      field: fc.constantFrom(...fields),
      by: fc.constantFrom(1, 255, 128),
    }),
    fc.record({ kind: fc.constant("flip" as const), at: fc.nat(8191), mask: fc.integer({ min: 1, max: 255 }) }),
    fc.record({ kind: fc.constant("cut" as const), at: fc.nat(8191) }),
  );
  fc.assert(
    fc.property(
      fc.constantFrom(...seeds),
      fc.array(mutation, { minLength: 1, maxLength: 4 }),
      fc.boolean(),
      (seed, mutations, reseal) => {
        let bytes = seed.slice();
        for (const each of mutations) {
          if (each.kind === "cut") bytes = bytes.slice(0, each.at % (bytes.length + 1));
          else if (each.kind === "flip") {
            const at = each.at % Math.max(1, bytes.length);
            if (at < bytes.length) bytes[at] = bytes[at]! ^ each.mask;
          } else {
            const start = each.block * 512 + each.field.offset;
            if (start + each.field.size > bytes.length) continue;
            const last = start + each.field.size - 1;
            if (each.kind === "field") bytes.fill(each.filling.charCodeAt(0), start, each.whole ? last + 1 : last);
            else bytes[last] = (bytes[last]! + each.by) & 255;
          }
        }
        if (reseal)
          for (let at = 0; at + 512 <= bytes.length; at += 512)
            if (bytes[at] !== 0) sealHeader(bytes.subarray(at, at + 512));
        try {
          for (const { entry, content } of read(bytes, 600)) {
            assert.ok(entry.storedSize <= bytes.length && content.length === entry.storedSize);
            assert.ok(entry.size >= entry.storedSize);
          }
        } catch (error) {
          assert.ok(isAshlarError(error), `${(error as Error).stack}`);
          assert.ok(!error.message.includes("\n") && error.message.length < 600, error.message);
        }
      },
    ),
    { numRuns: 5000 },
  );
});
