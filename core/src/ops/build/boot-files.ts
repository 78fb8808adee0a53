/** systemd's stub and boot loader, from the image or from a tools image. */
import { UnsupportedError } from "../../errors/index.ts";
import { readAll } from "../../source/index.ts";
import { type Directory, resolvePath } from "../../tree/index.ts";
import type { Architecture } from "./architecture.ts";

const BOOT_DIRECTORY = "usr/lib/systemd/boot/efi";
/** Bytes; real ones have 60 to 200 kB. */
const MAX_EFI_PROGRAM = 16 * 1024 * 1024;

export interface BootFiles {
  /** systemd-stub: becomes the UKI. */
  readonly stub: Uint8Array;
  /** systemd-boot. */
  readonly loader: Uint8Array;
}

async function program(trees: readonly Directory[], name: string, code: string, what: string): Promise<Uint8Array> {
  const path = `${BOOT_DIRECTORY}/${name}`;
  for (const tree of trees) {
    const found = resolvePath(tree, path);
    if (found?.node.type === "file") return readAll(found.node.content, MAX_EFI_PROGRAM, `/${path}`);
  }
  throw new UnsupportedError(
    code,
    `/${path}: no ${what} in ${trees.length > 1 ? "the image and the tools" : "the image"} (Debian: systemd-boot-efi, Fedora: systemd-boot-unsigned)`,
    {
      path: `/${path}`,
    },
  );
}

/** @param trees where to look, first to last. Throws UnsupportedError `no-stub` or `no-loader`. */
export async function findBootFiles(trees: readonly Directory[], { efi }: Architecture): Promise<BootFiles> {
  return {
    stub: await program(trees, `linux${efi}.efi.stub`, "no-stub", "systemd-stub"),
    loader: await program(trees, `systemd-boot${efi}.efi`, "no-loader", "systemd-boot"),
  };
}
