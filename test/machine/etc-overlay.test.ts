// The layers of /etc against the kernel's own overlayfs, mounted as the initrd mounts it; generations on a file system.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  constants,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { encodeUtf8 } from "../../core/src/bytes/index.ts";
import { openErofs, writeErofs } from "../../core/src/formats/erofs/index.ts";
import { extractTree } from "../../core/src/node/extract.ts";
import { createFile, openFile } from "../../core/src/node/files.ts";
import { readHostTree } from "../../core/src/node/host-tree.ts";
import { openGenerations } from "../../core/src/node/machine/etc-generations.ts";
import { resetEtc } from "../../core/src/node/machine/etc-reset.ts";
import { loadNativeCalls } from "../../core/src/node/native.ts";
import { carryEtc, etcChanges, overlayView, planReset, sealedEtc, upperFor } from "../../core/src/ops/etc/index.ts";
import { attributes, type Directory, directory, walkTree } from "../../core/src/tree/index.ts";
import { etcTree, file, linesOf } from "../support/etc-trees.ts";
import { requireRoot } from "../support/oracle.ts";
import { watchWrites } from "../support/points.ts";

const RUNS = process.env["ASHLAR_LONG"] === "true" ? 1000 : 60;
const [V1, V2] = ["1".repeat(64), "2".repeat(64)] as const;

const run = (...[program, ...args]: [string, ...string[]]) => spawnSync(program, args, { encoding: "utf8" });
const runOk = (...command: [string, ...string[]]): void => {
  const { status, stderr } = run(...command);
  assert.equal(status, 0, `${command.join(" ")}: ${stderr}`);
};

/** A directory in memory, where overlayfs can have its upper layer; undefined, and the test skipped, where nothing can be mounted. */
function place(t: TestContext): string | undefined {
  if (!requireRoot(t)) return undefined;
  const at = mkdtempSync(join(tmpdir(), "ashlar-etc-"));
  t.after(() => {
    run("umount", "--recursive", at);
    rmSync(at, { recursive: true });
  });
  const { status, stderr } = run("mount", "-t", "tmpfs", "-o", "mode=0700", "ashlar-test", at);
  if (status === 0) return at;
  if (process.env["CI"]) throw new Error(`nothing can be mounted here: ${stderr}`);
  t.skip(`nothing can be mounted here: ${stderr.trim()}`);
  return undefined;
}

async function withOverlay<T>(lower: string, layer: string, at: string, use: () => Promise<T>): Promise<T> {
  mkdirSync(at, { recursive: true });
  const options = `lowerdir=${lower},upperdir=${layer}/upper,workdir=${layer}/work,index=off,metacopy=off,redirect_dir=off`;
  runOk("mount", "-t", "overlay", "-o", options, "ashlar-etc", at);
  try {
    return await use();
  } finally {
    runOk("umount", at);
  }
}

async function writeTree(tree: Directory, at: string): Promise<void> {
  const { notes } = await extractTree(tree, at, { privileged: true });
  assert.deepEqual(notes, []);
}

/** What people and programs do in a directory. What cannot be done where they try it, is not. */
const native = loadNativeCalls();
type Edit = readonly [what: string, path: string, other: string];
function edit(root: string, [what, path, other]: Edit): void {
  const at = join(root, path);
  const to = join(root, other);
  try {
    if (what === "write") writeNow(at, constants.O_CREAT | constants.O_TRUNC, `written ${other}\n`);
    else if (what === "append") writeNow(at, constants.O_APPEND, "more\n");
    else if (what === "touch") chmodSync(at, 0o644);
    else if (what === "chmod") chmodSync(at, 0o711);
    else if (what === "chown") chownSync(at, 7, 8);
    else if (what === "xattr") native?.setXattr(Buffer.from(at), Buffer.from("trusted.note"), encodeUtf8(other));
    else if (what === "remove") rmSync(at, { recursive: true });
    else if (what === "mkdir") mkdirSync(at);
    else if (what === "replace") {
      rmSync(at, { recursive: true, force: true });
      mkdirSync(at);
    } else if (what === "link") linkSync(at, to);
    else if (what === "symlink") symlinkSync(other, at);
    else if (what === "rename") renameSync(at, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === undefined) throw error;
  }
}

