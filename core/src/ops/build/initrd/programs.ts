/** Which programs of the image go into the initrd. `needed`: without them the build is refused. */

export interface Program {
  readonly name: string;
  /** Code of the UnsupportedError where a needed one is missing; default `no-program`. */
  readonly code?: string;
  /** Packages that have it. */
  readonly debian: string;
  readonly fedora: string;
}

/** Where systemd keeps what is no command. */
export const SYSTEMD_DIRECTORIES: readonly string[] = ["usr/lib/systemd", "lib/systemd"];
export const GENERATOR_DIRECTORIES: readonly string[] = [
  "usr/lib/systemd/system-generators",
  "lib/systemd/system-generators",
];
/** Where commands are, in the order of systemd's own search path. */
export const COMMAND_DIRECTORIES: readonly string[] = ["usr/sbin", "usr/bin", "sbin", "bin"];
export const UDEV_DIRECTORIES: readonly string[] = ["usr/lib/udev", "lib/udev"];

const systemd = { debian: "systemd", fedora: "systemd" } as const;
const udev = { debian: "udev", fedora: "systemd-udev" } as const;
const verity = { code: "no-veritysetup", debian: "systemd-cryptsetup or systemd", fedora: "systemd-udev" } as const;
const coreutils = { debian: "coreutils", fedora: "coreutils" } as const;
const utilLinux = { debian: "mount", fedora: "util-linux-core" } as const;

/** In {@link SYSTEMD_DIRECTORIES}. */
export const NEEDED_SYSTEMD: readonly Program[] = [
  { name: "systemd", code: "no-systemd", ...systemd },
  { name: "systemd-veritysetup", ...verity },
  { name: "systemd-journald", ...systemd },
  { name: "systemd-shutdown", ...systemd },
  { name: "systemd-modules-load", debian: "systemd", fedora: "systemd-udev" },
  { name: "systemd-makefs", debian: "systemd", fedora: "systemd-udev" },
  { name: "systemd-growfs", debian: "systemd", fedora: "systemd-udev" },
  { name: "systemd-fsck", debian: "systemd", fedora: "systemd-udev" },
  { name: "systemd-udevd", ...udev },
];

/** `systemd-executor` is there from 255 on, `systemd-sysroot-fstab-check` runs initrd-parse-etc.service. */
export const WANTED_SYSTEMD: readonly string[] = ["systemd-executor", "systemd-sysroot-fstab-check"];

/** In {@link GENERATOR_DIRECTORIES}. No gpt-auto: `roothash=` turns its search for a root off. No debug shell either. */
export const NEEDED_GENERATORS: readonly Program[] = [
  { name: "systemd-veritysetup-generator", ...verity },
  { name: "systemd-fstab-generator", ...systemd },
];

/** In {@link COMMAND_DIRECTORIES}. */
export const NEEDED_COMMANDS: readonly Program[] = [
  { name: "sh", debian: "dash", fedora: "bash" },
  { name: "udevadm", ...udev },
  { name: "systemctl", ...systemd },
  { name: "mount", ...utilLinux },
  { name: "umount", ...utilLinux },
  { name: "modprobe", debian: "kmod", fedora: "kmod" }, // the kernel calls it
  { name: "dmsetup", debian: "dmsetup", fedora: "device-mapper" }, // the udev rules and our scripts call it
  { name: "mkfs.ext4", code: "no-mkfs", debian: "e2fsprogs", fedora: "e2fsprogs" },
  ...["chmod", "chown", "cp", "mkdir", "mv", "rm", "rmdir", "sleep", "sync"].map((name) => ({ name, ...coreutils })),
];

/** systemd-fsck runs `fsck`, that runs `fsck.ext4`; it does nothing where the latter is missing. */
export const WANTED_COMMANDS: readonly string[] = ["fsck", "fsck.ext4", "e2fsck", "kmod"];

/** In {@link UDEV_DIRECTORIES}: the rules for disks call them. */
export const WANTED_UDEV: readonly string[] = ["ata_id", "scsi_id"];

/** Other files, taken as they are where the image has them. */
export const WANTED_FILES: readonly string[] = ["etc/mke2fs.conf", "etc/e2fsck.conf"];

/**
 * Beginnings of the names of libraries that are taken though a program only opens them at run time and calls them a mere
 * suggestion: systemd suggests what it can do without, but a verity root cannot. What is `required` or `recommended` is always taken.
 */
export const WANTED_LIBRARIES: readonly string[] = [
  "libcryptsetup.so.", // verity
  "libkmod.so.", // modules
  "libmount.so.", // systemd 258 and later open these two as well
  "libblkid.so.",
  "libseccomp.so.", // the sandboxes of journald and udevd
];
