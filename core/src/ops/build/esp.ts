/** What stands on the EFI system partition. */
import { type ByteString, encodeUtf8, fromUtf8 } from "../../bytes/index.ts";
import { bytesSource, type Source } from "../../source/index.ts";
import { attributes, type Directory, directory, putNode, regularFile } from "../../tree/index.ts";
import type { Architecture } from "./architecture.ts";

/**
 * No `default` and no `timeout`: a default would pin an entry even after it went bad. The editor is off, since a
 * command line that anybody can edit is no part of a sealed boot.
 */
const LOADER_CONF = "editor no\n";
/** Boot Loader Specification: says which entry types this partition may hold. */
const ENTRIES_SREL = "type1\n";

export interface EspInput {
  readonly architecture: Architecture;
  readonly loader: Uint8Array;
  readonly uki: Source;
  /** File name under /EFI/Linux. */
  readonly ukiName: string;
}

export function composeEsp({ architecture, loader, uki, ukiName }: EspInput): Directory {
  const root = directory(attributes(0o755));
  const file = (content: Source) => regularFile(attributes(0o644), content);
  putNode(root, `EFI/BOOT/BOOT${architecture.efi.toUpperCase()}.EFI`, file(bytesSource(loader)));
  putNode(root, `EFI/systemd/systemd-boot${architecture.efi}.efi`, file(bytesSource(loader)));
  putNode(root, fromUtf8(`EFI/Linux/${ukiName}`) as ByteString, file(uki));
  putNode(root, "loader/loader.conf", file(bytesSource(encodeUtf8(LOADER_CONF))));
  putNode(root, "loader/entries.srel", file(bytesSource(encodeUtf8(ENTRIES_SREL))));
  for (const empty of ["loader/addons", "loader/credentials"]) putNode(root, empty, directory(attributes(0o755)));
  return root;
}
