// depmod's files: texts and binary indexes.
import { type ByteString, encodeUtf8 } from "../../../core/src/bytes/index.ts";
import {
  closeModules,
  encodeIndex,
  parseIndex as parseModuleIndex,
  parseModulesAlias,
  parseModulesBuiltin,
  parseModulesDep,
  parseModulesSoftdep,
} from "../../../core/src/formats/kmod/index.ts";
import { type Mutant, mutateBytes } from "../../support/mutate.ts";
import type { Parser } from "../harness.ts";
import { shape, text } from "./common.ts";

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

export const KMOD_PARSERS: readonly Parser[] = [
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
];
