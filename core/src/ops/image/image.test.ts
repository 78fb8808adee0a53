import assert from "node:assert/strict";
import { test } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { type ByteString, concatBytes, encodeUtf8, fromUtf8 } from "../../bytes/index.ts";
import { FormatError, IntegrityError, isAshlarError, SourceError, UnsupportedError } from "../../errors/index.ts";
import { encodeTar, encodeTarHeader, TAR_END, type TarInput } from "../../formats/tar/index.ts";
import { digestOf, pureHashes } from "../../hash/index.ts";
import { nodeHashes } from "../../node/index.ts";
import { bytesSource, memoryScratch, type ScratchSpace } from "../../source/index.ts";
import { getNode, walkTree } from "../../tree/index.ts";
import {
  type Decompressors,
  type FlattenOptions,
  flatten,
  type HostFiles,
  type HostInputs,
  openImage,
  parseReference,
  readInput,
} from "./index.ts";

type Member = Omit<TarInput, "size"> & { readonly content?: Uint8Array };
const b = fromUtf8;
const file = (path: string, content = path): Member => ({
  path: path as ByteString,
  type: "file",
  content: encodeUtf8(content),
});
const directory = (path: string): Member => ({ path: b(path), type: "directory" });
const link = (path: string, target: string): Member => ({
  path: b(path),
  type: "hardlink",
  linkTarget: target as ByteString,
});
const symlink = (path: string, target: string): Member => ({ path: b(path), type: "symlink", linkTarget: b(target) });
const fails =
  (code: string, type: new (...args: never[]) => Error = FormatError) =>
  (error: unknown) => {
    assert.ok(isAshlarError(error) && error instanceof type && error.code === code, `expected ${code}, got ${error}`);
    assert.ok(!error.message.includes("\n") && error.message.length < 800, error.message);
    return true;
  };

/** Decompressors good enough for tests: everything at once. */
async function* gunzip(input: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of input) parts.push(part);
  let plain: Uint8Array;
  try {
    plain = gunzipSync(concatBytes(...parts));
  } catch (cause) {
    throw new FormatError("bad-gzip", "gzip stream is broken", { cause });
  }
  for (let at = 0; at < plain.length; at += 1 << 20) yield plain.subarray(at, at + (1 << 20));
}
const decompressors: Decompressors = { gunzip, unzstd: gunzip };

interface Layout {
  readonly blobs: Map<string, Uint8Array>;
  readonly files: HostFiles;
  /** The layout as a tar. */
  archive(): Uint8Array;
}

interface LayerInput {
  readonly tar: Uint8Array;
  readonly type?: string;
  readonly pack?: (tar: Uint8Array) => Uint8Array;
  readonly diffId?: string;
  readonly descriptor?: object;
}

function layout(layers: readonly LayerInput[], diffIdCount = layers.length): Layout {
  const blobs = new Map<string, Uint8Array>();
  const put = (mediaType: string, bytes: Uint8Array) => {
    const digest = digestOf(pureHashes, bytes);
    blobs.set(`blobs/${digest.replace(":", "/")}`, bytes);
    return { mediaType, digest, size: bytes.length };
  };
  const json = (value: unknown) => encodeUtf8(JSON.stringify(value));
  const types = "application/vnd.oci.image";
  const config = put(
    `${types}.config.v1+json`,
    json({
      os: "linux",
      architecture: "amd64",
      rootfs: {
        type: "layers",
        diff_ids: layers.map(({ tar, diffId }) => diffId ?? digestOf(pureHashes, tar)).slice(0, diffIdCount),
      },
    }),
  );
  const descriptors = layers.map(({ tar, type = "layer.v1.tar", pack = (bytes) => bytes, descriptor }) => ({
    ...put(`${types}.${type}`, pack(tar)),
    ...descriptor,
  }));
  const manifest = put(`${types}.manifest.v1+json`, json({ schemaVersion: 2, config, layers: descriptors }));
  blobs.set("index.json", json({ schemaVersion: 2, manifests: [manifest] }));
  blobs.set("oci-layout", json({ imageLayoutVersion: "1.0.0" }));
  const archive = () =>
    encodeTar([...blobs].map(([path, content]) => ({ path: b(`./${path}`), type: "file" as const, content })));
  const open = async (path: string) => {
    const bytes = blobs.get(path);
    if (bytes === undefined) throw new SourceError("not-found", path);
    return { ...bytesSource(bytes), close: async () => {} };
  };
  return {
    blobs,
    archive,
    files: {
      openDirectory: async () => ({ open, close: async () => {} }),
      openFile: async () => ({ ...bytesSource(archive()), close: async () => {} }),
    },
  };
}

