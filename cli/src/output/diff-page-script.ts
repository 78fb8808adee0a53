/**
 * Script of the diff report: plain JavaScript of the browser, in a string since it is never run by Node. It writes text
 * with `textContent` alone, so that no name of a file can become markup.
 */
export const SCRIPT = `
"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const ROWS = 200;
const MARKS = { added: "+", removed: "\\u2212", changed: "~", version: "~", same: "=" };
const byId = (id) => document.getElementById(id);

function element(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(properties || {})) {
    if (key === "class") node.className = value;
    else if (key === "on") for (const [name, handler] of Object.entries(value)) node.addEventListener(name, handler);
    else if (value !== undefined && value !== null) node.setAttribute(key, value);
  }
  for (const child of children) if (child !== null && child !== undefined) node.append(child);
  return node;
}
function bytes(count) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = count, unit = 0;
  while (value >= 999.5 && unit < units.length - 1) { value /= 1000; unit++; }
  return (unit === 0 || value >= 100 ? value.toFixed(0) : value.toFixed(value >= 10 ? 1 : 2)) + " " + units[unit];
}
const number = (count) => String(count).replace(/\\B(?=(\\d{3})+(?!\\d))/g, "\\u202f");
const plural = (count, noun) => number(count) + " " + noun + (count === 1 ? "" : "s");
const ownerName = (id) => id === null ? "(no package)" : id;
const isTimeOnly = (file) => file.change === "changed" && file.timeOnly;
const touched = (file) => file.change === "added" ? file.after || 0 : file.change === "removed" ? file.before || 0
  : file.content ? Math.max(file.before || 0, file.after || 0) : 0;

/* Tables: columns with a value to sort by, and cells made when a row is shown. */
function makeTable(container, caption, columns, getRows, initial) {
  let order = initial, shown = ROWS;
  const head = element("tr");
  const body = element("tbody");
  const foot = element("p", { class: "foot" });
  const headers = columns.map((column) => {
    const header = element("th", { scope: "col", class: column.numeric ? "number" : "" },
      element("button", { type: "button", on: { click() {
        order = { key: column.key, down: order.key === column.key ? !order.down : Boolean(column.numeric) };
        shown = ROWS;
        render();
      } } }, column.label));
    head.append(header);
    return header;
  });
  container.replaceChildren(
    element("div", { class: "scroll" }, element("table", {}, element("caption", {}, caption), element("thead", {}, head), body)), foot);
  function render() {
    const column = columns.find(({ key }) => key === order.key);
    const rows = getRows().slice();
    rows.sort((a, b) => {
      const x = column.value(a), y = column.value(b);
      const way = x < y ? -1 : x > y ? 1 : 0;
      return order.down ? -way : way;
    });
    headers.forEach((header, index) => {
      if (columns[index].key === order.key) header.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else header.removeAttribute("aria-sort");
    });
    body.replaceChildren(...rows.slice(0, shown).map((row) => element("tr", {}, ...columns.map((column) => {
      const cell = element(column.head ? "th" : "td", { class: (column.numeric ? "number " : "") + (column.class ? column.class(row) : "") });
      if (column.head) cell.setAttribute("scope", "row");
      else if (column.short) cell.setAttribute("data-label", column.short);
      const content = column.cell(row);
      if (content !== "" && content !== null) cell.append(content);
      return cell;
    }))));
    foot.replaceChildren();
    if (rows.length === 0) foot.append("Nothing here.");
    else if (rows.length > shown) {
      foot.append(number(shown) + " of " + number(rows.length) + " are shown");
      foot.append(element("button", { type: "button", on: { click() { shown += 5 * ROWS; render(); } } }, "Show more"));
    }
    return rows.length;
  }
  return { render(reset) { if (reset) shown = ROWS; return render(); } };
}

/* Head */
function fillHead() {
  for (const side of ["a", "b"]) {
    const { name, entries, bytes: size, imageSize, packages, packageManagers, rootHash } = data[side];
    const parts = [plural(entries, "name"), bytes(size)];
    if (imageSize !== null) parts.push("image " + bytes(imageSize));
    if (packages > 0) parts.push(plural(packages, "package") + " (" + packageManagers.join(", ") + ")");
    if (rootHash !== null) parts.push("root hash " + rootHash.slice(0, 16) + "\\u2026");
    byId("side-" + side).append(element("span", { class: "name" }, name), element("span", { class: "soft" }, " \\u2002" + parts.join(", ")));
  }
  const { added, removed, changed, changedContent, changedTimeOnly } = data.totals;
  const { basis, total, moved, movedBytes, metadata, blockSize } = data.blocks;
  const share = total === 0 ? "" : (100 * moved / total).toFixed(moved / total < 0.1 ? 2 : 0) + "\\u202f% of " + number(total) + " blocks";
  const card = (label, value, more) => element("li", {}, element("span", { class: "label" }, label),
    element("span", { class: "value" }, value), element("span", { class: "more" }, more));
  byId("cards").append(
    card("Files added", number(added.files), bytes(added.bytes)),
    card("Files removed", number(removed.files), bytes(removed.bytes)),
    card("Files changed", number(changedContent), bytes(changed.bytes) + "; " + number(changed.files - changedContent - changedTimeOnly) + " in metadata, " + number(changedTimeOnly) + " in time only"),
    card("An update moves", bytes(movedBytes), plural(moved, "block") + ", " + share));
  byId("about-blocks").textContent = (basis === "image"
    ? "Blocks are the " + blockSize + "-byte blocks of B's EROFS image that A's does not have at any place; " + number(metadata) + " of them hold inodes, directories and other metadata and belong to no file."
    : "Blocks are " + blockSize + "-byte blocks of file contents of B that A does not have in any file; one of the two is no EROFS image, so metadata is not counted.")
    + " A block that several files have is counted for the first of them.";
  byId("notes").replaceChildren(...data.notes.map((text) => element("li", {}, text)));
}

/* Treemap */
const map = { metric: data.files.some((file) => file.blocks > 0) ? "blocks" : "bytes", group: data.packages.some(({ id }) => id !== null) ? "package" : "path", trail: [] };
const valueOf = (file) => map.metric === "blocks" ? file.blocks * data.blocks.blockSize : touched(file);

function buildMap() {
  const root = { name: map.group === "package" ? "All packages" : "/", children: new Map(), value: 0, kinds: {} };
  const step = (parent, name) => {
    let child = parent.children.get(name);
    if (child === undefined) { child = { name, children: new Map(), value: 0, kinds: {} }; parent.children.set(name, child); }
    return child;
  };
  for (const file of data.files) {
    const value = valueOf(file);
    if (value === 0) continue;
    let node = root;
    const names = file.path.split("/").filter((name) => name !== "");
    const trail = map.group === "package" ? [ownerName(file.package), ...(file.package === null ? names : [file.path])] : names;
    for (const current of [null, ...trail]) {
      if (current !== null) node = step(node, current);
      node.value += value;
      node.kinds[file.change] = (node.kinds[file.change] || 0) + value;
    }
  }
  if (map.metric === "blocks" && data.blocks.metadata > 0) {
    const value = data.blocks.metadata * data.blocks.blockSize;
    root.children.set("(metadata)", { name: "metadata: inodes, directories", children: new Map(), value, kinds: { none: value } });
    root.value += value;
  }
  return root;
}
function kindOf(node) {
  const found = Object.keys(node.kinds);
  return found.length === 1 ? found[0] : "changed";
}
/* Squarified (Bruls, Huizing, van Wijk 2000): rows are filled while their worst aspect ratio gets better. */
function squarify(items, x, y, width, height, place) {
  let rest = items;
  let left = items.reduce((sum, { value }) => sum + value, 0);
  while (rest.length > 0 && width > 1 && height > 1) {
    const side = Math.min(width, height), scale = width * height / left;
    let count = 0, sum = 0, worst = Infinity;
    while (count < rest.length) {
      const next = sum + rest[count].value, length = next * scale / side;
      let bad = 0;
      for (let i = 0; i <= count; i++) { const other = rest[i].value * scale / length; bad = Math.max(bad, other / length, length / other); }
      if (bad > worst) break;
      worst = bad; sum = next; count++;
    }
    const length = sum * scale / side;
    let at = 0;
    for (const item of rest.slice(0, count)) {
      const other = item.value * scale / length;
      if (width >= height) place(item, x, y + at, length, other);
      else place(item, x + at, y, other, length);
      at += other;
    }
    if (width >= height) { x += length; width -= length; } else { y += length; height -= length; }
    left -= sum; rest = rest.slice(count);
  }
}
const MAX_TILES = 80;
function drawMap() {
  const box = byId("map"), crumbs = byId("crumbs");
  let node = buildMap();
  const trail = [node];
  for (const name of map.trail) {
    const next = node.children.get(name);
    if (next === undefined) break;
    trail.push(next); node = next;
  }
  crumbs.replaceChildren(...trail.flatMap((part, index) => {
    const text = part.name + (index === trail.length - 1 ? " \\u2014 " + bytes(part.value) : "");
    if (index === trail.length - 1) return [element("span", {}, text)];
    return [element("button", { type: "button", on: { click() { map.trail = map.trail.slice(0, index); drawMap(); } } }, text), element("span", {}, "\\u203a")];
  }));
  const all = [...node.children.values()].sort((a, b) => b.value - a.value || (a.name < b.name ? -1 : 1));
  const items = all.slice(0, MAX_TILES);
  if (all.length > MAX_TILES) items.push(all.slice(MAX_TILES).reduce((sum, one) => ({ ...sum, value: sum.value + one.value }), { name: (all.length - MAX_TILES) + " more", value: 0, children: new Map(), kinds: { none: 1 } }));
  const tiles = [];
  squarify(items, 0, 0, box.clientWidth, box.clientHeight, (item, x, y, width, height) => {
    const kind = kindOf(item), label = item.name + ": " + bytes(item.value) + (MARKS[kind] ? ", " + kind : "");
    const tile = element("button", { type: "button", class: "tile " + kind, title: label, "aria-label": label, on: { click() {
      if (item.children.size === 0) return;
      /* Folders with one entry say nothing of their own: on to the first that has more. */
      map.trail = [...map.trail, item.name];
      for (let only = item; only.children.size === 1;) {
        only = only.children.values().next().value;
        if (only.children.size === 0) break;
        map.trail.push(only.name);
      }
      drawMap();
    } } });
    if (item.children.size === 0) tile.disabled = true;
    Object.assign(tile.style, { left: x + "px", top: y + "px", width: width + "px", height: height + "px" });
    if (width > 46 && height > 20) tile.append(element("b", {}, (MARKS[kind] ? MARKS[kind] + " " : "") + item.name));
    if (width > 60 && height > 38) tile.append(element("span", {}, bytes(item.value)));
    if (width <= 46 || height <= 20) tile.style.padding = "0";
    tiles.push(tile);
  });
  box.replaceChildren(...(tiles.length > 0 ? tiles : [element("p", { class: "empty" }, "Nothing of this size differs.")]));
}
function choose(name, apply) {
  const buttons = [...document.querySelectorAll("[data-" + name + "]")];
  const show = () => { for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset[name] === map[name])); };
  for (const button of buttons) button.addEventListener("click", () => { map[name] = button.dataset[name]; map.trail = []; show(); apply(); });
  show();
}

/* Packages and files */
const filter = { text: "", owner: undefined, kinds: { added: true, removed: true, changed: true, time: false } };
const versions = ({ versions: [before, after] }) => before === after ? after || "" : before === null ? after : after === null ? before : before + " \\u2192 " + after;
const counts = ({ added, removed, changed, changedTimeOnly }) => {
  const parts = [];
  if (added.files > 0) parts.push("+" + number(added.files));
  if (removed.files > 0) parts.push("\\u2212" + number(removed.files));
  if (changed.files > changedTimeOnly) parts.push("~" + number(changed.files - changedTimeOnly));
  return parts.length > 0 ? parts.join(" ") : changedTimeOnly > 0 ? number(changedTimeOnly) + " in time" : "";
};
const packages = data.packages.filter((entry) => entry.change !== "same" || entry.added.files + entry.removed.files + entry.changed.files > entry.changedTimeOnly);
const packageTable = makeTable(byId("packages"), "Packages that differ", [
  { key: "change", label: "Change", value: ({ change }) => change, cell: ({ change }) => MARKS[change] + " " + (change === "same" ? "files" : change), class: ({ change }) => "mark " + change },
  { key: "id", label: "Package", head: true, value: ({ id }) => id === null ? "\\uffff" : id, cell: ({ id }) => element("button", { type: "button", class: "link name", on: { click() { showOwner(id); } } }, ownerName(id)) },
  { key: "version", label: "Version", value: versions, cell: versions, class: () => "name" },
  { key: "files", label: "Files", short: "files", numeric: true, value: ({ added, removed, changed }) => added.files + removed.files + changed.files, cell: counts },
  { key: "new", label: "New", short: "new", numeric: true, value: ({ added, changed }) => added.bytes + changed.bytes, cell: ({ added, changed }) => added.bytes + changed.bytes > 0 ? bytes(added.bytes + changed.bytes) : "" },
  { key: "gone", label: "Gone", short: "gone", numeric: true, value: ({ removed }) => removed.bytes, cell: ({ removed }) => removed.bytes > 0 ? bytes(removed.bytes) : "" },
  { key: "blocks", label: "Blocks", short: "blocks", numeric: true, value: ({ blocks }) => blocks, cell: ({ blocks }) => blocks > 0 ? number(blocks) : "" },
], () => packages, { key: "blocks", down: true });

function matching() {
  const text = filter.text.toLowerCase();
  return data.files.filter((file) =>
    (isTimeOnly(file) ? filter.kinds.time : filter.kinds[file.change]) &&
    (filter.owner === undefined || file.package === filter.owner) &&
    (text === "" || file.path.toLowerCase().includes(text) || (file.package || "").toLowerCase().includes(text)));
}
const fileTable = makeTable(byId("files"), "Files that differ", [
  { key: "change", label: "Change", value: ({ change }) => change, cell: ({ change }) => MARKS[change] + " " + change, class: ({ change }) => "mark " + change },
  { key: "path", label: "Path", head: true, value: ({ path }) => path, cell: ({ path }) => element("span", { class: "path" }, path) },
  { key: "what", label: "What", value: ({ what }) => what, cell: ({ what }) => what, class: () => "what" },
  { key: "package", label: "Package", value: (file) => file.package || "", cell: (file) => file.package || "", class: () => "name" },
  { key: "before", label: "Before", short: "before", numeric: true, value: ({ before }) => before === null ? -1 : before, cell: ({ before }) => before === null ? "" : bytes(before) },
  { key: "after", label: "After", short: "after", numeric: true, value: ({ after }) => after === null ? -1 : after, cell: ({ after }) => after === null ? "" : bytes(after) },
  { key: "blocks", label: "Blocks", short: "blocks", numeric: true, value: ({ blocks }) => blocks, cell: ({ blocks }) => blocks > 0 ? number(blocks) : "" },
], matching, { key: "path", down: false });

function showFiles() {
  const count = fileTable.render(true);
  byId("count").textContent = plural(count, "file") + (data.omitted > 0 ? "; " + plural(data.omitted, "more file") + " left out of this page" : "");
  const chip = byId("owner");
  chip.hidden = filter.owner === undefined;
  chip.textContent = filter.owner === undefined ? "" : ownerName(filter.owner) + " \\u00d7";
  chip.setAttribute("aria-label", filter.owner === undefined ? "" : "Show files of all packages, not of " + ownerName(filter.owner) + " alone");
}
function showOwner(id) {
  filter.owner = id;
  showFiles();
  byId("files-heading").scrollIntoView();
  byId("owner").focus({ preventScroll: true });
}
for (const button of document.querySelectorAll("[data-kind]"))
  button.addEventListener("click", () => {
    const kind = button.dataset.kind;
    filter.kinds[kind] = !filter.kinds[kind];
    button.setAttribute("aria-pressed", String(filter.kinds[kind]));
    showFiles();
  });
byId("owner").addEventListener("click", () => { filter.owner = undefined; showFiles(); byId("search").focus(); });
byId("search").addEventListener("input", (event) => { filter.text = event.target.value; showFiles(); });

fillHead();
choose("metric", drawMap);
choose("group", drawMap);
drawMap();
if (packages.length === 0 || !packages.some(({ id }) => id !== null)) byId("packages-section").hidden = true;
else packageTable.render();
showFiles();
let drawing = 0;
window.addEventListener("resize", () => { cancelAnimationFrame(drawing); drawing = requestAnimationFrame(drawMap); });
document.documentElement.dataset.ready = "true";
`;
