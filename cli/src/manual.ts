/** Man pages from the descriptions that `--help` shows: one text for both. */
import { type Application, type CommandContext, generateHelpTextForAllCommands } from "@stricli/core";

export interface ManPage {
  /** Such as `ashlar-build.1`. */
  readonly name: string;
  readonly content: string;
}

/** In roff a line must not begin with a control character, and `-` and `\` have meanings of their own. */
function escapeRoff(text: string): string {
  return text
    .replaceAll("\\", "\\e")
    .replaceAll("-", "\\-")
    .replace(/^([.'])/gm, "\\&$1");
}

/** A block as it is, in the font of programs. */
function verbatim(lines: readonly string[]): string {
  return `.nf\n.ft CR\n${escapeRoff(lines.join("\n"))}\n.ft R\n.fi`;
}

const SECTION = /^[A-Z][A-Z ]+$/;

/** Help text → roff: headings become sections, everything else keeps its shape. */
function toRoff(title: string, brief: string, help: string): string {
  const out = [
    `.TH ${title.toUpperCase()} 1 "" "Ashlar" "User Commands"`,
    ".SH NAME",
    escapeRoff(`${title} - ${brief}`),
  ];
  let block: string[] = [];
  function flush(): void {
    while (block.at(-1) === "") block.pop();
    if (block.length > 0) out.push(verbatim(block));
    block = [];
  }
  let inUsage = false;
  for (const line of help.split("\n")) {
    if (SECTION.test(line)) {
      flush();
      inUsage = line === "USAGE";
      out.push(`.SH ${inUsage ? "SYNOPSIS" : line}`);
    } else if (inUsage && line !== "" && !line.startsWith(" ")) {
      flush();
      inUsage = false;
      out.push(".SH DESCRIPTION");
      block.push(line);
    } else if (block.length > 0 || line !== "") block.push(line);
  }
  flush();
  out.push(".SH SEE ALSO", "The documents under docs/ of the project.", "");
  return out.join("\n");
}

/** Brief descriptions by command, from the same place as `--help` has them. */
function briefs(app: Application<CommandContext>): Map<string, string> {
  const found = new Map<string, string>();
  function visit(target: Application<CommandContext>["root"], route: string): void {
    if (!("getAllEntries" in target)) return;
    for (const entry of target.getAllEntries()) {
      const name = `${route} ${entry.name.original}`;
      found.set(name, entry.target.brief);
      visit(entry.target, name);
    }
  }
  visit(app.root, "ashlar");
  return found;
}

/** The pages of all commands that `--help` lists. */
export function manPages(app: Application<CommandContext>): ManPage[] {
  const known = briefs(app);
  return generateHelpTextForAllCommands(app).map(([route, help]) => {
    const title = route.replaceAll(" ", "-");
    return { name: `${title}.1`, content: toRoff(title, known.get(route) ?? route, help) };
  });
}
