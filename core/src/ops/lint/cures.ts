/** Lines for a Containerfile that install what is missing, in the words of the image's own distribution. */

/** What os-release says about who made the image, as far as cures depend on it. */
export interface Distribution {
  /** The package manager's family; undefined where it is not known. */
  readonly family: "debian" | "fedora" | undefined;
  readonly id: string;
  /** VERSION_ID as a number; NaN where there is none, as in Debian sid. */
  readonly version: number;
}

const FEDORA_KIN = ["fedora", "rhel", "centos", "almalinux", "rocky", "ol", "amzn"];

/** @param values os-release(5), empty where the image has none. */
export function distributionOf(values: ReadonlyMap<string, string>): Distribution {
  const id = values.get("ID") ?? "";
  const names = [id, ...(values.get("ID_LIKE") ?? "").split(" ")];
  const family = names.some((name) => name === "debian" || name === "ubuntu")
    ? "debian"
    : names.some((name) => FEDORA_KIN.includes(name))
      ? "fedora"
      : undefined;
  return { family, id, version: Number.parseFloat(values.get("VERSION_ID") ?? "") };
}

/** One thing under the names that distributions give its package, or its packages with a space between them. */
export interface PackageNames {
  /** `new or old`: since Debian 13 and Ubuntu 25.04 the first of them has it. */
  readonly debian: string;
  readonly fedora: string;
}

function debianPackage(names: string, { id, version }: Distribution): string {
  const [newer, older] = names.split(" or ");
  const isOld = version < (id === "ubuntu" ? 25 : 13); // false for sid, which has no version
  return isOld ? (older ?? newer!) : newer!; // a split gives one piece at least
}

/** The packages by the names that the image's own package manager knows; none where we do not know the manager. */
export function packagesFor(wanted: readonly PackageNames[], distribution: Distribution): string[] {
  const { family } = distribution;
  if (family === undefined) return [];
  const name = (names: PackageNames) =>
    family === "debian" ? debianPackage(names.debian, distribution) : names.fedora;
  return unique(wanted.flatMap((names) => name(names).split(" ")));
}

const APT = "RUN apt-get update && apt-get install -y --no-install-recommends";
const APT_END = "&& apt-get clean && rm -rf /var/lib/apt/lists/*";

/** The line that installs these; both families' where the image does not say which it is. */
export function installLine(wanted: readonly PackageNames[], distribution: Distribution): string {
  const packages = (known: Distribution) => packagesFor(wanted, known).join(" ");
  const lines = {
    debian: (known: Distribution) => `${APT} ${packages(known)} ${APT_END}`,
    fedora: (known: Distribution) => `RUN dnf install -y ${packages(known)} && dnf clean all`,
  };
  if (distribution.family !== undefined) return lines[distribution.family](distribution);
  return [
    `# Debian: ${lines.debian({ family: "debian", id: "debian", version: Number.NaN })}`,
    `# Fedora: ${lines.fedora({ family: "fedora", id: "fedora", version: Number.NaN })}`,
  ].join("\n");
}

/** The line that installs what several findings ask for. */
export function installPackagesLine(packages: readonly string[], { family }: Pick<Distribution, "family">): string {
  return family === "fedora"
    ? `RUN dnf install -y ${packages.join(" ")} && dnf clean all`
    : `${APT} ${packages.join(" ")} ${APT_END}`;
}

export function unique<T>(list: Iterable<T>): T[] {
  return [...new Set(list)];
}
