/** An inspection as a tree of lines: what a thing is, then its parts. */
import type {
  DiskReport,
  ErofsReport,
  FatReport,
  ImageReport,
  InitrdReport,
  Inspection,
  PartitionReport,
  PeReport,
  Problem,
  ReleaseReport,
  SystemName,
  TreeReport,
  VerityReport,
} from "@ashlar/core/ops/inspect";
import { formatCount } from "./diff.ts";
import { formatBytes } from "./units.ts";

/** A line and what belongs to it. */
export interface Branch {
  readonly text: string;
  readonly below: readonly Branch[];
}

/** Items of one kind that are listed; `--json` has all. */
const MAX_LISTED = 100;

/** Lines with the branches drawn in front. */
export function* branchLines({ text, below }: Branch): Generator<string> {
  yield text;
  yield* belowLines(below, "");
}

function* belowLines(branches: readonly Branch[], prefix: string): Generator<string> {
  for (const [index, { text, below }] of branches.entries()) {
    const isLast = index === branches.length - 1;
    yield `${prefix}${isLast ? "└─ " : "├─ "}${text}`;
    yield* belowLines(below, `${prefix}${isLast ? "   " : "│  "}`);
  }
}

const leaf = (text: string): Branch => ({ text, below: [] });

/** `label: value`; nothing for a value that is not there. */
function fact(label: string, value: string | number | null | undefined): Branch[] {
  return value === null || value === undefined || value === "" ? [] : [leaf(`${label}: ${value}`)];
}

/** `1.23 MB (1 234 567 B)`: what people compare, and what they compute with. */
function exact(bytes: number): string {
  return bytes < 1000 ? `${bytes} B` : `${formatBytes(bytes)} (${formatCount(bytes)} B)`;
}

function bounded(branches: readonly Branch[]): Branch[] {
  if (branches.length <= MAX_LISTED) return [...branches];
  return [
    ...branches.slice(0, MAX_LISTED),
    leaf(`… and ${formatCount(branches.length - MAX_LISTED)} more (--json has all)`),
  ];
}

function problemBranches(problems: readonly Problem[]): Branch[] {
  return problems.map(({ message }) => leaf(`problem: ${message}`));
}

/** The whole as a tree. @param subject what was asked for */
export function inspectionTree(inspection: Inspection, subject: string): Branch {
  switch (inspection.kind) {
    case "oci-image":
      return imageTree(inspection, subject);
    case "tree":
      return { text: `${subject}: file tree`, below: treeFacts(inspection) };
    case "release":
      return releaseTree(inspection, subject);
    case "disk":
      return diskTree(inspection, subject);
    case "erofs":
      return { text: `${subject}: EROFS image, ${formatBytes(inspection.size)}`, below: erofsFacts(inspection) };
    case "verity":
      return { text: `${subject}: dm-verity hash device`, below: verityFacts(inspection) };
    case "uki":
    case "addon":
    case "pe":
      return {
        text: `${subject}: ${PE_NAMES[inspection.kind]}, ${formatBytes(inspection.size)}`,
        below: peFacts(inspection),
      };
    case "initrd":
      return { text: `${subject}: initrd, ${formatBytes(inspection.size)}`, below: initrdFacts(inspection) };
    case "fat":
      return { text: `${subject}: FAT volume, ${formatBytes(inspection.size)}`, below: fatFacts(inspection) };
  }
}

const PE_NAMES = { uki: "unified kernel image", addon: "addon for a unified kernel image", pe: "PE image" } as const;

