// What differs from the image, and the way back.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type ByteString, fromUtf8 } from "../../core/src/bytes/index.ts";
import { PolicyError, SourceError } from "../../core/src/errors/index.ts";
import {
  changesButIdentity,
  type EtcChange,
  etcChanges,
  pathInEtc,
  planReset,
  selectChanges,
} from "../../core/src/ops/etc/index.ts";
import { upgrade, withLocalEtc } from "../../core/src/ops/machine/index.ts";
import { attributes, type Directory, directory, getNode, type Node, symlink } from "../../core/src/tree/index.ts";
import { etcTree, file, linesOf } from "../support/etc-trees.ts";
import { fleet } from "../support/fleet.ts";
import { memoryGenerations } from "../support/memory-generations.ts";

const tree = (entries: Record<string, Node>, mode = 0o755): Directory =>
  directory(attributes(mode), Object.entries(entries) as [ByteString, Node][]);
const shown = (changes: readonly EtcChange[]) =>
  changes.map(({ kind, path, aspects }) => [kind, path, ...aspects].join(" "));

const sealed = tree({
  same: file("1"),
  text: file("1"),
  mode: file("1"),
  gone: file("1"),
  "machine-id": file(""),
  "ld.so.cache": file("1"),
  link: symlink(attributes(0o777), "a" as ByteString),
  d: tree({ x: file("1"), y: file("1") }),
});
const local = tree({
  same: file("1"),
  text: file("2"),
  mode: file("1", 0o600),
  "machine-id": file("0123456789abcdef0123456789abcdef\n"),
  "ld.so.cache": file("2"),
  ".updated": file(""),
  link: symlink(attributes(0o755), "a" as ByteString),
  d: tree({ x: file("1"), z: file("1") }, 0o700),
  e: tree({ deep: file("1") }),
});

test("changes are told by name and aspect, and the machine's own files are none", async () => {
  assert.deepEqual(shown(await etcChanges(sealed, local)), [
    "changed d mode",
    "removed d/y",
    "added d/z",
    "added e",
    "added e/deep",
    "removed gone",
    "changed machine-id content",
    "changed mode mode",
    "changed text content",
  ]);
  assert.deepEqual(await etcChanges(sealed, sealed), []);
});

test("paths choose what lies below them; what is nowhere is an error", async () => {
  const changes = await etcChanges(sealed, local);
  const exists = (path: ByteString) => getNode(sealed, path) !== undefined || getNode(local, path) !== undefined;
  const select = (...paths: string[]) => shown(selectChanges(changes, paths.map(pathInEtc), exists));
  assert.deepEqual(select("/etc/d/", "/etc/text"), [
    "changed d mode",
    "removed d/y",
    "added d/z",
    "changed text content",
  ]);
  assert.deepEqual(select("/etc/same"), []);
  assert.equal(select("/etc").length, changes.length);
  assert.throws(
    () => select("/etc/nowhere"),
    (error) => error instanceof SourceError && error.code === "not-found",
  );
  for (const path of ["etc/text", "/usr/lib", "/etc/../usr", "/", "", "/etcetera"])
    assert.throws(
      () => select(path),
      (error) => error instanceof PolicyError && error.code === "not-in-etc",
      path,
    );
  assert.equal(changesButIdentity(changes).length, changes.length - 1);
});

/** What the host does, in memory. */
function applied(root: Directory, steps: ReturnType<typeof planReset>): Directory {
  const copy = (node: Node): Node =>
    node.type === "directory"
      ? directory(
          node,
          [...node.entries].map(([name, inner]) => [name, copy(inner)]),
        )
      : node;
  const result = copy(root) as Directory;
  for (const step of steps) {
    const names = step.path === "" ? [] : (step.path.split("/") as ByteString[]);
    const last = names.pop();
    const parent = getNode(result, names.join("/"));
    assert.ok(parent?.type === "directory");
    if (step.action === "attributes") {
      const { mode, uid, gid, xattrs } = step.node;
      Object.assign(last === undefined ? result : parent.entries.get(last)!, { mode, uid, gid, xattrs });
    } else if (step.action === "remove") assert.ok(parent.entries.delete(last!));
    else parent.entries.set(last!, copy(step.node));
  }
  return result;
}

test("after a reset of everything nothing differs, and of a part nothing else has changed", async () => {
  await fc.assert(
    fc.asyncProperty(etcTree, etcTree, fc.constantFrom("a", "b", "c"), async (base, here, name) => {
      const changes = await etcChanges(base, here);
      assert.deepEqual(await linesOf(applied(here, planReset(changes))), await linesOf(base));
      const part = selectChanges(changes, [fromUtf8(name)], () => true);
      const after = await etcChanges(base, applied(here, planReset(part)));
      assert.deepEqual(shown(after), shown(changes.filter((change) => !part.includes(change))));
    }),
    { numRuns: 300 },
  );
});

test("a machine tells what differs from the release that runs, and what an update found", async () => {
  const { machine, environment, release } = await fleet();
  const look = () =>
    withLocalEtc(machine, environment, async ({ sealed, local, carried }) => ({
      changes: shown(await etcChanges(sealed, local)),
      conflicts: carried?.conflicts,
    }));
  await assert.rejects(look(), { code: "etc-not-persistent" });
  const running = (await machine.facts()).root!.rootHash;
  machine.etc = memoryGenerations(running);
  const upper = await machine.etc.readUpper(running);
  upper.entries.set(fromUtf8("hostname"), file("mine\n"));
  upper.entries.set(fromUtf8("app.conf"), file("setting = mine\n"));
  const changes = ["changed app.conf content", "added hostname"];
  assert.deepEqual(await look(), { changes, conflicts: undefined });
  await release("2");
  await upgrade(machine, environment);
  await machine.boot();
  assert.deepEqual(await look(), { changes, conflicts: [{ kind: "both-changed", path: "/etc/app.conf" }] });
  machine.privileged = false;
  await assert.rejects(look(), { code: "not-a-machine" });
});
