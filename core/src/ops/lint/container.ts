/** bootc's lints under their own names, as far as what they ask for matters here too (docs/lint.md lists the others). */
import { type ByteString, byteString, bytesOf, decodeUtf8Strict } from "../../bytes/index.ts";
import {
  type Directory,
  getNode,
  joinPath,
  type Node,
  resolvePath,
  sortedEntries,
  walkTree,
} from "../../tree/index.ts";
import type { LintContext } from "./context.ts";
import { counted, type Found, type Lint, type PathList } from "./finding.ts";

const SMALL_FILE = 64 * 1024; // bytes of a text file that is looked into

/** Everything at and below `path` that is no directory, in canonical order. */
function filesBelow(tree: Directory, path: string): { readonly path: ByteString; readonly node: Node }[] {
  const top = getNode(tree, path);
  if (top?.type !== "directory") return [];
  const files: { path: ByteString; node: Node }[] = [];
  for (const visit of walkTree(top))
    if (visit.node.type !== "directory")
      files.push({ path: joinPath(path as ByteString, visit.path), node: visit.node });
  return files;
}

/** `L+ /etc/resolv.conf` of tmpfiles.d(5) puts a link in the place of whatever is there. */
async function isReplacedAtBoot(context: LintContext, path: string): Promise<boolean> {
  for (const folder of ["usr/lib/tmpfiles.d", "etc/tmpfiles.d"]) {
    const found = resolvePath(context.tree, folder);
    if (found?.node.type !== "directory") continue;
    for (const name of found.node.entries.keys()) {
      const bytes = name.endsWith(".conf") ? await context.read(`${folder}/${name}`, SMALL_FILE) : undefined;
      if (bytes === undefined) continue;
      for (const line of byteString(bytes).split("\n")) {
        const [type = "", target] = line.trim().split(/\s+/);
        if (target === path && /^L[=!^-]*\+/.test(type)) return true;
      }
    }
  }
  return false;
}

export const RESOLV_CURE =
  "RUN echo 'L+ /etc/resolv.conf - - - - ../run/systemd/resolve/stub-resolv.conf' > /usr/lib/tmpfiles.d/resolv.conf";
export const HOSTNAME_CURE = "COPY <<EOF /etc/hostname\nmy-machine\nEOF";

async function engineFile(context: LintContext, path: string, test: (text: string) => string | undefined) {
  const node = getNode(context.tree, path);
  if (node?.type !== "file" || (await isReplacedAtBoot(context, `/${path}`))) return undefined;
  const bytes = await context.read(path, SMALL_FILE);
  return bytes === undefined ? undefined : test(byteString(bytes));
}

function found(context: LintContext, path: string, reason: string, cure?: string): Found {
  const paths = context.paths();
  paths.add(path as ByteString);
  return { reason, paths, cure };
}

/** What the kernel and its kin are called in /boot; the build takes them from there. */
const KERNEL_FILES = /^(vmlinuz|config|System\.map)-./;
/** Have a lint of their own. */
const INITRD_FILES = /^(initrd|initramfs)/;

function bootLeftovers(tree: Directory, paths: PathList): void {
  for (const folder of ["boot", "efi"]) {
    const node = getNode(tree, folder);
    if (node?.type !== "directory") continue;
    for (const [name] of sortedEntries(node)) {
      const isKnown = folder === "boot" && (name === "EFI" || KERNEL_FILES.test(name) || INITRD_FILES.test(name));
      if (!isKnown) paths.add(joinPath(folder as ByteString, name));
    }
  }
}

/** Container engines put their names server's file there; no line of a Containerfile can take it out (bootc#2050). */
const RESOLVER_STUB = "run/systemd/resolve/stub-resolv.conf";

/** A container's short or long id, and BuildKit's own. */
const CONTAINER_NAME = /^([0-9a-f]{12}|[0-9a-f]{64}|buildkitsandbox)$/;
const ENGINE_HOSTS =
  /buildkitsandbox|host\.docker\.internal|host\.containers\.internal|^[0-9a-f.:]+\s+[0-9a-f]{12}\s*$/m;

