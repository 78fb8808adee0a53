/**
 * What firmware, boot loader and stub left in EFI variables, as efivarfs shows them: four bytes of attributes, then the
 * value. Spec: UEFI 2.10 section 3.3; the Boot Loader Interface of systemd.
 */

/** Vendor of the variables that the boot loader and the stub set. */
export const LOADER_VENDOR = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/** EFI_GLOBAL_VARIABLE */
export const GLOBAL_VENDOR = "8be4df61-93ca-11d2-aa0d-00e098032b8c";

/** Bytes. */
const ATTRIBUTES_SIZE = 4;
/** Bytes of a variable that is read here; longer ones are none of these. */
export const MAX_EFI_VARIABLE = 4096;

export interface LoaderFacts {
  /** `systemd-boot 257.8`; undefined where another loader started the kernel, or none. */
  readonly loader: string | undefined;
  /** `systemd-stub 257.8` */
  readonly stub: string | undefined;
  /** File name of the entry that was booted, with its counter as it was then. */
  readonly selectedEntry: string | undefined;
  /** Set while the tries of the booted entry are counted. */
  readonly bootCountPath: string | undefined;
  /** Undefined where there is no EFI, or its variables are not to be seen. */
  readonly secureBoot: boolean | undefined;
}

/** Undefined where there is no variable of that name. */
export type ReadEfiVariable = (name: string, vendor: string) => Promise<Uint8Array | undefined>;

/** UTF-16, up to the first zero; undefined for what is no text. */
export function efiText(variable: Uint8Array | undefined): string | undefined {
  if (variable === undefined || variable.length < ATTRIBUTES_SIZE || variable.length > MAX_EFI_VARIABLE)
    return undefined;
  const value = variable.subarray(ATTRIBUTES_SIZE);
  const view = new DataView(value.buffer, value.byteOffset, value.length);
  let text = "";
  for (let at = 0; at + 2 <= value.length; at += 2) {
    const unit = view.getUint16(at, true);
    if (unit === 0) break;
    text += String.fromCharCode(unit);
  }
  return text === "" || !text.isWellFormed() ? undefined : text;
}

/** A variable of one byte. */
export function efiFlag(variable: Uint8Array | undefined): boolean | undefined {
  return variable?.length === ATTRIBUTES_SIZE + 1 ? variable[ATTRIBUTES_SIZE] === 1 : undefined;
}

/** A firmware that sets other variables, and not this one, has no Secure Boot, as the kernel reads it too. */
async function secureBoot(read: ReadEfiVariable): Promise<boolean | undefined> {
  const flag = efiFlag(await read("SecureBoot", GLOBAL_VENDOR));
  if (flag !== undefined) return flag;
  return (await read("BootCurrent", GLOBAL_VENDOR)) === undefined ? undefined : false;
}

export async function readLoaderFacts(read: ReadEfiVariable): Promise<LoaderFacts> {
  const text = async (name: string) => efiText(await read(name, LOADER_VENDOR));
  return {
    loader: await text("LoaderInfo"),
    stub: await text("StubInfo"),
    selectedEntry: await text("LoaderEntrySelected"),
    bootCountPath: await text("LoaderBootCountPath"),
    secureBoot: await secureBoot(read),
  };
}
