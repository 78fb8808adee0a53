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

/** Time limits by unit. initrd.target: covers all, so it is longer than ashlar-var.service may take. */
export const TIME_LIMITS: Readonly<Record<string, string>> = {
  "initrd-switch-root.target": "3min",
  "initrd.target": "45min",
};

/** Seconds beyond the wait for a device, which ends with a name: time to attach and to mount. */
const LIMIT_SLACK = 30;

/**
 * The root is mounted by then, or the machine reboots. A timer and no limit of a job: it holds whatever the initrd waits for, and
 * also where the command line asks for another target, of which no job of ours is a part.
 *
 * @param rootTimeout seconds
 */
export const limitTimer = (rootTimeout: number): string => `[Unit]
Description=Time Limit of the Initrd
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target

[Timer]
OnActiveSec=${rootTimeout + LIMIT_SLACK}s
AccuracySec=1s
`;

export const LIMIT_SERVICE = `[Unit]
Description=Reboot of an Initrd That Hangs
DefaultDependencies=no
Conflicts=shutdown.target
Before=shutdown.target
FailureAction=reboot-force

[Service]
Type=oneshot
ExecStart=/bin/sh /usr/lib/ashlar/initrd/limit.sh
StandardOutput=journal+console
TimeoutStartSec=30s
`;

/**
 * A device that does not appear is told by its name before the limit of all. The manager opens a watchdog that appears after it
 * has started at half of its time. A crash of the manager itself reboots instead of freezing. What is left to unmount here is
 * little, so a reboot that hangs need not take systemd's 10 minutes.
 *
 * @param rootTimeout seconds
 */
export const managerConf = (rootTimeout: number): string => `[Manager]
DefaultDeviceTimeoutSec=${rootTimeout}s
RuntimeWatchdogSec=60s
RebootWatchdogSec=2min
CrashReboot=yes
`;
