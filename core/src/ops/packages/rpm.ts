/** rpm's database: found and named. */
import { UnsupportedError } from "../../errors/index.ts";
import type { DatabaseFiles, FoundPackage } from "./packages.ts";

const PLACES = ["usr/lib/sysimage/rpm", "var/lib/rpm", "usr/share/rpm"];

export async function readRpm(files: DatabaseFiles): Promise<readonly FoundPackage[] | undefined> {
  for (const place of PLACES)
    for (const name of ["rpmdb.sqlite", "Packages.db", "Packages"])
      if (files.directory(place)?.entries.has(name as never))
        throw new UnsupportedError("rpm-database", `/${place}/${name}: not implemented`);
  return undefined;
}
