/** One architecture under all the names that the contracts give it. */
import { UnsupportedError } from "../../errors/index.ts";

export interface Architecture {
  /** As OCI and Go call it. */
  readonly oci: string;
  /** As bootc's kargs.d calls it: Rust's `target_arch`. */
  readonly rustName: string;
  /** As systemd and the Discoverable Partitions Specification call it. */
  readonly systemd: "x86-64" | "arm64";
  /** The ending of systemd's stub and loader (`linuxx64.efi.stub`), and of the removable-media path in upper case. */
  readonly efi: "x64" | "aa64";
}

const ARCHITECTURES: readonly Architecture[] = [
  { oci: "amd64", rustName: "x86_64", systemd: "x86-64", efi: "x64" },
  { oci: "arm64", rustName: "aarch64", systemd: "arm64", efi: "aa64" },
];

/** By the name in the image's configuration. Throws UnsupportedError `architecture`. */
export function architectureOf(oci: string): Architecture {
  const found = ARCHITECTURES.find((architecture) => architecture.oci === oci);
  if (found === undefined)
    throw new UnsupportedError(
      "architecture",
      `the image is for ${oci}; disks are made for ${ARCHITECTURES.map((a) => a.oci).join(" and ")}`,
    );
  return found;
}
