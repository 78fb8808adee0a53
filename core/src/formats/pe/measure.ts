/** PCR 11: what systemd-stub measures of a UKI, and what the boot phases add (systemd, docs/TPM2_PCR_MEASUREMENTS.md). */
import { encodeUtf8 } from "../../bytes/index.ts";
import { UnsupportedError } from "../../errors/index.ts";
import { DIGEST_SIZES, type HashAlgorithm, type Hashes } from "../../hash/index.ts";
import { chunksOf, type ReadOptions, type Source } from "../../source/index.ts";
import { MEASURED_SECTIONS } from "./sections.ts";

/** The paths that systemd-measure signs unless told otherwise; the empty one is the value that the stub leaves. */
export const PHASE_PATHS: readonly string[] = [
  "",
  "enter-initrd",
  "enter-initrd:leave-initrd",
  "enter-initrd:leave-initrd:sysinit",
  "enter-initrd:leave-initrd:sysinit:ready",
];

/** Sections of which one or none is used, by menu or by hardware. */
const CHOSEN_AT_BOOT: readonly string[] = [".profile", ".dtbauto", ".efifw"];

export interface MeasureOptions extends ReadOptions {
  readonly sections: readonly { readonly name: string; readonly content: Source }[];
  /** Of the PCR bank. */
  readonly algorithm: HashAlgorithm;
  /** Leading number of the stub's version (`PeImage.loaderInfo.major`): newer stubs measure more sections. */
  readonly stubVersion: number;
  readonly hashes: Hashes;
  /** Words joined by colons. Default: {@link PHASE_PATHS}. */
  readonly phases?: readonly string[];
}

export interface PcrValue {
  readonly phase: string;
  readonly value: Uint8Array;
}

/**
 * Values of PCR 11, one a phase. Names are measured with their NUL, contents in exactly their virtual size, phase
 * words without NUL.
 * Throws UnsupportedError `uki-choice` for a UKI that has several values, by what is chosen at boot.
 */
export async function measureUki(options: MeasureOptions): Promise<PcrValue[]> {
  const { sections, algorithm, hashes, stubVersion, phases = PHASE_PATHS } = options;
  const choice = sections.find(({ name }) => CHOSEN_AT_BOOT.includes(name));
  if (choice !== undefined)
    throw new UnsupportedError("uki-choice", `PCR 11 of a UKI with ${choice.name}: what is measured is chosen at boot`);
  let pcr: Uint8Array = new Uint8Array(DIGEST_SIZES[algorithm]);
  const extend = (value: Uint8Array, digest: Uint8Array): Uint8Array => {
    const hasher = hashes.create(algorithm);
    hasher.update(value);
    hasher.update(digest);
    return hasher.digest();
  };
  for (const { name, since } of MEASURED_SECTIONS) {
    const section = sections.find((candidate) => candidate.name === name);
    if (section === undefined || stubVersion < since) continue;
    pcr = extend(pcr, hashes.hash(algorithm, encodeUtf8(`${name}\0`)));
    const hasher = hashes.create(algorithm);
    for await (const chunk of chunksOf(section.content, options)) hasher.update(chunk);
    pcr = extend(pcr, hasher.digest());
  }
  return phases.map((phase) => {
    let value = pcr;
    for (const word of phase.split(":"))
      if (word !== "") value = extend(value, hashes.hash(algorithm, encodeUtf8(word)));
    return { phase, value };
  });
}
