/** What a machine is, as its kernel and firmware say; plain values that a host gathers. */
import type { LoaderFacts } from "./efi-variables.ts";

/** The sealed root that is mounted on `/`. */
export interface RunningRoot {
  /** Lower-case hexadecimal. */
  readonly rootHash: string;
  /**
   * `kernel`: of the table that dm-verity checks by, the only one that counts for changes. `command-line`: what was asked
   * for at the boot; all that somebody without privileges sees.
   */
  readonly from: "kernel" | "command-line";
  /** Whether a block has failed its check since the boot; undefined where the kernel does not tell. */
  readonly corrupted: boolean | undefined;
  /** The partition that holds the data, as `8:2`; undefined where the table is not to be seen. */
  readonly dataDevice: string | undefined;
  /** Path of the disk with that partition. */
  readonly disk: string | undefined;
  /**
   * Path of the disk with the hash tree, where that is another one: with two copies of one disk attached the kernel may have taken a
   * partition of each, and a change of either would be half of a change.
   */
  readonly otherDisk?: string | undefined;
}

export interface MachineFacts {
  /** OCI's name, such as `amd64`. */
  readonly architecture: string;
  /** Undefined on a machine that does not run from a sealed root. */
  readonly root: RunningRoot | undefined;
  /** Of the os-release of what runs. */
  readonly imageId: string | undefined;
  readonly imageVersion: string | undefined;
  readonly loader: LoaderFacts;
  readonly machineId: string | undefined;
  /** Another one at every boot. */
  readonly bootId: string;
  /** Seconds since the boot. */
  readonly uptime: number;
  /** When what runs was made, in milliseconds since 1970: it is later than that for certain. */
  readonly builtAt: number;
  /** Of the program. */
  readonly agentVersion: string;
}

/** Milliseconds since 1970. A clock that has lost count is not believed below what has passed for certain. */
export function believedTime(clock: number, { builtAt }: Pick<MachineFacts, "builtAt">): number {
  return Math.max(clock, builtAt);
}
