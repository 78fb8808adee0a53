/** Image of a stored tree. */
import { PolicyError } from "../../errors/index.ts";
import { ExternalContent, type WrittenComposefs, writeComposefs } from "../../formats/composefs/index.ts";
import { DIGEST_SIZES, type HashAlgorithm, type Hashes } from "../../hash/index.ts";
import { showPath, walkTree } from "../../tree/index.ts";
import type { StoredTree } from "./subject.ts";

/** The algorithm of the first digest in the tree; undefined where no file has one. */
export function storedAlgorithm({ root }: StoredTree): HashAlgorithm | undefined {
  for (const { node } of walkTree(root))
    if (node.type === "file" && node.content instanceof ExternalContent && node.content.digest !== undefined)
      return node.content.digest.length === DIGEST_SIZES.sha256 ? "sha256" : "sha512";
  return undefined;
}

/**
 * Writes the image in memory. Throws PolicyError `composefs-algorithm` where a file's digest is of another algorithm
 * than the image's own is to be: the kernel checks a store with one algorithm only.
 */
export function writeStored(
  tree: StoredTree,
  version: Parameters<typeof writeComposefs>[1]["version"],
  algorithm: HashAlgorithm,
  hashes: Hashes,
): WrittenComposefs {
  for (const { node, path } of walkTree(tree.root)) {
    const digest = node.type === "file" && node.content instanceof ExternalContent ? node.content.digest : undefined;
    if (digest === undefined || digest.length === DIGEST_SIZES[algorithm]) continue;
    throw new PolicyError(
      "composefs-algorithm",
      `${showPath(path)}: its digest has ${digest.length} bytes, not those of ${algorithm}`,
      {
        path: showPath(path),
        expected: DIGEST_SIZES[algorithm],
        actual: digest.length,
      },
    );
  }
  return writeComposefs(tree.root, { version, homes: tree.homes, algorithm, hashes });
}
