import process from "node:process";
import { isAshlarError } from "@ashlar/core/errors";
import { checkErofs, type ErofsFinding, openErofs } from "@ashlar/core/formats/erofs";
import { type Extracted, extractImage, nativeDecompressor, type OpenSource, openFile } from "@ashlar/core/node";
import type { Source } from "@ashlar/core/source";
import type { FsckFlags } from "../commands/erofs.ts";
import { EXIT } from "../exit-codes.ts";
import { withRootSource } from "./images.ts";
import { Failed, inSession, type Session } from "./session.ts";

/** Opens files, runs `work`, closes them. */
export async function withDevices<T>(
  paths: readonly string[] = [],
  work: (devices: readonly Source[] | undefined) => Promise<T>,
): Promise<T> {
  const opened: OpenSource[] = [];
  try {
    for (const path of paths) opened.push(await openFile(path));
    return await work(opened.length === 0 ? undefined : opened);
  } finally {
    for (const source of opened) await source.close();
  }
}

interface Environment {
  readonly devices: readonly Source[] | undefined;
  readonly session: Session;
}

async function check(source: Source, decompress: boolean, { devices, session }: Environment): Promise<ErofsFinding[]> {
  const task = session.reporter.start("checking", source.size);
  const findings = await checkErofs(source, {
    devices,
    decompressor: nativeDecompressor(),
    decompress,
    signal: session.signal,
    advance: (bytes) => task.advance(bytes),
  });
  task.end();
  return findings;
}

async function extract(source: Source, directory: string, { devices, session }: Environment): Promise<Extracted> {
  const image = await openErofs(source, { checksum: "ignore", devices, decompressor: nativeDecompressor() });
  const task = session.reporter.start("extracting");
  const privileged = process.getuid?.() === 0;
  const extracted = await extractImage(image, image.root, directory, { privileged, task, signal: session.signal });
  task.end();
  for (const note of extracted.notes) session.reporter.note(note);
  return extracted;
}

const hasErrors = (findings: readonly ErofsFinding[]): boolean => findings.some(({ severity }) => severity === "error");

/** Extraction decompresses all data, so the check before it need not. What it fails at is looked for in the whole image. */
async function checkAndExtract(source: Source, directory: string, environment: Environment) {
  const findings = await check(source, false, environment);
  if (hasErrors(findings)) return { findings: await check(source, true, environment), extracted: undefined };
  try {
    return { findings, extracted: await extract(source, directory, environment) };
  } catch (error) {
    if (!isAshlarError(error) || error.kind === "SinkError") throw error;
    const all = await check(source, true, environment);
    if (!hasErrors(all)) throw error;
    return { findings: all, extracted: undefined };
  }
}

export function findingLine({ severity, code, message, offset }: ErofsFinding): string {
  return `${severity}: ${message}${offset === undefined ? "" : `, at byte ${offset}`} [${code}]`;
}

export function runFsck(flags: FsckFlags, word: string): Promise<void> {
  return inSession(flags, (session) =>
    withDevices(flags.device, (devices) =>
      withRootSource(word, flags, session, async ({ source }) => {
        const environment = { devices, session };
        const { findings, extracted } =
          flags.extract === undefined
            ? { findings: await check(source, !flags.metadata, environment), extracted: undefined }
            : await checkAndExtract(source, flags.extract, environment);
        const errors = findings.filter(({ severity }) => severity === "error").length;
        if (errors > 0) process.exitCode = EXIT.FormatError; // before a reader of the output may go away
        if (flags.json)
          session.printJson({
            schema: "ashlar.fsck/v1",
            image: word,
            ok: errors === 0,
            findings,
            extracted: extracted === undefined ? null : { directory: flags.extract, ...extracted },
          });
        else {
          for (const finding of findings) session.print(findingLine(finding));
          session.print(`${word}: ${summary(errors, findings.length - errors)}`);
          if (flags.extract !== undefined && extracted === undefined) session.print(`${word}: nothing is extracted`);
        }
        if (errors > 0) throw new Failed(EXIT.FormatError);
      }),
    ),
  );
}

function summary(errors: number, warnings: number): string {
  const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? "" : "s"}`;
  if (errors === 0 && warnings === 0) return "nothing is wrong";
  return errors === 0
    ? `no errors, ${count(warnings, "warning")}`
    : `${count(errors, "error")}, ${count(warnings, "warning")}`;
}
