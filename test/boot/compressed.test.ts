// Compressed roots on the kernels that they are declared for: Linux 6.1 of bookworm and 6.12 of trixie, in QEMU.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { openErofs, walkErofs } from "../../core/src/formats/erofs/index.ts";
import { openFile } from "../../core/src/node/index.ts";
import type { Release } from "../../core/src/ops/release/index.ts";
import { chunksOf } from "../../core/src/source/index.ts";
import { boot, buildDisk } from "./proof.ts";

/** Milliseconds; an emulated processor decompresses and hashes all of /usr. */
const READ_TIMEOUT = 900_000;

const isLong = process.env["ASHLAR_LONG"] === "true";

/** What `sha256sum` says of every file below /usr whose name is plain, in byte order of the paths, hashed itself. */
async function digestOfUsr(image: string): Promise<string> {
  await using source = await openFile(image);
  const opened = await openErofs(source);
  const lines: [string, string][] = [];
  for await (const { path, inode } of walkErofs(opened)) {
    if (!path.startsWith("usr/") || inode.type !== "file" || !/^[!-[\]-~]+$/.test(path)) continue;
    const hash = createHash("sha256");
    for await (const chunk of chunksOf(opened.content(inode))) hash.update(chunk);
    lines.push([path, `${hash.digest("hex")}  ${path}\n`]);
  }
  const hash = createHash("sha256");
  for (const [, line] of lines.sort(([a], [b]) => (a < b ? -1 : 1))) hash.update(line);
  return hash.digest("hex");
}

// sha256sum writes a backslash in a name in a way of its own.
const COMMAND = [
  "cd / && find usr -xdev -type f -print0",
  "LC_ALL=C grep -zvE '[^[:graph:]]|[\\\\]'",
  "LC_ALL=C sort -z",
  "LC_ALL=C xargs -0 sha256sum",
  "sha256sum",
  "cut -c1-64",
].join(" | ");

for (const [suite, flags, expected] of [
  ["bookworm", ["--compress", "auto"], "lz4hc,9"],
  ["bookworm", ["--compress", "lz4", "--cluster", "4096", "--tails", "inline"], "lz4"],
  ["trixie", ["--compress", "auto"], undefined], // by what its configuration says
  ["trixie", ["--compress", "lz4hc,9", "--cluster", "1M"], "lz4hc,9"],
] as const)
  test(`${suite} ${flags.join(" ")}: every file of /usr reads back`, {
    skip: isLong ? false : "slow: --long",
  }, async (t) => {
    const built = await buildDisk(t, suite, flags);
    const { options } = JSON.parse(readFileSync(join(built.folder, "ashlar-test_1.release.json"), "utf8")) as Release;
    const { compress } = options;
    t.diagnostic(`${compress}, ${built.release.kernelVersion}`);
    if (expected !== undefined) assert.equal(compress, expected);
    assert.ok(compress !== undefined);
    await using guest = await boot(t, built, "first boot");
    assert.equal(
      await guest.ok(COMMAND, READ_TIMEOUT),
      await digestOfUsr(join(built.folder, "ashlar-test_1.root.erofs")),
    );
    await guest.powerOff();
  });
