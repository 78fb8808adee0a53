/** Which of systemd's own units and of the udev rules go into the initrd, and what pulls them in. */

/** Without one of these there is no boot. */
export const NEEDED_UNITS: readonly string[] = [
  "basic.target",
  "initrd-cleanup.service",
  "initrd-fs.target",
  "initrd-parse-etc.service",
  "initrd-root-device.target",
  "initrd-root-fs.target",
  "initrd-switch-root.service",
  "initrd-switch-root.target",
  "initrd.target",
  "sysinit.target",
  "systemd-journald.service",
  "systemd-journald.socket",
  "systemd-modules-load.service",
  "systemd-udev-trigger.service",
  "systemd-udevd.service",
];

/** Versions differ in these. emergency and rescue are ours (assets/units.ts). */
export const WANTED_UNITS: readonly string[] = [
  "final.target",
  "initrd-udevadm-cleanup-db.service",
  "initrd-usr-fs.target",
  "local-fs-pre.target",
  "local-fs.target",
  "modprobe@.service",
  "paths.target",
  "poweroff.target",
  "reboot.target",
  "shutdown.target",
  "slices.target",
  "sockets.target",
  "swap.target",
  "system-systemd\\x2dveritysetup.slice",
  "systemd-journald-dev-log.socket",
  "systemd-poweroff.service",
  "systemd-reboot.service",
  "systemd-udevd-control.socket",
  "systemd-udevd-kernel.socket",
  "systemd-udevd-varlink.socket",
  "timers.target",
  "umount.target",
  "veritysetup-pre.target",
  "veritysetup.target",
];

export const UNIT_DIRECTORIES: readonly string[] = ["usr/lib/systemd/system", "lib/systemd/system"];

/** Target → what it wants, as far as the image has it. */
export const WANTS: Readonly<Record<string, readonly string[]>> = {
  "sysinit.target": [
    "systemd-journald.service",
    "systemd-modules-load.service",
    "systemd-udev-trigger.service",
    "systemd-udevd.service",
    "veritysetup.target",
  ],
  "sockets.target": [
    "systemd-journald-dev-log.socket",
    "systemd-journald.socket",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
    "systemd-udevd-varlink.socket",
  ],
};

/** Other names of units. */
export const UNIT_ALIASES: Readonly<Record<string, string>> = {
  "ctrl-alt-del.target": "reboot.target",
  "default.target": "initrd.target",
};

export const RULE_DIRECTORIES: readonly string[] = ["usr/lib/udev/rules.d", "lib/udev/rules.d"];

/** One of each row must be there: Debian's and Fedora's names of the same. */
export const NEEDED_RULES: readonly (readonly string[])[] = [
  ["50-udev-default.rules"],
  ["55-dm.rules", "10-dm.rules"],
  ["60-persistent-storage.rules"],
  ["80-drivers.rules"],
  ["95-dm-notify.rules"], // without it libdevmapper waits for a notice that never comes
  ["99-systemd.rules"],
];

export const WANTED_RULES: readonly string[] = ["13-dm-disk.rules", "60-block.rules", "60-persistent-storage-dm.rules"];
