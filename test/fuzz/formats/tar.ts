// tar archives: every kind of member and extension.
import assert from "node:assert/strict";
import { byteString, concatBytes, encodeUtf8 } from "../../../core/src/bytes/index.ts";
import { RawGnuTail, RawHeader } from "../../../core/src/formats/tar/format.ts";
import { encodeTar, encodeTarHeader, readTar, TAR_END } from "../../../core/src/formats/tar/index.ts";
import { headerChecksums } from "../../../core/src/formats/tar/numbers.ts";
import { encodePaxRecord } from "../../../core/src/formats/tar/pax.ts";
import { type Mutant, mutateText, type Random } from "../../support/mutate.ts";
import type { Parser } from "../harness.ts";
import { at, b, binary, pad, type Seed, shape } from "./common.ts";

function sealHeader(bytes: Uint8Array, offset: number): void {
  const sum = headerChecksums(bytes.subarray(offset, offset + 512)).unsigned;
  bytes.set(encodeUtf8(`${sum.toString(8).padStart(6, "0")}\0 `), offset + RawHeader.fields.chksum.offset);
}

/** Offsets of the blocks that look like headers. */
function tarHeaders(bytes: Uint8Array): number[] {
  const found: number[] = [];
  for (let offset = 0; offset + 512 <= bytes.length; offset += 512)
    if (byteString(bytes.subarray(offset + 257, offset + 262)) === "ustar") found.push(offset);
  return found;
}

function tarSeed(bytes: Uint8Array, isGnu = false): Seed {
  const headers = tarHeaders(bytes);
  return {
    bytes,
    placements: headers.flatMap((offset) => [
      at(RawHeader, offset),
      ...(isGnu ? [at(RawGnuTail, offset + RawHeader.fields.prefix.offset)] : []),
    ]),
    repair(mutant) {
      for (const offset of tarHeaders(mutant)) sealHeader(mutant, offset);
    },
  };
}

type Flag = "x" | "g" | "L" | "S" | "0";

/** A member whose header says what our writer never would. */
function rawMember(flag: Flag, path: string, body: Uint8Array, isGnu = flag === "L" || flag === "S"): Uint8Array {
  const header = encodeTarHeader({ path: b(path), type: "file", size: body.length });
  header.set(encodeUtf8(flag), RawHeader.fields.typeflag.offset);
  if (isGnu) header.set(encodeUtf8("ustar  \0"), RawHeader.fields.magic.offset);
  sealHeader(header, 0);
  return concatBytes(header, pad(body, 512));
}

function encodeRecords(records: readonly (readonly [key: string, value: string])[]): Uint8Array {
  return new Uint8Array(Buffer.concat(records.map(([key, value]) => encodePaxRecord(b(key), encodeUtf8(value)))));
}

/** A PAX header before a file of four bytes; a `g` header counts for a second file too. */
function paxArchive(records: Uint8Array, flag: "x" | "g"): Uint8Array {
  const some = encodeUtf8("1\n2\n"); // the start of a sparse map too
  return concatBytes(rawMember(flag, "pax", records), rawMember("0", "a", some), rawMember("0", "b", some), TAR_END);
}

