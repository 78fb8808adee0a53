import { buildCommand } from "@stricli/core";
import { parseKernelArgument, parseRootTimeout } from "../parse.ts";
import {
  type InputFlags,
  inputFlags,
  referenceParameter,
  sectorSizeFlag,
  sizeFlag,
  TRANSPORTS_HELP,
  text,
} from "./flags.ts";
import { type SourceTrustFlags, sourceTrustFlags } from "./trust-flags.ts";

export interface BuildFlags extends InputFlags, SourceTrustFlags {
  readonly kernel?: string | undefined;
  /** Reference of another image. */
  readonly tools?: string | undefined;
  /** File, or reference of an image by its digest. */
  readonly agent?: string | undefined;
  readonly karg?: readonly string[] | undefined;
  readonly etc: "persistent" | "transient";
  readonly rootTimeout?: number | undefined;
  readonly espSize?: number | undefined;
  readonly slotSize?: number | undefined;
  readonly varSize?: number | undefined;
  readonly sectorSize?: 512 | 4096 | undefined;
}

export const buildDiskCommand = buildCommand({
  loader: async () => (await import("../run/build.ts")).runBuild,
  parameters: {
    flags: {
      ...inputFlags,
      ...sourceTrustFlags,
      kernel: text("Kernel to boot where the image has several, as uname -r prints it", "VERSION"),
      tools: text("Image to take systemd-boot and its stub from where the first has none; any REF", "REF"),
      agent: text(
        "Puts the agent into the system: the ashlar executable as a file, or an image that has it, by its digest",
        "FILE|REF@DIGEST",
      ),
      karg: {
        kind: "parsed",
        parse: parseKernelArgument,
        brief: "Kernel argument; may be given again. Comes after those of /usr/lib/bootc/kargs.d",
        placeholder: "ARG",
        variadic: true,
        optional: true,
      },
      etc: {
        kind: "enum",
        values: ["persistent", "transient"],
        brief: "Whether changes to /etc survive a reboot",
        default: "persistent",
      },
      rootTimeout: {
        kind: "parsed",
        parse: parseRootTimeout,
        brief: "Seconds that the initrd waits for the root's disk before the machine reboots (default: 90)",
        placeholder: "SECONDS",
        optional: true,
      },
      espSize: sizeFlag("EFI system partition (default: 1G, room for three kernels)"),
      slotSize: sizeFlag("Root partition of each of the two slots (default: twice the root, at least 2G)"),
      varSize: sizeFlag("/var partition in the image (default: 1G)"),
      sectorSize: sectorSizeFlag("Logical sectors of the disk, 512 or 4096 (default: 512)"),
    },
    aliases: { o: "output", k: "karg" },
    positional: {
      kind: "tuple",
      parameters: [referenceParameter],
    },
  },
  docs: {
    brief: "Build a bootable disk from an image or root file system",
    fullDescription: [
      "Builds a disk that boots in UEFI firmware from a dm-verity protected EROFS root. Needs no privileges.",
      "Writes STEM.raw (the disk), STEM.root.erofs, STEM.root.verity, STEM.efi (the unified kernel image) and",
      "STEM.release.json. The same image and options give the same bytes on every machine.",
      "",
      ...TRANSPORTS_HELP,
      "",
      "  ashlar build oci:./my-os:v1 -o out",
      "  ashlar build docker://registry.example/my-os:v1 -o out",
      "  ashlar build registry.example/my-os:v1 -o out --verify-key cosign.pub",
      "  ashlar build oci-archive:my-os.tar -o out --image-id my-os --image-version 1.2",
      "  ashlar build oci:./my-os -o out --karg console=ttyS0 --etc transient",
      "  ashlar build oci:./my-os:v1 -o out --agent dist/ashlar",
      "  ashlar build tar:root.tar.zst -o out --image-id my-os --image-version 7 --tools oci:./boot-tools",
    ].join("\n"),
  },
});