/** Without waiting: of a fifo somebody would have to be the reader. */
function writeNow(path: string, flags: number, text: string): void {
  const descriptor = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK | flags, 0o644);
  try {
    writeSync(descriptor, text);
  } finally {
    closeSync(descriptor);
  }
}

const EDITS = "write append touch chmod chown xattr remove mkdir replace link symlink rename".split(" ");
const path = fc
  .array(fc.constantFrom("a", "b", "c", "d"), { minLength: 1, maxLength: 3 })
  .map((names) => names.join("/"));
const edits: fc.Arbitrary<Edit[]> = fc.array(fc.tuple(fc.constantFrom(...EDITS), path, path), { maxLength: 12 });

test("what overlayfs shows after any changes is what we say that it shows", async (t) => {
  const root = place(t);
  if (root === undefined) return;
  let number = 0;
  const seen = { whiteouts: 0, opaque: 0 };
  await fc.assert(
    fc.asyncProperty(etcTree, edits, async (lower, list) => {
      const at = join(root, String(number++));
      mkdirSync(`${at}/layer/work`, { recursive: true });
      mkdirSync(`${at}/layer/upper`);
      await writeTree(lower, `${at}/lower`);
      const lines = await withOverlay(`${at}/lower`, `${at}/layer`, `${at}/etc`, async () => {
        for (const one of list) edit(`${at}/etc`, one);
        return linesOf(await readHostTree(`${at}/etc`));
      });
      const upper = await readHostTree(`${at}/layer/upper`);
      assert.deepEqual(await linesOf(overlayView(await readHostTree(`${at}/lower`), upper)), lines);
      for (const { node } of walkTree(upper)) {
        if (node.type === "character") seen.whiteouts++;
        if ([...node.xattrs.keys()].some((name) => name === "trusted.overlay.opaque")) seen.opaque++;
      }
      rmSync(at, { recursive: true });
    }),
    { numRuns: RUNS },
  );
  assert.ok(seen.whiteouts > 0 && seen.opaque > 0, JSON.stringify(seen));
});

test("a layer that we write shows in the kernel what it was made for", async (t) => {
  const root = place(t);
  if (root === undefined) return;
  let number = 0;
  await fc.assert(
    fc.asyncProperty(etcTree, etcTree, async (lower, wanted) => {
      const at = join(root, String(number++));
      mkdirSync(at);
      await writeTree(lower, `${at}/lower`);
      await openGenerations(`${at}/etc`).put(V2, await upperFor(lower, wanted), {});
      const lines = await withOverlay(`${at}/lower`, `${at}/etc/${V2}`, `${at}/mount`, async () => {
        const shown = await linesOf(await readHostTree(`${at}/mount`));
        writeFileSync(`${at}/mount/later`, "it can be written to\n");
        return shown;
      });
      assert.deepEqual(lines, await linesOf(wanted));
      rmSync(at, { recursive: true });
    }),
    { numRuns: RUNS },
  );
});

async function sealEtc(etc: Directory, path: string): Promise<void> {
  const root = directory(attributes(0o755), [["etc" as never, etc]]);
  const image = await createFile(path);
  await writeErofs(root, image);
  await image.close();
}

