import process from "node:process";
import { type Input, parseReference, readInput } from "@ashlar/core/ops/image";
import { closeLints, LINTS, lintImage } from "@ashlar/core/ops/lint";
import type { LintFlags } from "../commands/lint.ts";
import { EXIT } from "../exit-codes.ts";
import { lintJson, lintLines, listJson, listLines } from "../output/lint.ts";
import { printable } from "../output/printable.ts";
import { inputEnvironment, platformOf } from "./inputs.ts";
import { Failed, inSession, type Session } from "./session.ts";
import { requestedClamp } from "./tools.ts";

function printList(session: Session, { json }: LintFlags): void {
  if (json) session.printJson(listJson());
  else for (const line of listLines()) session.print(line);
}

/** Says what is wrong with the command line. */
function usage(message: string): Failed {
  process.stderr.write(`ashlar: ${printable(message)}\n`);
  return new Failed(EXIT.usage);
}

function assertLint(name: string): void {
  if (LINTS.some((lint) => lint.name === name)) return;
  const close = closeLints(name);
  throw usage(`no such lint: ${name} (${close.length > 0 ? `is it ${close.join(" or ")}?` : "--list shows all"})`);
}

export function runLint(flags: LintFlags, reference?: string): Promise<void> {
  return inSession(flags, async (session) => {
    if (flags.list) {
      printList(session, flags);
      return;
    }
    if (reference === undefined) throw usage("lint needs the image to look at, or --list");
    for (const name of flags.skip ?? []) assertLint(name);
    const { signal } = session;
    const clamp = requestedClamp(flags);
    const platform = platformOf(flags);
    const environment = inputEnvironment(flags, session);
    const read: Input[] = [];
    try {
      for (const given of [reference, ...(flags.tools === undefined ? [] : [flags.tools])].map(parseReference))
        read.push(await readInput(given, environment, { platform }));
      const [input, tools] = read as [Input, Input | undefined];
      const report = await lintImage(
        { ...input, tools: tools?.tree },
        {
          imageId: flags.imageId,
          imageVersion: flags.imageVersion,
          kernel: flags.kernel,
          kargs: flags.karg,
          clamp,
          skip: flags.skip,
          maxPaths: flags.all ? Number.POSITIVE_INFINITY : undefined,
          signal,
        },
      );
      if (flags.json) session.printJson(lintJson(report, input));
      else for (const line of lintLines(report, input, flags.all)) session.print(line);
      const isBad = report.findings.some(({ severity }) => severity === "fatal" || flags.fatalWarnings);
      if (isBad) throw new Failed(EXIT.PolicyError);
    } finally {
      for (const { dispose } of read) await dispose();
    }
  });
}
