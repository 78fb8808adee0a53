/** `ashlar composefs` as people use it: digests of prepared roots, comparisons, and refusals. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ashlar, ashlarOk } from "../support/ashlar.ts";
import { tarBytes } from "../support/tar.ts";

let folder = "";
const at = (name: string): string => join(folder, name);

const xattrs = { "user.a": "b" };
const ROOT = [
  { name: "usr/", mode: 0o750, uid: 3, mtime: 1_700_000_000.5 },
  { name: "usr/bin/", mtime: 1_600_000_000 },
  { name: "usr/bin/tool", content: new Uint8Array(5000).map((_, i) => i >> 4), mode: 0o755, mtime: 1_600_000_001 },
  { name: "usr/bin/other", type: "link", target: "usr/bin/tool" },
  { name: "usr/small", content: "small\n", xattrs },
  { name: "usr/link", type: "symlink", target: "bin/tool" },
  { name: "boot/", mtime: 1_500_000_000.25 },
  { name: "boot/uki.efi", content: new Uint8Array(100) },
  { name: "sysroot/" },
  { name: "run/" },
  { name: "run/lock", content: "" },
] as const;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "ashlar-composefs-"));
  await writeFile(at("root.tar"), tarBytes(ROOT));
});
after(() => rm(folder, { recursive: true }));

const digestOf = (...args: string[]): string => ashlarOk(["composefs", "digest", "--quiet", ...args]).stdout.trim();

test("a root for booting: pinned digests of all versions and algorithms", () => {
  const reference = `tar:${at("root.tar")}`;
  // Each made with composefs-rs 0fbc853 (`cfsctl compute-id --bootable`) of the same tree.
  assert.equal(digestOf("--bootable", "--all", reference), PINNED);
  const [first = ""] = PINNED.split("\n");
  assert.equal(`v1-sha512-12:${digestOf("--bootable", reference)}`, first);
});

const PINNED = [
  "v1-sha512-12:1405b8366fa0211420e1e4244cfe4d6545a94cdf9594eb46563bbfda385364b7b91c672e6a5aef0873e66e28374bbf90a0247e4fec5ed4012f83ffeacf00ccea",
  "v2-sha512-12:f35b4cabf1759af35da8623973d5e6d5764abc06edc8a801247dabc17ea2e4ac558ab4aeb95a9948d2f88317bade16da2658454d641898d79a69553b9557f392",
  "v1-sha256-12:1051a71499bf9b33dc7ac87f22792d0681751c72ab6599e097ef9f02afd269c6",
  "v2-sha256-12:b59747c62f7e06678ddde233938a8fad8634b4dda5a8b66a4a6484be890ab360",
].join("\n");

const FILE_CONTEXTS = [
  "/.*\tsystem_u:object_r:default_t:s0",
  "/usr/bin/.*\t--\tsystem_u:object_r:bin_t:s0",
  "/usr/bin/other\tsystem_u:object_r:other_t:s0",
  "/usr/lib/.*\tsystem_u:object_r:lib_t:s0",
  "/usr/small\t<<none>>",
].join("\n");

/** The same with a policy: substitutions, a hard link with two labels, a path without a label. */
const LABELLED = [
  ...ROOT,
  { name: "usr/lib64/" },
  { name: "usr/lib64/x.so", content: "x" },
  { name: "etc/selinux/config", content: "SELINUX=enforcing\nSELINUXTYPE=targeted\n" },
  { name: "etc/selinux/targeted/contexts/files/file_contexts", content: `${FILE_CONTEXTS}\n` },
  {
    name: "etc/selinux/targeted/contexts/files/file_contexts.local",
    content: "/usr/link system_u:object_r:local_t:s0\n",
  },
  { name: "etc/selinux/targeted/contexts/files/file_contexts.subs_dist", content: "/usr/lib64 /usr/lib\n" },
  ...[
    "etc/selinux/targeted/contexts/files/",
    "etc/selinux/targeted/contexts/",
    "etc/selinux/targeted/",
    "etc/selinux/",
    "etc/",
    "usr/lib64/",
  ].map((name) => ({ name })),
  ROOT[0],
];

test("a root with an SELinux policy: pinned digests", async () => {
  await writeFile(at("labelled.tar"), tarBytes(LABELLED));
  // Made with composefs-rs 0fbc853 as above.
  assert.equal(digestOf("--bootable", "--all", `tar:${at("labelled.tar")}`), PINNED_LABELLED);
  const dump = ashlarOk(["composefs", "dump", "--quiet", "--bootable", `tar:${at("labelled.tar")}`]).stdout;
  const labelOf = (path: string) => new RegExp(`^${path} .* security.selinux=(\\S*)`, "m").exec(dump)?.[1];
  assert.deepEqual(
    ["/usr/bin/tool", "/usr/bin/other", "/usr/lib64/x.so", "/usr/link", "/usr/small"].map(labelOf),
    ["bin_t", "other_t", "lib_t", "local_t", undefined].map((type) => type && `system_u:object_r:${type}:s0`),
  );
  assert.doesNotMatch(dump, /^\/usr\/bin\/(tool|other) \d+ @/m); // no longer one file
});

