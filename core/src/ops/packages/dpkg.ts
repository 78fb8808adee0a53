/** dpkg's database (deb-control(5), `/var/lib/dpkg`), and the one of distroless images, which have no dpkg. */
import { type ByteString, fromUtf8 } from "../../bytes/index.ts";
import { type DatabaseFiles, type FoundPackage, fieldText } from "./packages.ts";
import { linesOf, stanzasOf } from "./stanzas.ts";

const DPKG = "var/lib/dpkg";

/** Files of a package in `info/` besides `.list`; each is about the package alone. */
const INFO_KINDS = [
  "conffiles",
  "config",
  "list",
  "md5sums",
  "postinst",
  "postrm",
  "preinst",
  "prerm",
  "shlibs",
  "symbols",
  "templates",
  "triggers",
];

export async function readDpkg(files: DatabaseFiles): Promise<readonly FoundPackage[] | undefined> {
  const status = await files.text(`${DPKG}/status`);
  const info = files.directory(`${DPKG}/info`);
  if (status === undefined || status.trim() === "") return undefined;
  const found: FoundPackage[] = [];
  for (const fields of stanzasOf(status)) {
    const name = fields.get("Package");
    const state = fields.get("Status") ?? "";
    // `install ok installed`; config-files and not-installed have no files that count.
    if (name === undefined || !isInstalled(state)) continue;
    const architecture = fields.get("Architecture");
    // Packages that may be there for several architectures have it in the names of their files.
    const stem = [`${name}:${architecture ?? ""}`, name].find((stem) =>
      info?.entries.has(`${stem}.list` as ByteString),
    );
    const list = stem === undefined ? undefined : await files.text(`${DPKG}/info/${stem}.list`);
    const own = INFO_KINDS.map((kind) => `${stem ?? name}.${kind}` as ByteString);
    const records = own.filter((file) => info?.entries.has(file)).map((file) => `${DPKG}/info/${file}` as ByteString);
    found.push({
      name: fieldText(name),
      version: fieldText(fields.get("Version") ?? ""),
      architecture: architecture === undefined ? undefined : fieldText(architecture),
      paths: list === undefined ? [] : linesOf(list),
      records,
    });
  }
  return found;
}

function isInstalled(status: string): boolean {
  const state = status.split(" ").at(-1);
  return state !== "not-installed" && state !== "config-files";
}

/** `status.d/NAME` holds one paragraph, `status.d/NAME.md5sums` the files. */
export async function readDistroless(files: DatabaseFiles): Promise<readonly FoundPackage[] | undefined> {
  const folder = files.directory(`${DPKG}/status.d`);
  if (folder === undefined) return undefined;
  const found: FoundPackage[] = [];
  for (const name of [...folder.entries.keys()].sort()) {
    if (name.endsWith(".md5sums")) continue;
    const path = `${DPKG}/status.d/${name}` as ByteString;
    const [fields] = stanzasOf((await files.text(path)) ?? "");
    const own = fields?.get("Package");
    if (fields === undefined || own === undefined) continue;
    const sums = `${path}.md5sums` as ByteString;
    const architecture = fields.get("Architecture");
    found.push({
      name: fieldText(own),
      version: fieldText(fields.get("Version") ?? ""),
      architecture: architecture === undefined ? undefined : fieldText(architecture),
      paths: pathsOfSums((await files.text(sums)) ?? fromUtf8("")),
      records: [path, sums],
    });
  }
  return found;
}

/** `DIGEST  path` a line, as md5sum writes it. */
function* pathsOfSums(text: ByteString): Generator<ByteString> {
  for (const line of linesOf(text)) {
    const match = /^[0-9a-f]+ [ *](.+)$/.exec(line);
    if (match?.[1] !== undefined) yield match[1] as ByteString;
  }
}