function imageTree({ index, image, problems }: ImageReport, subject: string): Branch {
  const below: Branch[] = [];
  if (index !== null) {
    const platforms = index.platforms.map(({ platform, digest, size }) =>
      leaf(`${platform ?? "no platform"}: ${digest}, ${size} B`),
    );
    below.push(leaf(`media type: ${index.mediaType}`), leaf(`digest: ${index.digest}`));
    below.push({ text: `platforms: ${platforms.length}`, below: bounded(platforms) });
    below.push(...mapBranch("annotations", index.annotations));
  }
  if (image !== null) {
    const layers = image.layers.map(({ mediaType, digest, diffId, size }, number) => ({
      text: `layer ${number + 1}: ${formatBytes(size)}, ${mediaType}`,
      below: digest === diffId ? [leaf(`digest: ${digest}`)] : [leaf(`digest: ${digest}`), leaf(`diffID: ${diffId}`)],
    }));
    const facts = [
      ...fact("media type", image.mediaType),
      leaf(`digest: ${image.digest}`),
      leaf(`config: ${image.configDigest}`),
      leaf(`platform: ${image.platform}`),
      ...fact("created", image.created),
      ...mapBranch("labels", image.labels),
      ...mapBranch("annotations", image.annotations),
      {
        text: `layers: ${layers.length}, ${formatBytes(image.layersSize)} as stored`,
        below: bounded(layers),
      },
    ];
    if (index === null) below.push(...facts);
    else below.push({ text: `image for ${image.platform}`, below: facts });
  }
  below.push(...problemBranches(problems));
  return { text: `${subject}: OCI image${index === null ? "" : " index"}`, below };
}

function mapBranch(label: string, values: Readonly<Record<string, string>>): Branch[] {
  const entries = Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1));
  if (entries.length === 0) return [];
  return [{ text: label, below: bounded(entries.map(([key, value]) => leaf(`${key}: ${value}`))) }];
}

function storedBranch({ store, digest, subject, layers, runs }: NonNullable<ReleaseReport["stored"]>): Branch {
  return {
    text: `in ${store}`,
    below: [
      leaf(`manifest: ${digest}`),
      ...fact("refers to", subject ?? undefined),
      leaf(`recipe: ${formatCount(runs)} run${runs === 1 ? "" : "s"}`),
      {
        text: `blobs: ${exact(layers.reduce((sum, { size }) => sum + size, 0))}`,
        below: layers.map(({ mediaType, digest: blob, size, annotations }) => ({
          text: [mediaType, ...Object.values(annotations), exact(size)].join(", "),
          below: [leaf(`digest: ${blob}`)],
        })),
      },
    ],
  };
}

function releaseTree({ release, artifacts, stored }: ReleaseReport, subject: string): Branch {
  const { verity } = release;
  const states = { present: "", missing: ", MISSING", "other-size": ", of ANOTHER SIZE" } as const;
  return {
    text: `${subject}: release${release.imageId === undefined ? "" : ` ${release.imageId} ${release.imageVersion ?? ""}`}`,
    below: [
      leaf(`root hash: ${release.rootHash}`),
      ...fact("architecture", release.architecture),
      ...fact("kernel", release.kernelVersion),
      ...fact("command line", release.commandLine),
      leaf(
        `verity: ${verity.algorithm}, ${formatCount(verity.dataBlocks)} blocks of ${verity.dataBlockSize} B, salt ${verity.salt || "none"}`,
      ),
      leaf(`format version: ${release.formatVersion}`),
      { text: "made from", below: release.inputs.map(({ name, digest }) => leaf(`${name}: ${digest}`)) },
      {
        text: "options",
        below: Object.entries(release.options).map(([key, value]) =>
          leaf(`${key}: ${Array.isArray(value) ? value.join(" ") : value}`),
        ),
      },
      {
        text: "artifacts",
        below: artifacts.map(({ role, name, size, digest, state }) => ({
          text: `${name}: ${role}, ${exact(size)}${states[state]}`,
          below: [leaf(`digest: ${digest}`)],
        })),
      },
      ...(stored === null ? [] : [storedBranch(stored)]),
    ],
  };
}

