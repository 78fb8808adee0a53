/** What keeps an image from being built or from booting. Most of it is what the build itself says (problems.ts). */
import { type ByteString, showBytes } from "../../bytes/index.ts";
import { resolvePath } from "../../tree/index.ts";
import { parseKernelConfig } from "../build/initrd/index.ts";
import { NEEDED_COMMANDS, NEEDED_GENERATORS, NEEDED_SYSTEMD } from "../build/initrd/programs.ts";
import { listKernels } from "../build/kernel.ts";
import { LABEL_TITLE, LABEL_VERSION } from "../release/identity.ts";
import type { LintContext } from "./context.ts";
import { installLine, type PackageNames, packagesFor } from "./cures.ts";
import { counted, type Found, type Lint } from "./finding.ts";
import type { Problem } from "./problems.ts";

/** The lints that say what the build says. */
type MachineLint =
  | "identity"
  | "architecture"
  | "kernel"
  | "kernel-modules"
  | "boot-loader"
  | "uki"
  | "systemd"
  | "veritysetup"
  | "var-mkfs"
  | "initrd"
  | "os-release"
  | "api-base-directories"
  | "bootc-kargs"
  | "build";

/** Which lint says a problem of the build. What fits none is said by `build`, so that nothing is lost. */
function lintFor({ step, code }: Problem): MachineLint {
  switch (step) {
    case "identity":
    case "architecture":
    case "kernel":
    case "uki":
      return step;
    case "boot-files":
      return "boot-loader";
    case "kargs":
      return "bootc-kargs";
    case "normalise":
      return code === "not-a-directory" ? "api-base-directories" : code === "no-os-release" ? "os-release" : "build";
    case "initrd":
      return INITRD_LINTS[code] ?? "initrd";
  }
}

const INITRD_LINTS: Readonly<Record<string, MachineLint>> = {
  "no-systemd": "systemd",
  "no-unit": "systemd",
  "no-veritysetup": "veritysetup",
  "no-mkfs": "var-mkfs",
  "no-modules": "kernel-modules",
};

async function problemsFor(context: LintContext, lint: MachineLint): Promise<Problem[]> {
  return (await context.build()).problems.filter((problem) => lintFor(problem) === lint);
}

/** The errors as they are, one finding each. */
function tell(
  context: LintContext,
  problems: readonly Problem[],
  cure?: (problem: Problem) => string | undefined,
): Found[] {
  return problems.map((problem) => ({
    code: problem.code,
    reason: problem.message,
    paths: pathsOf(context, [problem]),
    cure: cure?.(problem),
  }));
}

function pathsOf(context: LintContext, problems: readonly Problem[]) {
  const paths = context.paths();
  for (const { path } of problems) if (path !== undefined) paths.addShown(path);
  return paths;
}

/** Packages of what has no entry in the initrd's tables, by the code of the error. */
const PACKAGES_BY_CODE: Readonly<Record<string, PackageNames>> = {
  "no-unit": { debian: "systemd", fedora: "systemd" },
  "no-rule": { debian: "udev", fedora: "systemd-udev" },
  "no-stub": { debian: "systemd-boot-efi", fedora: "systemd-boot-unsigned" },
  "no-loader": { debian: "systemd-boot-efi", fedora: "systemd-boot-unsigned" },
};

/** Debian's kernel is named after the architecture. */
function kernelPackage({ distribution, architecture }: LintContext): PackageNames {
  const flavour = architecture === "arm64" ? "arm64" : "amd64";
  return {
    debian: distribution.id === "ubuntu" ? "linux-image-generic" : `linux-image-${flavour}`,
    fedora: "kernel",
  };
}

function packageNames(context: LintContext, { code, path }: Problem): PackageNames | undefined {
  if (code === "no-kernel" || code === "no-modules") return kernelPackage(context);
  const name = path?.slice(path.lastIndexOf("/") + 1) ?? "";
  if (code === "no-rule" && name.includes("dm")) return { debian: "dmsetup", fedora: "device-mapper" };
  // With the names by which people start, stop and restart a machine.
  if (code === "no-systemd") return { debian: "systemd systemd-sysv", fedora: "systemd" };
  const program = [...NEEDED_SYSTEMD, ...NEEDED_GENERATORS, ...NEEDED_COMMANDS].find((entry) => entry.name === name);
  return program ?? PACKAGES_BY_CODE[code];
}

