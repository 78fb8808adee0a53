import { buildCommand } from "@stricli/core";
import {
  jsonFlag,
  type ProgressFlags,
  quietFlag,
  type ReleaseFlags,
  releaseFlags,
  sectorSizeFlag,
  sizeFlag,
  workersFlag,
} from "./flags.ts";
import { type SourceTrustFlags, sourceTrustFlags } from "./trust-flags.ts";

export interface InstallFlags extends ProgressFlags, ReleaseFlags, SourceTrustFlags {
  readonly wipe: boolean;
  readonly espSize?: number | undefined;
  readonly slotSize?: number | undefined;
  readonly varSize?: number | undefined;
  readonly sectorSize?: 512 | 4096 | undefined;
  readonly workers?: number | undefined;
}

export const installCommand = buildCommand({
  loader: async () => (await import("../run/install.ts")).runInstall,
  parameters: {
    flags: {
      wipe: { kind: "boolean", brief: "Take a disk that is not blank; everything on it is lost", default: false },
      espSize: sizeFlag("EFI system partition (default: as built)"),
      slotSize: sizeFlag(
        "Root partition of each of the two slots (default: as built, grown by an eighth of what the disk has more, up to four times)",
      ),
      varSize: sizeFlag("/var partition (default: the rest of the disk, at least as built)"),
      sectorSize: sectorSizeFlag("Logical sectors, 512 or 4096, where DISK is a file (default: 512)"),
      ...sourceTrustFlags,
      ...releaseFlags,
      workers: workersFlag,
      json: jsonFlag,
      quiet: quietFlag,
    },
    positional: {
      kind: "tuple",
      parameters: [
        {
          brief: "STEM.release.json, a directory with one, or a release in a repository",
          parse: String,
          placeholder: "RELEASE|REF",
        },
        { brief: "Block device, or a file as large as the disk is to be", parse: String, placeholder: "DISK" },
      ],
    },
  },
  docs: {
    brief: "Install a release on a disk",
    fullDescription: [
      "Lays DISK out, writes the release into its first slot, and verifies what is on the disk. Slots and /var grow to",
      "the disk. A release in a registry goes straight onto the disk: no temporary space is needed, and every block is checked",
      "before it is written. Until everything is written and verified there is no partition table, so that nothing boots from a",
      "part; an install that broke off is gone on with by the same command, and fetches nothing again that is right on the disk.",
      "",
      "Refuses a disk that is in use (mounted, swap, part of another device, open), and one that is not blank unless",
      "--wipe is given.",
      "",
      "  ashlar install out /dev/nvme0n1",
      "  ashlar install registry.example/my-os:1 /dev/sdb --wipe --verify-key release.pub",
      "  truncate -s 20G disk.img && ashlar install out/my-os_1.release.json disk.img",
      "  ashlar install oci:./releases:1 disk.img --sector-size 4096 --slot-size 4G",
    ].join("\n"),
  },
});
