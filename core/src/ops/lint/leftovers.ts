/** What builds leave in an image that makes it differ from build to build, gives secrets away or only takes room. */
import { byteString } from "../../bytes/index.ts";
import { getNode, type Visit } from "../../tree/index.ts";
import type { LintContext } from "./context.ts";
import { counted, type Found, type Lint } from "./finding.ts";

/** A lint that finds names by their path. All paths are without a leading slash. */
interface Leftover {
  readonly name: string;
  readonly looksFor: string;
  /** Says why, after "12 files: ". */
  readonly reason: string;
  readonly cure: string;
  readonly pattern: RegExp;
  /** What of it counts; files that are not empty where nothing is said. */
  readonly counts?: (visit: Visit) => boolean;
  /** Where the cure depends on the image. */
  readonly cureFor?: (context: LintContext) => string | undefined;
}

const isFullFile = ({ node }: Visit): boolean => node.type === "file" && node.content.size > 0;
const isFile = ({ node }: Visit): boolean => node.type === "file";
const isLeaf = ({ node }: Visit): boolean => node.type !== "directory";

/** One expression of several, each from the start of the path. */
function below(...starts: readonly string[]): RegExp {
  return new RegExp(`^(?:${starts.join("|")})/`);
}

function oneOf(...paths: readonly string[]): RegExp {
  return new RegExp(`^(?:${paths.join("|")})$`);
}

const HOME = "(?:root|home/[^/]+)";

const SSH_CURE =
  "RUN rm -f /etc/ssh/ssh_host_*_key* && mkdir -p /etc/systemd/system/ssh.service.d && printf '[Service]\\nExecStartPre=\\nExecStartPre=/usr/bin/ssh-keygen -A\\nExecStartPre=/usr/sbin/sshd -t\\n' > /etc/systemd/system/ssh.service.d/host-keys.conf";

