/** What the commands of composefs read from a REF; loaded where there is one. */
import type { HashAlgorithm } from "@ashlar/core/hash";
import { contentsOf, type StoredTree, storeContents, withPreparedInput } from "@ashlar/core/ops/composefs";
import { parseReference } from "@ashlar/core/ops/image";
import type { TreeFlags } from "../commands/composefs.ts";
import { inputEnvironment, platformOf } from "./inputs.ts";
import type { Session } from "./session.ts";
import { blockHasher } from "./workers.ts";

/** Reads and prepares a reference, once for each algorithm that `work` asks for. */
export async function withReference<T>(
  reference: string,
  flags: TreeFlags,
  session: Session,
  work: (store: (algorithm: HashAlgorithm) => Promise<StoredTree>) => Promise<T>,
): Promise<T> {
  await using hasher = blockHasher(flags.workers);
  const environment = { ...inputEnvironment(flags, session), blockHasher: hasher };
  const preparation = flags.bootable ? "boot" : flags.oci ? "oci" : "none";
  const platform = platformOf(flags);
  return await withPreparedInput(
    parseReference(reference),
    environment,
    { platform, preparation },
    async (root, name) => {
      const contents = contentsOf(root);
      return await work(async (algorithm) => {
        await storeContents(contents, algorithm, environment);
        return { name, root };
      });
    },
  );
}