/** Scratch space that knows what was not disposed of. */
function countedScratch(): ScratchSpace & { open: number } {
  const counted = {
    open: 0,
    async create() {
      const scratch = await memoryScratch.create();
      counted.open++;
      return {
        get size() {
          return scratch.size;
        },
        append: (bytes: Uint8Array) => scratch.append(bytes),
        read: (offset: number, length: number) => scratch.read(offset, length),
        async dispose() {
          counted.open--;
        },
      };
    },
  };
  return counted;
}

async function build({ files }: Layout, reference = "oci:x", options: FlattenOptions = {}) {
  const scratch = countedScratch();
  const image = await openImage(parseReference(reference), { hashes: pureHashes, files });
  try {
    const flat = await flatten(image, { hashes: pureHashes, scratch, decompressors }, options);
    const paths = [...walkTree(flat.root)].map(({ path }) => path).slice(1);
    return { ...flat, paths };
  } catch (error) {
    assert.equal(scratch.open, 0, "scratch space is left behind");
    throw error;
  }
}
const layer = (...members: Member[]): LayerInput => ({ tar: encodeTar(members) });

test("references", () => {
  const shape = (text: string) => {
    const { transport, path, tag, digest } = parseReference(text);
    return [transport, path, tag, digest];
  };
  const digest = `sha256:${"a".repeat(64)}`;
  assert.deepEqual(shape("oci:/srv/image"), ["oci", "/srv/image", undefined, undefined]);
  assert.deepEqual(shape("oci:image:latest"), ["oci", "image", "latest", undefined]);
  assert.deepEqual(shape("oci:/a:b/image:v1.2-3"), ["oci", "/a:b/image", "v1.2-3", undefined]);
  assert.deepEqual(shape("oci:/a:b/image"), ["oci", "/a:b/image", undefined, undefined]);
  assert.deepEqual(shape("oci:odd:name:"), ["oci", "odd:name", undefined, undefined]);
  assert.deepEqual(shape(`oci:image@${digest}`), ["oci", "image", undefined, digest]);
  assert.deepEqual(shape(`oci-archive:image.tar:tag@${digest}`), ["oci-archive", "image.tar", "tag", digest]);
  assert.deepEqual(shape("oci:user@host/image"), ["oci", "user@host/image", undefined, undefined]);
  const docker = "docker-archive";
  assert.deepEqual(shape("docker-archive:a.tar"), [docker, "a.tar", undefined, undefined]);
  assert.deepEqual(shape("docker-archive:/x/a.tar:1.2"), [docker, "/x/a.tar", "1.2", undefined]);
  assert.deepEqual(shape("docker-archive:a.tar:host:5000/name:v1"), [docker, "a.tar", "host:5000/name:v1", undefined]);
  assert.deepEqual(shape(`docker-archive:a.tar@${digest}`), [docker, "a.tar", undefined, digest]);
  for (const [transport, path] of [
    ["dir", "/srv/a:b/c"],
    ["tar", "-"],
    ["tar", "root.tar:x@y"],
    ["containers-storage", "[vfs@/x+/y]localhost/a:1"],
  ] as const)
    assert.deepEqual(shape(`${transport}:${path}`), [transport, path, undefined, undefined]);
  for (const text of [
    "",
    "image",
    "/srv/image",
    "oci:",
    "oci::tag",
    "oci:image:ta g",
    "typo:image",
    "dir:",
    "docker-archive:a:b c",
  ])
    assert.throws(() => parseReference(text), fails("bad-reference"), text);
  assert.throws(() => parseReference("debian:12"), /names no registry/);
  assert.throws(() => parseReference("ostree:debian"), fails("transport", UnsupportedError));
  const hub = "docker.io/library/debian";
  assert.deepEqual(shape("docker://debian"), ["docker", hub, undefined, undefined]);
  assert.deepEqual(shape(`docker://debian:12@${digest}`), ["docker", hub, "12", digest]);
  for (const name of ["registry.example/os", "localhost/os", "127.0.0.1:5000/a/b", "[::1]:5000/os"]) {
    assert.deepEqual(shape(`docker://${name}:1`), ["docker", name, "1", undefined]);
    assert.deepEqual(shape(`${name}:1`), ["docker", name, "1", undefined]);
  }
  for (const text of ["docker:debian", "docker://", "docker://Host/Name", "docker://a.b/c:-", "debian:12", "a/b:1"])
    assert.throws(() => parseReference(text), fails("bad-reference"), text);
  assert.throws(() => parseReference("oci:x@sha256:abc"), fails("bad-digest"));
});

