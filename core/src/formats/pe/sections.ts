/** The sections of a UKI: their names, their order in the file, their order in PCR 11. */
import { FormatError } from "../../errors/index.ts";

/**
 * Order in the file and in memory. Nothing reads sections by position, so any order would boot; this one puts
 * 1. what is small and changes with every release first, packed closely;
 * 2. `.initrd` and `.linux` last, each from a 4 KiB boundary of the file, where updates find their blocks again;
 * 3. `.linux` at the very end: kernels that are started in place through the old EFI handover protocol (x86, before
 *    5.8) unpack over what stands behind them in memory. ukify keeps to the same rule.
 * Sections unknown here go between the small and the big ones, in the order given.
 */
const FILE_ORDER = [
  ".osrel",
  ".cmdline",
  ".uname",
  ".sbat",
  ".pcrpkey",
  ".pcrsig",
  ".hwids",
  ".dtb",
  ".dtbauto",
  ".splash",
  undefined, // the rest
  ".efifw",
  ".ucode",
  ".initrd",
  ".linux",
] as const;

/** Sections that may be there more than once (UAPI.5). */
const REPEATABLE: readonly string[] = [".dtbauto", ".efifw"];

interface Named {
  readonly name: string;
}

/**
 * Sections of the base in {@link FILE_ORDER}; from the first `.profile` on as given, since profiles are told by position.
 * Throws FormatError `uki-section` for a name that is too long, empty or there twice.
 */
export function orderSections<S extends Named>(sections: readonly S[]): S[] {
  const profiles = sections.findIndex(({ name }) => name === ".profile");
  const base = profiles < 0 ? sections : sections.slice(0, profiles);
  const seen = new Set<string>();
  for (const { name } of sections)
    if (!/^[\x21-\x7e]{1,8}$/.test(name))
      throw new FormatError("uki-section", `UKI section ${JSON.stringify(name)}: names have 1 to 8 ASCII characters`);
  for (const { name } of base) {
    if (seen.has(name) && !REPEATABLE.includes(name))
      throw new FormatError("uki-section", `UKI section ${name} is there twice`);
    seen.add(name);
  }
  const rest = FILE_ORDER.indexOf(undefined);
  const rank = ({ name }: S): number => {
    const known = (FILE_ORDER as readonly (string | undefined)[]).indexOf(name);
    return known < 0 ? rest : known;
  };
  const sorted = base.toSorted((a, b) => rank(a) - rank(b)); // stable
  return profiles < 0 ? sorted : [...sorted, ...sections.slice(profiles)];
}

/**
 * Order of measurement into PCR 11, and the first version of systemd-stub that measures the section
 * (systemd, src/fundamental/uki.h: entries are only ever added, though not always at the end). `.pcrsig` is never measured:
 * it signs the result. Sections that are chosen at boot are left out (measure.ts).
 */
export const MEASURED_SECTIONS: readonly { readonly name: string; readonly since: number }[] = [
  { name: ".linux", since: 252 },
  { name: ".osrel", since: 252 },
  { name: ".cmdline", since: 252 },
  { name: ".initrd", since: 252 },
  { name: ".ucode", since: 256 },
  { name: ".splash", since: 252 },
  { name: ".dtb", since: 252 },
  { name: ".uname", since: 254 },
  { name: ".sbat", since: 255 },
  { name: ".pcrpkey", since: 252 },
  { name: ".hwids", since: 257 },
];
