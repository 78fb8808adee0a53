// Hostile EROFS images to ls, cat, extract and verify: a value or one of our errors, in bounded time, inside the directory.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { IntegrityError, isAshlarError } from "@ashlar/core/errors";
import { openErofs, readTree, writeErofs } from "@ashlar/core/formats/erofs";
import { inlineBlockHasher } from "@ashlar/core/hash";
import { extractTree, nodeHashes } from "@ashlar/core/node";
import { silentReporter } from "@ashlar/core/ops";
import { openSealedRoot } from "@ashlar/core/ops/disk";
import { parseRelease } from "@ashlar/core/ops/release";
import { verifyRelease } from "@ashlar/core/ops/verify";
import { bytesSource, memorySink, readAll } from "@ashlar/core/source";
import { attributes, type Directory, directory, regularFile, symlink, walkTree } from "@ashlar/core/tree";
import { longLine } from "../../cli/src/output/listing.ts";
import { startEffort } from "../support/effort.ts";
import { isRoot, noise, runOk, SAMPLE_ENTRIES, sampleLayout, workFolder } from "../support/samples.ts";
import { tarBytes } from "../support/tar.ts";

const folder = workFolder({ after });
const MUTATIONS = 200;
/** Milliseconds for one image of 200 kB. */
const MAX_TIME = 3000;
let root: Uint8Array;
let hashDevice: Uint8Array;
let releaseBytes: Uint8Array;

before(async () => {
  // Without the large sparse file: mutations are to hit what has a meaning.
  const list = SAMPLE_ENTRIES.filter(({ name }) => name !== "sparse" && name !== "usr/bin/tool" && name !== "hard");
  await sampleLayout(join(folder, "layout"), { layers: [{ tar: tarBytes(list) }] });
  await runOk(["seal", `oci:${join(folder, "layout")}`, "-o", join(folder, "out"), "--quiet"]);
  root = new Uint8Array(readFileSync(join(folder, "out/sample_1.root.erofs")));
  hashDevice = new Uint8Array(readFileSync(join(folder, "out/sample_1.root.verity")));
  releaseBytes = new Uint8Array(readFileSync(join(folder, "out/sample_1.release.json")));
});

