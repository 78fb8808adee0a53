/** Finds the kernel of an image: `/usr/lib/modules/KVER/vmlinuz`, else `/boot/vmlinuz-KVER`. */
import { type ByteString, showBytes } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import type { Source } from "../../source/index.ts";
import { type Directory, resolvePath } from "../../tree/index.ts";

export interface Kernel {
  /** As `uname -r` prints it. */
  readonly version: string;
  readonly image: Source;
  /** Where the image file is in the tree. */
  readonly path: string;
  /** The kernel's own configuration (`CONFIG_X=y` lines), where the image carries it. */
  readonly config: Source | undefined;
}

function fileAt(tree: Directory, path: string): Source | undefined {
  const found = resolvePath(tree, path);
  return found?.node.type === "file" ? found.node.content : undefined;
}

function entriesOf(tree: Directory, path: string): ByteString[] {
  const found = resolvePath(tree, path);
  return found?.node.type === "directory" ? [...found.node.entries.keys()].sort() : [];
}

/** Every kernel of the tree, by version in byte order. */
export function listKernels(tree: Directory): Kernel[] {
  const kernels = new Map<string, Kernel>();
  function consider(version: string, path: string): void {
    const image = fileAt(tree, path);
    if (image === undefined || kernels.has(version)) return;
    const config = fileAt(tree, `usr/lib/modules/${version}/config`) ?? fileAt(tree, `boot/config-${version}`);
    kernels.set(version, { version, image, path: `/${path}`, config });
  }
  for (const version of entriesOf(tree, "usr/lib/modules")) consider(version, `usr/lib/modules/${version}/vmlinuz`);
  for (const name of entriesOf(tree, "boot"))
    if (name.startsWith("vmlinuz-")) consider(name.slice("vmlinuz-".length), `boot/${name}`);
  return [...kernels.values()].sort((a, b) => (a.version < b.version ? -1 : 1));
}

/** @param wanted a version, where the image has several. Throws UnsupportedError `no-kernel` or `several-kernels`. */
export function findKernel(tree: Directory, wanted?: string): Kernel {
  const kernels = listKernels(tree);
  const names = kernels.map(({ version }) => showBytes(version as ByteString)).join(", ");
  if (wanted !== undefined) {
    const chosen = kernels.find(({ version }) => version === wanted);
    if (chosen === undefined)
      throw new UnsupportedError(
        "no-kernel",
        `no kernel ${wanted} in the image; it has ${names === "" ? "none" : names}`,
      );
    return chosen;
  }
  const [only, ...others] = kernels;
  if (only === undefined)
    throw new UnsupportedError(
      "no-kernel",
      "no kernel in the image: neither /usr/lib/modules/VERSION/vmlinuz nor /boot/vmlinuz-VERSION",
      { path: "/usr/lib/modules" },
    );
  if (others.length > 0)
    throw new UnsupportedError(
      "several-kernels",
      `${kernels.length} kernels in the image (${names}); --kernel chooses one`,
      {
        path: "/usr/lib/modules",
      },
    );
  return only;
}
