// Every parser that meets bytes of others, a row each: what it is fed, and how far it is read.
import assert from "node:assert/strict";
import { type ByteString, encodeUtf8, equalBytes, fromUtf8 } from "../../core/src/bytes/index.ts";
import { cpioTree, parseCpio } from "../../core/src/formats/cpio/index.ts";
import { parseElf } from "../../core/src/formats/elf/index.ts";
import { checkErofs, openErofs, readTree } from "../../core/src/formats/erofs/index.ts";
import { openFat } from "../../core/src/formats/fat/index.ts";
import { checkGpt } from "../../core/src/formats/gpt/index.ts";
import {
  closeModules,
  encodeIndex,
  parseIndex as parseModuleIndex,
  parseModulesAlias,
  parseModulesBuiltin,
  parseModulesDep,
  parseModulesSoftdep,
} from "../../core/src/formats/kmod/index.ts";
import {
  parseConfig,
  parseDockerManifest,
  parseIndex,
  parseManifest,
  selectDockerImage,
} from "../../core/src/formats/oci/index.ts";
import { encodeRecipe, openPack, parseRecipe, readPackShape } from "../../core/src/formats/pack/index.ts";
import { assembleUki } from "../../core/src/formats/pe/index.ts";
import { readTar } from "../../core/src/formats/tar/index.ts";
import {
  buildHashTree,
  checkVerity,
  emitHashDevice,
  hashDeviceSize,
  RawVeritySuperblock,
  verifiedSource,
} from "../../core/src/formats/verity/index.ts";
import { inlineBlockHasher } from "../../core/src/hash/index.ts";
import { decompressFrame, nodeHashes } from "../../core/src/node/index.ts";
import { architectureOf } from "../../core/src/ops/build/architecture.ts";
import { composeCommandLine, readKargs } from "../../core/src/ops/build/kargs.ts";
import { normalise, readOsRelease } from "../../core/src/ops/build/normalise.ts";
import { parseOsRelease } from "../../core/src/ops/build/os-release.ts";
import { compareTrees, surveyTree } from "../../core/src/ops/diff/compare.ts";
import { readUki } from "../../core/src/ops/disk/index.ts";
import { readPackages } from "../../core/src/ops/packages/index.ts";
import { encodeRelease, parseRelease, type Release } from "../../core/src/ops/release/index.ts";
import { bytesSource, forwardSink, memorySink, type Source } from "../../core/src/source/index.ts";
import { type Directory, resolvePath, walkTree } from "../../core/src/tree/index.ts";
import { type Mutant, mutateBytes, mutateJson, mutateText, type Random } from "../support/mutate.ts";
import type { Parser } from "./harness.ts";
import {
  cpioSeeds,
  deepErofs,
  deepFat,
  elfSeeds,
  encodeRecords,
  erofsSeeds,
  fatSeeds,
  gptSeeds,
  longLinkCpio,
  noteElf,
  packSeeds,
  paxArchive,
  peImage,
  peSeed,
  recipeOfRuns,
  recipeSeeds,
  type Seed,
  stubBytes,
  tarSeeds,
  treeOf,
  ukiBytes,
} from "./seeds.ts";

/** Bytes that are read of each file at its start and at its end; some claim to have more than any disk. */
const SAMPLE = 64 * 1024;
const IDENTITY = { imageId: "os", imageVersion: "1" };
const DIGEST = `sha256:${"ab".repeat(32)}`;

const shape = (what: string, bytes: Uint8Array | string): Mutant => ({
  what,
  bytes: typeof bytes === "string" ? encodeUtf8(bytes) : bytes,
});

function* alternate(all: readonly Iterator<Mutant>[]): Generator<Mutant> {
  for (;;)
    for (const one of all) {
      const { value, done } = one.next();
      if (done !== true) yield value;
    }
}

