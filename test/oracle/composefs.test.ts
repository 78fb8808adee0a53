/** composefs against the C tools of Debian sid: the same bytes as mkcomposefs, the same words as composefs-info. */
import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import fc from "fast-check";
import { toHex } from "../../core/src/bytes/index.ts";
import { dumpLines, type Homes, listLines, parseDump, writeComposefs } from "../../core/src/formats/composefs/index.ts";
import { nodeHashes } from "../../core/src/node/hashes.ts";
import { diffStored, objectsOf, readStoredFile } from "../../core/src/ops/composefs/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import type { Directory } from "../../core/src/tree/index.ts";
import { ashlarOk } from "../support/ashlar.ts";
import { composefsTree } from "../support/composefs-trees.ts";
import { type Oracle, requireOracle, requireSystem } from "../support/oracle.ts";

const LONG = process.env["ASHLAR_LONG"] === "true";
const TREES = LONG ? 5000 : 300;

/** `mkcomposefs`' own default, and each version by itself. */
const VERSIONS = [
  { min: 0, max: 1 },
  { min: 0, max: 0 },
  { min: 1, max: 1 },
] as const;

const SHA256 = { algorithm: "sha256", hashes: nodeHashes } as const;

async function inFolder(t: TestContext, work: (folder: string, shell: Oracle) => Promise<void>): Promise<void> {
  // One shell inside of the tools root runs all of them: entering it costs more than what is run.
  if (requireOracle(t, "mkcomposefs", { from: "tools" }) === undefined) return;
  const shell = requireOracle(t, "sh", { from: "tools" });
  if (shell === undefined) return;
  const folder = await mkdtemp(join(tmpdir(), "ashlar-composefs-"));
  try {
    await work(folder, shell);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** The digest names all bytes of the image. */
function digest(root: Directory, version: (typeof VERSIONS)[number], homes?: Homes): string {
  return toHex(writeComposefs(root, { version, homes, ...SHA256 }).digest);
}

test(`${TREES} random trees`, (t) =>
  inFolder(t, async (folder, shell) => {
    const tree = fc.boolean().chain((whiteouts) => composefsTree({ whiteouts }));
    const trees = fc.sample(tree, { numRuns: TREES, ...(LONG ? {} : { seed: 2026 }) });
    for (const [i, tree] of trees.entries()) await writeFile(join(folder, `${i}`), [...dumpLines(tree)].join(""));
    const each = VERSIONS.map(
      ({ min, max }) =>
        `mkcomposefs --print-digest-only --from-file --min-version=${min} --max-version=${max} $i || exit`,
    ).join("; ");
    const loop = `i=0; while [ $i -lt ${trees.length} ]; do ${each}; i=$((i + 1)); done`;
    const { stdout } = await shell.ok(["-c", loop], { cwd: folder, timeout: 600_000 });
    const theirs = stdout.trimEnd().split("\n");
    assert.equal(theirs.length, trees.length * VERSIONS.length);
    for (const [i, tree] of trees.entries()) {
      const { root, homes } = parseDump(await readFile(join(folder, `${i}`)));
      for (const [k, version] of VERSIONS.entries()) {
        const expected = theirs[i * VERSIONS.length + k];
        const shown = `tree ${i}, versions ${version.min} to ${version.max}`;
        assert.equal(digest(tree, version), expected, shown);
        assert.equal(digest(root, version, homes), expected, `${shown}, from its dump`);
      }
    }
  }));

/** composefs-info prints xattrs in the order of the image, we by name. */
function sortXattrs(line: string): string {
  const fields = line.split(" ");
  return [...fields.slice(0, 11), ...fields.slice(11).sort()].join(" ");
}

test("composefs-info reads our images, we read those of mkcomposefs, and all say the same", (t) =>
  inFolder(t, async (folder, shell) => {
    const trees = fc.sample(composefsTree(), { numRuns: 40, seed: 7 });
    for (const [i, tree] of trees.entries()) {
      await writeFile(join(folder, `${i}.dump`), [...dumpLines(tree)].join(""));
      await writeFile(join(folder, `${i}.ours`), writeComposefs(tree, { version: 1, ...SHA256 }).bytes);
    }
    const each = [
      "mkcomposefs --from-file --min-version=1 $i.dump $i.theirs",
      "composefs-info dump $i.ours >$i.info",
      "composefs-info objects $i.ours >$i.objects",
      "composefs-info ls $i.ours >$i.ls",
      "fsck.erofs $i.ours >$i.fsck",
    ];
    const loop = `i=0; while [ $i -lt ${trees.length} ]; do ${each.join(" && ")} || exit; i=$((i + 1)); done`;
    await shell.ok(["-c", loop], { cwd: folder });
    for (const i of trees.keys()) {
      const text = async (suffix: string): Promise<string> => readFile(join(folder, `${i}.${suffix}`), "latin1");
      const ours = await readStoredFile(bytesSource(await readFile(join(folder, `${i}.ours`))), "ours");
      const theirs = await readStoredFile(bytesSource(await readFile(join(folder, `${i}.theirs`))), "theirs");
      assert.ok(diffStored(ours, theirs).same);
      const info = (await text("info")).split("\n").map(sortXattrs);
      const lines = [...dumpLines(ours.root, ours)].map((line) => sortXattrs(line.trimEnd()));
      assert.deepEqual(lines, info.slice(0, -1), `dump of tree ${i}`);
      // Names of objects are plain here but for blanks, which composefs-info prints as they are.
      assert.deepEqual(objectsOf(ours.root), (await text("objects")).split("\n").slice(0, -1), `objects of tree ${i}`);
      assert.equal([...listLines(ours.root, ours.homes!)].join(""), await text("ls"), `names of tree ${i}`);
    }
  }));

test("a directory is what mkcomposefs makes of it", (t) =>
  inFolder(t, async (folder, shell) => {
    const root = join(folder, "root");
    await mkdir(join(root, "a/b"), { recursive: true });
    for (const size of [0, 1, 64, 65, 4096, 4097, 300_000])
      await writeFile(join(root, `a/${size}`), new Uint8Array(size).fill(size & 0xff));
    await symlink("b/c", join(root, "a/link"));
    await utimes(join(root, "a/64"), 5, 1_700_000_000.25);
    const { stdout } = await shell.ok(["-c", "mkcomposefs root image && mkcomposefs --print-digest-only root"], {
      cwd: folder,
    });
    const digest = ashlarOk(["composefs", "digest", "--min-version", "0", "--max-version", "1", `dir:${root}`]);
    assert.equal(digest.stdout, stdout);
    const image = join(folder, "ours");
    ashlarOk(["composefs", "create", "--format-version", "0", `dir:${root}`, image]);
    assert.deepEqual(await readFile(image), await readFile(join(folder, "image")));
    assert.equal(ashlarOk(["composefs", "digest", image]).stdout, stdout);
  }));

test("a whole Debian system", { timeout: 600_000 }, (t) =>
  inFolder(t, async (folder, shell) => {
    const tar = requireSystem(t, "trixie");
    if (tar === undefined) return;
    const dump = join(folder, "dump");
    const image = join(folder, "image");
    // Hard links are kept in the dump; of a directory mkcomposefs would not see them.
    await writeFile(dump, ashlarOk(["composefs", "dump", "--quiet", `tar:${tar}`]).stdout);
    const made = ashlarOk([
      "composefs",
      "create",
      "--quiet",
      "--min-version",
      "0",
      "--max-version",
      "1",
      `tar:${tar}`,
      image,
    ]);
    const { stdout } = await shell.ok(["-c", "mkcomposefs --print-digest --from-file dump theirs"], { cwd: folder });
    assert.equal(made.stdout, stdout);
    assert.deepEqual(await readFile(image), await readFile(join(folder, "theirs")));
    const again = ashlarOk(["composefs", "digest", "--min-version", "0", "--max-version", "1", "--from-dump", dump]);
    assert.equal(again.stdout, stdout);
    const { stdout: info } = await shell.ok(["-c", "fsck.erofs image >/dev/null && composefs-info dump image"], {
      cwd: folder,
    });
    const dumped = ashlarOk(["composefs", "dump", image]).stdout;
    assert.deepEqual(dumped.split("\n").map(sortXattrs), info.split("\n").map(sortXattrs));
    const { stdout: objects } = await shell.ok(["-c", "composefs-info objects image"], { cwd: folder });
    assert.equal(ashlarOk(["composefs", "objects", image]).stdout, objects);
    const { stdout: names } = await shell.ok(["-c", "composefs-info ls image"], { cwd: folder });
    assert.equal(ashlarOk(["composefs", "ls", image]).stdout, names);
    assert.match(ashlarOk(["composefs", "diff", "--exit-code", dump, image]).stdout, /^the same: \d+ paths\n$/);
  }),
);
