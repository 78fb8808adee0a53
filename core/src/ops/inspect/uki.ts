/** PE images: UKIs, addons, stubs, boot loaders, kernels. */
import { toHex } from "../../bytes/index.ts";
import { authenticodeDigest, findSection, measureUki, openPe, type PeImage } from "../../formats/pe/index.ts";
import { type Digest, formatDigest } from "../../hash/index.ts";
import { readAll, type Source } from "../../source/index.ts";
import { rootHashOf } from "./command-line.ts";
import { type InitrdReport, inspectInitrd } from "./initrd.ts";
import {
  attempt,
  type Digester,
  digester,
  type InspectEnvironment,
  MAX_TEXT,
  type Problem,
  type SystemName,
  systemName,
  textOf,
} from "./parts.ts";

export interface SectionReport {
  readonly name: string;
  /** Bytes in memory; what the digest is over. */
  readonly virtualSize: number;
  /** Bytes in the file, with padding. */
  readonly rawSize: number;
  readonly rawOffset: number;
  readonly digest: Digest | null;
}

export interface PcrReport {
  readonly bank: string;
  /** Boot phases so far, joined by colons; empty for the value that the stub leaves. */
  readonly phase: string;
  readonly value: string;
}

export interface PeReport {
  /** `uki`: has a kernel and is more than that; `addon`: a command line or the like for one; `pe`: anything else. */
  readonly kind: "uki" | "addon" | "pe";
  readonly size: number;
  readonly digest: Digest | null;
  readonly architecture: string | null;
  /** What systemd's programs say that they are. */
  readonly program: { readonly name: string; readonly version: string } | null;
  /** Bytes of certificates; 0 for an image that is not signed. */
  readonly signatureSize: number;
  /** What a signature would be over. */
  readonly authenticode: Digest | null;
  readonly system: SystemName | null;
  readonly kernelVersion: string | null;
  readonly commandLine: string | null;
  /** From `roothash=`. */
  readonly rootHash: string | null;
  readonly sections: readonly SectionReport[];
  /** Values of PCR 11 that a machine will have; empty where they are not predicted. */
  readonly pcr11: readonly PcrReport[];
  readonly initrd: InitrdReport | null;
  readonly problems: readonly Problem[];
}

export interface InspectPeOptions {
  /** Also what takes its time: the initrd's archives, the whole file's digest, PCR values. */
  readonly deep: boolean;
  readonly digester?: Digester | undefined;
}

export async function inspectPe(
  source: Source,
  what: string,
  environment: InspectEnvironment,
  options: InspectPeOptions = { deep: true },
): Promise<PeReport> {
  const { signal } = environment;
  const problems: Problem[] = [];
  const image = await openPe(source, { signal });
  const budget = options.digester ?? digester(source.size, environment);
  const sections: SectionReport[] = [];
  for (const { name, virtualSize, rawSize, rawOffset, content } of image.sections)
    sections.push({
      name,
      virtualSize,
      rawSize,
      rawOffset,
      digest: (await attempt(problems, () => budget.digest(content))) ?? null,
    });
  const areHashed = problems.length === 0; // else the sections are larger than what may be hashed
  const textSection = async (name: string): Promise<string | null> => {
    const section = findSection(image, name);
    if (section === undefined) return null;
    return (await attempt(problems, () => textOf(section.content, `${what} ${name}`))) ?? null;
  };
  const osrel = findSection(image, ".osrel");
  const commandLine = await textSection(".cmdline");
  const initrd = findSection(image, ".initrd");
  const has = (name: string): boolean => findSection(image, name) !== undefined;
  return {
    kind: has(".linux") && has(".osrel") ? "uki" : !has(".linux") && has(".cmdline") ? "addon" : "pe",
    size: source.size,
    digest: (await attempt(problems, () => budget.digest(source))) ?? null,
    architecture: image.architecture ?? null,
    program: image.loaderInfo === undefined ? null : { name: image.loaderInfo.name, version: image.loaderInfo.version },
    signatureSize: image.directories[CERTIFICATES]?.size ?? 0,
    authenticode: options.deep ? await signedDigest(image, environment, problems) : null,
    system:
      osrel === undefined
        ? null
        : ((await attempt(problems, async () =>
            systemName(await readAll(osrel.content, MAX_TEXT, `${what} .osrel`)),
          )) ?? null),
    kernelVersion: await textSection(".uname"),
    commandLine,
    rootHash: commandLine === null ? null : rootHashOf(commandLine),
    sections,
    pcr11: options.deep && areHashed && has(".linux") ? await predict(image, environment, problems) : [],
    initrd:
      options.deep && initrd !== undefined
        ? ((await attempt(problems, () => inspectInitrd(initrd.content, environment, { digest: false }))) ?? null)
        : null,
    problems,
  };
}

async function signedDigest(
  image: PeImage,
  { hashes, signal }: InspectEnvironment,
  problems: Problem[],
): Promise<Digest | null> {
  const value = await attempt(problems, () => authenticodeDigest(image, hashes, "sha256", { signal }));
  return value === undefined ? null : formatDigest("sha256", value);
}

async function predict(
  { sections, loaderInfo }: PeImage,
  { hashes, signal }: InspectEnvironment,
  problems: Problem[],
): Promise<PcrReport[]> {
  if (loaderInfo === undefined) {
    problems.push({ code: "no-stub-version", message: "the stub does not say its version: PCR 11 is not predicted" });
    return [];
  }
  const stubVersion = loaderInfo.major;
  const values = await attempt(problems, () =>
    measureUki({ sections, algorithm: "sha256", stubVersion, hashes, signal }),
  );
  return (values ?? []).map(({ phase, value }): PcrReport => ({ bank: "sha256", phase, value: toHex(value) }));
}

/** Index of the certificate table among the data directories (PE format, "Optional Header Data Directories"). */
const CERTIFICATES = 4;