const LEFTOVERS: readonly Leftover[] = [
  {
    name: "package-caches",
    looksFor: "caches and lists of apt, dnf, yum, zypper, pacman and apk, and dnf's history",
    reason: "of the package manager, of the day of the build",
    cure: "RUN rm -rf /var/cache/apt/* /var/lib/apt/lists/* /var/cache/dnf /var/cache/libdnf5 /var/cache/yum /var/cache/zypp /var/cache/pacman /var/cache/apk/* /var/lib/dnf/history*",
    pattern: below(
      "var/cache/(?:apt|dnf|libdnf5|yum|zypp|pacman|apk|PackageKit)",
      "var/lib/apt/(?:lists|periodic)",
      "var/lib/(?:dnf|libdnf5|yum|PackageKit)",
      "etc/apk/cache",
    ),
  },
  {
    name: "ldconfig-cache",
    looksFor: "/var/cache/ldconfig/aux-cache, which holds inode numbers and times",
    reason: "with inode numbers and times of the build; ldconfig makes it anew",
    cure: "RUN rm -f /var/cache/ldconfig/aux-cache",
    pattern: below("var/cache/ldconfig"),
  },
  {
    name: "man-cache",
    looksFor: "indexes of man-db in /var/cache/man",
    reason: "of man-db with times of the build; man-db.timer makes them anew",
    cure: "RUN rm -rf /var/cache/man/*",
    pattern: below("var/cache/man"),
  },
  {
    name: "font-caches",
    looksFor: "caches of fontconfig, which hold times of directories",
    reason: "of fontconfig with times of the build; it makes them anew",
    cure: "RUN rm -rf /var/cache/fontconfig/* /usr/lib/fontconfig/cache/*",
    pattern: below("var/cache/fontconfig", "usr/lib/fontconfig/cache"),
  },
  {
    name: "var-cache",
    looksFor: "anything else in /var/cache but debconf's answers",
    reason: "in /var/cache, where everything can be made anew",
    cure: "RUN find /var/cache -type f ! -path '/var/cache/debconf/*' -delete",
    pattern: /^var\/cache\/(?!(?:apt|dnf|libdnf5|yum|zypp|pacman|apk|PackageKit|ldconfig|man|fontconfig|debconf)\/)/,
  },
  {
    name: "home-caches",
    looksFor: "caches of pip, npm, cargo, Go, Maven and others in home directories",
    reason: "of tools that the build called",
    cure: "RUN rm -rf /root/.cache /root/.npm /root/.cargo/registry /root/go/pkg/mod /root/.m2 /root/.gradle\n# or keep it out from the start: RUN --mount=type=cache,target=/root/.cache pip install …",
    pattern: below(
      `${HOME}/\\.(?:cache|npm|yarn|gem|m2|gradle|nuget|composer/cache|bundle/cache|cargo/registry|local/share/pnpm)`,
      `${HOME}/go/pkg/mod`,
    ),
  },
  {
    name: "shell-history",
    looksFor: "histories of shells, editors and database clients in home directories",
    reason: "of what was typed while the image was made",
    cure: "RUN rm -f /root/.*_history /root/.lesshst /root/.viminfo /root/.wget-hsts",
    pattern: new RegExp(
      `^${HOME}/\\.(?:[a-z_]+_history|history|lesshst|viminfo|wget-hsts|local/share/fish/fish_history|local/state/.*_history)$`,
    ),
  },
  {
    name: "credentials",
    looksFor: "private keys and tokens in home directories",
    reason: "that may open doors: everyone who gets the image has them, and every layer below keeps them",
    cure: "RUN --mount=type=secret,id=npmrc,target=/root/.npmrc npm ci",
    pattern: new RegExp(
      `^${HOME}/(?:\\.ssh/id_[^/]*(?<!\\.pub)|\\.docker/config\\.json|\\.config/containers/auth\\.json|\\.netrc|\\.npmrc|\\.pypirc|\\.git-credentials|\\.aws/credentials|\\.kube/config|\\.gnupg/private-keys-v1\\.d/.*|\\.config/gh/hosts\\.yml)$`,
    ),
  },
  {
    name: "ssh-host-keys",
    looksFor: "SSH host keys: all machines would have the same, and everyone who gets the image has them",
    reason: "of SSH: all machines would have the same, and everyone who gets the image has them",
    cure: SSH_CURE,
    pattern: /^etc\/ssh\/ssh_host_[^/]*key(\.pub)?$/,
    // Fedora makes missing keys by itself. Debian's sshd-keygen.service waits for a first boot, which an empty machine-id is not.
    cureFor: ({ distribution }) =>
      distribution.family === "fedora" ? "RUN rm -f /etc/ssh/ssh_host_*_key*" : undefined,
  },
  {
    name: "machine-secrets",
    looksFor: "random seeds, credential keys, snake-oil certificates and other ids that must differ between machines",
    reason: "that must differ between machines and does differ between builds",
    cure: "RUN rm -f /var/lib/systemd/random-seed /var/lib/systemd/credential.secret /etc/ssl/private/ssl-cert-snakeoil.key /etc/ssl/certs/ssl-cert-snakeoil.pem",
    pattern: oneOf(
      "var/lib/systemd/(?:random-seed|credential\\.secret|tpm2-srk-public-key\\..*)",
      "etc/ssl/private/ssl-cert-snakeoil\\.key",
      "etc/ssl/certs/ssl-cert-snakeoil\\.pem",
      "etc/pki/tls/(?:private|certs)/localhost\\.(?:key|crt)",
      "etc/(?:bind/)?rndc\\.key",
      "etc/iscsi/initiatorname\\.iscsi",
      "etc/nvme/host(?:id|nqn)",
      "etc/hostid",
      "var/lib/NetworkManager/secret_key",
      "etc/ppp/(?:chap|pap)-secrets\\.bak",
    ),
  },
  {
    name: "nonempty-var-tmp",
    looksFor: "files in /var/tmp, which every machine would get as a copy",
    reason: "in /var/tmp: every machine would get a copy",
    cure: "RUN rm -rf /var/tmp/*",
    pattern: /^var\/tmp\//,
    counts: isLeaf,
  },
  {
    name: "initrds",
    looksFor: "initrds in /boot and /usr/lib/modules and links to them: Ashlar makes its own",
    reason: "that are not used, since Ashlar makes its own; they hold times and take tens of megabytes",
    cure: "RUN rm -f /boot/initrd.img* /boot/initramfs* /initrd.img* /usr/lib/modules/*/initramfs.img /usr/lib/modules/*/initrd",
    pattern: oneOf(
      "boot/init(?:rd|ramfs)[^/]*",
      "initrd\\.img(?:\\.old)?",
      "(?:usr/)?lib/modules/[^/]+/init(?:rd|ramfs)(?:\\.img)?",
    ),
    counts: isLeaf,
  },
  {
    name: "backup-files",
    looksFor: "backups of the account files and of packages: /etc/shadow-, *.dpkg-old, /var/lib/dpkg/*-old, *.rpmsave",
    reason: "of earlier states, password hashes among them",
    cure: "RUN rm -rf /etc/passwd- /etc/shadow- /etc/group- /etc/gshadow- /etc/subuid- /etc/subgid- /var/lib/dpkg/*-old /var/cache/debconf/*-old /var/backups/* && find /etc \\( -name '*.dpkg-old' -o -name '*.dpkg-dist' -o -name '*.ucf-old' -o -name '*.rpmsave' -o -name '*.rpmnew' \\) -delete",
    pattern: new RegExp(
      [
        "^etc/(?:passwd|shadow|group|gshadow|subuid|subgid)-$",
        "^var/lib/dpkg/[^/]+-old$",
        "^var/cache/debconf/.*-old$",
        "^var/backups/",
        "\\.(?:dpkg-(?:old|new|dist|tmp|bak)|ucf-(?:old|new|dist)|rpmsave|rpmnew|rpmorig)$",
      ].join("|"),
    ),
  },
  {
    name: "update-marks",
    looksFor: "/etc/.updated and /var/.updated, by which systemd sees whether caches are older than /usr",
    reason: "of systemd with a time of the build: it would take stale caches for new",
    cure: "RUN rm -f /etc/.updated /var/.updated",
    pattern: /^(?:etc|var)\/\.updated$/,
    counts: isFile,
  },
  {
    name: "run-state",
    looksFor:
      "what a running system writes: stamps of timers, leases, logrotate's state, core dumps, locate's database",
    reason: "that a running system wrote, and every machine would get",
    cure: "RUN rm -rf /var/lib/systemd/timers/* /var/lib/systemd/coredump/* /var/lib/logrotate/* /var/lib/plocate/* /var/lib/dhcp/*",
    pattern: new RegExp(
      [
        "^var/lib/systemd/(?:timers|coredump|pstore|rfkill|backlight|linger)/",
        "^var/lib/systemd/timesync/clock$",
        "^var/lib/logrotate(?:/|\\.status$)",
        "^var/lib/(?:dhcp|dhclient|plocate|mlocate)/",
        "^var/lib/NetworkManager/(?:seen-bssids|timestamps|[^/]*\\.lease)$",
        "^var/spool/(?:cron/crontabs/root|mail/[^/]+)$",
      ].join("|"),
    ),
    // systemd-timesyncd's clock is empty: its time is what counts.
    counts: (visit) => isFullFile(visit) || (isFile(visit) && visit.path.endsWith("/clock")),
  },
  {
    name: "rpm-database",
    looksFor:
      "an rpm or pacman database: it says when each package was installed, unless SOURCE_DATE_EPOCH was set then",
    reason:
      "of the package database, with the time of each installation unless SOURCE_DATE_EPOCH was set (rpm from 4.18)",
    cure: "RUN SOURCE_DATE_EPOCH=1767225600 dnf install -y kernel\n# and where all packages were installed like this: ashlar lint --skip rpm-database",
    pattern: /^(?:usr\/lib\/sysimage\/rpm|var\/lib\/rpm|var\/lib\/pacman\/local)\//,
  },
];

