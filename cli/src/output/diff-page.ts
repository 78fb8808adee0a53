/** A diff as one file for the browser: style, script and data inside, nothing loaded from anywhere. */
import { encodeUtf8 } from "@ashlar/core/bytes";
import type { Hashes } from "@ashlar/core/hash";
import type { Diff, FileChange } from "@ashlar/core/ops/diff";
import { SCRIPT } from "./diff-page-script.ts";
import { STYLE } from "./diff-page-style.ts";
import { printable } from "./printable.ts";

/** Files that a browser still sorts without a pause. Those that differ in time only go first. */
const MAX_FILES = 100_000;

/** @param hashes for the content security policy, which admits our own style and script alone */
export function diffPage(diff: Diff, hashes: Hashes): Uint8Array {
  const policy = [
    "default-src 'none'",
    "img-src data:",
    `style-src '${integrity(STYLE, hashes)}'`,
    `script-src '${integrity(SCRIPT, hashes)}'`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  const title = `${diff.a.name} and ${diff.b.name}`;
  return encodeUtf8(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>${escapeHtml(printable(title))}: what differs</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>What differs</h1>
<dl class="sides"><dt>A</dt><dd id="side-a"></dd><dt>B</dt><dd id="side-b"></dd></dl>
<ul class="cards" id="cards"></ul>
<ul class="notes" id="notes"></ul>
</header>
<main>
<section aria-labelledby="map-heading">
<div class="bar"><h2 id="map-heading">Where it comes from</h2>
<div class="choice" role="group" aria-label="Size of the areas"><button type="button" data-metric="blocks">Blocks to move</button><button type="button" data-metric="bytes">Bytes of files</button></div>
<div class="choice" role="group" aria-label="Grouping"><button type="button" data-group="package">By package</button><button type="button" data-group="path">By path</button></div></div>
<div class="crumbs" id="crumbs"></div>
<div class="map" id="map" role="group" aria-label="Areas by size; the tables below have the same numbers"></div>
<ul class="legend"><li><i class="added"></i>+ added</li><li><i class="removed"></i>− removed</li><li><i class="changed"></i>~ changed, or several kinds</li><li><i class="none"></i>of no file</li></ul>
</section>
<section aria-labelledby="packages-heading" id="packages-section">
<div class="bar"><h2 id="packages-heading">Packages</h2></div>
<div id="packages"></div>
</section>
<section aria-labelledby="files-heading">
<div class="bar"><h2 id="files-heading">Files</h2>
<button type="button" id="owner" hidden></button>
<div class="choice" role="group" aria-label="Kinds that are listed"><button type="button" data-kind="added" aria-pressed="true">+ added</button><button type="button" data-kind="removed" aria-pressed="true">− removed</button><button type="button" data-kind="changed" aria-pressed="true">~ changed</button><button type="button" data-kind="time" aria-pressed="false">time only</button></div>
<input type="search" id="search" placeholder="Search paths and packages" aria-label="Search paths and packages" autocomplete="off" spellcheck="false"></div>
<p class="soft" id="count" role="status"></p>
<div id="files"></div>
</section>
</main>
<footer><p id="about-blocks"></p><p>Written by <code>ashlar diff --html</code>. This page loads nothing and sends nothing.</p></footer>
<noscript><p>This page shows its data with a script; <code>ashlar diff</code> prints the same without one.</p></noscript>
<script type="application/json" id="data">${escapeData(pageData(diff))}</script>
<script>${SCRIPT}</script>
</body>
</html>
`);
}

function integrity(text: string, hashes: Hashes): string {
  return `sha256-${Buffer.from(hashes.hash("sha256", encodeUtf8(text))).toString("base64")}`;
}

function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

/** JSON inside a script element: without `<` no name can end the element or begin a comment in it. */
function escapeData(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) => (typeof part === "string" ? printable(part) : part)).replaceAll(
    "<",
    "\\u003c",
  );
}

function isTimeOnly({ change, aspects }: FileChange): boolean {
  return change === "changed" && aspects.every((aspect) => aspect === "mtime");
}

function pageData(diff: Diff): unknown {
  const wanted =
    diff.files.length <= MAX_FILES ? diff.files : diff.files.filter((file) => !isTimeOnly(file)).slice(0, MAX_FILES);
  return {
    a: diff.a,
    b: diff.b,
    totals: diff.totals,
    blocks: diff.blocks,
    packages: diff.packages,
    notes: diff.notes.map(({ message }) => message),
    omitted: diff.files.length - wanted.length,
    files: wanted.map((file) => ({
      path: file.path,
      change: file.change,
      package: file.package,
      what: whatOf(file),
      content: file.aspects.includes("content") || file.aspects.includes("type"),
      timeOnly: isTimeOnly(file),
      before: file.sizes[0],
      after: file.sizes[1],
      blocks: file.blocks,
    })),
  };
}

/** `content, mode 0644 → 0755`; of what was added or removed the type, unless it is a plain file. */
function whatOf({ change, type, aspects, details }: FileChange): string {
  if (change !== "changed") return type === "file" ? "" : type;
  const shown = aspects.length > 1 ? aspects.filter((aspect) => aspect !== "mtime") : aspects;
  return shown
    .map((aspect) => {
      const [before, after] = details[aspect] ?? ["", ""];
      if (aspect === "mtime") return "time";
      if (aspect === "links") return "hard links";
      return aspect === "content" || aspect === "xattrs" ? aspect : `${aspect} ${before} → ${after}`;
    })
    .join(", ");
}
