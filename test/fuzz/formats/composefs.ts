// composefs images and dumps.
import assert from "node:assert/strict";
import { byteString } from "../../../core/src/bytes/index.ts";
import {
  dumpLines,
  ExternalContent,
  InlineContent,
  openComposefs,
  parseDump,
  RawComposefsHeader,
  readComposefsTree,
  writeComposefs,
} from "../../../core/src/formats/composefs/index.ts";
import {
  RawDirent,
  RawInodeCompact,
  RawInodeExtended,
  RawSuperblock,
  RawXattrEntry,
  RawXattrHeader,
  SUPERBLOCK_OFFSET,
} from "../../../core/src/formats/erofs/format.ts";
import { walkErofs } from "../../../core/src/formats/erofs/index.ts";
import { pureHashes } from "../../../core/src/hash/index.ts";
import { composefsInfo, diffStored } from "../../../core/src/ops/composefs/index.ts";
import { bytesSource } from "../../../core/src/source/index.ts";
import { attributes, type Directory, deviceNode, regularFile, symlink } from "../../../core/src/tree/index.ts";
import type { Parser } from "../harness.ts";
import { at, b, binary, every, runOf, type Seed, shape, text, treeOf } from "./common.ts";

/** @param inline bytes of a file that stands in the image; version 2 has less room */
function composefsTree(inline = 4500): Directory {
  const xattrs = new Map([
    [b("user.a"), new Uint8Array(5)],
    [b("trusted.overlay.opaque"), Uint8Array.of(0x79)],
    [b("lustre.x"), new Uint8Array(0)],
  ]);
  const content = (size: number, mark: number) =>
    new ExternalContent(size, byteString(new Uint8Array(32).fill(mark)), b(`${mark}/object`));
  const hard = regularFile(attributes(0o644, { mtime: 5n }), content(70_000, 1));
  return treeOf({
    "usr/bin/tool": hard,
    "usr/bin/other": hard,
    "usr/bin/big": regularFile(attributes(0o755, { uid: 70_000, xattrs }), content(2 ** 33, 2)),
    "usr/small": regularFile(attributes(0o644, { xattrs }), new InlineContent(new Uint8Array(60).fill(9))),
    "usr/inline": regularFile(attributes(0o644), new InlineContent(new Uint8Array(inline).fill(8))),
    "usr/link": symlink(attributes(0o777), b("bin/tool")),
    "usr/gone": deviceNode("character", attributes(0o600), 0, 0),
    "dev/null": deviceNode("character", attributes(0o666), 1, 3),
  });
}

async function imageSeed(version: 0 | 1 | 2): Promise<Seed> {
  const { bytes } = writeComposefs(composefsTree(version === 2 ? 500 : 4500), {
    version,
    algorithm: "sha256",
    hashes: pureHashes,
  });
  const { erofs } = await openComposefs(bytesSource(bytes));
  const placements = [at(RawComposefsHeader, 0), at(RawSuperblock, SUPERBLOCK_OFFSET)];
  for await (const { inode, isKnown, name } of walkErofs(erofs)) {
    if (isKnown || /^[0-9a-f]{2}$/.test(name)) continue; // the many that hide the store
    placements.push(at(inode.isExtended ? RawInodeExtended : RawInodeCompact, inode.position));
    const xattrs = inode.position + inode.inodeSize;
    if (inode.xattrSize > 0)
      placements.push(at(RawXattrHeader, xattrs), at(RawXattrEntry, xattrs + RawXattrHeader.size));
    if (inode.type !== "directory") continue;
    for await (const { start } of erofs.extents(inode)) placements.push(...every(RawDirent, start, 4));
  }
  return { bytes, placements };
}

/** What is read can be written, dumped and read again. */
function useTree(root: Directory): void {
  const dump = [...dumpLines(root)].join("");
  const again = parseDump(Buffer.from(dump, "latin1"));
  assert.ok(diffStored({ name: "a", root }, { name: "b", root: again.root }).same);
  writeComposefs(root, { version: 1, algorithm: "sha256", hashes: pureHashes });
}

const DUMP = [...dumpLines(composefsTree())].join("");
const line = (path: string, rest = "0 100644 1 0 0 0 0.0 - - -"): string => `${path} ${rest}\n`;
const ROOT = line("/", "0 40755 2 0 0 0 0.0 - - -");

export const COMPOSEFS_PARSERS: readonly Parser[] = [
  {
    name: "composefs image",
    mutants: binary(() => Promise.all(([0, 1, 2] as const).map(imageSeed))),
    async read(bytes) {
      const image = await openComposefs(bytesSource(bytes));
      const { root } = await readComposefsTree(image);
      composefsInfo(image, root);
      useTree(root);
    },
  },
  {
    name: "composefs dump",
    mutants: text(DUMP),
    *shapes() {
      yield shape("a long line", ROOT + line(`/${runOf("a", 10_000_000)}`));
      yield shape("backslashes", ROOT + line(`/${runOf("\\", 400_000)}`));
      yield shape("many spaces", `${ROOT}/a${runOf(" ", 500_000)}\n`);
      yield shape("many xattrs", `${ROOT.trimEnd()} ${"a=b ".repeat(100_000)}a=b\n`);
      yield shape(
        "deep",
        ROOT + Array.from({ length: 1500 }, (_, i) => line("/d".repeat(i + 1), "0 40755 2 0 0 0 0.0 - - -")).join(""),
      );
      yield shape(
        "links in a row",
        ROOT +
          line("/0") +
          Array.from({ length: 30_000 }, (_, i) => line(`/${i + 1}`, `0 @100644 1 0 0 0 0.0 /${i + 2} - -`)).join(""),
      );
      yield shape("digits", ROOT + line("/a", `${runOf("9", 400_000)} 100644 1 0 0 0 0.0 - - -`));
    },
    async read(bytes) {
      useTree(parseDump(bytes).root);
    },
  },
];