function diskTree({ size, sectorSize, uuid, tables, partitions, esp, problems }: DiskReport, subject: string): Branch {
  const bad = Object.entries(tables).filter(([, isSound]) => !isSound);
  return {
    text: `${subject}: disk, ${formatBytes(size)}`,
    below: [
      leaf(
        `GPT: UUID ${uuid}, sectors of ${sectorSize} B${bad.length === 0 ? "" : `, ${bad.map(([name]) => name).join(" and ")} table damaged`}`,
      ),
      {
        text: `partitions: ${partitions.length}`,
        below: partitions.map((partition) => partitionBranch(partition, esp)),
      },
      ...problemBranches(problems),
    ],
  };
}

function partitionBranch(partition: PartitionReport, esp: FatReport | null): Branch {
  const { number, designator, architecture, label, uuid, size, use, holds, flags, content } = partition;
  const type = `${designator ?? partition.typeUuid}${architecture === null ? "" : ` (${architecture})`}`;
  const below = [leaf(`UUID: ${uuid}${flags.length === 0 ? "" : `, ${flags.join(", ")}`}`)];
  if (designator === "esp" && esp !== null) below.push(...fatFacts(esp));
  else if (content?.kind === "erofs")
    below.push({ text: `EROFS image, ${exact(content.size)}`, below: erofsFacts(content) });
  else if (content?.kind === "verity")
    below.push({ text: `hash device, ${exact(content.size)}`, below: verityFacts(content) });
  else if (holds !== "empty") below.push(leaf(`holds: ${holds}`));
  const name = label === "" ? "" : ` "${label}"`;
  return { text: `${number}: ${type}${name}, ${formatBytes(size)}${use === "" ? "" : `: ${use}`}`, below };
}

function systemFacts(system: SystemName | null): Branch[] {
  if (system === null) return [];
  const identity = system.imageId === null ? "" : `, image ${system.imageId} ${system.imageVersion ?? ""}`;
  return [leaf(`system: ${system.prettyName ?? system.id ?? "unnamed"}${identity}`)];
}

function countBranch(counts: ErofsReport["counts"], names: number, contentBytes: number): Branch {
  const types = Object.entries(counts).sort(([, a], [, b]) => b - a);
  const inodes = types.reduce((sum, [, count]) => sum + count, 0);
  return {
    text: `inodes: ${formatCount(inodes)}, ${formatCount(names)} names, ${formatBytes(contentBytes)} of content`,
    below: types.map(([type, count]) => leaf(`${type}: ${formatCount(count)}`)),
  };
}

function packageFacts({ count, managers }: ErofsReport["packages"]): Branch[] {
  return count === 0 ? [] : [leaf(`packages: ${formatCount(count)} (${managers.join(", ")})`)];
}

function treeFacts({
  digest,
  architecture,
  system,
  packages,
  counts,
  names,
  contentBytes,
  problems,
}: TreeReport): Branch[] {
  return [
    ...fact("digest", digest),
    ...fact("architecture", architecture),
    ...systemFacts(system),
    ...packageFacts(packages),
    countBranch(counts, names, contentBytes),
    ...problemBranches(problems),
  ];
}

function erofsFacts(report: ErofsReport): Branch[] {
  const { superblock, counts, names, contentBytes, space, system, packages, digest, problems } = report;
  return [
    ...fact("digest", digest),
    ...systemFacts(system),
    ...packageFacts(packages),
    leaf(
      `superblock: ${formatCount(superblock.blockCount)} blocks of ${superblock.blockSize} B, UUID ${superblock.uuid}${superblock.volumeName === "" ? "" : `, name ${superblock.volumeName}`}`,
    ),
    leaf(`features: ${superblock.features.join(", ") || "none"}`),
    countBranch(counts, names, contentBytes),
    { text: "space", below: space.map(({ kind, bytes }) => leaf(`${kind}: ${exact(bytes)}`)) },
    ...problemBranches(problems),
  ];
}

