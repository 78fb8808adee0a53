import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ByteString, encodeUtf8 } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import {
  closeModules,
  encodeAliasIndex,
  encodeDepIndex,
  encodeIndex,
  type IndexEntry,
  moduleName,
  parseIndex,
  parseModulesAlias,
  parseModulesBuiltin,
  parseModulesDep,
  parseModulesSoftdep,
} from "./index.ts";

// Five modules of Debian's 6.1.0-50-cloud-amd64, indexed by depmod of kmod 30 with `depmod -b DIR KVER`.
const DEP = `kernel/drivers/md/dm-verity.ko: kernel/drivers/md/dm-bufio.ko kernel/drivers/md/dm-mod.ko kernel/lib/reed_solomon/reed_solomon.ko
kernel/drivers/md/dm-mod.ko:
kernel/lib/reed_solomon/reed_solomon.ko:
kernel/drivers/md/dm-bufio.ko: kernel/drivers/md/dm-mod.ko
kernel/fs/nls/nls_utf8.ko:
`;
const DEP_BIN =
  "sAf0VwACAAEgAAHNdWZpbwAAAAABAAAAA2tlcm5lbC9kcml2ZXJzL21kL2RtLWJ1ZmlvLmtvOiBrZXJuZWwvZHJpdmVycy9tZC9kbS1tb2Qua28Ab2QA" +
  "AAAAAQAAAAFrZXJuZWwvZHJpdmVycy9tZC9kbS1tb2Qua286AGVyaXR5AAAAAAEAAAAAa2VybmVsL2RyaXZlcnMvbWQvZG0tdmVyaXR5LmtvOiBrZXJu" +
  "ZWwvZHJpdmVycy9tZC9kbS1idWZpby5rbyBrZXJuZWwvZHJpdmVycy9tZC9kbS1tb2Qua28ga2VybmVsL2xpYi9yZWVkX3NvbG9tb24vcmVlZF9zb2xv" +
  "bW9uLmtvAG1fAGJ2wAAADAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAADAAABUAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" +
  "AAAAAADAAAB8bHNfdXRmOAAAAAABAAAABGtlcm5lbC9mcy9ubHMvbmxzX3V0Zjgua286AGVlZF9zb2xvbW9uAAAAAAEAAAACa2VybmVsL2xpYi9yZWVk" +
  "X3NvbG9tb24vcmVlZF9zb2xvbW9uLmtvOgBkcqAAAQwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAADAAAFlAAAAAAAAAAAAAAAAwAAB" +
  "kA==";
const ALIAS = `# Aliases extracted from modules themselves.
alias devname:mapper/control dm_mod
alias char-major-10-236 dm_mod
`;
const ALIAS_BIN =
  "sAf0VwACAAEgAABRaGFyX21ham9yXzEwXzIzNgAAAAABAAAAAWRtX21vZABldm5hbWU6bWFwcGVyL2NvbnRyb2wAAAAAAQAAAAFkbV9tb2QAY2TAAAAM" +
  "wAAALA==";

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");

test("the indexes are depmod's, byte for byte", () => {
  const modules = [...parseModulesDep(encodeUtf8(DEP)).values()];
  assert.equal(base64(encodeDepIndex(modules)), DEP_BIN);
  assert.equal(base64(encodeAliasIndex(parseModulesAlias(encodeUtf8(ALIAS)), modules)), ALIAS_BIN);
  assert.deepEqual(
    parseIndex(Buffer.from(ALIAS_BIN, "base64")).map(({ key, value }) => `${key} ${value}`),
    ["char_major_10_236 dm_mod", "devname:mapper/control dm_mod"],
  );
});

test("names are as the kernel says them", () => {
  assert.equal(moduleName("kernel/drivers/md/dm-verity.ko.xz"), "dm_verity");
  assert.equal(moduleName("kernel/x/a-b.ko"), "a_b");
  assert.deepEqual([...parseModulesBuiltin(encodeUtf8("kernel/fs/ext4/ext4.ko\n\nkernel/x-y.ko\n"))], ["ext4", "x_y"]);
});

const set = {
  modules: parseModulesDep(
    encodeUtf8(
      "k/erofs.ko.zst: k/lz4.ko.zst\nk/lz4.ko.zst:\nk/crc32c-intel.ko:\nk/crc32c_generic.ko:\nk/nice.ko:\nk/a.ko: k/b.ko\nk/b.ko: k/a.ko\n",
    ),
  ),
  builtin: parseModulesBuiltin(encodeUtf8("k/ext4.ko\n")),
  aliases: parseModulesAlias(
    encodeUtf8("alias crypto-crc32c crc32c_intel\nalias crypto-crc32c crc32c_generic\nalias fs-gone gone\n"),
  ),
  wishes: parseModulesSoftdep(
    encodeUtf8("softdep erofs pre: crypto-crc32c nothing post: nice\n"),
    encodeUtf8("weakdep lz4 a\n"),
  ),
};
const namesOf = (wanted: readonly string[]) => {
  const { modules, missing } = closeModules(set, wanted);
  return { modules: modules.map(({ name }) => name as string), missing };
};

test("the closure has what is needed, wished for and answering", () => {
  assert.deepEqual(namesOf(["erofs", "ext4"]), {
    modules: ["erofs", "lz4", "crc32c_intel", "crc32c_generic", "nice", "a", "b"],
    missing: [],
  });
  assert.deepEqual(namesOf(["crc32c-generic"]), { modules: ["crc32c_generic"], missing: [] });
  assert.deepEqual(namesOf(["crypto-crc32c", "no-such"]), {
    modules: ["crc32c_intel", "crc32c_generic"],
    missing: ["no-such"],
  });
});

test("a modules.dep that leads out of its folder is refused", () => {
  for (const line of ["/etc/x.ko:", "../x.ko:", "a.ko: ../../b.ko"])
    assert.throws(() => parseModulesDep(encodeUtf8(line)), { code: "bad-path" });
  assert.throws(() => parseModulesDep(encodeUtf8("no colon here\n")), { code: "bad-line" });
});

const key = fc.stringMatching(/^[a-f_:*[\]-]{1,8}$/).map((text) => text as ByteString);
const entries = fc.uniqueArray(fc.record({ key, value: key, priority: fc.nat(1000) }, { noNullPrototype: true }), {
  selector: ({ key, value, priority }) => `${key} ${value} ${priority}`,
});

test("any index comes back, whatever the order of its entries", () => {
  const order = (a: IndexEntry, b: IndexEntry): number =>
    a.key < b.key ? -1 : a.key > b.key ? 1 : a.priority - b.priority || (a.value < b.value ? -1 : 1);
  fc.assert(
    fc.property(entries, (list) => {
      const bytes = encodeIndex(list);
      assert.deepEqual(encodeIndex([...list].reverse()), bytes);
      assert.deepEqual(parseIndex(bytes), [...list].sort(order));
    }),
  );
  assert.throws(() => encodeIndex([{ key: "\xe9" as ByteString, value: "x" as ByteString, priority: 0 }]), {
    code: "bad-key",
  });
});

test("any bytes give a value or one of our errors", () => {
  const bytes = new Uint8Array(Buffer.from(DEP_BIN, "base64"));
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.uint8Array({ minLength: 1, maxLength: 8 }), (at, noise) => {
      const copy = bytes.slice();
      copy.set(noise.subarray(0, copy.length - at), at);
      try {
        parseIndex(copy);
      } catch (error) {
        assert.ok(isAshlarError(error), String(error));
      }
    }),
    { numRuns: 500 },
  );
});
