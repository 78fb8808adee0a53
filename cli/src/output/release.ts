/** What `build` and `seal` say when they are done. */
import { join } from "node:path";
import type { Release } from "@ashlar/core/ops/release";
import type { Session } from "../run/session.ts";
import { formatBytes } from "./units.ts";

export interface Made {
  readonly release: Release;
  /** Name of the release's own file. */
  readonly releaseName: string;
}

/** @param schema of the JSON document, such as `ashlar.build/v1` */
export function printMade(
  session: Session,
  flags: { readonly json: boolean; readonly output: string },
  schema: string,
  { release, releaseName }: Made,
): void {
  if (flags.json) {
    session.printJson({ schema, directory: flags.output, releaseName, release, notes: session.notes });
    return;
  }
  for (const { name, size } of release.artifacts) session.print(`${join(flags.output, name)}  ${formatBytes(size)}`);
  session.print(join(flags.output, releaseName));
  session.print(`root hash ${release.rootHash}`);
}
