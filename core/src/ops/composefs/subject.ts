/** What people mean by a composefs tree: an image, a dump, or anything that a release is made from. */
import { FormatError } from "../../errors/index.ts";
import {
  type Homes,
  isComposefs,
  openComposefs,
  readComposefsTree,
  readDump,
  readDumpStream,
} from "../../formats/composefs/index.ts";
import type { Source } from "../../source/index.ts";
import type { Directory } from "../../tree/index.ts";
import type { InputEnvironment, InputOptions, Reference } from "../image/index.ts";
import { silentReporter } from "../report.ts";

/** A tree whose contents are stored: it can be written, dumped and compared. */
export interface StoredTree {
  /** For people. */
  readonly name: string;
  readonly root: Directory;
  readonly homes?: Homes | undefined;
  readonly directorySizes?: ReadonlyMap<Directory, number> | undefined;
}

/**
 * What is done to a root before it becomes an image: nothing, what composefs-rs does to container images, or what bootc
 * does on top of that for images that are booted.
 */
export type Preparation = "none" | "oci" | "boot";

export interface PrepareOptions extends InputOptions {
  readonly preparation: Preparation;
}

/**
 * Reads an input and prepares its root; contents can be stored while `work` runs. Throws what `readInput` and the
 * preparations throw.
 */
export async function withPreparedInput<T>(
  reference: Reference,
  environment: InputEnvironment,
  options: PrepareOptions,
  work: (root: Directory, name: string) => Promise<T>,
): Promise<T> {
  // A dump and an image are read without them.
  const { readInput } = await import("../image/index.ts");
  const { prepareForBoot, transformForOci } = await import("./prepare.ts");
  const input = await readInput(reference, environment, { ...options, keepHostXattrs: options.preparation === "none" });
  try {
    if (options.preparation !== "none") transformForOci(input.tree);
    if (options.preparation === "boot") await prepareForBoot(input.tree, environment.reporter ?? silentReporter);
    return await work(input.tree, input.name);
  } finally {
    await input.dispose();
  }
}

/** Reads a composefs image or a dump, by its first bytes. Throws FormatError `not-composefs` for neither. */
export async function readStoredFile(source: Source, name: string): Promise<StoredTree> {
  if (await isComposefs(source)) {
    const { root, homes, directorySizes } = await readComposefsTree(await openComposefs(source));
    return { name, root, homes, directorySizes };
  }
  const [first, second] = await source.read(0, Math.min(2, source.size));
  if (first !== 0x2f || second !== 0x20)
    throw new FormatError("not-composefs", `${name}: is neither a composefs image nor a dump of one`, { path: name });
  return { name, ...(await readDump(source)) };
}

/** Reads a dump that comes once, such as on the standard input. */
export async function readStoredStream(chunks: AsyncIterable<Uint8Array>, name: string): Promise<StoredTree> {
  return { name, ...(await readDumpStream(chunks)) };
}
