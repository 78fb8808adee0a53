/** Systems whose kernel and initrd are files of their root, as those of distributions are. */
import { concatBytes, encodeUtf8, fromUtf8 } from "../../core/src/bytes/index.ts";
import { cpioArchives, encodeCpio } from "../../core/src/formats/cpio/index.ts";
import { nodeCompressors } from "../../core/src/node/index.ts";
import type { PublishEnvironment } from "../../core/src/ops/publish/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { attributes, type Directory, directory, putNode, regularFile } from "../../core/src/tree/index.ts";
import type { SampleRelease } from "./releases.ts";
import { noise } from "./samples.ts";
import { type SystemOptions, systemRelease } from "./systems.ts";

type Files = Readonly<Record<string, Uint8Array>>;

/** Compresses by half, as programs do. */
export const program = (size: number, seed: string) =>
  Buffer.from(
    noise(size / 2, seed)
      .toString("hex")
      .slice(0, size),
    "latin1",
  );

export const archiveOf = (files: Files): Promise<Uint8Array> => encodeCpio(treeOf(files));

function treeOf(files: Files): Directory {
  const tree = directory(attributes(0o755));
  for (const [path, bytes] of Object.entries(files))
    putNode(tree, fromUtf8(path), regularFile(attributes(0o644), bytesSource(bytes)));
  return tree;
}

/** As `build` makes an initrd, in archives of at most 200 kB where they can be. */
async function initrdOf(files: Files): Promise<Uint8Array> {
  const archives: Uint8Array[] = [];
  for await (const archive of cpioArchives(treeOf(files), 200_000)) archives.push(await nodeCompressors.zstd(archive));
  return concatBytes(...archives);
}

/** @param extra files of the initrd that the root does not have */
export async function derivedSystem(
  version: string,
  environment: PublishEnvironment,
  options: SystemOptions = {},
  extra: Files = {},
): Promise<SampleRelease> {
  const inBoth = {
    "usr/lib/libc.so": program(300_000, `libc ${version}`),
    "usr/lib/systemd/systemd": program(150_000, "systemd"),
    "usr/lib/ö": program(3000, `name ${version}`),
  };
  const kernel = noise(210_000, `kernel ${version}`);
  const initrd = await initrdOf({ ...inBoth, ...extra, etc: noise(700, "own"), init: encodeUtf8("short") });
  const content = { ...inBoth, "usr/lib/modules/6.12.0/vmlinuz": kernel };
  return systemRelease(content, environment, { version, kernel, initrd, ...options });
}