test("content is read lazily, from layers of any compression", async () => {
  const gzip: LayerInput = {
    tar: encodeTar([file("b", "upper")]),
    type: "layer.v1.tar+gzip",
    pack: (tar) => gzipSync(tar),
  };
  const flat = await build(layout([layer(file("a"), file("b", "lower")), gzip]));
  assert.deepEqual(flat.paths, ["a", "b"]);
  const node = getNode(flat.root, "b");
  assert.ok(node?.type === "file");
  assert.deepEqual(await node.content.read(0, node.content.size), encodeUtf8("upper"));
});

test("an archive is read in place; a compressed one is refused", async () => {
  const image = layout([layer(file("a"))]);
  assert.deepEqual((await build(image, "oci-archive:x")).paths, ["a"]);
  const openFile = async () => ({ ...bytesSource(gzipSync(image.archive())), close: async () => {} });
  await assert.rejects(
    build({ ...image, files: { ...image.files, openFile } }, "oci-archive:x"),
    fails("compressed-archive", UnsupportedError),
  );
  const cut = async () => ({ ...bytesSource(image.archive().subarray(0, 1700)), close: async () => {} });
  await assert.rejects(
    build({ ...image, files: { ...image.files, openFile: cut } }, "oci-archive:x"),
    fails("truncated"),
  );
});

test("bytes that are not the promised ones: size, digest, diffID, each before anything is used", async () => {
  const tar = encodeTar([file("a", "x".repeat(5000))]);
  const path = `blobs/${digestOf(pureHashes, tar).replace(":", "/")}`;
  const broken = (bytes: Uint8Array) => {
    const image = layout([{ tar }]);
    image.blobs.set(path, bytes);
    return build(image);
  };
  const flipped = tar.slice();
  flipped[600]! ^= 1;
  await assert.rejects(broken(flipped), fails("digest-mismatch", IntegrityError));
  const header = tar.slice();
  header[3]! ^= 1; // the tar reader stumbles first; what is said is that the bytes are wrong
  await assert.rejects(broken(header), fails("digest-mismatch", IntegrityError));
  const tail = tar.slice();
  tail[tail.length - 1] = 1; // after the end of the archive
  await assert.rejects(broken(tail), fails("digest-mismatch", IntegrityError));
  await assert.rejects(broken(tar.subarray(0, 3000)), fails("size-mismatch", IntegrityError));
  await assert.rejects(broken(concatBytes(tar, new Uint8Array(512))), fails("size-mismatch", IntegrityError));
  await assert.rejects(build(layout([{ tar, descriptor: { size: 100 } }])), fails("size-mismatch", IntegrityError));
  const other = digestOf(pureHashes, encodeUtf8("other"));
  await assert.rejects(build(layout([{ tar, diffId: other }])), fails("diff-id-mismatch", IntegrityError));
  await assert.rejects(
    build(layout([{ tar, diffId: other, type: "layer.v1.tar+gzip", pack: (bytes) => gzipSync(bytes) }])),
    fails("diff-id-mismatch", IntegrityError),
  );
  await assert.rejects(build(layout([{ tar }], 0)), fails("layer-count"));
  await assert.rejects(build(layout([{ tar, type: "layer.v1.tar+gzip" }])), fails("bad-gzip"));
});

