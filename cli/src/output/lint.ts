/** What `ashlar lint` found, as people read it and as programs do. */
import {
  countFindings,
  type Finding,
  installPackagesLine,
  LINTS,
  type LintReport,
  showTime,
} from "@ashlar/core/ops/lint";

export const LINT_SCHEMA = "ashlar.lint/v1";
const LIST_SCHEMA = "ashlar.lints/v1";
/** Paths of a finding that are shown; the rest is counted. */
const SHOWN_PATHS = 5;

export interface LintSubject {
  readonly name: string;
  readonly architecture: string | undefined;
  /** Nanoseconds since 1970. */
  readonly created: bigint | undefined;
}

const plural = (count: number, one: string, many = `${one}s`): string => `${count} ${count === 1 ? one : many}`;

function* pathLines({ paths, morePaths }: Finding, all: boolean): Generator<string> {
  const shown = all ? paths : paths.slice(0, SHOWN_PATHS);
  for (const path of shown) yield `      ${path}`;
  const rest = paths.length - shown.length + morePaths;
  if (rest > 0) yield `      … and ${rest} more`;
}

function* findingLines(finding: Finding, all: boolean): Generator<string> {
  yield `  ${finding.lint}: ${finding.reason}`;
  // A single path that the reason names already is not said twice.
  if (finding.paths.length !== 1 || finding.morePaths > 0 || !finding.reason.includes(finding.paths[0]!))
    yield* pathLines(finding, all);
  for (const line of finding.cure.split("\n")) yield `    ${line}`;
  yield "";
}

const TITLES = {
  fatal: "FATAL: it cannot be built, or the machine will not work",
  warning: "WARNINGS: it is not reproducible, gives something away or carries what is of no use",
} as const;

export function* lintLines(
  report: LintReport,
  { name, architecture, created }: LintSubject,
  all: boolean,
): Generator<string> {
  const facts = [
    architecture ?? "architecture unknown",
    created === undefined ? "no creation time" : `created ${showTime(created)}`,
  ];
  yield `${name} (${facts.join(", ")})`;
  yield "";
  for (const severity of ["fatal", "warning"] as const) {
    const findings = report.findings.filter((finding) => finding.severity === severity);
    if (findings.length === 0) continue;
    yield TITLES[severity];
    yield "";
    for (const finding of findings) yield* findingLines(finding, all);
    const sources = findings.filter(({ packages }) => packages.length > 0);
    if (sources.length > 1) {
      yield "  All of these packages in one line:";
      const packages = [...new Set(sources.flatMap((finding) => finding.packages))];
      yield `    ${installPackagesLine(packages, report.distribution)}`;
      yield "";
    }
  }
  const { clamp } = report;
  if (clamp.origin === "given" && clamp.newer > 0)
    yield `${plural(clamp.newer, "name is", "names are")} newer than the given clamp, ${showTime(clamp.time)}, and will get its time`;
  yield summary(report);
}

/** The last line. */
function summary(report: LintReport): string {
  const parts = [
    `${countFindings(report, "fatal")} fatal`,
    plural(countFindings(report, "warning"), "warning"),
    plural(report.passed.length, "lint found nothing", "lints found nothing"),
  ];
  if (report.skipped.length > 0) parts.push(`${report.skipped.length} skipped`);
  return parts.join(", ");
}

export function lintJson(report: LintReport, { name, architecture, created }: LintSubject): Record<string, unknown> {
  return {
    schema: LINT_SCHEMA,
    image: name,
    architecture: architecture ?? null,
    created: created === undefined ? null : showTime(created),
    clamp: {
      time: showTime(report.clamp.time),
      origin: report.clamp.origin,
      newer: report.clamp.newer,
      newest: showTime(report.clamp.newest),
    },
    fatal: countFindings(report, "fatal"),
    warnings: countFindings(report, "warning"),
    findings: report.findings.map(({ lint, severity, code, reason, paths, morePaths, cure, packages }) => ({
      lint,
      severity,
      ...(code === undefined ? {} : { code }),
      reason,
      paths,
      morePaths,
      cure,
      ...(packages.length === 0 ? {} : { packages }),
    })),
    passed: report.passed,
    skipped: report.skipped,
  };
}

export function* listLines(): Generator<string> {
  const width = Math.max(...LINTS.map(({ name }) => name.length));
  for (const { name, severity, looksFor } of LINTS) yield `${name.padEnd(width)}  ${severity.padEnd(7)}  ${looksFor}`;
}

export function listJson(): Record<string, unknown> {
  return {
    schema: LIST_SCHEMA,
    lints: LINTS.map(({ name, severity, looksFor, cure }) => ({ name, severity, looksFor, cure })),
  };
}
