// Random trees for composefs: small ones, dense in boundaries (names, links, contents, xattrs, times, whiteouts, hard links).
import fc from "fast-check";
import { type ByteString, byteString, toHex } from "../../core/src/bytes/index.ts";
import { ExternalContent, InlineContent, objectPath } from "../../core/src/formats/composefs/index.ts";
import {
  type Attributes,
  attributes,
  type Directory,
  deviceNode,
  directory,
  type Leaf,
  type Node,
  regularFile,
  specialNode,
  symlink,
} from "../../core/src/tree/index.ts";

const at = (text: string): ByteString => text as ByteString;
const near = (...sizes: number[]): fc.Arbitrary<number> =>
  fc.tuple(fc.constantFrom(...sizes), fc.integer({ min: -1, max: 1 })).map(([size, by]) => size + by);

const nameByte = fc.integer({ min: 1, max: 255 }).filter((code) => code !== 0x2f);
const name: fc.Arbitrary<ByteString> = fc
  .oneof(
    { weight: 6, arbitrary: fc.string({ unit: fc.constantFrom(..."abcxyz019._- =\\\n"), minLength: 1, maxLength: 8 }) },
    { weight: 2, arbitrary: fc.nat({ max: 255 }).map((code) => code.toString(16).padStart(2, "0")) }, // like the stubs
    { weight: 2, arbitrary: fc.integer({ min: 100, max: 255 }).map((length) => "n".repeat(length)) },
    {
      weight: 1,
      arbitrary: fc.array(nameByte, { minLength: 1, maxLength: 12 }).map((codes) => String.fromCharCode(...codes)),
    },
  )
  .filter((text) => text !== "." && text !== "..")
  .map(at);

const bytes = (maxLength: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength });
const pattern = (size: number): Uint8Array => new Uint8Array(size).map((_, i) => (i * 7 + size) & 0xff);

/** Where a whiteout sets a mark that is there already, composefs 1.0.8 fails (it loses count of the bytes of xattrs). */
const MARKS = ["trusted.overlay.opaque", "trusted.overlay.whiteout", "user.overlay.opaque", "user.overlay.whiteouts"];

const xattrName = (marks: boolean): fc.Arbitrary<ByteString> =>
  fc
    .oneof(
      fc.constantFrom(
        "user.a",
        "user.b",
        "user.",
        "security.selinux",
        "security.capability",
        "system.posix_acl_access",
        "system.posix_acl_default",
        "system.posix_acl_access.more",
        "trusted.overlay.overlay.redirect",
        "trusted.overlay.metacopy",
        "trusted.x",
        "lustre.lov",
        "other",
        ...(marks ? MARKS : []),
      ),
      fc.string({ unit: fc.constantFrom(..."ab=. \\"), minLength: 1, maxLength: 40 }).map((text) => `user.${text}`),
    )
    .map(at);

const xattrs = (marks: boolean) =>
  fc
    .array(
      fc.tuple(
        xattrName(marks),
        fc.oneof(
          fc.constantFrom(new Uint8Array(0), Uint8Array.of(0x79), pattern(20)),
          bytes(6),
          near(300, 2000).map(pattern),
        ),
      ),
      { maxLength: 4 },
    )
    .map((pairs) => new Map(pairs));

const small = fc.constantFrom(0, 1000, 65535);
const owner = fc.oneof({ weight: 5, arbitrary: small }, { weight: 1, arbitrary: fc.constantFrom(65536, 0xffffffff) });
const time = fc.oneof(
  { weight: 5, arbitrary: fc.constantFrom(0n, 1_700_000_000_000_000_000n) },
  { weight: 1, arbitrary: fc.constantFrom(1n, 999_999_999n, -1n, -5_000_000_000n, 2n ** 62n) },
);

const anyOwn = (marks: boolean): fc.Arbitrary<Attributes> =>
  fc
    .record({
      mode: fc.constantFrom(0o755, 0o644, 0o7777, 0),
      uid: owner,
      gid: owner,
      mtime: time,
      xattrs: fc.oneof(
        { weight: 2, arbitrary: fc.constant(new Map<ByteString, Uint8Array>()) },
        { weight: 1, arbitrary: xattrs(marks) },
      ),
    })
    .map(({ mode, ...rest }) => attributes(mode, rest));

const fileSize = fc.oneof(
  near(2, 65, 4096, 65536, 2 ** 20, 2 ** 32, 2 ** 43),
  fc.integer({ min: 1, max: 2 ** 31 }),
  fc.constantFrom(2 ** 43 + 1, 2 ** 45 + 5, 2 ** 50),
);

export type DigestSize = 32 | 64;