/** What is missing in one finding, with one line that installs it all. */
function tellMissing(context: LintContext, problems: readonly Problem[], what: string): Found[] {
  const [first] = problems;
  if (first === undefined) return [];
  const wanted = problems.flatMap((problem) => packageNames(context, problem) ?? []);
  const packages = packagesFor(wanted, context.distribution);
  return [
    {
      code: first.code,
      reason:
        problems.length === 1 ? first.message : `${counted(problems.length, "file")} ${what} are not in the image`,
      paths: pathsOf(context, problems),
      cure: wanted.length > 0 ? installLine(wanted, context.distribution) : undefined,
      packages,
    },
  ];
}

const APT = (packages: string) =>
  installLine([{ debian: packages, fedora: packages }], { family: "debian", id: "debian", version: Number.NaN });

const SAFE_VERSION = /^[A-Za-z0-9][A-Za-z0-9._+~-]*$/;

/** Every kernel but the last of the list goes. Only names that need no quoting in a shell get into the line. */
function removeKernels(context: LintContext): string {
  const versions = listKernels(context.tree).map(({ version }) => version);
  const others = versions
    .slice(0, -1)
    .filter((version) => SAFE_VERSION.test(version))
    .slice(0, 8);
  const paths = others.flatMap((version) => [`/usr/lib/modules/${version}`, `/boot/*-${version}`]);
  const remove = others.length === 0 ? "RUN rm -rf /usr/lib/modules/OLD /boot/*-OLD" : `RUN rm -rf ${paths.join(" ")}`;
  return `${remove}\n# or keep them all and choose: ashlar build --kernel VERSION`;
}

/** `y` or `m` is right for each: the initrd loads what is a module. */
const NEEDED_CONFIG = [
  ["EROFS_FS", "EROFS, the file system of the root"],
  ["BLK_DEV_DM", "device mapper, below dm-verity"],
  ["DM_VERITY", "dm-verity, which checks every block"],
  ["OVERLAY_FS", "overlayfs, for changes to /etc"],
  ["EXT4_FS", "ext4, the file system of /var"],
  ["BLK_DEV_INITRD", "initrds"],
  ["EFI_STUB", "being started by UEFI firmware"],
] as const;

/** Programs that let people in. */
const LOGINS = [
  "usr/sbin/agetty",
  "sbin/agetty",
  "usr/bin/agetty",
  "usr/sbin/sshd",
  "sbin/sshd",
  "usr/sbin/getty",
  "sbin/getty",
];

