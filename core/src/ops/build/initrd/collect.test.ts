import assert from "node:assert/strict";
import { test } from "node:test";
import { type ByteString, encodeUtf8 } from "../../../bytes/index.ts";
import { type SampleElf, sampleElf } from "../../../formats/elf/sample.ts";
import { bytesSource } from "../../../source/index.ts";
import {
  attributes,
  countNames,
  type Directory,
  directory,
  getNode,
  putNode,
  regularFile,
  symlink,
  walkTree,
} from "../../../tree/index.ts";
import { createCollector } from "./collect.ts";

type Content = SampleElf | string | { readonly link: string };

function tree(files: Readonly<Record<string, Content>>): Directory {
  const root = directory(attributes(0o755));
  for (const [path, content] of Object.entries(files))
    if (typeof content === "object" && "link" in content)
      putNode(root, path, symlink(attributes(0o777), content.link as ByteString));
    else {
      const bytes = typeof content === "string" ? encodeUtf8(content) : sampleElf(content);
      putNode(root, path, regularFile(attributes(0o4755), bytesSource(bytes)));
    }
  return root;
}

async function collected(files: Readonly<Record<string, Content>>, ...paths: readonly string[]): Promise<string[]> {
  const initrd = directory(attributes(0o755));
  const collector = await createCollector(tree(files), initrd);
  for (const path of paths) assert.equal(await collector.add(path), true, path);
  return [...walkTree(initrd)].flatMap(({ path, node }) =>
    node.type === "directory" ? [] : [node.type === "symlink" ? `${path} -> ${node.target}` : path],
  );
}

const LOADER = {
  "usr/lib/x86_64-linux-gnu/ld-2.so": {},
  "usr/lib64/ld.so": { link: "../lib/x86_64-linux-gnu/ld-2.so" },
};
const MERGED = { lib64: { link: "usr/lib64" }, lib: { link: "usr/lib" }, bin: { link: "usr/bin" } };
const PROGRAM: SampleElf = { interpreter: "/lib64/ld.so" };

test("links on the way, the interpreter under its own name, libraries of libraries", async () => {
  const files = {
    ...MERGED,
    ...LOADER,
    "usr/bin/tool": { link: "../lib/tool/real" },
    "usr/lib/tool/real": { ...PROGRAM, needed: ["liba.so.1"] },
    "usr/lib/x86_64-linux-gnu/liba.so.1": { link: "liba.so.1.2" },
    "usr/lib/x86_64-linux-gnu/liba.so.1.2": { needed: ["libb.so"] },
    "usr/lib/libb.so": { needed: ["liba.so.1"] },
    "usr/lib/unused.so": {},
  };
  assert.deepEqual(await collected(files, "bin/tool"), [
    "bin -> usr/bin",
    "lib -> usr/lib",
    "lib64 -> usr/lib64",
    "usr/bin/tool -> ../lib/tool/real",
    "usr/lib/libb.so",
    "usr/lib/tool/real",
    "usr/lib/x86_64-linux-gnu/ld-2.so",
    "usr/lib/x86_64-linux-gnu/liba.so.1 -> liba.so.1.2",
    "usr/lib/x86_64-linux-gnu/liba.so.1.2",
    "usr/lib64/ld.so -> ../lib/x86_64-linux-gnu/ld-2.so",
  ]);
});

test("RUNPATH comes first, and what it found serves the libraries that it brought", async () => {
  const files = {
    ...LOADER,
    lib64: { link: "usr/lib64" },
    "usr/lib/systemd/systemd": { ...PROGRAM, needed: ["libcore.so", "libc.so"], runpath: "$ORIGIN/private" },
    "usr/lib/systemd/private/libcore.so": { needed: ["libshared.so"] },
    "usr/lib/systemd/private/libshared.so": {},
    "usr/lib/systemd/private/libc.so": {},
    "usr/lib/libc.so": {},
  };
  const names = await collected(files, "usr/lib/systemd/systemd");
  assert.ok(names.includes("usr/lib/systemd/private/libshared.so"));
  assert.ok(names.includes("usr/lib/systemd/private/libc.so"));
  assert.ok(!names.includes("usr/lib/libc.so"));
});

