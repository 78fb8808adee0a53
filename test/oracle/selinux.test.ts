/** SELinux labels against libselinux (matchpathcon), for a real policy and for made-up ones. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { type ByteString, bytesOf } from "../../core/src/bytes/index.ts";
import { openErofs, readTree } from "../../core/src/formats/erofs/index.ts";
import { compileContexts, parseFileContexts, parseSubstitutions } from "../../core/src/formats/selinux/index.ts";
import { nodeDecompressors, nodeFiles, nodeHashes, openFile } from "../../core/src/node/index.ts";
import { parseReference, readInput } from "../../core/src/ops/image/index.ts";
import { labelSystem, readSystemPolicy } from "../../core/src/ops/selinux/index.ts";
import { memoryScratch } from "../../core/src/source/index.ts";
import { type Directory, getNode, type NodeType, walkTree } from "../../core/src/tree/index.ts";
import { ashlarOk } from "../support/ashlar.ts";
import { type Oracle, requireOracle, requireSystem } from "../support/oracle.ts";
import { tarBytes } from "../support/tar.ts";

const MODES: Readonly<Record<NodeType, string>> = {
  file: "file",
  directory: "dir",
  symlink: "lnk_file",
  character: "chr_file",
  block: "blk_file",
  fifo: "fifo_file",
  socket: "sock_file",
};

interface Question {
  readonly path: ByteString;
  readonly type: NodeType;
}

/** What matchpathcon says, one label a question; `<<none>>` where it has none. */
async function askThem(
  shell: Oracle,
  folder: string,
  contexts: string,
  questions: readonly Question[],
): Promise<string[]> {
  const answers = new Map<string, string>();
  for (const [type, mode] of Object.entries(MODES)) {
    const paths = questions.filter((question) => question.type === type).map(({ path }) => path);
    if (paths.length === 0) continue;
    await writeFile(join(folder, "paths"), bytesOf(paths.map((path) => `${path}\0`).join("") as ByteString));
    const { bytes } = await shell.ok(["-c", `xargs -0 -n 3000 matchpathcon -n -m ${mode} -f ${contexts} <paths`], {
      cwd: folder,
    });
    const labels = Buffer.from(bytes).toString("latin1").trimEnd().split("\n");
    assert.equal(labels.length, paths.length);
    for (const [i, path] of paths.entries()) answers.set(`${type} ${path}`, labels[i]!); // same length
  }
  return questions.map(({ path, type }) => answers.get(`${type} ${path}`) ?? "");
}

async function inFolder(t: TestContext, work: (folder: string, shell: Oracle) => Promise<void>): Promise<void> {
  if (requireOracle(t, "matchpathcon", { from: "tools" }) === undefined) return;
  const shell = requireOracle(t, "sh", { from: "tools" });
  if (shell === undefined) return;
  const folder = await mkdtemp(join(tmpdir(), "ashlar-selinux-"));
  try {
    await work(folder, shell);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function textOf(root: Directory, path: string): Promise<Uint8Array> {
  const node = getNode(root, path);
  return node?.type === "file" ? node.content.read(0, node.content.size) : new Uint8Array(0);
}

test("every path of a Debian with its policy", (t) =>
  inFolder(t, async (folder, shell) => {
    const tar = requireSystem(t, "selinux");
    if (tar === undefined) return;
    const environment = {
      hashes: nodeHashes,
      scratch: memoryScratch,
      decompressors: nodeDecompressors,
      files: nodeFiles,
    };
    const { tree, dispose } = await readInput(parseReference(`tar:${tar}`), environment);
    try {
      const policy = await readSystemPolicy(tree);
      assert.ok(policy !== undefined);
      const { labels } = labelSystem(tree, policy);
      assert.ok(labels > 5000);
      const contexts = join(folder, "file_contexts");
      for (const suffix of ["", ".homedirs", ".local", ".subs", ".subs_dist"])
        await writeFile(
          contexts + suffix,
          await textOf(tree, `etc/selinux/${policy.name}/contexts/files/file_contexts${suffix}`),
        );
      const nodes = [...walkTree(tree)];
      const seen = new Set<unknown>();
      const first = nodes.filter(({ node }) => !seen.has(node) && seen.add(node)); // of a hard link the first name counts
      const questions = first.map(({ path, node }) => ({ path: `/${path}` as ByteString, type: node.type }));
      const theirs = await askThem(shell, folder, contexts, questions);
      const ours = first.map(({ node }) => {
        const label = node.xattrs.get("security.selinux" as ByteString);
        return label === undefined ? "<<none>>" : Buffer.from(label).toString("latin1").replace(/\0$/, "");
      });
      for (const [i, { path }] of questions.entries()) assert.equal(ours[i], theirs[i], path);
    } finally {
      await dispose();
    }
  }));

const word = fc.constantFrom("a", "b", "usr", "lib", "lib64", "x.y", "a-b");
const anyPath = fc.array(word, { minLength: 1, maxLength: 5 }).map((words) => `/${words.join("/")}`);
const piece = fc.constantFrom(
  "a",
  "b",
  "usr",
  "lib",
  "lib64",
  "[^/]*",
  ".*",
  "[ab]",
  "(lib|usr)",
  "lib(64)?",
  "x\\.y",
  "x.y",
  "a\\-b",
  "(a|b)+",
  "[^/]+",
  "\\w*",
  "\\d",
  "(/.*)?",
);
const anyPattern = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .array(piece, { minLength: 1, maxLength: 4 })
      .map((pieces) => `/${pieces.join("/").replaceAll("/(/", "(/")}`),
  },
  { weight: 2, arbitrary: anyPath.map((path) => path.replaceAll(".", "\\.")) },
  { weight: 1, arbitrary: fc.tuple(anyPath, anyPath).map(([a, b]) => `${a}|${b}`) },
  { weight: 1, arbitrary: fc.tuple(anyPath, anyPath).map(([a, b]) => `(${a}|${b})/.*`) },
);
const anyType = fc.constantFrom("", "", "", "-- ", "-d ", "-l ");

