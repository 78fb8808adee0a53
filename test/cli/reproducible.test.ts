// The same input gives the same bytes, whoever runs the command and wherever: "Shows 2" of the boot-chain issue.
import assert from "node:assert/strict";
import { chmodSync, cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { debianLayout } from "../support/debian.ts";
import { archiveLayout, type LayerInput } from "../support/oci.ts";
import { findRoot } from "../support/roots.ts";
import {
  digests,
  type RunOptions,
  runOk,
  SAMPLE_ARTIFACTS,
  SAMPLE_ENTRIES,
  sampleLayout,
  workFolder,
} from "../support/samples.ts";
import { type TarEntry, tarBytes, whiteout } from "../support/tar.ts";

const folder = workFolder({ after });
const layout = join(folder, "layout");
const reference = `oci:${layout}:latest`;
let expected: Record<string, string>;
let count = 0;

/** A directory that anybody may write into. */
function output(): string {
  const path = join(folder, `out-${count++}`);
  mkdirSync(path);
  chmodSync(path, 0o777);
  return path;
}

async function seal(ref: string, options: RunOptions = {}, flags: readonly string[] = []) {
  const out = output();
  await runOk(["seal", ref, "-o", out, "--quiet", ...flags], options);
  return digests(out);
}

before(async () => {
  chmodSync(folder, 0o755);
  await sampleLayout(layout);
  expected = await seal(reference);
  assert.deepEqual(Object.keys(expected), SAMPLE_ARTIFACTS);
});

const SURROUNDINGS: Readonly<Record<string, RunOptions & { readonly flags?: readonly string[] }>> = {
  "an ordinary user without capabilities": { ordinary: true },
  "no HOME, nothing but PATH": { ordinary: true, env: {}, cwd: "/" },
  "a directory that the user cannot write": { ordinary: true, cwd: "/usr/lib" },
  "LC_ALL=tr_TR.UTF-8, TZ=Pacific/Chatham": { env: { LC_ALL: "tr_TR.UTF-8", TZ: "Pacific/Chatham" } },
  "LC_ALL=C, TZ=broken": { env: { LC_ALL: "C", LANG: "C", TZ: ":/nowhere" } },
  "umask 0": { umask: "0" },
  "umask 022": { umask: "022" },
  "umask 077": { ordinary: true, umask: "077" },
  "umask 0777": { ordinary: true, umask: "0777" },
  "1 worker": { flags: ["--workers", "1"] },
  "3 workers": { flags: ["--workers", "3"] },
  "8 workers": { ordinary: true, flags: ["--workers", "8"] },
  "temporary files elsewhere": { ordinary: true, flags: ["--tmpdir", "/tmp"] },
};
for (const [what, { flags, ...options }] of Object.entries(SURROUNDINGS))
  test(`seal, ${what}: the same bytes`, async () => {
    // With umask 0777 nobody but root may read the results, so they are compared by us.
    assert.deepEqual(await seal(reference, options, flags), expected);
  });

test("a relative reference and output directory", async () => {
  const out = output();
  await runOk(["seal", "oci:layout", "-o", out.slice(folder.length + 1), "--quiet"], { cwd: folder });
  assert.deepEqual(digests(out), expected);
});

test("oci-archive: of the same layout", async () => {
  archiveLayout(layout, join(folder, "archive.tar"));
  assert.deepEqual(await seal(`oci-archive:${join(folder, "archive.tar")}`), expected);
});

const nameOf = (entry: TarEntry): string => Buffer.from(entry.name as string).toString("latin1");
const isDirectory = (entry: TarEntry): boolean => nameOf(entry).endsWith("/");
const junk: TarEntry[] = [
  { name: "etc/motd", content: "another\n" },
  { name: "gone", content: "gone" },
];
const SPLITS: Readonly<Record<string, readonly LayerInput[]>> = {
  uncompressed: [{ tar: tarBytes(SAMPLE_ENTRIES), compression: "none" }],
  zstd: [{ tar: tarBytes(SAMPLE_ENTRIES), compression: "zstd" }],
  "two layers, one of each compression": [
    { tar: tarBytes(SAMPLE_ENTRIES.slice(0, 12)), compression: "zstd" },
    { tar: tarBytes(SAMPLE_ENTRIES.slice(12)), compression: "none" },
  ],
  "a layer an entry": SAMPLE_ENTRIES.map((entry) => ({ tar: tarBytes([entry]), compression: "none" as const })),
  "something replaced and something deleted": [
    { tar: tarBytes(junk) },
    { tar: tarBytes([whiteout("gone"), ...SAMPLE_ENTRIES]) },
  ],
  "another order": [
    {
      tar: tarBytes([
        ...SAMPLE_ENTRIES.filter(isDirectory),
        ...SAMPLE_ENTRIES.filter((entry) => !isDirectory(entry) && entry.type !== "link").toReversed(),
        ...SAMPLE_ENTRIES.filter(({ type }) => type === "link"),
      ]),
    },
  ],
};
for (const [what, layers] of Object.entries(SPLITS))
  test(`the same tree, ${what}: the same root; release.json differs in the manifest digest alone`, async () => {
    const other = join(folder, `layout-${count++}`);
    const { manifests } = await sampleLayout(other, { layers });
    const out = output();
    const { stdout } = await runOk(["seal", `oci:${other}`, "-o", out, "--json"]);
    const { "sample_1.release.json": release, ...rest } = digests(out);
    const { "sample_1.release.json": releaseBefore, ...restBefore } = expected;
    assert.deepEqual(rest, restBefore);
    assert.notEqual(release, releaseBefore);
    const { inputs } = JSON.parse(stdout).release;
    assert.deepEqual(inputs, [{ name: "image", digest: manifests[0]!.digest }]);
  });

test("what is to make a difference makes one: time, salt, tails, hash", async () => {
  for (const flags of [
    ["--timestamp", "1650000000"],
    ["--salt", "-"],
    ["--tails", "inline"],
    ["--hash", "sha512"],
  ]) {
    const { "sample_1.root.verity": hashDevice } = await seal(reference, {}, flags);
    assert.notEqual(hashDevice, expected["sample_1.root.verity"], flags.join(" "));
  }
  const byFlag = await seal(reference, {}, ["--timestamp", "2022-04-15T05:20:00Z"]);
  assert.deepEqual(await seal(reference, { env: { SOURCE_DATE_EPOCH: "1650000000" } }), byFlag);
});

test("build: the same disk for root and for an ordinary user in odd surroundings", { timeout: 600_000 }, async (t) => {
  if (findRoot("trixie") === undefined) return t.skip("no trixie root; run scripts/fetch-roots trixie");
  const debian = await debianLayout("trixie");
  const sizes = ["--esp-size", "256M", "--slot-size", "512M", "--var-size", "256M", "--quiet"];
  const [first, second] = [output(), output()];
  await runOk(["build", `oci:${debian}:latest`, "-o", first, ...sizes]);
  // The cache of layouts may lie in a home directory that others cannot enter.
  const readable = join(folder, "debian");
  cpSync(debian, readable, { recursive: true });
  await runOk(["build", `oci:${readable}:latest`, "-o", second, ...sizes, "--workers", "1"], {
    ordinary: true,
    cwd: "/",
    env: { LC_ALL: "tr_TR.UTF-8", TZ: "Asia/Kathmandu" },
    umask: "0777",
  });
  const left = digests(first);
  assert.deepEqual(digests(second), left);
  assert.equal(Object.keys(left).length, 5);
});
