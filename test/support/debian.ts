// The image that boot tests build from: a real Debian in layers, one of which deletes and replaces files of another.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";

import { archiveLayout, type ImageInput, type LayerInput, type LayoutOptions, writeLayout } from "./oci.ts";
import { cacheDirectory, makeRoot } from "./roots.ts";
import { opaque, type TarEntry, tarBytes, whiteout } from "./tar.ts";

export type Suite = "trixie" | "trixie-arm64" | "bookworm";

export const LABELS = {
  "org.opencontainers.image.title": "ashlar-test",
  "org.opencontainers.image.version": "1",
} as const;

/** Folder of the image's test files. */
export const TEST_FOLDER = "usr/share/ashlar-test";

/** In the guest it prints `ok NAME` or `BAD NAME` for each layer rule and ends with status 0 when all hold. */
export const CHECK_COMMAND = `sh /${TEST_FOLDER}/check`;

/** Files of ten 4 KiB blocks that nothing reads during boot: for tamper tests. Their content is `blobContent(name)`. */
export const BLOBS = ["blob-a", "blob-b"] as const;
export const SEED_PATH = "var/lib/ashlar-test/seed";
export const SEED_CONTENT = "seeded from the image\n";

export interface DebianOptions {
  readonly labels?: Readonly<Record<string, string>>;
  /** More layers on top: a release 2, a file too many. */
  readonly extraLayers?: readonly (readonly TarEntry[])[];
}

/** Path of the cached layout directory (tag `latest`), made if need be. `archive: true`: of an oci-archive of it. */
export async function debianLayout(
  suite: Suite,
  options: DebianOptions & { readonly archive?: boolean } = {},
): Promise<string> {
  const root = makeRoot(suite);
  // Whatever shapes the layout is in these files; Node too, since its compressors are used.
  const hash = createHash("sha256").update(`${root}\n${process.version}\n${JSON.stringify(options, bytesAsText)}`);
  for (const file of ["debian.ts", "oci.ts", "tar.ts"]) hash.update(await readFile(join(import.meta.dirname, file)));
  const folder = join(cacheDirectory(), "layouts");
  const stem = join(folder, `${suite}-${hash.digest("hex").slice(0, 16)}`);
  const target = options.archive === true ? `${stem}.tar` : stem;
  if (existsSync(target)) return target;
  await mkdir(folder, { recursive: true });
  const work = await mkdtemp(join(folder, `.${suite}-`));
  try {
    await writeLayout(join(work, "layout"), debianImage(suite, root, options), LAYOUT);
    if (options.archive === true) archiveLayout(join(work, "layout"), join(work, "archive"));
    // Another run may have made it meanwhile; then its directory stays.
    await rename(join(work, options.archive === true ? "archive" : "layout"), target).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code !== "ENOTEMPTY" && error.code !== "EEXIST") throw error;
      },
    );
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return target;
}

/** The image as input of `writeLayout`, for tests that want other compressions, splits or platforms. */
export function debianImage(
  suite: Suite,
  root = makeRoot(suite),
  { labels = LABELS, extraLayers = [] }: DebianOptions = {},
): ImageInput {
  const layers: LayerInput[] = [
    { tar: root, compression: "zstd" },
    { tar: tarBytes(setupLayer(root)), compression: "gzip" },
    { tar: tarBytes(changesLayer(root)), compression: "none" },
    { tar: tarBytes(lastLayer()), compression: "zstd" },
    ...extraLayers.map((entries) => ({ tar: tarBytes(entries) })),
  ];
  return { layers, labels, architecture: suite === "trixie-arm64" ? "arm64" : "amd64" };
}

export function blobContent(name: string): Uint8Array {
  const parts = Array.from({ length: 1280 }, (_, index) => createHash("sha256").update(`${name} ${index}`).digest());
  return Buffer.concat(parts); // 40 KiB
}

const LAYOUT: LayoutOptions = { tag: "latest" };

