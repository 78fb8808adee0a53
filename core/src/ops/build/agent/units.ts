/**
 * The unit files that keep a machine up to date. They lie in /usr/lib, sealed with the root; a machine changes them with
 * drop-ins in /etc, and turns one off with `systemctl mask`.
 */
import { POLICY_EXAMPLE } from "../../machine/example.ts";

/** systemd-boot sets it where it counts the boot, so that somebody must say that it went well. */
const IS_COUNTED = "/sys/firmware/efi/efivars/LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/** What became of the last update is written down early: a boot that fails later has its record then. */
const BOOTED_SERVICE = `[Unit]
Description=Record of This Boot (Ashlar)
Documentation=man:ashlar(1)
RequiresMountsFor=/var/lib/ashlar
Before=ashlar-health.service boot-complete.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/ashlar agent booted
TimeoutStartSec=10min
`;

/**
 * Between the start of everything and the moment in which systemd confirms the boot. A failure reboots, and only where
 * the boot is being counted: then there is something to fall back to, and no machine reboots for ever.
 */
const HEALTH_SERVICE = `[Unit]
Description=Health of This Release (Ashlar)
Documentation=man:ashlar(1)
RequiresMountsFor=/var/lib/ashlar
After=multi-user.target
Before=boot-complete.target
OnFailure=ashlar-unhealthy.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/ashlar agent health
TimeoutStartSec=30min
`;

/**
 * systemd-boot goes on counting what it starts with no try left, since nothing better is there: then the machine stays up.
 * The last of three tries has the name NAME+0-3, the next boot NAME+0-4.
 */
const UNHEALTHY_SERVICE = `[Unit]
Description=Reboot of a Release That Is Not Healthy (Ashlar)
Documentation=man:ashlar(1)
DefaultDependencies=no
ConditionPathExists=${IS_COUNTED}
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
ExecStart=/bin/sh /usr/lib/ashlar/agent/unhealthy.sh
StandardOutput=journal+console
`;

const UNHEALTHY = `# A counted boot is not confirmed: the next try, or what ran before. The variable has 4 bytes of attributes in front, and efivarfs
# does not let everybody seek in it.
entry=$(tr -d '\\0' < ${IS_COUNTED})
case $entry in
  *+0-[1-3].efi | *+[1-9]*-*.efi | *+[1-9]*.efi)
    echo "ashlar: this boot is not confirmed; rebooting"
    exec systemctl --no-block reboot
    ;;
esac
echo "ashlar: this boot is not confirmed, and nothing better is there: staying"
`;

/** Once more when systemd has confirmed the boot, so that what was staged is known to be good. */
const CONFIRMED_SERVICE = `[Unit]
Description=Record of a Confirmed Boot (Ashlar)
Documentation=man:ashlar(1)
Requires=systemd-bless-boot.service
After=systemd-bless-boot.service ashlar-booted.service
RequiresMountsFor=/var/lib/ashlar

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/ashlar agent booted
TimeoutStartSec=10min
`;

/** For checks that others tie to the target, and for a start that never ends. The target is asked for by counted boots alone. */
const BOOT_COMPLETE_DROP_IN = `[Unit]
OnFailure=ashlar-unhealthy.service
JobTimeoutSec=45min
JobTimeoutAction=reboot
`;

const UPGRADE_SERVICE = `[Unit]
Description=Update to the Newest Release (Ashlar)
Documentation=man:ashlar(1)
Wants=network-online.target
After=network-online.target ashlar-booted.service
RequiresMountsFor=/var/lib/ashlar
ConditionPathExistsGlob=|/usr/lib/ashlar/*.toml
ConditionPathExistsGlob=|/etc/ashlar/*.toml

[Service]
Type=oneshot
ExecStart=/usr/bin/ashlar agent auto
Nice=10
IOSchedulingClass=idle
`;

/** Only a tick: whether it is time to look, and what may be done, is in the policy. */
const UPGRADE_TIMER = `[Unit]
Description=Time to Look for a Newer Release (Ashlar)
Documentation=man:ashlar(1)

[Timer]
OnBootSec=5min
OnUnitInactiveSec=15min
AccuracySec=1min
`;

/**
 * Starts before ordinary services and so stops after them: what they changed in /etc until the end is carried to the
 * release that boots next.
 */
const CARRY_ETC_SERVICE = `[Unit]
Description=Local Configuration for the Staged Release (Ashlar)
Documentation=man:ashlar(1)
DefaultDependencies=no
RequiresMountsFor=/var/lib/ashlar
After=local-fs.target
Before=basic.target
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStop=/usr/bin/ashlar agent carry-etc
TimeoutStopSec=2min
`;

/** A hang of the running system ends as one in the initrd does. An early name, so that any other drop-in wins. */
const MANAGER_CONF = `[Manager]
RuntimeWatchdogSec=60s
CrashReboot=yes
`;

const UNITS = "usr/lib/systemd/system";

/** Path → text. */
export const AGENT_FILES: Readonly<Record<string, string>> = {
  "usr/share/ashlar/policy.toml": POLICY_EXAMPLE,
  [`${UNITS}/ashlar-booted.service`]: BOOTED_SERVICE,
  [`${UNITS}/ashlar-carry-etc.service`]: CARRY_ETC_SERVICE,
  [`${UNITS}/ashlar-confirmed.service`]: CONFIRMED_SERVICE,
  [`${UNITS}/ashlar-health.service`]: HEALTH_SERVICE,
  [`${UNITS}/ashlar-unhealthy.service`]: UNHEALTHY_SERVICE,
  [`${UNITS}/ashlar-upgrade.service`]: UPGRADE_SERVICE,
  [`${UNITS}/ashlar-upgrade.timer`]: UPGRADE_TIMER,
  [`${UNITS}/boot-complete.target.d/50-ashlar.conf`]: BOOT_COMPLETE_DROP_IN,
  "usr/lib/ashlar/agent/unhealthy.sh": UNHEALTHY,
  "usr/lib/systemd/system.conf.d/10-ashlar.conf": MANAGER_CONF,
};

/** Unit → what pulls it in. */
export const AGENT_LINKS: Readonly<Record<string, string>> = {
  "ashlar-booted.service": `${UNITS}/multi-user.target.wants`,
  "ashlar-carry-etc.service": `${UNITS}/basic.target.wants`,
  "ashlar-confirmed.service": `${UNITS}/systemd-bless-boot.service.wants`,
  "ashlar-health.service": `${UNITS}/boot-complete.target.requires`,
  "ashlar-upgrade.timer": `${UNITS}/timers.target.wants`,
};
