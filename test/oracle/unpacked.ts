// flatten() beside what another program unpacks. Differences that are meant are listed by the tests and in
// core/src/ops/image/README.md, nowhere else.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

import { nodeDecompressors } from "../../core/src/node/decompress.ts";
import { nodeHashes } from "../../core/src/node/hashes.ts";
import { nodeFiles } from "../../core/src/node/host-files.ts";
import { fileScratch } from "../../core/src/node/scratch.ts";
import { flatten, openImage, parseReference } from "../../core/src/ops/image/index.ts";
import { type Listing, listDirectory, listTree } from "../support/listing.ts";
import { type LayerInput, writeLayout } from "../support/oci.ts";
import { requireOracle, requireRoot } from "../support/oracle.ts";

export interface Comparison {
  /** umoci cannot read old GNU sparse files; then GNU tar is the oracle. */
  readonly oracle?: "umoci" | "tar";
  /** `path: property` that umoci is known to give otherwise, each with the reason. */
  readonly differs?: Readonly<Record<string, string>>;
}

/** The tree that we make of the layers must be the one that the oracle unpacks. Empty where the oracle is not there. */
export async function compare(
  t: TestContext,
  layers: readonly LayerInput[],
  { differs = {}, oracle = "umoci" }: Comparison = {},
): Promise<Listing> {
  const unpacker = requireOracle(t, oracle);
  if (unpacker === undefined || !requireRoot(t)) return new Map();
  const work = mkdtempSync(join(tmpdir(), "ashlar-layers-"));
  try {
    await writeLayout(join(work, "layout"), { layers });
    const rootfs = join(work, "bundle/rootfs");
    if (oracle === "umoci")
      await unpacker.ok(["unpack", "--image", `${join(work, "layout")}:latest`, join(work, "bundle")]);
    else {
      mkdirSync(rootfs, { recursive: true });
      for (const { tar } of layers)
        await unpacker.ok(["-xpf", "-", "--numeric-owner", "-C", rootfs], {
          input: typeof tar === "string" ? readFileSync(tar) : tar,
        });
    }
    const expected = listDirectory(rootfs);
    const ours = await flattenLayout(join(work, "layout"), work);
    const seen = new Set<string>();
    for (const [path, properties] of [...expected])
      for (const property of Object.keys(properties)) {
        const key = `${path}: ${property}`;
        if (differs[key] === undefined || ours.get(path)?.[property] === properties[property]) continue;
        properties[property] = ours.get(path)?.[property] ?? "";
        seen.add(key);
      }
    assert.deepEqual(Object.fromEntries(ours), Object.fromEntries(expected));
    assert.deepEqual(seen, new Set(Object.keys(differs)), "listed differences are there");
    return ours;
  } finally {
    rmSync(work, { recursive: true });
  }
}

export async function flattenLayout(directory: string, work: string): Promise<Listing> {
  const image = await openImage(parseReference(`oci:${directory}`), { hashes: nodeHashes, files: nodeFiles });
  const environment = { hashes: nodeHashes, scratch: fileScratch(work), decompressors: nodeDecompressors };
  const flat = await flatten(image, environment);
  try {
    return await listTree(flat.root);
  } finally {
    await flat.dispose();
    await image.close();
  }
}
