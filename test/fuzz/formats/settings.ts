// Text files of a system that a build reads.
import assert from "node:assert/strict";
import { architectureOf } from "../../../core/src/ops/build/architecture.ts";
import { composeCommandLine, readKargs } from "../../../core/src/ops/build/kargs.ts";
import { normalise, readOsRelease } from "../../../core/src/ops/build/normalise.ts";
import { parseOsRelease } from "../../../core/src/ops/build/os-release.ts";
import type { Directory } from "../../../core/src/tree/index.ts";
import type { Parser } from "../harness.ts";
import { runOf, shape, text, treeOf } from "./common.ts";

const IDENTITY = { imageId: "os", imageVersion: "1" };
const OS_RELEASE = `NAME="Some OS"\nID=os\nVERSION_ID='1'\nPRETTY_NAME="A \\"quoted\\" \\$name"\n# a comment\nIMAGE_VERSION=old\n`;
const FSTAB =
  "# <file system> <mount point>\nUUID=1234 / ext4 errors=remount-ro 0 1\nLABEL=x /home ext4 defaults 0 2\n/dev/sdb1 /boot/efi/ vfat umask=0077 0 1\n";
const KARGS =
  'kargs = ["console=ttyS0", "quiet splash", "a=\\"b c\\""]\nmatch-architectures = ["x86_64", "aarch64"]\n# end\n';
const AMD64 = architectureOf("amd64");

function machine(files: Readonly<Record<string, Uint8Array | string>>): Directory {
  return treeOf({ "usr/lib/os-release": OS_RELEASE, ...files });
}

export const SETTINGS_PARSERS: readonly Parser[] = [
  {
    name: "os-release",
    mutants: text(OS_RELEASE),
    *shapes() {
      for (const character of ['"', "\\", "'", "=", "A"])
        yield shape(`many ${character}`, `NAME=${runOf(character, 65_000)}\n`);
    },
    async read(bytes) {
      const root = treeOf({ "usr/lib/os-release": bytes });
      await normalise(root, { clamp: 1n, identity: IDENTITY });
      const values = parseOsRelease(await readOsRelease(root));
      assert.equal(values.get("IMAGE_ID"), IDENTITY.imageId);
    },
  },
  {
    name: "fstab",
    mutants: text(FSTAB),
    *shapes() {
      yield shape("slashes", `UUID=1 ${runOf("/", 1_000_000)} ext4\n`);
      yield shape("many lines", "a /\n".repeat(200_000));
      yield shape("spaces", `${" ".repeat(1_000_000)}x\n`);
    },
    read: (bytes) => normalise(machine({ "etc/fstab": bytes }), { clamp: 1n, identity: IDENTITY }),
  },
  {
    name: "kargs.d",
    mutants: text(KARGS),
    *shapes() {
      yield shape("equals signs", `kargs = ["${"=".repeat(60_000)}\u2028"]\n`);
      yield shape("deep arrays", `kargs = ${"[".repeat(60_000)}`);
      yield shape("deep tables", `kargs = ${"{a=".repeat(20_000)}`);
      yield shape("dotted key", `${"a.".repeat(30_000)}a = 1\n`);
      yield shape("many tables", Array.from({ length: 9000 }, (_, i) => `[a${i}]\n`).join(""));
      yield shape("many keys", Array.from({ length: 7000 }, (_, i) => `a${i} = 1\n`).join(""));
    },
    async read(bytes) {
      const kargs = await readKargs(treeOf({ "usr/lib/bootc/kargs.d/a.toml": bytes }), AMD64);
      composeCommandLine("ab".repeat(32), kargs, []);
    },
  },
];