const PINNED_LABELLED = [
  "v1-sha512-12:5717b2d44f92cdff061a121983d111b6b65f7474e522378fe71e060ff5c0cf9e79a072dfc9e9d02899da7f49f77be4691e5cabeddeff56f7a8bb0cd9a3b46605",
  "v2-sha512-12:9965b17c00e4a28d063387ac0f0a96a9171cec07a91dd1d63e61dee4e348206990f1185d330c5c9f5fbdb11d01761db1acb1a3007c339fb9f3446fe5432dbd98",
  "v1-sha256-12:6c0eac230f3b3ad549bbb1721ccb8f003109b5937b1049d6a9f4110f79ffc518",
  "v2-sha256-12:05d44e6635b0b674067dfb3895d144e6f40d96a6666c5926b0caf4f6ed0b36c1",
].join("\n");

test("an image, its dump and its source are the same, and what differs is named", async () => {
  const reference = `tar:${at("root.tar")}`;
  const image = at("image.cfs");
  const digest = ashlarOk(["composefs", "create", "--quiet", reference, image]).stdout.trim();
  assert.equal(digestOf(image), digest);
  assert.equal(digestOf(reference), digest);
  await writeFile(at("dump"), ashlarOk(["composefs", "dump", image]).stdout);
  assert.equal(digestOf("--from-dump", at("dump")), digest);
  assert.match(
    ashlarOk(["composefs", "diff", "--quiet", "--exit-code", image, reference]).stdout,
    /^the same: 12 paths/,
  );

  const changed = (await readFile(at("dump"), "utf8"))
    .replace("/usr/bin/other 5000 100755", "/usr/bin/other 5000 100700")
    .replace(/^\/usr\/link .*\n/m, "");
  await writeFile(at("changed"), changed);
  const diff = ashlar(["composefs", "diff", "--exit-code", image, at("changed")]);
  assert.equal(diff.status, 9);
  const lines = diff.stdout.replaceAll(folder, "").split("\n");
  assert.deepEqual(lines.slice(0, 4), [
    "/usr/bin/other: mode",
    "  /image.cfs: 0755",
    "  /changed: 0700",
    "2 of 12 paths differ, 1 are only in /image.cfs, 0 only in /changed",
  ]);
  const { first, changed: count } = JSON.parse(ashlar(["composefs", "diff", "--json", image, at("changed")]).stdout);
  assert.deepEqual([first.path, first.attribute, count], ["/usr/bin/other", "mode", 2]);
});

test("info, ls and objects", () => {
  const image = at("image.cfs");
  const info = JSON.parse(ashlarOk(["composefs", "info", "--json", image]).stdout);
  assert.deepEqual(
    [info.schema, info.formatVersion, info.names, info.external, info.inline, info.objects],
    ["ashlar.composefs-info/v1", 1, 12, { files: 2, bytes: 5100, unverified: 0 }, { files: 1, bytes: 6 }, 2],
  );
  assert.match(ashlarOk(["composefs", "info", image]).stdout, /^sha512: [0-9a-f]{128}$/m);
  const names = ashlarOk(["composefs", "ls", image]).stdout;
  assert.match(names, /^\/usr\/\t$/m);
  assert.match(names, /^\/usr\/link\t-> bin\/tool$/m);
  assert.match(names, /^\/usr\/bin\/\w+\t@ [0-9a-f]{2}\/[0-9a-f]{62}$/m);
  assert.match(ashlarOk(["composefs", "objects", image]).stdout, /^([0-9a-f]{2}\/[0-9a-f]{62}\n){2}$/);
});

test("refusals are one line and leave nothing behind", async () => {
  await writeFile(at("junk"), "junk");
  const image = await readFile(at("image.cfs"));
  await writeFile(at("cut"), image.subarray(0, 5000));
  await writeFile(at("sha256.dump"), await readFile(at("dump")));
  await writeFile(at("no-boot.tar"), tarBytes([{ name: "usr/" }, { name: "sysroot/" }]));
  const files = (await readdir(folder)).sort();
  for (const [args, status, pattern] of [
    [["info", at("junk")], 3, /not a composefs image/],
    [["info", at("cut")], 3, /blocks/],
    [["ls", at("junk")], 3, /neither a composefs image nor a dump/],
    [["create", `tar:${at("root.tar")}`, at("image.cfs")], 8, /exists already/],
    [["create", "--from-dump", at("junk"), at("new")], 3, /neither a composefs image nor a dump/],
    [
      ["create", "--algorithm", "sha512", "--from-dump", at("sha256.dump"), at("new")],
      6,
      /32 bytes, not those of sha512/,
    ],
    [["create", "--format-version", "1", "--min-version", "0", `tar:${at("root.tar")}`, at("new")], 6, /excludes/],
    [["create", at("new")], 6, /neither a REF nor --from-dump/],
    [["digest", "--format-version", "3", at("junk")], 2, /3/],
    [["digest", "--bootable", at("image.cfs")], 6, /are for a REF/],
    [["digest", "--bootable", `tar:${at("no-boot.tar")}`], 3, /\/boot is missing/],
    [["dump", at("absent")], 7, /absent/],
  ] as const) {
    const result = ashlar(["composefs", ...args]);
    assert.equal(result.status, status, `${args.join(" ")}: ${result.stderr}`);
    assert.match(result.stderr, pattern);
  }
  assert.deepEqual((await readdir(folder)).sort(), files);
});