function verityFacts(report: VerityReport): Branch[] {
  const { rootHash, algorithm, dataBlocks, dataBlockSize, hashBlockSize, dataSize, levels, size, digest } = report;
  return [
    leaf(rootHash === null ? "root hash: not in the device" : `root hash: ${rootHash} (from the top of the tree)`),
    ...fact("digest", digest),
    leaf(`data: ${formatCount(dataBlocks)} blocks of ${dataBlockSize} B, ${formatBytes(dataSize)}`),
    leaf(
      `tree: ${algorithm}, levels of ${levels.map(formatCount).join(", ") || "no"} blocks of ${hashBlockSize} B, ${exact(size)}`,
    ),
    leaf(`salt: ${report.salt || "none"}`),
    leaf(`UUID: ${report.uuid}`),
    ...problemBranches(report.problems),
  ];
}

function peFacts(report: PeReport): Branch[] {
  const { program, sections, pcr11, initrd } = report;
  return [
    ...fact("digest", report.digest),
    ...fact("architecture", report.architecture),
    ...(program === null ? [] : [leaf(`program: ${program.name} ${program.version}`)]),
    ...systemFacts(report.system),
    ...fact("kernel", report.kernelVersion),
    ...fact("command line", report.commandLine),
    ...fact("root hash", report.rootHash),
    leaf(report.signatureSize === 0 ? "not signed" : `signed: ${report.signatureSize} B of certificates`),
    ...fact("authenticode", report.authenticode),
    {
      text: `sections: ${sections.length}`,
      below: bounded(
        sections.map(({ name, virtualSize, digest }) =>
          leaf(`${name || "(no name)"}: ${exact(virtualSize)}${digest === null ? "" : `, ${digest}`}`),
        ),
      ),
    },
    ...(pcr11.length === 0
      ? []
      : [
          {
            text: `PCR 11 (${pcr11[0]?.bank ?? ""})`,
            below: pcr11.map(({ phase, value }) => leaf(`${phase || "(stub)"}: ${value}`)),
          },
        ]),
    ...(initrd === null ? [] : [{ text: `initrd, ${formatBytes(initrd.size)}`, below: initrdFacts(initrd) }]),
    ...problemBranches(report.problems),
  ];
}

function initrdFacts({ digest, parts, entries, files, contentBytes, biggest, init, problems }: InitrdReport): Branch[] {
  return [
    ...fact("digest", digest),
    {
      text: `archives: ${parts.length}`,
      below: parts.map(({ offset, size, compression, uncompressedSize, entries }) => {
        const packed =
          compression === "none"
            ? ""
            : `, ${compression}${uncompressedSize === null ? "" : ` of ${formatBytes(uncompressedSize)}`}`;
        return leaf(
          `at ${formatCount(offset)}: ${formatBytes(size)}${packed}${entries === null ? ", not read" : `, ${formatCount(entries)} entries`}`,
        );
      }),
    },
    leaf(`entries: ${formatCount(entries)}, ${formatCount(files)} files, ${formatBytes(contentBytes)}`),
    leaf(init === null ? "/init: missing" : `/init: ${init}`),
    { text: "biggest files", below: biggest.map(({ path, size }) => leaf(`${path}: ${formatBytes(size)}`)) },
    ...problemBranches(problems),
  ];
}

function fatFacts({ label, volumeId, clusterSize, usedBytes, files, ukis, problems }: FatReport): Branch[] {
  return [
    leaf(
      `FAT32${label === null ? "" : ` "${label}"`}, id ${volumeId}, clusters of ${clusterSize} B, ${formatBytes(usedBytes)} used`,
    ),
    {
      text: `files: ${files.length}`,
      below: bounded(
        files.map(({ path, size, digest }) => leaf(`${path}: ${exact(size)}${digest === null ? "" : `, ${digest}`}`)),
      ),
    },
    ...ukis.map((uki) => ({ text: `${uki.path}: ${PE_NAMES[uki.kind]}`, below: peFacts(uki) })),
    ...problemBranches(problems),
  ];
}