test("a layer that is what was promised and still no tar", async () => {
  await assert.rejects(build(layout([{ tar: encodeUtf8("x".repeat(600)) }])), fails("bad-checksum"));
  await assert.rejects(
    build(layout([{ tar: encodeTarHeader({ path: b("a"), type: "file", size: 1 }) }])),
    fails("truncated"),
  );
  const huge = encodeTarHeader({ path: b("a"), type: "file", size: 2 ** 50 });
  await assert.rejects(build(layout([{ tar: concatBytes(huge, TAR_END) }])), fails("too-large"));
});

test("layers are read at once; what comes out, and which error, does not depend on it", async () => {
  const big = (name: string, size: number) => layer({ ...file(name), content: new Uint8Array(size) });
  const bad = (name: string): LayerInput => ({ ...layer(file(name)), diffId: digestOf(pureHashes, encodeUtf8(name)) });
  const mib = 1 << 20;
  const cases: readonly (readonly [LayerInput[], number | undefined, string])[] = [
    [[big("a", 3 * mib), bad("b"), bad("c")], undefined, "layer 2 .*diffID"],
    [[big("a", 3 * mib), bad("b"), big("c", 9 * mib)], 10 * mib, "layer 2 .*diffID"],
    // Alone each would pass; the first that does not fit with those below it is named.
    [[big("a", 3 * mib), big("b", 3 * mib), big("c", 3 * mib), bad("d")], 8 * mib, "layer 3: .*limit"],
    [[big("a", 3 * mib), big("b", 6 * mib), bad("c")], 8 * mib, "layer 2: .*limit"],
    [[big("a", 9 * mib), bad("b")], 8 * mib, "layer 1: .*limit"],
    // It did not fit before it broke; and a digest comes before everything.
    [[big("a", 7 * mib), { ...big("b", 3 * mib), diffId: bad("b").diffId! }], 8 * mib, "layer 2: .*limit"],
  ];
  for (const [layers, maxUncompressedBytes, expected] of cases)
    for (const concurrency of [1, 2, 3, 16])
      await assert.rejects(
        build(layout(layers), "oci:x", { maxUncompressedBytes, concurrency }),
        new RegExp(expected),
        `${expected} with ${concurrency}`,
      );
  const good = [big("a", 2 * mib), big("b", 2 * mib), layer(file("a"), link("c", "b")), big("d", 2 * mib)];
  for (const concurrency of [1, 2, 16]) {
    const { paths, uncompressedSize } = await build(layout(good), "oci:x", { concurrency });
    assert.deepEqual(paths, ["a", "b", "c", "d"]);
    assert.equal(
      uncompressedSize,
      good.reduce((sum, { tar }) => sum + tar.length, 0),
    );
  }
});