export const CONTAINER_LINTS: readonly Lint[] = [
  {
    name: "buildah-injected",
    severity: "warning",
    looksFor: "empty /etc/hostname and /etc/resolv.conf, which container engines leave behind",
    cure: `${RESOLV_CURE}\n${HOSTNAME_CURE}`,
    async run(context) {
      const findings: Found[] = [];
      const isEmpty = (text: string) => (text === "" ? "is an empty file that a container engine left" : undefined);
      const hostname = await engineFile(context, "etc/hostname", isEmpty);
      if (hostname !== undefined)
        findings.push(found(context, "etc/hostname", `/etc/hostname ${hostname}`, HOSTNAME_CURE));
      const resolv = await engineFile(context, "etc/resolv.conf", isEmpty);
      if (resolv !== undefined)
        findings.push(
          found(
            context,
            "etc/resolv.conf",
            `/etc/resolv.conf ${resolv}: it keeps systemd from making its link`,
            RESOLV_CURE,
          ),
        );
      return findings;
    },
  },
  {
    name: "etc-usretc",
    severity: "fatal",
    looksFor: "/usr/etc: defaults there are ostree's way and never become /etc here",
    cure: "RUN cp -a /usr/etc/. /etc/ && rm -rf /usr/etc",
    run(context) {
      const usrEtc = getNode(context.tree, "usr/etc");
      if (usrEtc === undefined || (usrEtc.type === "directory" && usrEtc.entries.size === 0)) return [];
      const etc = getNode(context.tree, "etc");
      const isOnly = etc === undefined || (etc.type === "directory" && etc.entries.size === 0);
      return [
        found(
          context,
          "usr/etc",
          isOnly
            ? "the defaults stand in /usr/etc and /etc is empty"
            : "/etc and /usr/etc both exist; only /etc counts",
        ),
      ];
    },
  },
  {
    name: "nonempty-boot",
    severity: "warning",
    looksFor: "content of /boot and /efi besides kernels: the build drops it",
    cure: "RUN find /boot /efi -mindepth 1 -maxdepth 1 ! -name 'vmlinuz-*' ! -name 'config-*' -exec rm -rf {} +",
    run(context) {
      const paths = context.paths();
      bootLeftovers(context.tree, paths);
      return paths.count === 0
        ? []
        : [{ reason: "the machine mounts its EFI system partition over this; the build drops it", paths }];
    },
  },
  {
    name: "nonempty-run-tmp",
    severity: "warning",
    looksFor: "files in /run and /tmp, which are memory on a machine: the build drops them",
    cure: "RUN find /run /tmp -xdev -mindepth 1 -delete || true\n# or keep it out from the start: RUN --mount=type=tmpfs,target=/tmp make install",
    run(context) {
      const paths = context.paths();
      for (const folder of ["run", "tmp"])
        for (const { path } of filesBelow(context.tree, folder)) if (path !== RESOLVER_STUB) paths.add(path);
      return paths.count === 0
        ? []
        : [
            {
              reason: `${counted(paths.count, "file")} that no machine will see; the build drops them`,
              paths,
              cure: "RUN find /run /tmp -xdev -mindepth 1 -delete || true",
            },
          ];
    },
  },
  {
    name: "utf8",
    severity: "warning",
    looksFor: "names and link targets that are not UTF-8 (bootc: fatal, since ostree cannot hold them; EROFS can)",
    cure: "RUN find / -xdev | LC_ALL=C.UTF-8 grep -avx '.*' | xargs -d '\\n' -r rm -rf",
    start(context) {
      const paths = context.paths();
      const isText = (text: ByteString) => decodeUtf8Strict(bytesOf(text)) !== undefined;
      return {
        visit({ path, node }) {
          const name = path.slice(path.lastIndexOf("/") + 1) as ByteString;
          if (!isAscii(name) && !isText(name)) paths.add(path);
          else if (node.type === "symlink" && !isAscii(node.target) && !isText(node.target)) paths.add(path);
        },
        end: () =>
          paths.count === 0
            ? []
            : [{ reason: `${counted(paths.count, "name or target is", "names or targets are")} not UTF-8`, paths }],
      };
    },
  },
  {
    name: "var-log",
    severity: "warning",
    looksFor: "logs of the build in /var/log, lastlog and the journal among them",
    cure: "RUN find /var/log -type f -delete",
    run(context) {
      const paths = context.paths();
      for (const { path, node } of filesBelow(context.tree, "var/log"))
        if (node.type === "file" && node.content.size > 0) paths.add(path);
      return paths.count === 0
        ? []
        : [
            {
              reason: `${counted(paths.count, "log")} of the build: other times in each build, and of no use on a machine`,
              paths,
            },
          ];
    },
  },
  {
    name: "var-run",
    severity: "fatal",
    looksFor: "/var/run as anything but a link to /run",
    cure: "RUN rm -rf /var/run && ln -s ../run /var/run",
    run(context) {
      const node = getNode(context.tree, "var/run");
      if (node === undefined || node.type === "symlink") return [];
      return [
        found(
          context,
          "var/run",
          `/var/run is a ${node.type}: what programs write there outlives a reboot and is not in /run`,
        ),
      ];
    },
  },
  {
    name: "container-files",
    severity: "warning",
    looksFor: "/etc/hostname, /etc/hosts and /etc/resolv.conf of the build, .dockerenv and .containerenv",
    cure: `RUN rm -f /.dockerenv /run/.containerenv\n${RESOLV_CURE}\n${HOSTNAME_CURE}`,
    async run(context) {
      const findings: Found[] = [];
      const resolv = await engineFile(context, "etc/resolv.conf", (text) =>
        /^\s*nameserver\s/m.test(text) ? "name servers of the place where the image was built" : undefined,
      );
      if (resolv !== undefined) findings.push(found(context, "etc/resolv.conf", resolv, RESOLV_CURE));
      const hostname = await engineFile(context, "etc/hostname", (text) => {
        if (CONTAINER_NAME.test(text.trim()))
          return "the name of a container: each build has another, all machines would have this one";
        // debootstrap and its kin copy both files from the machine that they run on.
        return text.trim() !== "" && resolv !== undefined
          ? "the name of the machine where the image was built"
          : undefined;
      });
      if (hostname !== undefined) findings.push(found(context, "etc/hostname", hostname, HOSTNAME_CURE));
      const hosts = await engineFile(context, "etc/hosts", (text) =>
        ENGINE_HOSTS.test(text) ? "addresses of the container that built the image" : undefined,
      );
      if (hosts !== undefined)
        findings.push(
          found(context, "etc/hosts", hosts, "COPY <<EOF /etc/hosts\n127.0.0.1 localhost\n::1 localhost\nEOF"),
        );
      for (const path of [".dockerenv", "run/.containerenv", ".containerenv"])
        if (getNode(context.tree, path) !== undefined)
          findings.push(
            found(context, path, "makes programs believe that they run in a container", `RUN rm -f /${path}`),
          );
      return findings;
    },
  },
  {
    name: "dropped-content",
    severity: "warning",
    looksFor: "files in /dev, /proc and /sys, which the build drops",
    cure: "RUN find /dev -xdev -type f -delete",
    run(context) {
      const paths = context.paths();
      for (const folder of ["dev", "proc", "sys"])
        for (const { path, node } of filesBelow(context.tree, folder)) if (node.type === "file") paths.add(path);
      return paths.count === 0 ? [] : [{ reason: "the kernel mounts its own over this; the build drops it", paths }];
    },
  },
];

function isAscii(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return false;
  return true;
}
