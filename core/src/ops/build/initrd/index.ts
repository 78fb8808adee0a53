/** The initrd: from the image's own files and ours, as compressed cpio archives behind each other. See README.md. */
import { concatBytes } from "../../../bytes/index.ts";
import { cpioArchives } from "../../../formats/cpio/index.ts";
import type { Directory } from "../../../tree/index.ts";
import type { Compressors } from "../../environment.ts";
import { assembleInitrdTree, type InitrdTreeOptions } from "./assemble.ts";
import { chooseCompression, parseKernelConfig } from "./kernel-config.ts";

export { assembleInitrdTree, type InitrdTreeOptions } from "./assemble.ts";
export { chooseCompression, type KernelConfig, parseKernelConfig } from "./kernel-config.ts";
export { type OwnOptions, putOwnFiles, ROOT_TIMEOUT, ROOT_TIMEOUTS } from "./own.ts";

export interface InitrdOptions extends InitrdTreeOptions {
  /** `CONFIG_X=y` lines, where the image has them: they choose the compression. */
  readonly kernelConfig: Uint8Array | undefined;
  readonly compressors: Compressors;
}

/**
 * Bytes of one archive, before it is compressed: who makes an initrd from the files of a root, as a device does, holds one
 * and what the encoder needs for it. 27.5 MB of a Debian initrd are 10.87 MB in such archives, 10.74 MB in one (measured).
 */
const ARCHIVE_SIZE = 4 * 1024 * 1024;

/** The bytes that go into the UKI. They depend on the files taken, on `etc` and on the choice of compression alone. */
export async function assembleInitrd(image: Directory, options: InitrdOptions): Promise<Uint8Array> {
  return compressInitrd(await assembleInitrdTree(image, options), options);
}

/** A tree as archives, each compressed, that the kernel unpacks one after the other. */
export async function compressInitrd(
  tree: Directory,
  { kernelConfig, compressors }: Pick<InitrdOptions, "kernelConfig" | "compressors">,
): Promise<Uint8Array> {
  const compress = compressors[chooseCompression(kernelConfig && parseKernelConfig(kernelConfig))];
  const archives: Uint8Array[] = [];
  for await (const archive of cpioArchives(tree, ARCHIVE_SIZE)) archives.push(await compress(archive));
  return concatBytes(...archives);
}