const external = (digestSize: DigestSize): fc.Arbitrary<ExternalContent> =>
  fc
    .tuple(
      fileSize,
      fc.option(fc.nat({ max: 255 }), { freq: 8 }),
      fc.constantFrom("digest", "none", "/abs/olute", "a b=c"),
    )
    .map(([size, fill, payload]) => {
      const digest = fill === null ? undefined : new Uint8Array(digestSize).fill(fill);
      const path =
        payload === "none" ? undefined : payload === "digest" && digest ? objectPath(toHex(digest)) : at(payload);
      return new ExternalContent(size, digest && byteString(digest), path);
    });

const inline = fc
  .oneof(fc.constant(0), fc.integer({ min: 1, max: 64 }), near(64, 2048, 4095, 4999), near(2048 + 4096 - 1300))
  .map((size) => new InlineContent(pattern(size)));

const target = fc
  .oneof(
    fc.string({ unit: fc.constantFrom(..."ab/.-\n"), minLength: 1, maxLength: 30 }),
    fc.oneof(near(1000, 2000, 4000, 4030, 4062), fc.integer({ min: 1, max: 4095 })).map((size) => "t".repeat(size)),
  )
  .map(at);

function leaf(own: fc.Arbitrary<Attributes>, digestSize: DigestSize, whiteouts: boolean): fc.Arbitrary<Leaf> {
  return fc.oneof(
    { weight: 4, arbitrary: fc.tuple(own, external(digestSize)).map(([some, content]) => regularFile(some, content)) },
    { weight: 3, arbitrary: fc.tuple(own, inline).map(([some, content]) => regularFile(some, content)) },
    { weight: 3, arbitrary: fc.tuple(own, target).map(([some, text]) => symlink(some, text)) },
    {
      weight: 1,
      arbitrary: fc
        .tuple(
          own,
          fc.constantFrom("character" as const, "block" as const),
          fc.nat({ max: 4095 }),
          fc.nat({ max: 2 ** 20 - 1 }),
        )
        .map(([some, type, major, minor]) => deviceNode(type, some, major, Math.max(minor, 1))),
    },
    {
      weight: 1,
      arbitrary: fc
        .tuple(own, fc.constantFrom("fifo" as const, "socket" as const))
        .map(([some, type]) => specialNode(type, some)),
    },
    ...(whiteouts ? [{ weight: 1, arbitrary: own.map((some) => deviceNode("character", some, 0, 0)) }] : []),
  );
}

/** What is put where: into the directory of this number, under this name. */
const step = (own: fc.Arbitrary<Attributes>, digestSize: DigestSize, whiteouts: boolean) =>
  fc.record({
    into: fc.nat(),
    name,
    what: fc.oneof(
      { weight: 6, arbitrary: leaf(own, digestSize, whiteouts).map((node) => ({ kind: "leaf" as const, node })) },
      { weight: 3, arbitrary: own.map((some) => ({ kind: "directory" as const, own: some })) },
      { weight: 1, arbitrary: fc.nat().map((of) => ({ kind: "link" as const, of })) },
      {
        weight: 1,
        arbitrary: fc
          .tuple(fc.integer({ min: 10, max: 150 }), own)
          .map(([count, some]) => ({ kind: "many" as const, count, own: some })),
      },
    ),
  });

/** A tree whose contents are stored. */
export function composefsTree({
  digestSize = 32,
  whiteouts = true,
  maxSteps = 30,
}: {
  readonly digestSize?: DigestSize;
  readonly whiteouts?: boolean;
  readonly maxSteps?: number;
} = {}): fc.Arbitrary<Directory> {
  const own = anyOwn(!whiteouts);
  return fc.tuple(own, fc.array(step(own, digestSize, whiteouts), { maxLength: maxSteps })).map(([rootOwn, steps]) => {
    const root = directory(rootOwn);
    const directories = [root];
    const linkable: Leaf[] = [];
    const put = (into: Directory, key: ByteString, node: Node): boolean => {
      if (into.entries.has(key)) return false;
      into.entries.set(key, node);
      return true;
    };
    for (const { into, name: key, what } of steps) {
      const parent = directories[into % directories.length]!; // never empty
      if (what.kind === "leaf") {
        const isWhiteout = what.node.type === "character" && what.node.major === 0 && what.node.minor === 0;
        if (put(parent, key, what.node) && !isWhiteout) linkable.push(what.node);
      } else if (what.kind === "directory") {
        const made = directory(what.own);
        if (put(parent, key, made)) directories.push(made);
      } else if (what.kind === "link") {
        const old = linkable[what.of % Math.max(linkable.length, 1)];
        if (old !== undefined) put(parent, key, old);
      } else
        for (let i = 0; i < what.count; i++)
          put(
            parent,
            byteString(new TextEncoder().encode(`${key.slice(0, 30)}-${i}`)),
            regularFile(what.own, new InlineContent(pattern(i % 65))),
          );
    }
    return root;
  });
}