test("bombs", async () => {
  const zeros: LayerInput = {
    tar: encodeTar([{ ...file("a"), content: new Uint8Array(90 << 20) }]),
    type: "layer.v1.tar+gzip",
    pack: (tar) => gzipSync(tar),
  };
  await assert.rejects(build(layout([zeros]), "oci:x", { maxUncompressedBytes: 50 << 20 }), fails("too-large"));
  // Few bytes may be a gigabyte, as a file that was allocated for later is, and no more.
  const copies = (count: number): Decompressors => ({
    gunzip,
    unzstd: async function* (input) {
      for await (const _ of input); // its digest is made on the way
      yield zeros.tar;
      for (let i = 1; i < count; i++) yield new Uint8Array(90 << 20);
    },
  });
  async function flattenPacked(decompressors: Decompressors) {
    const packed: LayerInput = { ...zeros, type: "layer.v1.tar+zstd", pack: () => encodeUtf8("tiny") };
    const image = await openImage(parseReference("oci:x"), { hashes: pureHashes, files: layout([packed]).files });
    return flatten(image, { hashes: nodeHashes, scratch: memoryScratch, decompressors });
  }
  assert.ok((await flattenPacked(copies(1))).root.entries.has(b("a")));
  await assert.rejects(flattenPacked(copies(12)), fails("too-large"));
  // A hole costs nothing to send and all to write out.
  const sparse = (size: string) => ({ tar: sparseTar(size) });
  await assert.rejects(build(layout([sparse("9000000000000000")])), fails("too-large"));
  assert.deepEqual((await build(layout([sparse("1000000")]))).paths, ["s"]);
});

function sparseTar(realSize: string): Uint8Array {
  const records = {
    "GNU.sparse.major": "0",
    "GNU.sparse.minor": "1",
    "GNU.sparse.name": "s",
    "GNU.sparse.size": realSize,
    "GNU.sparse.map": "0,1",
  };
  const body = Object.entries(records).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    return `${rest.length + 2}${rest}`;
  });
  const content = encodeUtf8(body.join(""));
  const header = encodeTar([{ path: b("pax"), type: "file", content }]).slice(0, -1024);
  header[156] = "x".charCodeAt(0);
  const sum = header.subarray(0, 512).reduce((total, byte, i) => total + (i >= 148 && i < 156 ? 32 : byte), 0);
  header.set(encodeUtf8(`${sum.toString(8).padStart(6, "0")}\0 `), 148);
  return concatBytes(header, encodeTar([file("ignored", "x")]));
}

const LOOP = [symlink("x", "y"), symlink("y", "x")];
const BAD: readonly (readonly [what: string, code: string, ...layers: Member[][]])[] = [
  ["an absolute name", "absolute-path", [file("/etc/passwd")]],
  ["a name with ..", "path-traversal", [file("a/../../b")]],
  ["a name that is ..", "path-traversal", [directory("..")]],
  ["a link target with ..", "path-traversal", [file("a"), link("b", "../a")]],
  ["a hard link to nothing", "dangling-hardlink", [link("b", "a")]],
  ["a hard link to what comes later", "dangling-hardlink", [link("b", "a"), file("a")]],
  [
    "a hard link to what an earlier layer removed",
    "dangling-hardlink",
    [file("a")],
    [file(".wh.a", "")],
    [link("b", "a")],
  ],
  ["a hard link below a file", "dangling-hardlink", [file("a"), link("b", "a/c")]],
  ["a hard link to a directory", "hardlink-to-directory", [directory("a"), link("b", "a")]],
  ["a hard link to the root", "hardlink-to-directory", [link("b", "./")]],
  ["links that go round", "symlink-loop", [...LOOP, file("x/a")]],
  ["a link to itself", "symlink-loop", [symlink("x", "x"), file("x/a")]],
  ["a whiteout below links that go round", "symlink-loop", LOOP, [file("x/.wh.a", "")]],
  ["a link out of the root", "link-escapes", [symlink("x", "../../etc"), file("x/passwd")]],
  ["a link out of the root, from deep", "link-escapes", [symlink("a/b/x", "../../../etc"), file("a/b/x/passwd")]],
  ["a hard link through a link out of the root", "link-escapes", [symlink("x", ".."), link("b", "x/a")]],
  ["a name that is too long", "name-too-long", [file("n".repeat(256))]],
  ["a path that is too long", "bad-path", [file(`${"d/".repeat(2100)}f`)]],
  ["a whiteout of nothing", "bad-whiteout", [file(".wh.")]],
  ["a whiteout of .", "bad-whiteout", [file("a/.wh..")]],
  ["a whiteout of ..", "bad-whiteout", [file("a/.wh...")]],
  ["a whiteout as a directory", "bad-whiteout", [file(".wh.a/b")]],
  ["a root that is a file", "root-type", [file("./")]],
  ["a root that is a link", "root-type", [symlink(".", "/tmp")]],
  ["a device that Linux does not have", "bad-device", [{ path: b("x"), type: "block", devMajor: 5000 }]],
  ["a target that is too long", "path-too-long", [symlink("x", "t".repeat(4096))]],
];
for (const [what, code, ...layers] of BAD)
  test(`bad input: ${what}`, async () => {
    await assert.rejects(build(layout(layers.map((members) => layer(...members)))), (error) => {
      fails(code)(error);
      assert.match(
        (error as Error).message,
        /^layer \d+ \(sha256:[0-9a-f]{64}\): entry (".*" )?at \d+|long name/,
        (error as Error).message,
      );
      return true;
    });
  });

