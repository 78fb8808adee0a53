// Archives as old, foreign, broken and hostile programs write them, each with what must become of it.
import { spawnSync } from "node:child_process";
import { gzipSync, zstdCompressSync } from "node:zlib";

export interface OddTar {
  readonly bytes: () => Uint8Array;
  /**
   * `GNU tar`: what that unpacks; a code: an error of ours with that code; else the listing, a line a path, where GNU tar
   * itself gives something else, loses something or writes outside of the directory.
   */
  readonly gives: "GNU tar" | { readonly error: string } | { readonly tree: readonly string[] };
}

const gives = (bytes: () => Uint8Array, outcome: OddTar["gives"]): OddTar => ({ bytes, gives: outcome });
/** As GNU tar unpacks it. */
const same = (bytes: () => Uint8Array): OddTar => gives(bytes, "GNU tar");
const fails = (error: string, bytes: () => Uint8Array): OddTar => gives(bytes, { error });
const shows = (tree: readonly string[], bytes: () => Uint8Array): OddTar => gives(bytes, { tree });

const latin1 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"));
const join = (...parts: readonly (string | Uint8Array)[]): Uint8Array =>
  new Uint8Array(Buffer.concat(parts.map((part) => (typeof part === "string" ? latin1(part) : part))));
const padded = (content: Uint8Array): Uint8Array => join(content, new Uint8Array((512 - (content.length % 512)) % 512));
export const END = new Uint8Array(1024);

const FIELDS = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  mtime: [136, 12],
  flag: [156, 1],
  target: [157, 100],
  magic: [257, 8],
  major: [329, 8],
  minor: [337, 8],
  prefix: [345, 155],
  tail: [345, 167], // of old GNU and star headers
} as const;
type Fields = Readonly<Partial<Record<keyof typeof FIELDS | "sum", string>>>;