test("a library of another machine or word size is none", async () => {
  const files = {
    ...LOADER,
    lib64: { link: "usr/lib64" },
    "usr/bin/tool": { ...PROGRAM, needed: ["liba.so"] },
    "lib/x86_64-linux-gnu/liba.so": { bits: 1 },
    "usr/lib64/liba.so": { machine: 3 },
    "usr/lib/liba.so": {},
  } as const;
  const names = await collected(files, "usr/bin/tool");
  assert.ok(names.includes("usr/lib/liba.so"));
  assert.ok(!names.includes("usr/lib64/liba.so"));
  await assert.rejects(collected({ ...files, "usr/lib/liba.so": "INPUT(liba.so.1)" }, "usr/bin/tool"), {
    code: "no-library",
    message: "/usr/bin/tool: its library liba.so is not in the image",
  });
});

test("a library from a configured directory gets a name beside the loader, which has no cache in the initrd", async () => {
  const files = {
    ...LOADER,
    lib64: { link: "usr/lib64" },
    "etc/ld.so.conf.d/own.conf": "# ours\n/opt/lib\n",
    "opt/lib/liba.so": {},
    "usr/bin/tool": { ...PROGRAM, needed: ["liba.so"] },
  };
  assert.ok((await collected(files, "usr/bin/tool")).includes("usr/lib/x86_64-linux-gnu/liba.so -> /opt/lib/liba.so"));
});

test("libraries opened at run time: the recommended and the wanted ones, as far as they are there", async () => {
  const note = (soname: string, priority: string) => `{"soname":["${soname}"],"priority":"${priority}"}`;
  const files = {
    ...LOADER,
    lib64: { link: "usr/lib64" },
    "usr/bin/tool": {
      ...PROGRAM,
      dlopen: `[${note("libkmod.so.2", "suggested")},${note("libgood.so", "recommended")},${note("libtss2.so", "suggested")},${note("libgone.so", "required")}]`,
    },
    "usr/lib/libkmod.so.2": {},
    "usr/lib/libgood.so": {},
    "usr/lib/libtss2.so": {},
  };
  const names = await collected(files, "usr/bin/tool");
  assert.deepEqual(
    names.filter((name) => name.startsWith("usr/lib/lib")),
    ["usr/lib/libgood.so", "usr/lib/libkmod.so.2"],
  );
});

test("a script brings its interpreter, hard links stay one file, set-id bits go", async () => {
  const files = tree({ "usr/bin/script": "#! /usr/bin/multi --as=script\n", "usr/bin/multi": "not ELF" });
  putNode(files, "usr/sbin/other", getNode(files, "usr/bin/multi")!);
  const initrd = directory(attributes(0o755));
  const collector = await createCollector(files, initrd);
  assert.equal(await collector.add("usr/bin/script"), true);
  assert.equal(await collector.add("usr/sbin/other"), true);
  assert.equal(await collector.add("usr/bin/absent"), false);
  assert.equal(await collector.add("usr/bin"), false);
  const multi = getNode(initrd, "usr/bin/multi")!;
  assert.equal(countNames(initrd).get(multi), 2);
  assert.equal(multi.mode, 0o755);
  assert.equal(getNode(files, "usr/bin/multi")!.mode, 0o4755);
});

test("links that go round, and a broken program, are one-line errors", async () => {
  const initrd = directory(attributes(0o755));
  const collector = await createCollector(tree({ a: { link: "b" }, b: { link: "a" }, c: "\x7fELF" }), initrd);
  assert.equal(await collector.add("a"), false);
  await assert.rejects(collector.add("c"), { code: "truncated", message: /^\/c: [^\n]+$/ });
});