export const MACHINE_LINTS: readonly Lint[] = [
  {
    name: "identity",
    severity: "fatal",
    looksFor: "an image id and a version that can be written everywhere they must, from labels or options",
    cure: `LABEL ${LABEL_TITLE}="my-os" ${LABEL_VERSION}="1"`,
    run: async (context) => tell(context, await problemsFor(context, "identity")),
  },
  {
    name: "architecture",
    severity: "fatal",
    looksFor: "an architecture that disks are made for",
    cure: "FROM --platform=linux/amd64 debian:trixie",
    run: async (context) => tell(context, await problemsFor(context, "architecture")),
  },
  {
    name: "kernel",
    severity: "fatal",
    looksFor: "exactly one kernel, or the one that --kernel names (bootc's lint lets an image without any pass)",
    cure: APT("linux-image-amd64"),
    async run(context) {
      const problems = await problemsFor(context, "kernel");
      const others = problems.filter(({ code }) => code !== "no-kernel");
      return [
        ...tellMissing(
          context,
          problems.filter(({ code }) => code === "no-kernel"),
          "of a kernel",
        ),
        ...tell(context, others, ({ code }) => (code === "several-kernels" ? removeKernels(context) : undefined)),
      ];
    },
  },
  {
    name: "kernel-modules",
    severity: "fatal",
    looksFor: "modules.dep and the modules without which the root cannot be mounted, built in or as files",
    cure: APT("linux-image-amd64"),
    run: async (context) =>
      tellMissing(context, await problemsFor(context, "kernel-modules"), "of the kernel's modules"),
  },
  {
    name: "kernel-config",
    severity: "fatal",
    looksFor:
      "EROFS, dm-verity, overlayfs, ext4, initrd and EFI stub in the kernel's configuration, where the image has it",
    cure: APT("linux-image-amd64"),
    async run(context) {
      const { kernel, kernelConfig } = await context.build();
      if (kernel === undefined || kernelConfig === undefined || kernelConfig.length === 0) return [];
      const config = parseKernelConfig(kernelConfig);
      const lacking = NEEDED_CONFIG.filter(([name]) => !["y", "m"].includes(config.get(name) ?? ""));
      if (lacking.length === 0) return [];
      const paths = context.paths();
      paths.addShown(kernel.path);
      const list = lacking.map(([name, what]) => `CONFIG_${name} (${what})`).join(", ");
      const version = showBytes(kernel.version as ByteString);
      return [{ code: "kernel-config", reason: `kernel ${version} is built without ${list}`, paths }];
    },
  },
  {
    name: "boot-loader",
    severity: "fatal",
    looksFor: "systemd-boot and its stub",
    cure: APT("systemd-boot-efi"),
    run: async (context) => tellMissing(context, await problemsFor(context, "boot-loader"), "of systemd-boot"),
  },
  {
    name: "uki",
    severity: "fatal",
    looksFor: "a stub and a kernel that can be put together as a unified kernel image",
    cure: APT("systemd-boot-efi linux-image-amd64"),
    run: async (context) => tell(context, await problemsFor(context, "uki")),
  },
  {
    name: "systemd",
    severity: "fatal",
    looksFor: "systemd with the programs and units that start a machine",
    cure: APT("systemd systemd-sysv"),
    run: async (context) => tellMissing(context, await problemsFor(context, "systemd"), "of systemd"),
  },
  {
    name: "veritysetup",
    severity: "fatal",
    looksFor: "systemd-veritysetup and its generator, which attach the root",
    cure: APT("systemd-cryptsetup"),
    run: async (context) => tellMissing(context, await problemsFor(context, "veritysetup"), "of veritysetup"),
  },
  {
    name: "var-mkfs",
    severity: "fatal",
    looksFor: "mkfs.ext4, which makes /var at the first boot",
    cure: APT("e2fsprogs"),
    run: async (context) => tellMissing(context, await problemsFor(context, "var-mkfs"), "of mkfs"),
  },
  {
    name: "initrd",
    severity: "fatal",
    looksFor:
      "everything else that the initrd is made from: udev and its rules, kmod, dmsetup, mount, a shell, libraries",
    cure: APT("udev kmod dmsetup mount dash coreutils"),
    run: async (context) => tellMissing(context, await problemsFor(context, "initrd"), "that the initrd is made from"),
  },
  {
    name: "os-release",
    severity: "fatal",
    looksFor: "/usr/lib/os-release",
    cure: "RUN printf 'ID=my-os\\nNAME=\"My OS\"\\n' > /usr/lib/os-release && ln -sf ../usr/lib/os-release /etc/os-release",
    run: async (context) => tell(context, await problemsFor(context, "os-release")),
  },
  {
    name: "api-base-directories",
    severity: "fatal",
    looksFor: "links and files in place of /boot /dev /efi /etc /proc /run /sys /tmp /var; missing ones are made",
    cure: "RUN rm -f /boot && mkdir /boot",
    run: async (context) =>
      tell(context, await problemsFor(context, "api-base-directories"), ({ path }) =>
        path !== undefined && /^\/[a-z]+$/.test(path) ? `RUN rm -f ${path} && mkdir ${path}` : undefined,
      ),
  },
  {
    name: "bootc-kargs",
    severity: "fatal",
    looksFor: "kargs.d files that do not parse, and kernel arguments that are Ashlar's to set or too long",
    cure: "RUN printf 'kargs = [\"console=ttyS0\"]\\n' > /usr/lib/bootc/kargs.d/10-console.toml",
    run: async (context) => tell(context, await problemsFor(context, "bootc-kargs")),
  },
  {
    name: "build",
    severity: "fatal",
    looksFor: "anything else that `ashlar build` refuses",
    cure: "# the reason says what to change",
    run: async (context) => tell(context, await problemsFor(context, "build")),
  },
  {
    name: "login",
    severity: "warning",
    looksFor: "a program that lets people in: agetty or sshd",
    cure: APT("util-linux login"),
    run({ tree }) {
      const lets = LOGINS.some((path) => resolvePath(tree, path) !== undefined);
      // Where there is no system yet, others say so.
      const isSystem = resolvePath(tree, "usr/lib/systemd/systemd") !== undefined;
      return lets || !isSystem
        ? []
        : [{ reason: "neither agetty nor sshd is in the image: nobody can log in on the machine" }];
    },
  },
  {
    name: "fstab",
    severity: "warning",
    looksFor: "lines of /etc/fstab for /, /boot, /efi, /boot/efi and /var, which the build drops",
    cure: "RUN sed -i -E '\\,^[^#[:space:]]+[[:space:]]+/(boot|efi|boot/efi|var)?/?[[:space:]],d' /etc/fstab",
    async run(context) {
      const dropped = (await context.build()).notes.filter(({ code }) => code === "fstab");
      if (dropped.length === 0) return [];
      const paths = context.paths();
      paths.addShown("/etc/fstab");
      const lines = counted(dropped.length, "line");
      return [{ reason: `${lines} for mount points that Ashlar's units own; the build drops them`, paths }];
    },
  },
];
