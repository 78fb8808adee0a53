/** Where the dynamic loader looks for libraries, with a tree as `/`. */
import type { ByteString } from "../../../bytes/index.ts";
import { byteString } from "../../../bytes/index.ts";
import { readAll } from "../../../source/index.ts";
import { type Directory, resolvePath } from "../../../tree/index.ts";

/** Built into the loaders of Debian and of Fedora. */
export const LOADER_DIRECTORIES: readonly string[] = [
  "lib/x86_64-linux-gnu",
  "usr/lib/x86_64-linux-gnu",
  "lib/aarch64-linux-gnu",
  "usr/lib/aarch64-linux-gnu",
  "lib64",
  "usr/lib64",
  "lib",
  "usr/lib",
];

const MAX_CONFIGURATION = 64 * 1024; // bytes of one file

/** The directories of /etc/ld.so.conf and of what it usually includes, /etc/ld.so.conf.d; the loader knows them by its cache only. */
export async function configuredDirectories(image: Directory): Promise<string[]> {
  const directories: string[] = [];
  const folder = resolvePath(image, "etc/ld.so.conf.d");
  const included = folder?.node.type === "directory" ? [...folder.node.entries.keys()].sort() : [];
  const files = [...included.filter((name) => name.endsWith(".conf")).map((name) => `etc/ld.so.conf.d/${name}`)];
  for (const path of ["etc/ld.so.conf", ...files]) {
    const file = resolvePath(image, path);
    if (file?.node.type !== "file") continue;
    const text: string = byteString(await readAll(file.node.content, MAX_CONFIGURATION, `/${path}`));
    for (const line of text.split("\n")) {
      const directory = line.replace(/#.*/, "").trim();
      if (directory.startsWith("/")) directories.push(directory);
    }
  }
  return directories;
}

/** `$ORIGIN` is the directory of the file that names it. */
export function expandOrigin(directory: ByteString, origin: string): string {
  return directory.replace(/\$(?:ORIGIN\b|\{ORIGIN\})/g, `/${origin}`);
}
