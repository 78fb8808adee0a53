/**
 * Which layer lies over /etc, as the kernel says. Spec: proc_pid_mountinfo(5); the mount is the one that the initrd makes
 * (ops/build/initrd/assets).
 */

/** `persistent`: a generation on /var. `transient`: in memory. `none`: no layer of Ashlar's. */
export type EtcLayer =
  | { readonly kind: "persistent"; readonly rootHash: string }
  | { readonly kind: "transient" | "none" };

/** What the initrd calls the device of the mount. */
const MOUNT_SOURCE = "ashlar-etc";

/** @param mountinfo text of /proc/self/mountinfo */
export function etcLayerOf(mountinfo: string): EtcLayer {
  let found: EtcLayer = { kind: "none" };
  for (const line of mountinfo.split("\n")) {
    const words = line.split(" ");
    if (words[4] !== "/etc") continue;
    // Optional fields of any number end at the hyphen; behind it: type, source, options of the file system.
    const [type, source, options = ""] = words.slice(words.indexOf("-", 6) + 1);
    // What others mount over it, such as systemd-confext, leaves the layer what it is.
    if (type !== "overlay" || source !== MOUNT_SOURCE) continue;
    const [, rootHash] =
      /(?:^|,)upperdir=[^,]*\/var\/lib\/ashlar\/etc\/([0-9a-f]{64})\/upper(?:,|$)/.exec(options) ?? [];
    found = rootHash === undefined ? { kind: "transient" } : { kind: "persistent", rootHash };
  }
  return found;
}
