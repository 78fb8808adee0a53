/** Image of a stored tree. */
import {
  ExternalContent,
  type WriteComposefsOptions,
  type WrittenComposefs,
  writeComposefs,
} from "../../formats/composefs/index.ts";
import { DIGEST_SIZES, type HashAlgorithm, type Hashes } from "../../hash/index.ts";
import { walkTree } from "../../tree/index.ts";
import type { StoredTree } from "./subject.ts";

/** The algorithm of the first digest in the tree; undefined where no file has one. */
export function storedAlgorithm({ root }: StoredTree): HashAlgorithm | undefined {
  for (const { node } of walkTree(root))
    if (node.type === "file" && node.content instanceof ExternalContent && node.content.digest !== undefined)
      return node.content.digest.length === DIGEST_SIZES.sha256 ? "sha256" : "sha512";
  return undefined;
}

/** Writes the image in memory. Throws what `writeComposefs` throws. */
export function writeStored(
  { root, homes }: StoredTree,
  version: WriteComposefsOptions["version"],
  algorithm: HashAlgorithm,
  hashes: Hashes,
): WrittenComposefs {
  return writeComposefs(root, { version, homes, algorithm, hashes });
}
