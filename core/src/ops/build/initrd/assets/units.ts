/** The unit files of the initrd that are not systemd's own. */

/** Right behind the root's mount and before fstab of the real root is looked at: there /etc must be the final one. */
const BETWEEN = `DefaultDependencies=no
AssertPathExists=/etc/initrd-release
Before=initrd-parse-etc.service initrd-fs.target
Conflicts=shutdown.target
Before=shutdown.target
OnFailure=emergency.target
OnFailureJobMode=replace-irreversibly`;

/** 30 minutes: a check of a large file system after a fault is slow, and is no hang. */
export const VAR_SERVICE = `[Unit]
Description=State of This Machine (/var)
Requires=initrd-root-fs.target
After=initrd-root-fs.target systemd-udevd.service systemd-udev-trigger.service
${BETWEEN}

[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=/etc/ashlar/initrd.conf
ExecStart=/bin/sh /usr/lib/ashlar/initrd/var.sh
StandardOutput=journal+console
TimeoutStartSec=30min
`;

export const ETC_SERVICE = `[Unit]
Description=Configuration of This Machine (/etc)
Requires=initrd-root-fs.target ashlar-var.service
After=initrd-root-fs.target ashlar-var.service
${BETWEEN}

[Service]
Type=oneshot
RemainAfterExit=yes
EnvironmentFile=/etc/ashlar/initrd.conf
ExecStart=/bin/sh /usr/lib/ashlar/initrd/etc.sh
StandardOutput=journal+console
TimeoutStartSec=5min
`;

/** Instead of a shell that nobody may have: a reboot, so that boot counting can fall back. Also for rescue.target. */
export const EMERGENCY_TARGET = `[Unit]
Description=Reboot after a Failure in the Initrd
DefaultDependencies=no
Requires=emergency.service
After=emergency.service
AllowIsolate=yes
`;

export const EMERGENCY_SERVICE = `[Unit]
Description=Reboot after a Failure in the Initrd
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
SuccessAction=reboot-force
FailureAction=reboot-force

[Service]
Type=oneshot
ExecStart=/bin/sh /usr/lib/ashlar/initrd/failure.sh
StandardOutput=journal+console
TimeoutStartSec=30s
`;

/** A hash device that cannot be attached: not only after the 90 seconds that systemd waits for the root's device. */
export const VERITY_DROP_IN = `[Unit]
After=systemd-modules-load.service
OnFailure=emergency.target
OnFailureJobMode=replace-irreversibly
`;

/** @param limit time span for a job; when it is over, the machine reboots */
export const timeLimit = (limit: string): string => `[Unit]
JobTimeoutSec=${limit}
JobTimeoutAction=reboot-force
`;

/**
 * Time limits by unit. The root: systemd itself gives up on a missing device after 90 seconds. initrd.target: covers
 * all, so it is longer than ashlar-var.service may take.
 */
export const TIME_LIMITS: Readonly<Record<string, string>> = {
  "initrd-root-fs.target": "5min",
  "initrd-switch-root.target": "3min",
  "initrd.target": "45min",
};

/**
 * The manager opens a watchdog that appears after it has started at half of this time. A crash of the manager itself
 * reboots instead of freezing.
 */
export const MANAGER_CONF = `[Manager]
RuntimeWatchdogSec=60s
CrashReboot=yes
`;
