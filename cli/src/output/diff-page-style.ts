/** Style of the diff report. Hand-written and small: the page is one file that loads nothing. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --line: #dde1e7; --text: #1b2129; --soft: #5a6573; --accent: #1f5fbf;
  --added: #1a7f45; --removed: #b8332a; --changed: #94600a; --none: #66707c;
  --added-tile: #cfeeda; --removed-tile: #f8d5d1; --changed-tile: #fbe7bd; --none-tile: #e3e7ec; --tile-text: #1b2129;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14181d; --card: #1c2229; --line: #323b45; --text: #e6eaef; --soft: #a3aebb; --accent: #7db2ff;
    --added: #6fd398; --removed: #ff9a90; --changed: #f2c063; --none: #a3aebb;
    --added-tile: #1f4d33; --removed-tile: #5b2a27; --changed-tile: #574016; --none-tile: #333c46; --tile-text: #f2f5f8;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 1240px; margin: 0 auto; padding: 0 20px; }
header { padding-top: 28px; }
h1 { font-size: 24px; margin: 0 0 12px; letter-spacing: -0.01em; }
h2 { font-size: 17px; margin: 0; }
code, .path, .name { font-family: ui-monospace, SFMono-Regular, Menlo, "DejaVu Sans Mono", monospace; font-size: 13px; }
.path, .name { overflow-wrap: anywhere; unicode-bidi: isolate; }
.soft { color: var(--soft); }
.sides { display: grid; grid-template-columns: max-content 1fr; gap: 4px 12px; margin: 0 0 20px; }
.sides dt { font-weight: 600; color: var(--soft); }
.sides dd { margin: 0; min-width: 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; margin: 0 0 20px; padding: 0; list-style: none; }
.cards li, section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.cards li { padding: 14px 16px; }
.cards .label { color: var(--soft); font-size: 13px; }
.cards .value { display: block; font-size: 24px; font-weight: 650; line-height: 1.25; font-variant-numeric: tabular-nums; }
.cards .more { color: var(--soft); font-size: 13px; }
section { padding: 16px; margin: 0 0 20px; }
.bar { display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; margin-bottom: 12px; }
.bar h2 { margin-right: auto; }
.choice { display: inline-flex; border: 1px solid var(--line); border-radius: 7px; overflow: hidden; }
.choice button { border: 0; border-radius: 0; background: none; }
.choice button + button { border-left: 1px solid var(--line); }
button { font: inherit; font-size: 13px; color: var(--text); background: var(--card); border: 1px solid var(--line); border-radius: 7px; padding: 5px 11px; cursor: pointer; }
button:hover { border-color: var(--accent); }
button[aria-pressed="true"] { background: var(--accent); color: var(--card); border-color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
input[type="search"] { font: inherit; font-size: 14px; color: inherit; background: var(--page); border: 1px solid var(--line); border-radius: 7px; padding: 6px 10px; width: min(340px, 100%); }
.crumbs { display: flex; flex-wrap: wrap; gap: 2px; align-items: center; margin: 0 0 8px; min-height: 30px; color: var(--soft); font-size: 13px; }
.crumbs button { border: 0; background: none; color: var(--accent); padding: 2px 4px; overflow-wrap: anywhere; text-align: left; }
.map { position: relative; height: 340px; overflow: hidden; border-radius: 6px; }
.tile { position: absolute; display: flex; flex-direction: column; align-items: flex-start; padding: 4px 7px; border: 1px solid var(--card); border-radius: 5px; color: var(--tile-text); text-align: left; overflow: hidden; font-size: 12px; line-height: 1.3; background: var(--none-tile); }
.tile:hover, .tile:focus-visible { outline: 2px solid var(--accent); outline-offset: -3px; }
.tile[disabled] { cursor: default; color: var(--tile-text); }
.tile b { max-width: 100%; font-weight: 600; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.tile span { white-space: nowrap; opacity: 0.8; }
.tile.added { background: var(--added-tile); } .tile.removed { background: var(--removed-tile); } .tile.changed { background: var(--changed-tile); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 10px 0 0; padding: 0; list-style: none; color: var(--soft); font-size: 13px; }
.legend i { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; }
.legend .added { background: var(--added-tile); } .legend .removed { background: var(--removed-tile); } .legend .changed { background: var(--changed-tile); } .legend .none { background: var(--none-tile); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
th, td { padding: 5px 10px; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
thead th { border-top: 0; white-space: nowrap; padding: 0; }
thead button { border: 0; background: none; font-weight: 600; color: var(--soft); padding: 5px 10px; white-space: nowrap; }
thead th.number button { width: 100%; text-align: right; }
th[aria-sort] button { color: var(--text); }
th[aria-sort="ascending"] button::after { content: " \\2191"; }
th[aria-sort="descending"] button::after { content: " \\2193"; }
tbody th { font-weight: 400; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.mark { font-weight: 700; white-space: nowrap; }
.mark.added { color: var(--added); } .mark.removed { color: var(--removed); } .mark.changed, .mark.version { color: var(--changed); } .mark.same { color: var(--none); }
.link { border: 0; padding: 0; background: none; color: var(--accent); text-align: left; font-family: inherit; font-size: inherit; }
.link:hover { text-decoration: underline; }
td.what { color: var(--soft); overflow-wrap: anywhere; }
.empty, .foot { color: var(--soft); padding: 10px 0 0; margin: 0; }
.foot { display: flex; gap: 12px; align-items: center; flex-wrap: wrap; }
footer { color: var(--soft); font-size: 13px; padding-bottom: 32px; }
.notes { margin: 0 0 20px; padding-left: 20px; color: var(--soft); }
@media (max-width: 640px) {
  main, header, footer { padding-left: 12px; padding-right: 12px; }
  h1 { font-size: 20px; }
  .cards { grid-template-columns: 1fr 1fr; gap: 8px; }
  .cards li { padding: 10px 12px; }
  .cards .value { font-size: 19px; }
  section { padding: 12px; }
  .map { height: 300px; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody, tr { display: block; }
  tbody tr { border-top: 1px solid var(--line); padding: 8px 0; display: flex; flex-wrap: wrap; gap: 0 12px; align-items: baseline; }
  tbody th, tbody td { border: 0; padding: 1px 0; }
  tbody th { flex: 1 1 75%; order: 1; }
  tbody td.mark { order: 0; }
  tbody td { order: 2; }
  tbody td[data-label]:not(:empty)::before { content: attr(data-label) " "; color: var(--soft); }
  tbody td:empty { display: none; }
}
`;