/** Of all seeds in turn; every second input gets its checksums set right. */
function* spoil(seeds: readonly Seed[], random: Random): Generator<Mutant> {
  const all = seeds.map(({ bytes, placements }) => mutateBytes(bytes, placements, random));
  let count = 0;
  for (const mutant of alternate(all)) {
    const seed = seeds[count++ % seeds.length];
    if (seed?.repair !== undefined && random.below(2) === 0) seed.repair(mutant.bytes);
    yield mutant;
  }
}

const binary = (seeds: () => readonly Seed[] | Promise<readonly Seed[]>) => async (random: Random) =>
  spoil(await seeds(), random);
const text =
  (...seeds: readonly string[]) =>
  (random: Random) =>
    alternate(seeds.map((seed) => mutateText(seed, random)));
const json =
  (...seeds: readonly unknown[]) =>
  (random: Random) =>
    alternate(seeds.map((seed) => mutateJson(JSON.stringify(seed), random)));

async function sample(source: Source): Promise<void> {
  const length = Math.min(SAMPLE, source.size);
  const start = await source.read(0, length);
  const end = await source.read(source.size - length, length);
  assert.equal(start.length, length);
  assert.equal(end.length, length);
}

/** Walks all names, reads of every file, and follows what looks like a path. */
async function readFiles(tree: Directory): Promise<void> {
  for (const { path, node } of walkTree(tree)) {
    if (node.type === "file") await sample(node.content);
    if (node.type === "symlink") resolvePath(tree, path);
  }
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

const hasher = inlineBlockHasher(nodeHashes);

async function verityDevices() {
  const data = Uint8Array.from({ length: 512 * 300 }, (_, i) => (i * 31) >> 3);
  const parameters = { algorithm: "sha256", salt: encodeUtf8("salt"), dataBlockSize: 512, hashBlockSize: 512 } as const;
  const leaves = await hasher.hashBlocks(data, { ...parameters, blockSize: 512 });
  const tree = await buildHashTree(leaves, parameters, hasher);
  const sink = memorySink();
  await emitHashDevice(forwardSink(sink), tree, { uuid: "00000000-0000-4000-8000-000000000001" });
  sink.setSize(hashDeviceSize(tree.dataBlocks, parameters));
  return { data, rootHash: tree.rootHash, hashDevice: sink.bytes() };
}
let devices: ReturnType<typeof verityDevices> | undefined;
const verity = () => {
  devices ??= verityDevices();
  return devices;
};

/** Whatever the hash device says: what comes out is what the root hash names, or nothing does. */
async function readVerity(bytes: Uint8Array): Promise<void> {
  const { data, rootHash } = await verity();
  const source = await verifiedSource(bytesSource(data), bytesSource(bytes), rootHash, { hasher });
  await checkVerity(bytesSource(data), bytesSource(bytes), rootHash, { hasher });
  const read = await source.read(0, source.size);
  assert.ok(equalBytes(read, data.subarray(0, read.length)), "verified bytes that are not the data");
}

const DEP =
  "kernel/fs/erofs/erofs.ko.xz: kernel/lib/crc.ko.xz\nkernel/lib/crc.ko.xz:\nkernel/md/dm-verity.ko: kernel/md/dm-mod.ko kernel/lib/crc.ko.xz\nkernel/md/dm-mod.ko:\n";
const BUILTIN = "kernel/fs/ext4/ext4.ko\nkernel/lib/some-thing.ko\n";
const ALIAS = "# Aliases\nalias crypto-sha256 crc\nalias pci:v00001AF4d*sv* erofs\nalias fs-[a-z]-x dm_verity\n";
const SOFTDEP = "softdep erofs pre: crypto-sha256 lz4 post: zstd\nweakdep dm_verity sha256_ssse3\n";

/** The four text files of depmod, one of which is spoiled. */
async function readModules(files: {
  dep?: Uint8Array;
  builtin?: Uint8Array;
  alias?: Uint8Array;
  softdep?: Uint8Array;
}) {
  const {
    dep = encodeUtf8(DEP),
    builtin = encodeUtf8(BUILTIN),
    alias = encodeUtf8(ALIAS),
    softdep = encodeUtf8(SOFTDEP),
  } = files;
  const set = {
    modules: parseModulesDep(dep),
    builtin: parseModulesBuiltin(builtin),
    aliases: parseModulesAlias(alias),
    wishes: parseModulesSoftdep(softdep),
  };
  return closeModules(set, ["erofs", "dm-verity", "crypto-sha256", "missing"]);
}

/** Words that all mean what many aliases mean. */
function* softdepShapes(): Generator<Mutant> {
  yield shape("many wishes", `softdep erofs pre:${" crypto-sha256".repeat(4000)}\n`.repeat(30));
  const name = "softdep erofs pre: ";
  yield shape("long line", name + "a ".repeat(32_000));
}
const MANY_ALIASES = encodeUtf8("alias crypto-sha256 crc\n".repeat(20_000));

function moduleIndexSeed(): Uint8Array {
  const entry = (key: string, value: string, priority: number) => ({
    key: key as ByteString,
    value: value as ByteString,
    priority,
  });
  return encodeIndex([
    entry("dm_mod", "kernel/dm-mod.ko:", 1),
    entry("dm_verity", "kernel/dm-verity.ko: kernel/dm-mod.ko", 2),
    entry("erofs", "x", 3),
    entry("erofs", "y", 4),
  ]);
}

/** A node whose many children are one and the same, which holds a long text. */
function* indexShapes(): Generator<Mutant> {
  const node = (reference: number, length: number): Uint8Array => {
    const bytes = new Uint8Array(2 + 4 * length);
    bytes.set([0, length - 1]);
    for (let i = 0; i < length; i++) new DataView(bytes.buffer).setUint32(2 + 4 * i, reference);
    return bytes;
  };
  const long = Buffer.concat([Buffer.from([0, 0, 0, 1, 0, 0, 0, 0]), Buffer.alloc(1 << 20, 0x61), Buffer.alloc(1)]);
  const size = 2 + 4 * 128;
  const levels = [0, 1, 2].map((level) =>
    node(level === 2 ? 0x40000000 + 12 + 3 * size : 0x20000000 + 12 + (level + 1) * size, 128),
  );
  const header = Buffer.from([0xb0, 0x07, 0xf4, 0x57, 0, 2, 0, 1, 0x20, 0, 0, 12]);
  yield shape("one value under many keys", Buffer.concat([header, ...levels, long]));
  const loop = Buffer.concat([header, node(0x2000000c, 128)]);
  yield shape("a node within itself", loop);
}

const OS_RELEASE = `NAME="Some OS"\nID=os\nVERSION_ID='1'\nPRETTY_NAME="A \\"quoted\\" \\$name"\n# a comment\nIMAGE_VERSION=old\n`;
const FSTAB =
  "# <file system> <mount point>\nUUID=1234 / ext4 errors=remount-ro 0 1\nLABEL=x /home ext4 defaults 0 2\n/dev/sdb1 /boot/efi/ vfat umask=0077 0 1\n";
const KARGS =
  'kargs = ["console=ttyS0", "quiet splash", "a=\\"b c\\""]\nmatch-architectures = ["x86_64", "aarch64"]\n# end\n';
const AMD64 = architectureOf("amd64");

function machine(files: Readonly<Record<string, Uint8Array | string>>): Directory {
  return treeOf({ "usr/lib/os-release": OS_RELEASE, ...files });
}

const descriptor = (mediaType: string) => ({
  mediaType,
  digest: DIGEST,
  size: 7,
  annotations: { "org.opencontainers.image.ref.name": "latest" },
});
const OCI = "application/vnd.oci.image";
const INDEX = {
  schemaVersion: 2,
  mediaType: `${OCI}.index.v1+json`,
  manifests: [
    { ...descriptor(`${OCI}.manifest.v1+json`), platform: { os: "linux", architecture: "amd64", variant: "v1" } },
  ],
  annotations: { a: "b" },
};
const MANIFEST = {
  schemaVersion: 2,
  mediaType: `${OCI}.manifest.v1+json`,
  config: descriptor(`${OCI}.config.v1+json`),
  layers: [descriptor(`${OCI}.layer.v1.tar+gzip`), descriptor(`${OCI}.layer.v1.tar`)],
};
const CONFIG = {
  created: "2025-01-01T00:00:00Z",
  architecture: "amd64",
  os: "linux",
  config: { Labels: { a: "b" } },
  rootfs: { type: "layers", diff_ids: [DIGEST] },
  history: [{ created_by: "x" }],
};
const DOCKER = [
  { Config: "blobs/sha256/ab", RepoTags: ["docker.io/library/debian:latest"], Layers: ["a/layer.tar", "b/layer.tar"] },
];
const LONG_DIGEST = `${"a.".repeat(1_500_000)}`;

const RELEASE: Release = {
  schema: "ashlar.release/v1",
  formatVersion: 1,
  ...IDENTITY,
  architecture: "amd64",
  kernelVersion: "6.12",
  rootHash: "ab".repeat(32),
  verity: {
    algorithm: "sha256",
    salt: "00",
    uuid: "00000000-0000-4000-8000-000000000001",
    dataBlockSize: 4096,
    hashBlockSize: 4096,
    dataBlocks: 7,
  },
  commandLine: "quiet",
  inputs: [{ name: "image", digest: DIGEST }],
  options: { tails: "blocks", kargs: ["a"], espSize: 1 },
  artifacts: [{ role: "root", name: "os_1.root.erofs", size: 4096, digest: DIGEST }],
};

const DPKG =
  "Package: dash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 0.5\nDescription: x\n y\n\nPackage: dash\nStatus: install ok installed\nArchitecture: i386\nVersion: 0.5\n";
const LIST = "/.\n/bin\n/bin/sh\n/usr\n/usr/bin\n/usr/bin/tool\n";
const APK =
  "C:Q1\nP:busybox\nV:1.36.1-r2\nA:x86_64\nF:bin\nR:busybox\na:0:0:755\n\nP:other\nV:1\nF:\nR:etc\nF:etc\nR:top\n";
const PACMAN = [
  "%NAME%\nbash\n\n%VERSION%\n5.2-1\n\n%ARCH%\nx86_64\n\n",
  "%FILES%\nusr/\nusr/bin/\nusr/bin/tool\n\n%BACKUP%\netc/x\tmd5\n",
] as const;
const SUMS = "d41d8cd98f00b204e9800998ecf8427e  usr/bin/tool\nnonsense\n";

/** The same spoiled text in every place where a database is looked for. */
function withDatabases(bytes: Uint8Array): Directory {
  return treeOf({
    "usr/bin/tool": "x",
    "usr/bin/sh": "x",
    "var/lib/dpkg/status": bytes,
    "var/lib/dpkg/info/dash.list": bytes,
    "var/lib/dpkg/status.d/base": bytes,
    "var/lib/dpkg/status.d/base.md5sums": bytes,
    "lib/apk/db/installed": bytes,
    "var/lib/pacman/local/bash-5.2-1/desc": PACMAN[0],
    "var/lib/pacman/local/bash-5.2-1/files": bytes,
    "var/lib/pacman/local/zsh/desc": bytes,
  });
}

const runOf = (character: string, count: number) => `${character.repeat(count)}x`;

export const PARSERS: readonly Parser[] = [
  { name: "tar", mutants: binary(tarSeeds), read: readArchive },
  { name: "tar, PAX records", mutants: paxMutants, shapes: globalShapes, read: readArchive },
  {
    name: "OCI index",
    mutants: json(INDEX),
    *shapes() {
      yield shape(
        "long digest",
        JSON.stringify({ ...INDEX, manifests: [{ ...INDEX.manifests[0], digest: LONG_DIGEST }] }),
      );
      yield shape("key of lines", JSON.stringify({ ...INDEX, annotations: { "a\nb": 7 } }));
    },
    read: async (bytes) => parseIndex(bytes, "index.json"),
  },
  { name: "OCI manifest", mutants: json(MANIFEST), read: async (bytes) => parseManifest(bytes, "manifest") },
  { name: "OCI config", mutants: json(CONFIG), read: async (bytes) => parseConfig(bytes, "config") },
  {
    name: "docker-archive manifest",
    mutants: json(DOCKER),
    read: async (bytes) => selectDockerImage(parseDockerManifest(bytes, "manifest.json"), "debian", "archive"),
  },
  {
    name: "EROFS",
    mutants: binary(erofsSeeds),
    async *shapes() {
      yield shape("long paths", await deepErofs(400, 250));
      yield shape("deep directories", await deepErofs(2000, 1));
    },
    async read(bytes) {
      const source = bytesSource(bytes);
      await checkErofs(source);
      const image = await openErofs(source, { checksum: "ignore" });
      const tree = await readTree(image);
      await image.lookup("usr/bin/tool");
      await readFiles(tree);
      let differences = 0;
      for await (const _ of compareTrees(surveyTree(tree, "a"), surveyTree(treeOf({}), "b"))) differences++;
      return differences;
    },
  },
  {
    name: "verity",
    mutants: binary(async () => {
      const { hashDevice } = await verity();
      return [{ bytes: hashDevice, placements: [{ struct: RawVeritySuperblock, offset: 0 }] }];
    }),
    read: readVerity,
  },
  { name: "GPT", mutants: binary(gptSeeds), read: (bytes) => checkGpt(bytesSource(bytes)) },
  {
    name: "FAT",
    mutants: binary(fatSeeds),
    async *shapes() {
      yield shape("long paths", await deepFat());
    },
    read: async (bytes) => readFiles((await openFat(bytesSource(bytes))).root),
  },
  {
    name: "PE, UKI",
    mutants: binary(() => [peSeed(ukiBytes())]),
    *shapes() {
      yield shape("NULs in the command line", ukiBytes(encodeUtf8(runOf("\0", 65_000))));
    },
    async read(bytes) {
      const { image } = await readUki(bytesSource(bytes), "uki");
      for (const { content } of image.sections) await sample(content);
    },
  },
  {
    name: "PE, stub",
    mutants: binary(() => [peSeed(stubBytes())]),
    async read(stub) {
      const { source } = await assembleUki({
        stub,
        sections: [
          { name: ".linux", content: peImage([[".text", new Uint8Array(5000)]]) },
          { name: ".cmdline", content: encodeUtf8("quiet") },
        ],
      });
      await sample(source);
    },
  },
  {
    name: "cpio",
    mutants: binary(cpioSeeds),
    async *shapes() {
      yield shape("long link", await longLinkCpio(2 ** 21));
    },
    read: async (bytes) => readFiles(cpioTree(parseCpio(bytes).entries)),
  },
  {
    name: "ELF",
    mutants: binary(elfSeeds),
    *shapes() {
      yield shape("NULs in a note's name", noteElf(1, encodeUtf8(runOf("\0", 400_000))));
      yield shape("one note many times", noteElf(1000, new Uint8Array(2 ** 21).fill(0x41)));
      const json = `[]${runOf("\0", 400_000)}`;
      yield shape("NULs in a note's JSON", noteElf(1, encodeUtf8("FDO\0"), encodeUtf8(json)));
      const large = JSON.stringify([{ soname: "x".repeat(2 ** 20) }]);
      yield shape("one list many times", noteElf(1000, encodeUtf8("FDO\0"), encodeUtf8(large)));
    },
    read: async (bytes) => parseElf(bytes),
  },
  { name: "modules.dep", mutants: text(DEP), read: (dep) => readModules({ dep }) },
  { name: "modules.builtin", mutants: text(BUILTIN), read: (builtin) => readModules({ builtin }) },
  { name: "modules.alias", mutants: text(ALIAS), read: (alias) => readModules({ alias }) },
  {
    name: "modules.softdep",
    mutants: text(SOFTDEP),
    shapes: softdepShapes,
    read: (softdep) => readModules({ softdep, ...(softdep.length > 100_000 ? { alias: MANY_ALIASES } : {}) }),
  },
  {
    name: "module index",
    mutants: (random) => mutateBytes(moduleIndexSeed(), [], random),
    shapes: indexShapes,
    read: async (bytes) => parseModuleIndex(bytes),
  },
  {
    name: "os-release",
    mutants: text(OS_RELEASE),
    *shapes() {
      for (const character of ['"', "\\", "'", "=", "A"])
        yield shape(`many ${character}`, `NAME=${runOf(character, 65_000)}\n`);
    },
    async read(bytes) {
      const root = treeOf({ "usr/lib/os-release": bytes });
      await normalise(root, { clamp: 1n, identity: IDENTITY });
      const values = parseOsRelease(await readOsRelease(root));
      assert.equal(values.get("IMAGE_ID"), IDENTITY.imageId);
    },
  },
  {
    name: "fstab",
    mutants: text(FSTAB),
    *shapes() {
      yield shape("slashes", `UUID=1 ${runOf("/", 1_000_000)} ext4\n`);
      yield shape("many lines", "a /\n".repeat(200_000));
      yield shape("spaces", `${" ".repeat(1_000_000)}x\n`);
    },
    read: (bytes) => normalise(machine({ "etc/fstab": bytes }), { clamp: 1n, identity: IDENTITY }),
  },
  {
    name: "kargs.d",
    mutants: text(KARGS),
    *shapes() {
      yield shape("equals signs", `kargs = ["${"=".repeat(60_000)}\u2028"]\n`);
      yield shape("deep arrays", `kargs = ${"[".repeat(60_000)}`);
      yield shape("deep tables", `kargs = ${"{a=".repeat(20_000)}`);
      yield shape("dotted key", `${"a.".repeat(30_000)}a = 1\n`);
      yield shape("many tables", Array.from({ length: 9000 }, (_, i) => `[a${i}]\n`).join(""));
      yield shape("many keys", Array.from({ length: 7000 }, (_, i) => `a${i} = 1\n`).join(""));
    },
    async read(bytes) {
      const kargs = await readKargs(treeOf({ "usr/lib/bootc/kargs.d/a.toml": bytes }), AMD64);
      composeCommandLine("ab".repeat(32), kargs, []);
    },
  },
  {
    name: "release.json",
    mutants: (random) => mutateJson(Buffer.from(encodeRelease(RELEASE)).toString(), random),
    *shapes() {
      yield shape("long root hash", JSON.stringify({ ...RELEASE, rootHash: "ab".repeat(500_000) }));
      yield shape("key of lines", JSON.stringify({ ...RELEASE, options: { "a\nb": null } }));
    },
    read: async (bytes) => parseRelease(bytes, "release.json"),
  },
  {
    name: "pack",
    mutants: binary(packSeeds),
    async read(bytes) {
      const source = bytesSource(bytes);
      const pack = await openPack(source, await readPackShape(source, "pack"), "pack");
      const { offset, size, blocks } = pack.frame(pack.frameCount - 1);
      assert.ok(offset + size <= bytes.length);
      decompressFrame(bytes.subarray(offset, offset + size), blocks * pack.parameters.blockSize, "frame");
      await pack.readLeaves(pack.blocks - 1, 1);
    },
  },
  {
    name: "recipe",
    mutants: binary(recipeSeeds),
    *shapes() {
      yield shape("many runs", recipeOfRuns(2 ** 20));
    },
    async read(bytes) {
      const recipe = parseRecipe(bytes, "recipe");
      assert.ok(encodeRecipe(recipe).length === bytes.length);
    },
  },
  {
    name: "package databases",
    mutants: text(DPKG, LIST, APK, PACMAN[0], PACMAN[1], SUMS),
    *shapes() {
      yield shape("one package many times", "Package: a\n\n".repeat(100_000));
      yield shape("long path", `P:a\nF:${"a/".repeat(500_000)}\nR:x\n`);
    },
    async read(bytes) {
      const packages = await readPackages(withDatabases(bytes));
      packages.ownerOf(fromUtf8("usr/bin/tool"));
    },
  },
];
