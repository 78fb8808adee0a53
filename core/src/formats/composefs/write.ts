/** Tree → composefs image and its digest. The steps stand in survey.ts, inodes.ts, plan.ts and emit.ts. */
import type { Hashes } from "../../hash/index.ts";
import type { Directory } from "../../tree/index.ts";
import { defaultFsverity, measureBytes } from "../fsverity/index.ts";
import { emitComposefs } from "./emit.ts";
import type { FormatVersion } from "./format.ts";
import { type PlanOptions, planComposefs } from "./plan.ts";

export interface WriteComposefsOptions extends PlanOptions {
  readonly hashes: Hashes;
}

export interface WrittenComposefs {
  /** The whole image. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** fs-verity digest of `bytes`: blocks of 4 KiB, no salt. */
  readonly digest: Uint8Array;
  /** The version that was written. */
  readonly version: FormatVersion;
  readonly inodeCount: number;
}

/**
 * Makes the image of a tree whose contents are stored (content.ts): the bytes depend on the tree, the version and what
 * a dump told alone. An image is metadata, so it is made in memory. Throws what {@link planComposefs} throws.
 */
export function writeComposefs(root: Directory, options: WriteComposefsOptions): WrittenComposefs {
  const plan = planComposefs(root, options);
  const bytes = emitComposefs(plan);
  const { digest } = measureBytes(bytes, defaultFsverity(options.algorithm), options.hashes);
  return { bytes, digest, version: plan.version, inodeCount: plan.inodes.length };
}
