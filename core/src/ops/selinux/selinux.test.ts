import assert from "node:assert/strict";
import { test } from "node:test";
import { type ByteString, byteString, encodeUtf8 } from "../../bytes/index.ts";
import { bytesSource } from "../../source/index.ts";
import { attributes, type Directory, directory, getNode, type Node, putNode, regularFile } from "../../tree/index.ts";
import type { Note } from "../report.ts";
import { labelForComposefs, labelTree, readSystemPolicy } from "./index.ts";

const SELINUX = "security.selinux" as ByteString;
const file = (text = ""): Node => regularFile(attributes(0o644), bytesSource(encodeUtf8(text)));

const CONTEXTS = "/.*\tu:default\n/usr/bin/.*\t--\tu:bin\n/usr/bin/other\tu:other\n/none\t<<none>>\n";

function system(config = "SELINUXTYPE=targeted\n", more: Readonly<Record<string, Node>> = {}): Directory {
  const root = directory(attributes(0o755));
  const two = file("two names");
  const nodes = {
    "usr/bin/tool": two,
    "usr/bin/other": two,
    "usr/lib64/x": file(),
    none: file(),
    "etc/selinux/config": file(config),
    "etc/selinux/targeted/contexts/files/file_contexts": file(CONTEXTS),
    "etc/selinux/targeted/contexts/files/file_contexts.subs": file("/usr/lib64 /usr/bin\n"),
    ...more,
  };
  for (const [path, node] of Object.entries(nodes)) putNode(root, path, node);
  return root;
}

function labelOf(root: Directory, path: string): string | undefined {
  const label = getNode(root, path)?.xattrs.get(SELINUX);
  return label && byteString(label);
}

async function labelled(root: Directory, mode: "policy" | "none" = "policy") {
  const notes: Note[] = [];
  const name = await labelTree(root, mode, {
    start: () => ({ advance() {}, end() {} }),
    note: (note) => notes.push(note),
  });
  return { name, notes };
}

test("a system gets the labels of its policy, with a NUL behind them as setfiles writes them", async () => {
  const root = system();
  getNode(root, "none")!.xattrs = new Map([[SELINUX, encodeUtf8("u:of_the_builder")]]); // it is in the tree
  const { name, notes } = await labelled(root);
  assert.equal(name, "targeted");
  const paths = ["usr/bin/tool", "usr/bin/other", "usr/lib64/x", "usr/lib64", "none", ""];
  assert.deepEqual(
    paths.map((path) => labelOf(root, path)),
    ["u:other\0", "u:other\0", "u:bin\0", "u:default\0", undefined, "u:default\0"],
  );
  assert.deepEqual(
    notes.map(({ code, message }) => [code, message]),
    [
      ["selinux-labels", "14 files labelled by the image's SELinux policy targeted"],
      ["selinux-hard-links", "1 hard links have the label of their file's first name: /usr/bin/tool"],
    ],
  );
});

test("without a policy, or where none is wanted, labels go", async () => {
  for (const [root, mode] of [
    [system("SELINUX=disabled\n"), "policy"],
    [system(), "none"],
  ] as const) {
    getNode(root, "none")!.xattrs = new Map([[SELINUX, encodeUtf8("u:of_the_builder")]]); // it is in the tree
    const { name, notes } = await labelled(root, mode);
    assert.equal(name, "none");
    assert.deepEqual(
      notes.map(({ code }) => code),
      ["selinux-stripped"],
    );
    assert.equal(labelOf(root, "none"), undefined);
  }
});

test("for composefs a hard link with two labels becomes two files, and values end without a NUL", async () => {
  const root = system();
  const policy = await readSystemPolicy(root);
  assert.ok(policy !== undefined);
  labelForComposefs(root, policy);
  assert.deepEqual(
    ["usr/bin/tool", "usr/bin/other", "usr/lib64/x"].map((path) => labelOf(root, path)),
    ["u:bin", "u:other", "u:bin"],
  );
  assert.notEqual(getNode(root, "usr/bin/tool"), getNode(root, "usr/bin/other"));
});

test("a policy that is named and not there, or cannot be read, is an error", async () => {
  await assert.rejects(labelled(system("SELINUXTYPE=mls\n")), {
    kind: "FormatError",
    code: "selinux-no-policy",
    message: /names the policy mls, and \/etc\/selinux\/mls\/contexts\/files\/file_contexts is not there/,
  });
  const local = "etc/selinux/targeted/contexts/files/file_contexts.local";
  await assert.rejects(labelled(system(undefined, { [local]: file("/x -q u:t\n") })), { code: "selinux-contexts" });
  await assert.rejects(labelled(system(undefined, { [local]: file("/(x u:t\n") })), { code: "selinux-regex" });
});