/** Layer 2: a root login on the serial line without a password, fewer slow units, and the files that layers 3 and 4 change. */
function setupLayer(root: string): TarEntry[] {
  const shadow = memberOf(root, "./etc/shadow").replace(/^root:[^:]*:/m, "root::");
  const at = (name: string): string => `${TEST_FOLDER}/${name}`;
  return [
    { name: "etc/shadow", content: shadow, mode: 0o640, gid: 42 }, // group shadow of Debian
    { name: "etc/hostname", content: "ashlar-test\n" }, // mmdebstrap left the name of the machine that it ran on
    { name: "etc/resolv.conf", content: "" }, // and its name servers
    { name: "usr/lib/bootc/kargs.d/10-serial.toml", content: 'kargs = ["console=ttyS0"]\n' },
    {
      name: "etc/systemd/system/getty.target.wants/serial-getty@ttyS0.service",
      type: "symlink",
      target: "/usr/lib/systemd/system/serial-getty@.service",
    },
    ...MASKED_UNITS.map(
      (unit): TarEntry => ({ name: `etc/systemd/system/${unit}`, type: "symlink", target: "/dev/null" }),
    ),
    { name: `${TEST_FOLDER}/` },
    { name: at("check"), content: checkScript(), mode: 0o755 },
    ...BLOBS.map((name): TarEntry => ({ name: at(name), content: blobContent(name) })),
    { name: "var/lib/ashlar-test/", mode: 0o750, uid: 1234, gid: 4321 },
    { name: SEED_PATH, content: SEED_CONTENT, mode: 0o640, uid: 1234, gid: 4321, xattrs: { "user.ashlar": "seed" } },
    { name: at("l/") },
    { name: at("l/replaced"), content: "layer 2\n" },
    { name: at("l/deleted"), content: "layer 2\n" },
    { name: at("l/deleted-dir/") },
    { name: at("l/deleted-dir/file"), content: "layer 2\n" },
    { name: at("l/opaque/") },
    { name: at("l/opaque/old"), content: "layer 2\n" },
    { name: at("l/file-to-dir"), content: "layer 2\n" },
    { name: at("l/dir-to-file/") },
    { name: at("l/dir-to-file/inner"), content: "layer 2\n" },
    { name: at("l/dir-to-link/") },
    { name: at("l/dir-to-link/inner"), content: "layer 2\n" },
    { name: at("l/kept-dir/"), mode: 0o700 },
    { name: at("l/kept-dir/old"), content: "layer 2\n" },
    { name: at("l/link-gone"), content: "kept by its other name\n" },
    { name: at("l/link-here"), content: "two names\n" },
    { name: at("l/deleted-then-back"), content: "layer 2\n" },
    { name: at("l/xattr"), content: "xattr\n", xattrs: { "user.ashlar": "a value" } },
    { name: at("l/times"), content: "times\n", mtime: 1_000_000_000.5 },
    { name: at("l/fifo"), type: "fifo", mode: 0o600 },
    { name: at("l/device"), type: "character", device: [1, 3], mode: 0o666 },
    { name: at("l/setuid"), content: "setuid\n", mode: 0o4755 },
    { name: at(`l/${"long-".repeat(40)}name`), content: "long\n" },
    { name: new Uint8Array([...Buffer.from(at("l/not-utf8-")), 0xff, 0xfe]), content: "bytes\n" },
  ];
}

/** Layer 3: deletes, replaces and links across layers. */
function changesLayer(root: string): TarEntry[] {
  const at = (name: string): string => `${TEST_FOLDER}/l/${name}`;
  const initrds = membersOf(root).filter((name) =>
    /^\.\/(boot\/initrd\.img-.*|initrd\.img(\.old)?|vmlinuz\.old)$/.test(name),
  );
  return [
    ...initrds.map((name) => whiteout(name.slice(2))), // of layer 1; the initrd is to be Ashlar's own
    ...opaque("usr/share/lintian"), // many files of layer 1
    { name: "usr/share/lintian/new", content: "layer 3\n" },
    { name: "etc/motd", content: "Ashlar test image\n" }, // replaces a file of layer 1
    { name: at("replaced"), content: "layer 3\n" },
    whiteout(at("deleted")),
    whiteout(at("deleted-dir")),
    // The marker comes after the content here: it hides lower layers only, in any order.
    { name: at("opaque/") },
    { name: at("opaque/new"), content: "layer 3\n" },
    { name: at("opaque/.wh..wh..opq") },
    { name: at("file-to-dir/") },
    { name: at("file-to-dir/inner"), content: "layer 3\n" },
    { name: at("dir-to-file"), content: "layer 3\n" },
    { name: at("dir-to-link"), type: "symlink", target: "kept-dir" },
    { name: at("kept-dir/"), mode: 0o750 }, // a directory over a directory: content kept, mode changed
    { name: at("kept-dir/new"), content: "layer 3\n" },
    { name: at("link-kept"), type: "link", target: at("link-gone") }, // to a file of layer 2
    { name: at("link-there"), type: "link", target: at("link-here") },
    whiteout(at("deleted-then-back")),
    { name: at("missing/parents/file"), content: "layer 3\n" }, // no entries for its directories
  ];
}

