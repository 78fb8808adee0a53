/** When an image was made, by its configuration. */
import type { ImageConfig } from "../../formats/oci/index.ts";

/** Nanoseconds since 1970; undefined where the configuration says none or no time. */
export function createdOf({ created }: Pick<ImageConfig, "created">): bigint | undefined {
  if (created === undefined) return undefined;
  const match = /^(.*?)(?:\.(\d{1,9})\d*)?(Z|[+-]\d{2}:\d{2})$/.exec(created);
  if (match === null) return undefined;
  const [, whole, fraction = "", zone] = match as unknown as [string, string, string | undefined, string];
  const milliseconds = Date.parse(`${whole}${zone}`);
  return Number.isNaN(milliseconds)
    ? undefined
    : BigInt(milliseconds) * 1_000_000n + BigInt(fraction.padEnd(9, "0").slice(0, 9));
}