/** Numerical Recipes' generator: the same mutations on every machine. */
function generator(seed: number): (below: number) => number {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** Some bytes changed: anything, or what lengths and places like to be wrong with; sometimes cut off. */
function mutate(bytes: Uint8Array, seed: number): Uint8Array {
  const random = generator(seed * 2_654_435_761);
  const copy = new Uint8Array(bytes); // `slice` of a Buffer would be the same memory
  const places = 1 + random(8);
  for (let i = 0; i < places; i++) {
    const at = random(3) === 0 ? 1024 + random(128) : random(copy.length);
    copy[at] = [0, 1, 0x7f, 0x80, 0xff, random(256)][random(6)]!; // six values
  }
  return random(10) === 0 ? copy.subarray(0, random(copy.length)) : copy;
}

async function bounded(seed: number, action: () => Promise<unknown>): Promise<"value" | "refused"> {
  const effort = startEffort();
  try {
    await action();
    return "value";
  } catch (error) {
    if (!isAshlarError(error)) throw new Error(`mutation ${seed}`, { cause: error });
    assert.doesNotMatch(error.message, /\n/);
    return "refused";
  } finally {
    assert.ok(effort() < MAX_TIME, `mutation ${seed} took too long`);
  }
}

test("ls and cat of mutated images", async (t) => {
  const outcomes = { value: 0, refused: 0 };
  for (let seed = 0; seed < MUTATIONS; seed++) {
    const outcome = await bounded(seed, async () => {
      const image = await openErofs(bytesSource(mutate(root, seed)), { checksum: "ignore" });
      for (const { path, node } of walkTree(await readTree(image))) {
        longLine({ path, node, links: 1 });
        if (node.type === "file") await readAll(node.content, 1 << 20, path);
      }
    });
    outcomes[outcome]++;
  }
  t.diagnostic(JSON.stringify(outcomes));
  assert.ok(outcomes.value > 5 && outcomes.refused > 5);
});

test("extract of mutated images stays inside and leaves nothing when it fails", async () => {
  const privileged = false; // owners and devices of a mutated image are no use to anybody
  for (let seed = 0; seed < MUTATIONS; seed++) {
    const target = join(folder, "target/tree");
    const outcome = await bounded(seed, async () => {
      const image = await openErofs(bytesSource(mutate(root, seed)), { checksum: "ignore" });
      const tree = await readTree(image);
      // A mutated size may be terabytes of hole: that is a file like any other, but not one for this test.
      for (const { node } of walkTree(tree)) if (node.type === "file" && node.content.size > 1 << 20) return;
      await extractTree(tree, target, { privileged });
    });
    assert.deepEqual(
      readdirSync(folder).filter((name) => !["layout", "out", "target"].includes(name)),
      [],
    );
    if (outcome === "refused") assert.equal(existsSync(target), false, `mutation ${seed}`);
    rmSync(join(folder, "target"), { recursive: true, force: true });
  }
});

test("a sealed root gives right bytes or an error, never wrong bytes", async () => {
  const release = parseRelease(releaseBytes, "release");
  const rootHash = Buffer.from(release.rootHash, "hex");
  const hasher = inlineBlockHasher(nodeHashes);
  const expected = new Map<string, Uint8Array>();
  const good = await openErofs(bytesSource(root));
  for (const { path, node } of walkTree(await readTree(good)))
    if (node.type === "file") expected.set(path, await readAll(node.content, 1 << 20, path));
  for (let seed = 0; seed < MUTATIONS; seed++) {
    const [data, hashes] = seed % 2 === 0 ? [mutate(root, seed), hashDevice] : [root, mutate(hashDevice, seed)];
    await bounded(seed, async () => {
      const { image } = await openSealedRoot(bytesSource(data), bytesSource(hashes), rootHash, hasher);
      for (const { path, node } of walkTree(await readTree(image)))
        if (node.type === "file") assert.deepEqual(await readAll(node.content, 1 << 20, path), expected.get(path));
    });
  }
});

test("verify of mutated pairs and releases never passes", async () => {
  const environment = {
    hashes: nodeHashes,
    blockHasher: inlineBlockHasher(nodeHashes),
    reporter: silentReporter,
    signal: undefined,
  };
  for (let seed = 0; seed < MUTATIONS; seed++) {
    const which = seed % 3;
    const files = new Map([
      ["sample_1.root.erofs", which === 0 ? mutate(root, seed) : root],
      ["sample_1.root.verity", which === 1 ? mutate(hashDevice, seed) : hashDevice],
    ]);
    const same = [...files.values()].every((bytes, i) => Buffer.compare(bytes, [root, hashDevice][i]!) === 0);
    await bounded(seed, async () => {
      const release = parseRelease(which === 2 ? mutate(releaseBytes, seed) : releaseBytes, "release");
      const open = async (name: string) => {
        const bytes = files.get(name);
        if (bytes === undefined) throw new IntegrityError("test", `${name}: no such file`);
        return bytesSource(bytes);
      };
      const { ok, checks } = await verifyRelease(release, open, environment);
      assert.ok(checks.length > 0);
      if (which !== 2) assert.equal(ok, same, JSON.stringify(checks));
    });
  }
});

/** An image in which a name that other tools would follow or split comes before what is to be written through it. */
test("tricks with links and names do not lead out of the directory", async () => {
  const file = regularFile(attributes(0o644), bytesSource(noise(100, "evil")));
  const outside = join(folder, "outside");
  const tree: Directory = directory(attributes(0o755), [
    ["a" as never, symlink(attributes(0o777), outside as never)],
    ["b" as never, directory(attributes(0o755), [["c" as never, symlink(attributes(0o777), "../../.." as never)]])],
    ["b\\..\\..\\x" as never, file],
    ["-rf" as never, file],
    ["\x1b]0;title\x07" as never, file],
  ]);
  const sink = memorySink();
  await writeErofs(tree, sink, {});
  const bytes = sink.bytes();
  // The same name twice, first as a link and then as a directory: what a tar of CVE-2018-20834 does.
  const target = join(folder, "safe");
  await extractTree(await readTree(await openErofs(bytesSource(bytes))), target, { privileged: isRoot });
  assert.equal(readdirSync(target).length, 5);
  assert.equal(existsSync(outside), false);

  const twice = Buffer.from(bytes);
  const at = twice.indexOf("b\\..\\..\\x");
  assert.ok(at > 0);
  for (const evil of ["../../../", "../../../x", "/tmp/evil", "..", "."]) {
    const changed = Buffer.from(bytes);
    changed.write(evil.padEnd(9, "\0").slice(0, 9), at, "latin1");
    const opened = openErofs(bytesSource(changed), { checksum: "ignore" }).then(readTree);
    const names = await opened.then(
      (root) => [...root.entries.keys()],
      (error: unknown) => (isAshlarError(error) ? [] : Promise.reject(error)),
    );
    assert.deepEqual(
      names.filter((name) => /^\.{0,2}$|\//.test(name)),
      [],
      evil,
    );
  }
});
