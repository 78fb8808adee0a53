/** The initrd: from the image's own files and ours, as a compressed cpio archive. See README.md. */
import { encodeCpio } from "../../../formats/cpio/index.ts";
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

/** The bytes that go into the UKI. They depend on the files taken, on `etc` and on the choice of compression alone. */
export async function assembleInitrd(image: Directory, options: InitrdOptions): Promise<Uint8Array> {
  const tree = await assembleInitrdTree(image, options);
  const archive = await encodeCpio(tree);
  return compressInitrd(archive, options);
}

/** Compresses an archive so that the kernel can unpack it. */
export function compressInitrd(
  archive: Uint8Array,
  { kernelConfig, compressors }: Pick<InitrdOptions, "kernelConfig" | "compressors">,
): Promise<Uint8Array> {
  return compressors[chooseCompression(kernelConfig && parseKernelConfig(kernelConfig))](archive);
}