function tarSeeds(): Seed[] {
  const gnu = rawMember("S", "sparse", encodeUtf8("abc"));
  gnu.set(encodeUtf8("00000000000\x0000000000003\0"), 345 + RawGnuTail.fields.sparse.offset);
  gnu.set(encodeUtf8("00000000100\0"), 345 + RawGnuTail.fields.realsize.offset);
  sealHeader(gnu, 0);
  const sparse = encodeRecords([
    ["GNU.sparse.major", "1"],
    ["GNU.sparse.minor", "0"],
    ["GNU.sparse.name", "real"],
    ["GNU.sparse.realsize", "99"],
  ]);
  const xattrs = new Map([[b("user.x"), new Uint8Array(9)]]);
  const plain = encodeTar([
    { path: b("a"), type: "file", content: encodeUtf8("content\n") },
    { path: b("b".repeat(120)), type: "file", content: new Uint8Array(600), mtime: -5n, xattrs },
    { path: b("d"), type: "directory" },
    { path: b("l"), type: "hardlink", linkTarget: b("a") },
    { path: b("s"), type: "symlink", linkTarget: b("d/..") },
    { path: b("n"), type: "character", devMajor: 1, devMinor: 3 },
  ]);
  return [
    tarSeed(plain),
    tarSeed(concatBytes(gnu, TAR_END), true),
    tarSeed(
      concatBytes(
        rawMember("x", "x", sparse),
        rawMember("0", "s", encodeUtf8(`${"1\n9\n3\n".padEnd(512, "\0")}abc`)),
        TAR_END,
      ),
    ),
    tarSeed(
      concatBytes(
        rawMember("g", "g", encodeRecords([["uid", "1"]])),
        rawMember("L", "L", encodeUtf8("long\0")),
        rawMember("0", "f", encodeUtf8("x")),
        TAR_END,
      ),
      true,
    ),
  ];
}

async function* pieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function readArchive(bytes: Uint8Array): Promise<void> {
  const size = bytes.length % 3 === 0 ? 100 : bytes.length % 3 === 1 ? 4096 : 1 << 20;
  for await (const { entry, content } of readTar(pieces(bytes, size))) {
    let stored = 0;
    for await (const chunk of content) stored += chunk.length;
    assert.equal(stored, entry.storedSize);
  }
}

/** A record in a header of its own, or the records as text. */
function* paxMutants(random: Random): Generator<Mutant> {
  const records: [string, string][] = [
    ["path", "some/where"],
    ["mtime", "1350244992.023960108"],
    ["size", "4"],
    ["uid", "1000"],
    ["SCHILY.xattr.user.x", "value"],
    ["LIBARCHIVE.xattr.user.y", "dmFsdWU"],
    ["GNU.sparse.size", "100"],
    ["GNU.sparse.map", "0,2,50,2"],
    ["linkpath", "target"],
    ["hdrcharset", "BINARY"],
  ];
  const whole = mutateText(encodeRecords(records), random);
  for (;;) {
    const flag = random.pick(["x", "g"] as const);
    if (random.below(3) === 0) {
      const { value } = whole.next();
      if (value !== undefined) yield { what: value.what, bytes: paxArchive(value.bytes, flag) };
      continue;
    }
    const [key, value] = random.pick(records);
    const part = random.below(4) === 0 ? "key" : "value";
    const { value: changed } = mutateText(part === "key" ? key : value, random).next();
    const spoiled = Buffer.from(changed?.bytes ?? [])
      .toString("latin1")
      .replaceAll("=", part === "key" ? "" : "=");
    const record: [string, string] = part === "key" ? [spoiled || "k", value] : [key, spoiled];
    const others = random.shuffle(records).slice(0, random.below(4));
    yield { what: `${part} of ${key}`, bytes: paxArchive(encodeRecords([...others, record]), flag) };
  }
}

/** Many records that count for every member to come. */
function* globalShapes(): Generator<Mutant> {
  const many = Array.from({ length: 300_000 }, (_, i): [string, string] => [i.toString(36), "v"]);
  const start = paxArchive(encodeRecords(many), "g").subarray(0, -1024);
  const members = paxArchive(new Uint8Array(0), "x").subarray(0, -1024);
  const more = paxArchive(encodeRecords([["k", "v"]]), "g").subarray(0, -1024);
  const repeated = (part: Uint8Array, count: number) => Array.from({ length: count }, () => part);
  yield shape("many globals, many members", Buffer.concat([start, ...repeated(members, 500), new Uint8Array(1024)]));
  yield shape("many globals, many times", Buffer.concat([start, ...repeated(more, 500), new Uint8Array(1024)]));
}

export const TAR_PARSERS: readonly Parser[] = [
  { name: "tar", mutants: binary(tarSeeds), read: readArchive },
  { name: "tar, PAX records", mutants: paxMutants, shapes: globalShapes, read: readArchive },
];