test("a machine changes its /etc, gets a release, and finds its changes over the new defaults", async (t) => {
  const root = place(t);
  if (root === undefined) return;
  const v1 = directory(
    attributes(0o755),
    Object.entries({
      "machine-id": file("", 0o444),
      "app.conf": file("port = 1\n"),
      "other.conf": file("a\n"),
      passwd: file("root:x:0:0:root:/root:/bin/sh\n"),
      "ld.so.cache": file("cache 1"),
      "app.d": directory(
        attributes(0o755),
        Object.entries({ "10-default": file("1\n"), "20-unused": file("1\n") }) as never,
      ),
    }) as never,
  );
  const v2 = directory(
    attributes(0o755),
    Object.entries({
      "machine-id": file("", 0o444),
      "app.conf": file("port = 2\n"),
      "other.conf": file("b\n"),
      passwd: file("root:x:0:0:root:/root:/bin/bash\nsvc:x:990:990::/:/bin/false\n"),
      "ld.so.cache": file("cache 2"),
      "app.d": directory(
        attributes(0o755),
        Object.entries({
          "10-default": file("2\n"),
          "20-unused": file("1\n"),
          "30-new": file("1\n"),
        }) as never,
      ),
    }) as never,
  );
  const store = openGenerations(`${root}/state`);
  for (const [hash, etc] of [
    [V1, v1],
    [V2, v2],
  ] as const) {
    await sealEtc(etc, `${root}/${hash}.erofs`);
    mkdirSync(`${root}/${hash}`);
    runOk("mount", "-t", "erofs", "-o", "loop,ro", `${root}/${hash}.erofs`, `${root}/${hash}`);
  }
  await store.put(V1, directory(v1), {});
  const machine = async (hash: string, use: (etc: string) => Promise<void>) =>
    withOverlay(`${root}/${hash}/etc`, `${root}/state/${hash}`, `${root}/etc`, () => use(`${root}/etc`));
  const id = "0123456789abcdef0123456789abcdef\n";

  await machine(V1, async (etc) => {
    writeFileSync(`${etc}/machine-id`, id);
    writeFileSync(`${etc}/app.conf`, "port = 99\n");
    writeFileSync(`${etc}/mine.conf`, "mine\n", { mode: 0o600 });
    appendFileSync(`${etc}/passwd`, "ann:x:1000:1000::/home/ann:/bin/sh\n");
    writeFileSync(`${etc}/ld.so.cache`, "cache of this machine");
    writeFileSync(`${etc}/.updated`, "");
    rmSync(`${etc}/app.d/20-unused`);
    // Written to without being changed: no reason to hide what comes.
    appendFileSync(`${etc}/other.conf`, "");
    await using image1 = await openFile(`${root}/${V1}.erofs`);
    await using image2 = await openFile(`${root}/${V2}.erofs`);
    const running = { rootHash: V1, tree: await sealedEtc(await openErofs(image1)) };
    const next = { rootHash: V2, tree: await sealedEtc(await openErofs(image2)), imageId: "os", imageVersion: "2" };
    const carry = () => carryEtc(store, running, next, { conflicts: "keep-local", now: 0 });
    const { conflicts } = await carry();
    assert.deepEqual(conflicts, [{ kind: "both-changed", path: "/etc/app.conf" }]);
    // Staged; and then somebody changes more before the machine goes down.
    writeFileSync(`${etc}/late.conf`, "late\n");
    rmSync(`${etc}/mine.conf`);
    await carry();
  });
  await machine(V2, async (etc) => {
    const shown = Object.fromEntries(
      readdirSync(etc, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
        .map((name) => [name.slice(etc.length + 1), readFileSync(name, "utf8")]),
    );
    assert.deepEqual(shown, {
      "machine-id": id,
      "app.conf": "port = 99\n",
      "other.conf": "b\n",
      passwd: "root:x:0:0:root:/root:/bin/bash\nsvc:x:990:990::/:/bin/false\nann:x:1000:1000::/home/ann:/bin/sh\n",
      "ld.so.cache": "cache 2",
      "app.d/10-default": "2\n",
      "app.d/30-new": "1\n",
      "late.conf": "late\n",
    });
  });
  // A rollback finds what was there.
  await machine(V1, async (etc) => assert.equal(readFileSync(`${etc}/other.conf`, "utf8"), "a\n"));
  assert.deepEqual(await store.list(), [V1, V2]);
  assert.deepEqual(readdirSync(`${root}/state`).sort(), [V1, V2]);
  await store.remove(V1);
  await store.remove(V1);
  assert.deepEqual(await store.list(), [V2]);
});

test("a generation is the old one or the new one, wherever writing it fails", async (t) => {
  const root = place(t);
  if (root === undefined) return;
  const directoryOf = (text: string) =>
    directory(
      attributes(0o755),
      Object.entries({ a: file(text), b: file(text), d: directory(attributes(0o700)) }) as never,
    );
  const store = openGenerations(`${root}/etc`);
  const [before, after] = [directoryOf("old"), directoryOf("new")];
  const lines = [await linesOf(before), await linesOf(after)].map(String);
  let failed = 0;
  for (let last = 0; ; last++) {
    await store.put(V1, before, { base: encodeUtf8("old") });
    let points = 0;
    const stop = watchWrites(async (call, original) => {
      if (points++ !== last) return original();
      if (call === "close") await original(); // closed it is, whatever it says
      throw Object.assign(new Error("no space"), { code: "ENOSPC" });
    });
    const outcome = await store.put(V1, after, { base: encodeUtf8("new") }).then(
      () => "done",
      (error: Error) => error.message,
    );
    stop();
    const there = lines.indexOf(String(await linesOf(await store.readUpper(V1))));
    const base = Buffer.from((await store.readFile(V1, "base")) ?? []).toString();
    assert.equal(base, ["old", "new"][there], `point ${last}: ${outcome}`);
    if (points <= last) {
      assert.deepEqual([outcome, there], ["done", 1]);
      break;
    }
    assert.match(outcome, /no space|done/);
    failed++;
  }
  assert.ok(failed > 8, `${failed} points`);
  assert.deepEqual(readdirSync(`${root}/etc`), [V1]);
});

test("what was cut off in the middle is cleared away by the next", async (t) => {
  const root = place(t);
  if (root === undefined) return;
  const store = openGenerations(`${root}/etc`);
  mkdirSync(`${root}/etc/.carry/upper`, { recursive: true });
  writeFileSync(`${root}/etc/.carry/upper/half`, "");
  assert.deepEqual(await store.list(), []);
  await store.put(V1, directory(attributes(0o755)), {});
  assert.deepEqual(readdirSync(`${root}/etc`), [V1]);
  assert.deepEqual(readdirSync(`${root}/etc/${V1}`).sort(), ["upper", "work"]);
});

test("a reset through the mounted overlay leaves what the image has, and nothing to carry", async (t) => {
  const root = place(t);
  if (root === undefined) return;
  let number = 0;
  await fc.assert(
    fc.asyncProperty(etcTree, edits, async (lower, list) => {
      const at = join(root, String(number++));
      await writeTree(lower, `${at}/lower`);
      const store = openGenerations(`${at}/etc`);
      await store.put(V1, directory(lower), {});
      await withOverlay(`${at}/lower`, `${at}/etc/${V1}`, `${at}/mount`, async () => {
        for (const one of list) edit(`${at}/mount`, one);
        const sealed = await readHostTree(`${at}/lower`);
        const changes = await etcChanges(sealed, overlayView(sealed, await store.readUpper(V1)));
        await resetEtc(`${at}/mount`, planReset(changes));
        assert.deepEqual(await linesOf(await readHostTree(`${at}/mount`)), await linesOf(lower));
        const view = overlayView(sealed, await store.readUpper(V1));
        assert.deepEqual(await etcChanges(sealed, view), []);
        assert.equal((await upperFor(sealed, view)).entries.size, 0);
      });
      rmSync(at, { recursive: true });
    }),
    { numRuns: RUNS },
  );
});
