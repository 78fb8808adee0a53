// Writes docs/error-codes.md from the sources: `npm run codes`. test/house/error-codes.test.ts compares.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import process from "node:process";

const ROOT = join(import.meta.dirname, "../..");
export const FILE = join(ROOT, "docs/error-codes.md");

interface Code {
  readonly code: string;
  readonly kinds: Set<string>;
  readonly places: Set<string>;
  message: string;
}

function* sources(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* sources(path);
    else if (entry.name.endsWith(".ts") && !entry.name.endsWith(".test.ts")) yield path;
  }
}

/** A message with its values as `…`. */
function shape(message: string): string {
  let text = "";
  let depth = 0;
  for (let i = 0; i < message.length; i++) {
    if (message.startsWith("${", i)) {
      if (depth++ === 0) text += "…";
      i++;
    } else if (depth > 0) {
      if (message[i] === "{") depth++;
      if (message[i] === "}") depth--;
    } else text += message[i];
  }
  return text.replaceAll("|", "\\|").replace(/\\(["`])/g, "$1");
}

const THROWN =
  /new (FormatError|UnsupportedError|IntegrityError|PolicyError|SourceError|SinkError)\(\s*"([a-z0-9-]+)",\s*(?:`((?:[^`\\]|\\.)*)`|"((?:[^"\\]|\\.)*)")?/g;

/** Codes that stand in a table: after `@codes KIND …` rows of code and meaning, up to the end of the table. */
const TABLE = /@codes ([A-Za-z ]+?)\s*\*\/([\s\S]*?)\n\}/g;
const ROW = /\["([a-z0-9-]+)", "([^"]+)"\]/g;

function* codesOf(text: string): Generator<{ kinds: string[]; code: string; message: string }> {
  for (const [, kind = "", code = "", template, plain] of text.matchAll(THROWN))
    yield { kinds: [kind], code, message: shape(template ?? plain ?? "") };
  for (const [, kinds = "", table = ""] of text.matchAll(TABLE))
    for (const [, code = "", meaning = ""] of table.matchAll(ROW))
      yield { kinds: kinds.trim().split(" "), code, message: `…: ${meaning}` };
}

/** `core/src/formats/tar/read.ts` → `tar`; operations and hosts by their folder. */
function placeOf(path: string): string {
  const parts = relative(ROOT, path).split("/");
  return parts[0] === "cli" ? "cli" : (parts.slice(3, -1)[0] ?? parts[2] ?? "core").replace(/\.ts$/, "");
}

export function errorCodes(): string {
  const codes = new Map<string, Code>();
  for (const folder of ["core/src", "cli/src"])
    for (const path of sources(join(ROOT, folder)))
      for (const { kinds, code, message } of codesOf(readFileSync(path, "utf8"))) {
        const known = codes.get(code) ?? { code, kinds: new Set(), places: new Set(), message: "" };
        for (const kind of kinds) known.kinds.add(kind);
        known.places.add(placeOf(path));
        if (known.message === "") known.message = message;
        codes.set(code, known);
      }
  const rows = [...codes.values()]
    .sort((a, b) => (a.code < b.code ? -1 : 1))
    .map(({ code, kinds, places, message }) => {
      const cells = [`\`${code}\``, [...kinds].sort().join(", "), [...places].sort().join(", "), message];
      return `| ${cells.join(" | ")} |`;
    });
  return [
    "# Errors by code",
    "",
    "Made from the sources by `npm run codes`. Codes are stable; messages are for people and may change. Where several",
    "places use a code, one message stands for all. Kinds and exit codes are explained in [errors](errors.md).",
    "",
    "| code | kind | where | message |",
    "| --- | --- | --- | --- |",
    ...rows,
    "",
  ].join("\n");
}

if (process.argv[1] === import.meta.filename) writeFileSync(FILE, errorCodes());