test("directories deeper than can be walked", async () => {
  const deep = "d/".repeat(1200);
  const members = [directory(deep), symlink("s", deep.slice(0, -1))];
  assert.equal((await build(layout([layer(...members)]))).paths.length, 1201);
  await assert.rejects(build(layout([layer(...members, directory(`s/${deep}`))])), fails("too-deep"));
});

test("targets of symbolic links are data", async () => {
  const flat = await build(
    layout([layer(symlink("a", "../../../etc/passwd"), symlink("b", "/proc/self/root"), symlink("c", "c"))]),
  );
  assert.deepEqual(flat.paths, ["a", "b", "c"]);
});

test("what is no directory makes room for a missing parent", async () => {
  assert.deepEqual((await build(layout([layer(file("a")), layer(file("a/b"))]))).paths, ["a", "a/b"]);
});

test("an absolute hard link means the root, as some builders write it", async () => {
  const flat = await build(layout([layer(file("a"), link("b", "/a"))]));
  assert.equal(getNode(flat.root, "a"), getNode(flat.root, "b"));
});

test("the place of a whiteout in its layer means nothing", async () => {
  const lower = layer(directory("d"), file("d/old"), symlink("s", "d"), file("a"));
  const entries = [file("d/new"), directory("s"), file("s/y"), file("a/b"), link("kept", "d/old")];
  const whiteouts = [file("d/.wh..wh..opq", ""), file("s/.wh..wh..opq", ""), file(".wh.a", "")];
  for (let at = 0; at <= entries.length; at++) {
    const members = [...entries.slice(0, at), ...whiteouts, ...entries.slice(at)];
    const { paths } = await build(layout([lower, layer(...members)]));
    assert.deepEqual(paths, ["a", "a/b", "d", "d/new", "kept", "s", "s/y"]);
  }
});

test("tar: a chunk is used up when the next one is asked for, however small", async () => {
  const archive = encodeTarHeader({ path: b("a"), type: "file", size: 5 });
  const whole = concatBytes(archive, encodeUtf8("hello"), new Uint8Array(507), TAR_END);
  for (const size of [1, 3, 512]) {
    const files = {
      openStream: async () => ({
        size: whole.length,
        async *chunks() {
          const memory = new Uint8Array(size);
          for (let at = 0; at < whole.length; at += size) {
            const part = whole.subarray(at, at + size);
            memory.fill(0xff).set(part);
            yield memory.subarray(0, part.length);
          }
          memory.fill(0xff);
        },
        close: async () => {},
      }),
    } as unknown as HostInputs;
    const environment = { hashes: pureHashes, files, scratch: memoryScratch, decompressors };
    const input = await readInput(parseReference("tar:x"), environment);
    assert.equal(input.digest, digestOf(pureHashes, whole));
    const node = getNode(input.tree, b("a"));
    assert.ok(node?.type === "file");
    assert.deepEqual(await node.content.read(0, 5), encodeUtf8("hello"));
    await input.dispose();
  }
});
