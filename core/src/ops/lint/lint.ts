/** Says what is wrong with an image before it is built and booted: every lint over one tree, in one walk. */
import { walkTree } from "../../tree/index.ts";
import { type ClampOrigin, createContext, type LintInput, type LintOptions } from "./context.ts";
import type { Distribution } from "./cures.ts";
import { boundedLine, type Finding, type Found, type Lint, type NodeCheck, type Severity } from "./finding.ts";
import { LINTS } from "./table.ts";
import { newerThanClamp } from "./times.ts";

export interface LintReport {
  /** In the order of the table: the fatal ones first. */
  readonly findings: readonly Finding[];
  /** Names of the lints that found nothing. */
  readonly passed: readonly string[];
  readonly skipped: readonly string[];
  readonly clamp: {
    /** Nanoseconds since 1970. */
    readonly time: bigint;
    readonly origin: ClampOrigin;
    /** Names with a later time; the build gives them the clamp's. */
    readonly newer: number;
    /** Nanoseconds since 1970, of the whole tree. */
    readonly newest: bigint;
  };
  readonly distribution: Distribution;
}

/**
 * Looks for everything that the table has. The tree is not changed. Findings are no errors; errors are those of reading
 * the image's contents (IntegrityError, SourceError) and FormatError `too-deep`.
 */
export async function lintImage(input: LintInput, options: LintOptions = {}): Promise<LintReport> {
  const skipped = new Set(options.skip ?? []);
  for (const name of skipped)
    if (!LINTS.some((lint) => lint.name === name)) throw new RangeError(`no such lint: ${name}`);
  const context = await createContext(input, options);
  const active = LINTS.filter(({ name }) => !skipped.has(name));

  const checks = new Map<Lint, NodeCheck>();
  for (const lint of active) if ("start" in lint) checks.set(lint, lint.start(context));
  const visitors = [...checks.values()];
  const times = newerThanClamp(context.clamp);
  for (const visit of walkTree(input.tree)) {
    options.signal?.throwIfAborted();
    times.add(visit.node.mtime);
    for (const check of visitors) check.visit(visit);
  }

  const findings: Finding[] = [];
  const passed: string[] = [];
  for (const lint of active) {
    options.signal?.throwIfAborted();
    const found = "run" in lint ? await lint.run(context) : await checks.get(lint)?.end();
    const mine = [...(found ?? [])].map((one) => findingOf(lint, one));
    if (mine.length === 0) passed.push(lint.name);
    findings.push(...mine);
  }
  return {
    findings,
    passed,
    skipped: [...skipped],
    clamp: {
      time: context.clamp,
      origin: context.clampOrigin,
      newer: times.result().count,
      newest: times.result().newest,
    },
    distribution: context.distribution,
  };
}

function findingOf(lint: Lint, { reason, paths, code, cure, packages }: Found): Finding {
  const shown = paths?.shown ?? [];
  return {
    lint: lint.name,
    severity: lint.severity,
    code,
    reason: boundedLine(reason),
    paths: shown,
    morePaths: (paths?.count ?? 0) - shown.length,
    cure: cure ?? lint.cure,
    packages: packages ?? [],
  };
}

/** How many findings have this severity. */
export function countFindings({ findings }: Pick<LintReport, "findings">, severity: Severity): number {
  return findings.filter((finding) => finding.severity === severity).length;
}