test("made-up policies", (t) =>
  inFolder(t, async (folder, shell) => {
    const seed = process.env["ASHLAR_LONG"] === "true" ? {} : { seed: 2026 };
    for (let round = 0; round < 6; round++) {
      let count = 0;
      // A file must not spell out a path twice for one type: libselinux refuses that.
      const specsOf = (file: string, most: number): string => {
        const lines = fc.sample(fc.tuple(anyPattern, anyType), {
          numRuns: most,
          ...seed,
          ...("seed" in seed ? { seed: seed.seed + round + most } : {}),
        });
        const known = new Set<string>();
        const kept = lines.filter(([pattern]) => !known.has(pattern) && known.add(pattern));
        return kept
          .map(
            ([pattern, type]) => `${pattern} ${type}${count++ % 9 === 8 ? "<<none>>" : `u:r:${file}${count}_t:s0`}\n`,
          )
          .join("");
      };
      const texts = {
        "": specsOf("base", 60),
        ".homedirs": specsOf("home", 10),
        ".local": specsOf("local", 10),
        ".subs": "/b /usr\n/lib64 /lib\n/a/b /a/lib/\n",
        ".subs_dist": "/usr/lib64 /usr/lib\n/lib /usr/lib\n/usr/a /\n# /x /y\n/alone\n",
      };
      const contexts = join(folder, "file_contexts");
      for (const [suffix, text] of Object.entries(texts)) await writeFile(contexts + suffix, text);
      const bytes = (suffix: keyof typeof texts): Uint8Array => Buffer.from(texts[suffix], "latin1");
      const policy = compileContexts(
        {
          base: parseFileContexts(bytes(""), "base"),
          homedirs: parseFileContexts(bytes(".homedirs"), "homedirs"),
          local: parseFileContexts(bytes(".local"), "local"),
          subs: parseSubstitutions(bytes(".subs")),
          subsDist: parseSubstitutions(bytes(".subs_dist")),
        },
        "libselinux",
      );
      const questions = fc
        .sample(fc.tuple(anyPath, fc.constantFrom<NodeType>("file", "directory", "symlink")), { numRuns: 400, ...seed })
        .map(([path, type]) => ({ path: path as ByteString, type }));
      const theirs = await askThem(shell, folder, contexts, questions);
      for (const [i, { path, type }] of questions.entries())
        assert.equal(policy.lookup(path, type) ?? "<<none>>", theirs[i], `round ${round}: ${type} ${path}`);
    }
  }));

test("a sealed root carries the labels", async (t) => {
  const fsck = requireOracle(t, "fsck.erofs", { from: "tools" });
  if (fsck === undefined) return;
  const folder = await mkdtemp(join(tmpdir(), "ashlar-selinux-"));
  try {
    const contexts = "/.*\tu:object_r:default_t:s0\n/usr/bin/.*\t--\tu:object_r:bin_t:s0\n";
    const tar = tarBytes([
      { name: "etc/selinux/config", content: "SELINUXTYPE=targeted\n" },
      { name: "etc/selinux/targeted/contexts/files/file_contexts", content: contexts },
      { name: "usr/bin/tool", content: "tool" },
    ]);
    await writeFile(join(folder, "root.tar"), tar);
    for (const [selinux, name, expected] of [
      ["policy", "labelled", "u:object_r:bin_t:s0\0"],
      ["none", "plain", undefined],
    ] as const) {
      const flags = ["-o", folder, "--name", name, "--selinux", selinux, "--timestamp", "0"];
      ashlarOk(["seal", `tar:${join(folder, "root.tar")}`, ...flags]);
      const image = await openFile(join(folder, `${name}.root.erofs`));
      const root = await readTree(await openErofs(image));
      const label = getNode(root, "usr/bin/tool")?.xattrs.get("security.selinux" as ByteString);
      assert.equal(label && Buffer.from(label).toString(), expected);
      await image.close();
      await fsck.ok([join(folder, `${name}.root.erofs`)]);
    }
    const { options } = JSON.parse(await readFile(join(folder, "labelled.release.json"), "utf8"));
    assert.equal(options.selinux, "targeted");
  } finally {
    await rm(folder, { recursive: true });
  }
});