/** Layer 4: takes away the first name of a file that layer 3 linked to, and brings a deleted one back. */
function lastLayer(): TarEntry[] {
  const at = (name: string): string => `${TEST_FOLDER}/l/${name}`;
  return [whiteout(at("link-gone")), { name: at("deleted-then-back"), content: "layer 4\n" }];
}

/** Slow under emulation, of no use in a test, and none of what Ashlar touches. */
const MASKED_UNITS = [
  "getty@tty1.service",
  "apt-daily.timer",
  "apt-daily-upgrade.timer",
  "dpkg-db-backup.timer",
  "e2scrub_all.timer",
  "e2scrub_reap.service",
  "fstrim.timer",
];

function checkScript(): string {
  const checks: [name: string, test: string][] = [
    ["replaced", '[ "$(cat replaced)" = "layer 3" ]'],
    ["deleted", "! [ -e deleted ]"],
    ["deleted-dir", "! [ -e deleted-dir ]"],
    ["opaque", '[ "$(ls opaque)" = new ]'],
    ["opaque-lower", '[ "$(ls /usr/share/lintian)" = new ]'],
    ["initrd-deleted", "! ls /boot/initrd.img* /initrd.img* /vmlinuz.old 2>/dev/null"],
    ["motd", 'grep -q "Ashlar test image" /etc/motd'],
    ["file-to-dir", '[ "$(cat file-to-dir/inner)" = "layer 3" ]'],
    ["dir-to-file", '[ "$(cat dir-to-file)" = "layer 3" ]'],
    ["dir-to-link", '[ "$(readlink dir-to-link)" = kept-dir ]'],
    ["kept-dir", '[ "$(stat -c %a kept-dir) $(ls kept-dir | tr "\\n" " ")" = "750 new old " ]'],
    ["link-kept", '! [ -e link-gone ] && [ "$(stat -c %h link-kept) $(cat link-kept)" = "1 kept by its other name" ]'],
    ["link-there", '[ link-here -ef link-there ] && [ "$(stat -c %h link-here) $(cat link-there)" = "2 two names" ]'],
    ["deleted-then-back", '[ "$(cat deleted-then-back)" = "layer 4" ]'],
    ["missing-parents", '[ "$(stat -c %a missing/parents) $(cat missing/parents/file)" = "755 layer 3" ]'],
    ["xattr", '[ "$(getfattr --only-values -n user.ashlar xattr)" = "a value" ]'],
    ["times", '[ "$(stat -c %.1Y times)" = 1000000000.5 ]'],
    ["fifo", '[ "$(stat -c "%F %a" fifo)" = "fifo 600" ]'],
    ["device", '[ "$(stat -c "%F %t %T" device)" = "character special file 1 3" ]'],
    ["setuid", "[ -u setuid ]"],
    ["long-name", '[ "$(cat long-*name)" = long ]'],
    ["not-utf8", '[ "$(cat not-utf8-*)" = bytes ] && [ "$(printf %s not-utf8-* | wc -c)" = 11 ]'],
    ...BLOBS.map((name): [string, string] => [
      name,
      `printf "${sha256(blobContent(name))}  ../${name}" | sha256sum -c --status`,
    ]),
  ];
  const lines = checks.map(
    ([name, test]) => `if (${test}); then echo "ok ${name}"; else echo "BAD ${name}"; status=1; fi`,
  );
  return ["status=0", `cd /${TEST_FOLDER}/l || exit 2`, "LC_ALL=C", ...lines, "exit $status", ""].join("\n");
}

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

function memberOf(tar: string, name: string): string {
  return runTar(["-xOf", tar, name]);
}

function membersOf(tar: string): string[] {
  return runTar(["-tf", tar]).split("\n");
}

function runTar(args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync("tar", args, { encoding: "utf8", maxBuffer: 1 << 26 });
  if (status !== 0) throw new Error(`tar ${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** JSON has no bytes; the key of the cache must tell them apart. */
function bytesAsText(_key: string, value: unknown): unknown {
  return value instanceof Uint8Array ? `bytes:${Buffer.from(value).toString("hex")}` : value;
}
