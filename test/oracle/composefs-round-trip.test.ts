/** composefs trees, images and dumps into each other and back. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { encodeUtf8, toHex } from "../../core/src/bytes/index.ts";
import {
  dumpLines,
  type FormatVersion,
  InlineContent,
  openComposefs,
  parseDump,
  readComposefsTree,
  readDumpStream,
  writeComposefs,
} from "../../core/src/formats/composefs/index.ts";
import { nodeHashes } from "../../core/src/node/hashes.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { type Directory, walkTree } from "../../core/src/tree/index.ts";
import { composefsTree } from "../support/composefs-trees.ts";

const write = (root: Directory, version: FormatVersion) =>
  writeComposefs(root, { version, algorithm: "sha256", hashes: nodeHashes });

test("tree → image → tree, all versions", async () => {
  await fc.assert(
    fc.asyncProperty(
      composefsTree({ whiteouts: false }),
      fc.constantFrom<FormatVersion>(0, 1, 2),
      async (root, version) => {
        // What overlayfs would act on, and marks of whiteouts, are not part of what comes back (see ownXattrs).
        const lines = [...dumpLines(root)].join("");
        if (version === 2 && hasLargeContent(root)) return;
        if (/user\.overlay\.whiteouts?=/.test(lines) || / trusted\.overlay\.(whiteouts?)=/.test(lines)) return;
        const bytes = version === 2 ? withoutNanoseconds(root) && write(root, 2).bytes : write(root, version).bytes;
        const image = await openComposefs(bytesSource(bytes));
        assert.equal(image.version, version);
        const back = await readComposefsTree(image);
        assert.equal([...dumpLines(back.root)].join(""), [...dumpLines(root)].join(""));
        assert.equal(toHex(write(back.root, version).bytes), toHex(bytes));
      },
    ),
    { numRuns: 60 },
  );
});

/** Version 2 has no place for them. */
function withoutNanoseconds(root: Directory): true {
  for (const { node } of walkTree(root)) node.mtime -= ((node.mtime % 10n ** 9n) + 10n ** 9n) % 10n ** 9n;
  return true;
}

function hasLargeContent(root: Directory): boolean {
  for (const { node } of walkTree(root))
    if (node.type === "file" && node.content instanceof InlineContent && node.content.size > 512) return true;
  return false;
}

test("dump → tree → dump, in pieces of any size", async () => {
  await fc.assert(
    fc.asyncProperty(composefsTree({ maxSteps: 12 }), fc.integer({ min: 1, max: 500 }), async (root, size) => {
      const text = [...dumpLines(root)].join("");
      const bytes = encodeUtf8(text);
      async function* pieces() {
        for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
      }
      const back = await readDumpStream(pieces());
      assert.equal([...dumpLines(back.root, back)].join(""), text);
      assert.equal([...dumpLines(parseDump(encodeUtf8(text.trimEnd())).root)].join(""), text);
    }),
    { numRuns: 40 },
  );
});
