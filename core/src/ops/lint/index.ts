export type { ClampOrigin, LintInput, LintOptions } from "./context.ts";
export { installPackagesLine } from "./cures.ts";
export { DEFAULT_MAX_PATHS, type Finding, type Lint, type Severity } from "./finding.ts";
export { countFindings, type LintReport, lintImage } from "./lint.ts";
export { closeLints, LINTS } from "./table.ts";
export { showTime } from "./times.ts";
