/** Other compression for some files: lines of a pattern, a method and, where one is given, a cluster size. */
import { PolicyError } from "../../errors/index.ts";
import { type Glob, parseGlob } from "../../tree/index.ts";

/** As it is written: the first line that matches a path decides. */
export interface HintLine {
  readonly glob: Glob;
  /** As `--compress` takes it. */
  readonly compress: string;
  /** Bytes. */
  readonly cluster: number | undefined;
}

/** A file is compared with each, and a release records them. */
const MAX_HINTS = 1000;
export const MAX_LINE_SIZE = 4096; // characters

/** Throws PolicyError `bad-hint`, `bad-pattern`. */
export function parseHints(lines: readonly string[]): readonly HintLine[] {
  if (lines.length > MAX_HINTS)
    throw new PolicyError("bad-hint", `there are ${lines.length} hints, more than ${MAX_HINTS}`, {
      expected: MAX_HINTS,
      actual: lines.length,
    });
  return lines.map((line) => {
    const [pattern = "", compress, cluster, ...rest] = line.trim().split(/\s+/);
    const size = /^(\d{1,7})([KM]?)$/i.exec(cluster ?? "4096");
    if (line.length > MAX_LINE_SIZE || compress === undefined || rest.length > 0 || size === null)
      throw new PolicyError(
        "bad-hint",
        `hint ${JSON.stringify(line.slice(0, 80))} is not a pattern, a method and at most a cluster size`,
      );
    const factor = { "": 1, K: 1024, M: 1024 ** 2 }[size[2]!.toUpperCase() as "" | "K" | "M"]; // the pattern admits only these
    return {
      glob: parseGlob(pattern),
      compress,
      cluster: cluster === undefined ? undefined : Number(size[1]) * factor,
    };
  });
}
