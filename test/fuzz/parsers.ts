// Every parser that meets bytes of others, a row each: what it is fed, and how far it is read.

import { CHANNEL_PARSERS } from "./formats/channel.ts";
import { CODEC_PARSERS } from "./formats/codecs.ts";
import { COMPOSEFS_PARSERS } from "./formats/composefs.ts";
import { CPIO_PARSERS } from "./formats/cpio.ts";
import { ELF_PARSERS } from "./formats/elf.ts";
import { EROFS_PARSERS } from "./formats/erofs.ts";
import { FAT_PARSERS } from "./formats/fat.ts";
import { GPT_PARSERS } from "./formats/gpt.ts";
import { KMOD_PARSERS } from "./formats/kmod.ts";
import { MACHINE_PARSERS } from "./formats/machine.ts";
import { OCI_PARSERS } from "./formats/oci.ts";
import { PACK_PARSERS } from "./formats/pack.ts";
import { PACKAGE_PARSERS } from "./formats/packages.ts";
import { PE_PARSERS } from "./formats/pe.ts";
import { REGISTRY_PARSERS } from "./formats/registry.ts";
import { RELEASE_PARSERS } from "./formats/release.ts";
import { SELINUX_PARSERS } from "./formats/selinux.ts";
import { SETTINGS_PARSERS } from "./formats/settings.ts";
import { TAR_PARSERS } from "./formats/tar.ts";
import { TRUST_PARSERS } from "./formats/trust.ts";
import { VERITY_PARSERS } from "./formats/verity.ts";
import type { Parser } from "./harness.ts";

export const PARSERS: readonly Parser[] = [
  ...CODEC_PARSERS,
  ...TAR_PARSERS,
  ...OCI_PARSERS,
  ...EROFS_PARSERS,
  ...COMPOSEFS_PARSERS,
  ...VERITY_PARSERS,
  ...GPT_PARSERS,
  ...FAT_PARSERS,
  ...PE_PARSERS,
  ...CPIO_PARSERS,
  ...ELF_PARSERS,
  ...KMOD_PARSERS,
  ...SELINUX_PARSERS,
  ...SETTINGS_PARSERS,
  ...MACHINE_PARSERS,
  ...RELEASE_PARSERS,
  ...PACKAGE_PARSERS,
  ...PACK_PARSERS,
  ...TRUST_PARSERS,
  ...CHANNEL_PARSERS,
  ...REGISTRY_PARSERS,
];