function leftoverLint({ name, looksFor, reason, cure, pattern, counts = isFullFile, cureFor }: Leftover): Lint {
  return {
    name,
    severity: "warning",
    looksFor,
    cure,
    start(context) {
      const paths = context.paths();
      return {
        visit(visit) {
          if (pattern.test(visit.path) && counts(visit)) paths.add(visit.path);
        },
        end(): Found[] {
          if (paths.count === 0) return [];
          return [{ reason: `${counted(paths.count, "file")} ${reason}`, paths, cure: cureFor?.(context) }];
        },
      };
    },
  };
}

const MAX_MACHINE_ID = 1024; // bytes; a real one has 33

const machineId: Lint = {
  name: "machine-id",
  severity: "warning",
  looksFor: "a machine id in /etc/machine-id or /var/lib/dbus/machine-id",
  cure: "RUN : > /etc/machine-id && rm -f /var/lib/dbus/machine-id",
  async run(context) {
    const paths = context.paths();
    for (const path of ["etc/machine-id", "var/lib/dbus/machine-id"]) {
      const node = getNode(context.tree, path);
      if (node?.type !== "file" || node.content.size === 0) continue;
      const text = byteString(await node.content.read(0, Math.min(node.content.size, MAX_MACHINE_ID)));
      if (text.trim() !== "" && text.trim() !== "uninitialized") paths.addShown(`/${path}`);
    }
    if (paths.count === 0) return [];
    return [
      { reason: "an id that all machines would share, and that each build makes anew; the build empties it", paths },
    ];
  },
};

export const LEFTOVER_LINTS: readonly Lint[] = [machineId, ...LEFTOVERS.map(leftoverLint)];