/** A header with exactly these bytes in its fields, and the content behind it. The size is the content's unless given. */
export function rawMember(fields: Fields, content: string | Uint8Array = ""): Uint8Array {
  const bytes = typeof content === "string" ? latin1(content) : content;
  const block = Buffer.alloc(512);
  const all = {
    mode: "0000644\0",
    uid: "0000000\0",
    gid: "0000000\0",
    size: `${bytes.length.toString(8).padStart(11, "0")}\0`,
    mtime: "14524460400\0", // 2025-01-01T00:00:00Z and some
    flag: "0",
    magic: "ustar\x0000",
    ...fields,
  };
  for (const [name, text] of Object.entries(all) as [keyof Fields, string][]) {
    if (name === "sum") continue;
    const [at, size] = FIELDS[name];
    block.fill(0, at, at + size).write(text.slice(0, size), at, "latin1");
  }
  block.fill(0x20, 148, 156);
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(fields.sum ?? `${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return join(block, padded(bytes));
}

const GNU_MAGIC = "ustar  \0";
const ROOT = rawMember({ name: "./", flag: "5", mode: "0000755\0" });
const archive = (...parts: readonly Uint8Array[]): Uint8Array => join(ROOT, ...parts, END);
const file = (name: string, content = `${name}\n`, fields: Fields = {}): Uint8Array =>
  rawMember({ name, ...fields }, content);
const directory = (name: string, fields: Fields = {}): Uint8Array =>
  rawMember({ name: `${name}/`, flag: "5", mode: "0000755\0", ...fields });
const link = (name: string, target: string, fields: Fields = {}): Uint8Array =>
  rawMember({ name, target, flag: "1", ...fields });
const symlink = (name: string, target: string): Uint8Array => rawMember({ name, target, flag: "2" });

/** Records of an extended header as bytes. */
function pax(records: Readonly<Record<string, string>>, flag = "x"): Uint8Array {
  const body = Object.entries(records).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    let length = rest.length + 1;
    while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
    return `${length}${rest}`;
  });
  return rawMember({ name: "PaxHeaders/x", flag }, body.join(""));
}

/** Big-endian, the first bit set. */
function base256(value: bigint, size: number): string {
  const bits = BigInt.asUintN(8 * size, value) | (1n << BigInt(8 * size - 1));
  return Buffer.from(bits.toString(16).padStart(2 * size, "0"), "hex").toString("latin1");
}

const octal = (value: number, size: number): string => `${value.toString(8).padStart(size - 1, "0")}\0`;
/** Map and size of an old GNU sparse header. */
const oldSparse = (runs: readonly (readonly [at: number, size: number])[], realSize: number, isExtended = false) =>
  `${"\0".repeat(41)}${runs
    .map(([at, size]) => octal(at, 12) + octal(size, 12))
    .join("")
    .padEnd(96, "\0")}${isExtended ? "\x01" : "\0"}${octal(realSize, 12)}`;

function sparse10(map: string, realSize: string, content: string): Uint8Array {
  return join(
    pax({
      "GNU.sparse.major": "1",
      "GNU.sparse.minor": "0",
      "GNU.sparse.name": "s",
      "GNU.sparse.realsize": realSize,
    }),
    rawMember({ name: "GNUSparseFile.1/s" }, map === "" ? content : map.padEnd(512, "\0") + content),
  );
}

const acl = (text: string, more: Readonly<Record<string, string>> = {}): Uint8Array =>
  join(pax({ "SCHILY.acl.access": text, ...more }), file("a"));
const ACCOUNTS = join(
  directory("etc"),
  file("etc/passwd", "root:x:0:0:::\nann:x:1001:1001:::\n"),
  file("etc/group", "root:x:0:\nstaff:x:50:\n"),
);
const WHOLE = archive(directory("d"), file("d/a", "x".repeat(700)), file("z"));
const CUT = WHOLE.length - END.length;
const tool = (command: string, input: Uint8Array): Uint8Array => {
  const { status, stdout, error } = spawnSync(command, ["-c"], { input });
  if (status !== 0) throw error ?? new Error(`${command}: exit status ${status}`);
  return new Uint8Array(stdout);
};

/** Of a file that has the default mode and owner. */
const NODE = "100644 0:0";

export const ODD_TARS: Readonly<Record<string, OddTar>> = {
  // What old and foreign programs write.
  "v7: no magic, NUL types, directories by their slash": same(() =>
    join(
      rawMember({ name: "./", flag: "\0", magic: "", mode: "   755 \0" }),
      rawMember({ name: "d/", flag: "\0", magic: "", mode: "   755 \0" }),
      rawMember(
        { name: "d/a", flag: "\0", magic: "", uid: "     7 \0", size: "          2 ", mtime: "14524460400 " },
        "a\n",
      ),
      rawMember({ name: "h", target: "d/a", flag: "1", magic: "" }),
      rawMember({ name: "s", target: "d/a", flag: "2", magic: "" }),
      END,
    ),
  ),
  "header sums of signed bytes": same(() => {
    const block = Buffer.from(file("caf\xe9", "x"));
    let sum = 0;
    for (let i = 0; i < 512; i++) sum += i >= 148 && i < 156 ? 0x20 : block.readInt8(i);
    block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    return archive(block);
  }),
  "numbers with spaces, without an end, in base-256": same(() =>
    archive(
      file("a", "a", { uid: " 12    \0", gid: "0000034 ", mode: "00006755" }),
      file("b", "b", { uid: base256(3_000_000_000n, 8), gid: base256(4_294_967_294n, 8) }),
      file("c", "c", { mtime: base256(-1000n, 12), size: base256(1n, 12) }),
      file("d", "d", { mtime: base256(9_000_000_000n, 12) }),
    ),
  ),
  "a ustar prefix, and one of star's": same(() =>
    archive(directory("some"), directory("some/where"), file("a", "a", { prefix: "some/where" })),
  ),
  "long names of GNU tar": same(() =>
    archive(
      rawMember({ name: "././@LongLink", flag: "L", magic: GNU_MAGIC }, `${"n".repeat(200)}\0`),
      file("n".repeat(100), "long", { magic: GNU_MAGIC }),
      rawMember({ name: "././@LongLink", flag: "K", magic: GNU_MAGIC }, `${"t".repeat(300)}\0`),
      rawMember({ name: "s", flag: "2", magic: GNU_MAGIC, target: "t".repeat(100) }),
      rawMember({ name: "././@LongLink", flag: "K", magic: GNU_MAGIC }, `${"n".repeat(200)}\0`),
      rawMember({ name: "h", flag: "1", magic: GNU_MAGIC, target: "n".repeat(100) }),
    ),
  ),
  "global PAX headers, of git archive and others": same(() =>
    join(
      pax({ comment: "0123456789abcdef0123456789abcdef01234567" }, "g"),
      ROOT,
      pax({ mtime: "1000000000.5", uid: "77" }, "g"),
      file("a"),
      pax({ mtime: "1234567890.25" }),
      file("b"),
      pax({ mtime: "1000000001", uid: "78" }, "g"),
      file("c"),
      END,
    ),
  ),
  "PAX times: negative, with many digits, with none": same(() =>
    archive(
      ...["-1.25", "-1000000000", "1.", "1.123456789", "1.1234567899", "1.000000000", "10000000000.5"].flatMap(
        (mtime, index) => [pax({ mtime }), file(`t${index}`)],
      ),
    ),
  ),
  "PAX sizes, names and owners over those of the header": same(() =>
    archive(
      join(
        pax({ path: "caf\xe9 \n=1", size: "5", uid: "3000000", gid: "0", hdrcharset: "BINARY" }),
        rawMember({ name: "other", size: octal(0, 12) }, ""),
        padded(latin1("bytes")),
      ),
    ),
  ),
  "contiguous files and a volume label": same(() =>
    archive(rawMember({ name: "label", flag: "V", magic: GNU_MAGIC }), file("a", "a", { flag: "7" })),
  ),
  "devices and fifos": same(() =>
    archive(
      rawMember({ name: "null", flag: "3", major: octal(1, 8), minor: octal(3, 8), mode: "0000666\0" }),
      rawMember({ name: "disk", flag: "4", major: octal(259, 8), minor: octal(70_000, 8) }),
      rawMember({ name: "pipe", flag: "6", mode: "0000600\0" }),
    ),
  ),
  "xattrs: bytes, without a value, as libarchive writes them": shows(
    [". 40755 0:0", `a ${NODE} user.b=0a3d00ff user.e= user.l=68656c6c6f 2`],
    () =>
      archive(
        pax({
          "SCHILY.xattr.user.b": "\n=\0\xff",
          "SCHILY.xattr.user.e": "",
          "LIBARCHIVE.xattr.user.%6c": "aGVsbG8",
        }),
        file("a"),
      ),
  ),
  "ACLs by number, as libarchive, star and Solaris write them": shows(
    [
      ". 40755 0:0",
      // Owner rw, 7 r, 8 rwx, group r, 9 rx, mask rw, other nothing: sorted, and the group's bits are the mask's.
      "a 100660 0:0 system.posix_acl_access=0200000001000600ffffffff02000400070000000200070008000000" +
        "04000400ffffffff080005000900000010000600ffffffff20000000ffffffff 2",
    ],
    () => archive(acl("user::rw-,group::r--,other:---,user:8:rwx,user:ann:r--:7,group:9:r-x,mask:rw-")),
  ),
  "ACLs by name, as GNU tar writes them: the archive's own accounts": shows(
    [
      ". 40755 0:0",
      "a 100644 0:0 system.posix_acl_access=0200000001000600ffffffff02000400e903000004000400ffffffff" +
        "080004003200000010000400ffffffff20000400ffffffff 2",
      "etc 40755 0:0",
      `etc/group ${NODE} 22`,
      `etc/passwd ${NODE} 33`,
    ],
    () => archive(acl("user::rw-\nuser:ann:r--\ngroup::r--\ngroup:staff:r--\nmask::r--\nother::r--\n"), ACCOUNTS),
  ),
  "an ACL that says what the mode says": shows([". 40755 0:0", "a 100751 0:0 2"], () =>
    archive(acl("user::rwx\ngroup::r-x\nother::--x\n")),
  ),
  "an ACL of somebody who is not there": fails("acl-name", () =>
    archive(acl("user::rw-\nuser:eve:r--\ngroup::r--\nmask::r--\nother::r--\n"), ACCOUNTS),
  ),
  "an ACL that is none": fails("bad-acl", () => archive(acl("user::rw-,what::r--"))),
  "an ACL without a mask": fails("bad-acl", () => archive(acl("user::rw-,user:7:r--,group::r--,other::---"))),
  "an ACL that names somebody twice": fails("bad-acl", () =>
    archive(acl("user::rw-,user:7:r--,user:7:rw-,group::r--,mask::rw-,other::---")),
  ),
  "a default ACL of a file": fails("bad-acl", () =>
    archive(join(pax({ "SCHILY.acl.default": "user::rwx,group::r-x,other::---" }), file("a"))),
  ),

  // Sparse files.
  "old GNU sparse": same(() =>
    archive(
      rawMember(
        {
          name: "s",
          flag: "S",
          magic: GNU_MAGIC,
          tail: oldSparse(
            [
              [1024, 512],
              [5000, 2],
              [9000, 0],
            ],
            9000,
          ),
        },
        `${"a".repeat(512)}bc`,
      ),
      file("after"),
    ),
  ),
  "old GNU sparse, its map in more blocks": same(() =>
    archive(
      join(
        rawMember({
          name: "s",
          flag: "S",
          magic: GNU_MAGIC,
          size: octal(4 * 512 + 1, 12),
          tail: oldSparse(
            [0, 1, 2, 3].map((i) => [i * 1000, 512] as const),
            9000,
            true,
          ),
        }),
        padded(latin1(octal(8000, 12) + octal(1, 12) + octal(9000, 12) + octal(0, 12))),
        padded(latin1(`${"abcd".replace(/./g, (letter) => letter.repeat(512))}e`)),
      ),
      file("after"),
    ),
  ),
  "PAX sparse 1.0": same(() =>
    archive(sparse10("3\n1000\n512\n5000\n2\n9000\n0\n", "9000", `${"a".repeat(512)}bc`), file("after")),
  ),
  // GNU tar never writes such runs, and reads each from a block of its own; libarchive and Go read them as they stand.
  "PAX sparse 1.0, runs that are no blocks": shows([". 40755 0:0", `after ${NODE} 6`, `s ${NODE} 9000`], () =>
    archive(sparse10("2\n1000\n3\n5000\n2\n", "9000", "abcde"), file("after")),
  ),
  "a sparse file of holes alone": same(() => archive(sparse10("1\n1000000\n0\n", "1000000", ""), file("after"))),
  "a sparse map past the end of the file": fails("bad-sparse", () => archive(sparse10("1\n8998\n3\n", "9000", "abc"))),
  "a sparse map that overlaps itself": fails("bad-sparse", () =>
    archive(sparse10("2\n1000\n3\n1001\n2\n", "9000", "abcde")),
  ),
  "a sparse map of more than is stored": fails("bad-sparse", () => archive(sparse10("1\n0\n9\n", "9000", "abc"))),
  "a sparse map of less than is stored": fails("bad-sparse", () => archive(sparse10("1\n0\n1\n", "9000", "abc"))),
  "a sparse map that is not there": fails("bad-sparse", () => archive(sparse10("", "9000", ""))),
  "a sparse file of a newer version": fails("bad-sparse", () =>
    archive(pax({ "GNU.sparse.major": "2", "GNU.sparse.minor": "0", "GNU.sparse.size": "9" }), file("a")),
  ),
  "a sparse file past all bounds": fails("too-large", () => archive(sparse10("0\n", "1099511627776", ""))),
  "star's sparse files, by type": fails("star-sparse", () => archive(file("a", "abc", { flag: "S" }))),
  "star's sparse files, by record": fails("star-sparse", () =>
    archive(pax({ "SCHILY.realsize": "9000" }), file("a", "abc")),
  ),

  // Links.
  "links to links": same(() => archive(file("a"), link("b", "a"), link("c", "./b"), symlink("s", "a"), link("t", "s"))),
  "a link that was given a size": same(() => archive(file("a"), link("b", "a", { size: octal(2, 12) }), file("c"))),
  "a link to what is replaced later": same(() => archive(file("a", "one"), link("b", "a"), file("a", "two"))),
  "a link to nothing": fails("dangling-hardlink", () => archive(link("b", "a"))),
  "a link to what comes later": fails("dangling-hardlink", () => archive(link("b", "a"), file("a"))),
  "a link to itself": fails("dangling-hardlink", () => archive(link("a", "a"))),
  "a link to a directory": fails("hardlink-to-directory", () => archive(directory("d"), link("b", "d"))),
  "a link to outside": fails("path-traversal", () => archive(link("b", "../../etc/passwd"))),
  "a link that carries its content": fails("bad-checksum", () =>
    archive(file("a"), rawMember({ name: "b", flag: "1", target: "a" }, "a\n")),
  ),

  // Names.
  "names with dots, slashes and bytes": same(() =>
    archive(
      directory("./d"),
      directory("d//e"),
      file("./d/./e//f"),
      file("caf\xe9\xff"),
      file("new\nline"),
      file("..."),
    ),
  ),
  "entries below a symbolic link": same(() => archive(directory("real"), symlink("l", "real"), file("l/x"))),
  "entries below a link to the parent": shows(
    [". 40755 0:0", "real 40755 0:0", "real/up 120777 0:0 -> ..", `y ${NODE} 10`],
    () => archive(directory("real"), symlink("real/up", ".."), file("real/up/y")),
  ),
  "entries below an absolute link, which means the root": shows(
    [". 40755 0:0", "l 120777 0:0 -> /real", "real 40755 0:0", `real/x ${NODE} 4`],
    () => archive(directory("real"), symlink("l", "/real"), file("l/x")),
  ),
  "a file whose name ends in a slash": shows([". 40755 0:0", `a ${NODE} 5`], () => archive(file("a/", "bytes"))),
  "a directory that was given a size": shows([". 40755 0:0", "d 40755 0:0", `x ${NODE} 2`], () =>
    archive(directory("d", { size: octal(1024, 12) }), file("x")),
  ),
  "an absolute name": fails("absolute-path", () => archive(file("/etc/passwd"))),
  "a name that leads out": fails("path-traversal", () => archive(file("../a"))),
  "a name with .. in it": fails("path-traversal", () => archive(directory("d"), file("d/../a"))),
  "a link that leads out, as a parent": fails("link-escapes", () => archive(symlink("l", "../.."), file("l/x"))),
  "links in a ring, as a parent": fails("symlink-loop", () =>
    archive(symlink("a", "b"), symlink("b", "a"), file("a/x")),
  ),
  "a name of 256 bytes": fails("name-too-long", () => archive(pax({ path: "n".repeat(256) }), file("a"))),
  "a path of 5000 bytes": fails("bad-path", () => archive(pax({ path: "n/".repeat(2500) }), file("a"))),
  "a name with NUL": fails("bad-path", () => archive(pax({ path: "a\0b" }), file("a"))),
  "no name": fails("bad-path", () => archive(file(""))),
  "a file as the root": fails("root-type", () => archive(file("."))),

  // Names that come more than once.
  "the last of equal names wins": same(() =>
    archive(file("a", "one"), file("a", "two"), directory("d"), file("d/x"), directory("d", { mode: "0000700\0" })),
  ),
  "a directory in the place of a file, a link, an empty directory": same(() =>
    archive(file("a"), directory("a"), file("a/x"), directory("b"), file("b"), symlink("c", "a"), file("c")),
  ),
  "a file in the place of a directory with something in it": shows([". 40755 0:0", `d ${NODE} 2`], () =>
    archive(directory("d"), file("d/x"), file("d")),
  ),

  // The end.
  "one zero block": same(() => WHOLE.subarray(0, CUT + 512)),
  "zeros behind the end": same(() => join(WHOLE, new Uint8Array(9000))),
  "no zero block": fails("truncated", () => WHOLE.subarray(0, CUT)),
  "cut in the padding": fails("truncated", () => WHOLE.subarray(0, CUT - 100)),
  "cut in a content": fails("truncated", () => WHOLE.subarray(0, 512 * 3 + 600)),
  "cut in a header": fails("truncated", () => WHOLE.subarray(0, 512 * 2 + 100)),
  "cut behind an extended header": fails("truncated", () => join(ROOT, pax({ path: "a" }))),
  "an end behind an extended header": fails("truncated", () => archive(pax({ path: "a" }))),
  "more than 8 GiB that are not there": fails("truncated", () =>
    archive(rawMember({ name: "a", size: base256(10n ** 10n, 12) })),
  ),
  "a zero block in the middle": fails("lone-zero-block", () =>
    join(WHOLE.subarray(0, CUT), new Uint8Array(512), WHOLE),
  ),
  "two archives one after the other": fails("trailing-bytes", () => join(WHOLE, WHOLE)),
  "an end and nothing else": shows([". 40755 0:0"], () => END),

  // Numbers and types that make no sense.
  "a size below zero": fails("bad-number", () => archive(file("a", "", { size: base256(-1n, 12) }))),
  "a size past 2^53": fails("bad-number", () => archive(file("a", "", { size: base256(1n << 60n, 12) }))),
  "an owner past 2^32": fails("bad-number", () => archive(file("a", "", { uid: base256(1n << 33n, 8) }))),
  "a mode that is no number": fails("bad-number", () => archive(file("a", "", { mode: "rwxr-x--" }))),
  "a device that Linux has not": fails("bad-device", () =>
    archive(rawMember({ name: "a", flag: "3", major: octal(5000, 8), minor: octal(0, 8) })),
  ),
  "a wrong checksum": fails("bad-checksum", () => archive(file("a", "", { sum: "0000000\0" }))),
  "a PAX header that is none": fails("bad-pax", () =>
    archive(rawMember({ name: "x", flag: "x" }, "99 a=b\n"), file("a")),
  ),
  ...Object.fromEntries(
    [...["D", "M", "N", "A", "X", "8"].entries()].map(([, flag]) => [
      `type ${flag}`,
      fails("tar-type", () => archive(file("a", "abc", { flag }))),
    ]),
  ),

  // Compression, known by its first bytes.
  gzip: same(() => gzipSync(WHOLE)),
  "gzip in two members": shows([". 40755 0:0", "d 40755 0:0", `d/a ${NODE} 700`, `z ${NODE} 2`], () =>
    join(gzipSync(WHOLE.subarray(0, 1000)), gzipSync(WHOLE.subarray(1000))),
  ),
  "zstd in two frames": shows([". 40755 0:0", "d 40755 0:0", `d/a ${NODE} 700`, `z ${NODE} 2`], () =>
    join(zstdCompressSync(WHOLE.subarray(0, 1000)), zstdCompressSync(WHOLE.subarray(1000))),
  ),
  "gzip, cut": fails("truncated", () => gzipSync(WHOLE).subarray(0, 100)),
  "gzip of an archive that is cut": fails("truncated", () => gzipSync(WHOLE.subarray(0, CUT))),
  "gzip with other bytes behind": fails("bad-gzip", () => join(gzipSync(WHOLE), "other bytes")),
  "gzip with zeros behind": fails("trailing-bytes", () => join(gzipSync(WHOLE), new Uint8Array(512))),
  "gzip that is spoiled": fails("bad-gzip", () => {
    const bytes = gzipSync(WHOLE);
    bytes.writeUInt32LE(0, bytes.length - 8); // its CRC
    return bytes;
  }),
  xz: fails("compressed-archive", () => tool("xz", WHOLE)),
  bzip2: fails("compressed-archive", () => tool("bzip2", WHOLE)),
  "bzip2 of nothing": fails("compressed-archive", () => tool("bzip2", new Uint8Array(0))),
  lz4: fails("compressed-archive", () => join("\x04\x22\x4d\x18", WHOLE)),
  lzip: fails("compressed-archive", () => join("LZIP\x01", WHOLE)),
  compress: fails("compressed-archive", () => join("\x1f\x9d\x90", WHOLE)),
  "names that begin like compressed files": same(() => join(file("BZh9"), file("LZIP"), ROOT, END)),
  "no archive": fails("bad-checksum", () => latin1("hello\n".repeat(200))),
  "a short text": fails("truncated", () => latin1("hello\n")),
  nothing: fails("truncated", () => new Uint8Array(0)),
};
