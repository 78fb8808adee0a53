/** apk's database of installed packages (apk-tools, `lib/apk/db/installed`): one letter a field. */
import type { ByteString } from "../../bytes/index.ts";
import { type DatabaseFiles, type FoundPackage, fieldText } from "./packages.ts";
import { linesOf } from "./stanzas.ts";

/** The second is where apk 3 keeps it on systems with one `/usr`. */
const PLACES = ["lib/apk/db/installed", "usr/lib/apk/db/installed"];

export async function readApk(files: DatabaseFiles): Promise<readonly FoundPackage[] | undefined> {
  for (const place of PLACES) {
    const text = await files.text(place);
    if (text !== undefined) return parseInstalled(text);
  }
  return undefined;
}

function parseInstalled(text: ByteString): FoundPackage[] {
  const found: FoundPackage[] = [];
  let fields = new Map<string, ByteString>();
  let paths: ByteString[] = [];
  let folder = "";
  function flush(): void {
    const name = fields.get("P");
    const architecture = fields.get("A");
    if (name !== undefined)
      found.push({
        name: fieldText(name),
        version: fieldText(fields.get("V") ?? ""),
        architecture: architecture === undefined ? undefined : fieldText(architecture),
        paths,
        records: [],
      });
    fields = new Map();
    paths = [];
    folder = "";
  }
  for (const line of linesOf(text)) {
    if (line === "") {
      flush();
      continue;
    }
    const value = line.slice(2) as ByteString;
    if (line.startsWith("F:")) {
      folder = value;
      paths.push(value);
    } else if (line.startsWith("R:")) paths.push((folder === "" ? value : `${folder}/${value}`) as ByteString);
    else if (line[1] === ":") fields.set(line[0] ?? "", value);
  }
  flush();
  return found;
}
