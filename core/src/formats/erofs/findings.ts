/** What the check of an image reports. */
import type { Finding } from "../../errors/index.ts";

export interface ErofsFinding extends Finding {
  /** `error`: a reader fails, or gets something else than was meant. `warning`: readers do not mind. */
  readonly severity: "error" | "warning";
  /** Path inside the image, for people. */
  readonly path?: string | undefined;
  /** Bytes from the start of the image; of what stands in the metabox, from the start of that. */
  readonly offset?: number | undefined;
}

export type Report = (finding: ErofsFinding) => void;

type Place = Pick<ErofsFinding, "path" | "offset">;

export function failure(code: string, message: string, at: Place = {}): ErofsFinding {
  return { severity: "error", code, message, ...at };
}

export function warning(code: string, message: string, at: Place = {}): ErofsFinding {
  return { severity: "warning", code, message, ...at };
}
