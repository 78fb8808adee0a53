/** pacman's local database (`var/lib/pacman/local/NAME-VERSION/{desc,files}`): `%FIELD%`, values, an empty line. */
import type { ByteString } from "../../bytes/index.ts";
import { type DatabaseFiles, type FoundPackage, fieldText } from "./packages.ts";
import { linesOf } from "./stanzas.ts";

/** The second is where rpm-ostree-like Arch images move it, out of `/var`. */
const PLACES = ["var/lib/pacman/local", "usr/lib/sysimage/lib/pacman/local"];

export async function readPacman(files: DatabaseFiles): Promise<readonly FoundPackage[] | undefined> {
  const place = PLACES.find((candidate) => files.directory(candidate) !== undefined);
  const folder = place === undefined ? undefined : files.directory(place);
  if (folder === undefined) return undefined;
  const found: FoundPackage[] = [];
  for (const [entry, node] of [...folder.entries].sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (node.type !== "directory") continue;
    const path = `${place}/${entry}`;
    const description = valuesOf((await files.text(`${path}/desc`)) ?? ("" as ByteString));
    const [name] = description.get("NAME") ?? [];
    if (name === undefined) continue;
    const [architecture] = description.get("ARCH") ?? [];
    found.push({
      name: fieldText(name),
      version: fieldText(description.get("VERSION")?.[0] ?? ""),
      architecture: architecture === undefined ? undefined : fieldText(architecture),
      paths: valuesOf((await files.text(`${path}/files`)) ?? ("" as ByteString)).get("FILES") ?? [],
      records: [path, ...[...node.entries.keys()].map((name) => `${path}/${name}`)] as ByteString[],
    });
  }
  return found;
}

function valuesOf(text: ByteString): Map<string, ByteString[]> {
  const fields = new Map<string, ByteString[]>();
  let values: ByteString[] | undefined;
  for (const line of linesOf(text)) {
    if (line === "") values = undefined;
    else if (values !== undefined) values.push(line);
    else if (/^%[A-Z0-9]+%$/.test(line)) {
      values = [];
      fields.set(line.slice(1, -1), values);
    }
  }
  return fields;
}
