/**
 * The kernel's own word on what it verifies: a dm-verity line of the device-mapper table.
 * Spec: Documentation/admin-guide/device-mapper/verity.rst, "Construction Parameters".
 */
import { oneLine } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";

export interface VerityTable {
  /** Device numbers of the partition with the data, `MAJOR:MINOR`. */
  readonly dataDevice: string;
  readonly hashDevice: string;
  /** Blocks of the data that the hash tree is for. */
  readonly dataBlocks: number;
  readonly algorithm: string;
  /** Lower-case hexadecimal. */
  readonly rootHash: string;
}

/** Words before the optional ones: version, two devices, two block sizes, two places, algorithm, root hash, salt. */
const FIXED_WORDS = 10;

/** @param parameters what stands behind `verity` in the table. Throws FormatError `bad-verity-table`. */
export function parseVerityTable(parameters: string): VerityTable {
  const words = parameters.trim().split(/\s+/);
  const [, dataDevice = "", hashDevice = "", , , blocks = "", , algorithm = "", rootHash = ""] = words;
  const isDevice = (word: string) => /^\d+:\d+$/.test(word);
  const dataBlocks = Number(blocks);
  if (
    words.length < FIXED_WORDS ||
    !isDevice(dataDevice) ||
    !isDevice(hashDevice) ||
    !Number.isSafeInteger(dataBlocks) ||
    !/^([0-9a-f]{2})+$/.test(rootHash)
  )
    throw new FormatError("bad-verity-table", `the kernel's verity table reads ${JSON.stringify(oneLine(parameters))}`);
  return { dataDevice, hashDevice, dataBlocks, algorithm, rootHash };
}
