import { toHex } from "@ashlar/core/bytes";
import { PolicyError } from "@ashlar/core/errors";
import {
  type FormatVersion,
  isComposefs,
  openComposefs,
  type WriteComposefsOptions,
} from "@ashlar/core/formats/composefs";
import { defaultFsverity, measureSource } from "@ashlar/core/formats/fsverity";
import type { HashAlgorithm } from "@ashlar/core/hash";
import { nodeHashes, openFile } from "@ashlar/core/node";
import { type StoredTree, storedAlgorithm, writeStored } from "@ashlar/core/ops/composefs";
import type { CreateFlags, DigestFlags, WriteFlags } from "../commands/composefs.ts";
import { isReference, readSubject, refusePreparation } from "./composefs-subject.ts";
import { withOutputFile } from "./outputs.ts";
import { inSession, type Session } from "./session.ts";

type Version = WriteComposefsOptions["version"];

/** The rule of mkcomposefs where one of its two flags is given. */
function versionOf({ formatVersion, minVersion, maxVersion }: WriteFlags): Version {
  if (minVersion === undefined && maxVersion === undefined) return Number(formatVersion ?? 1) as FormatVersion;
  if (formatVersion !== undefined)
    throw new PolicyError("composefs-options", "--format-version excludes --min-version and --max-version");
  const min = minVersion === "1" ? 1 : 0;
  return { min, max: maxVersion === "1" ? 1 : min };
}

/** A dump, or a REF, as a tree to be written. */
async function withTree<T>(
  reference: string | undefined,
  flags: WriteFlags,
  session: Session,
  work: (store: (algorithm: HashAlgorithm) => Promise<StoredTree>, fallback: HashAlgorithm) => Promise<T>,
): Promise<T> {
  const { fromDump } = flags;
  if (fromDump !== undefined) {
    if (reference !== undefined)
      throw new PolicyError("composefs-options", `--from-dump takes the place of a REF, and ${reference} is given`);
    return readSubject(fromDump, flags, session).then((tree) =>
      work(async () => tree, storedAlgorithm(tree) ?? "sha256"),
    );
  }
  if (reference === undefined) throw new PolicyError("composefs-options", "neither a REF nor --from-dump is given");
  if (!isReference(reference))
    return readSubject(reference, flags, session).then((tree) =>
      work(async () => tree, storedAlgorithm(tree) ?? "sha256"),
    );
  const { withReference } = await import("./composefs-reference.ts");
  return withReference(reference, flags, session, (store) => work(store, flags.bootable ? "sha512" : "sha256"));
}

export function runCreate(flags: CreateFlags, ...args: string[]): Promise<void> {
  return inSession(flags, async (session) => {
    const output = args.at(-1)!; // at least one
    const version = versionOf(flags);
    await withTree(args.length === 2 ? args[0] : undefined, flags, session, async (store, fallback) => {
      const algorithm = flags.algorithm ?? fallback;
      const written = writeStored(await store(algorithm), version, algorithm, nodeHashes);
      const { bytes } = written;
      await withOutputFile(output, flags, async (file) => {
        await file.writeAt(0, bytes);
        await file.setSize(bytes.length);
      });
      const digest = toHex(written.digest);
      if (!flags.json) session.print(digest);
      else
        session.printJson({
          schema: "ashlar.composefs-create/v1",
          image: output,
          size: bytes.length,
          formatVersion: written.version,
          algorithm,
          digest,
          inodes: written.inodeCount,
        });
    });
  });
}

/** As the kernel command line and the OCI annotations spell it. */
const spelled = (version: FormatVersion, algorithm: HashAlgorithm): string => `v${version}-${algorithm}-12`;

export function runDigest(flags: DigestFlags, reference?: string): Promise<void> {
  return inSession(flags, async (session) => {
    const version = versionOf(flags);
    const digests: { formatVersion: FormatVersion; algorithm: HashAlgorithm; digest: string }[] = [];
    const own = await digestOfImage(reference, flags);
    if (own !== undefined) digests.push(own);
    else
      await withTree(reference, flags, session, async (store, fallback) => {
        const wanted = flags.all ? ALL : [{ version, algorithm: flags.algorithm ?? fallback }];
        let tree: StoredTree | undefined;
        let stored: HashAlgorithm | undefined;
        for (const { version, algorithm } of wanted) {
          if (stored !== algorithm || tree === undefined) tree = await store(algorithm);
          stored = algorithm;
          const written = writeStored(tree, version, algorithm, nodeHashes);
          digests.push({ formatVersion: written.version, algorithm, digest: toHex(written.digest) });
        }
      });
    if (flags.json) session.printJson({ schema: "ashlar.composefs-digest/v1", digests });
    else
      for (const { formatVersion, algorithm, digest } of digests)
        session.print(flags.all ? `${spelled(formatVersion, algorithm)}:${digest}` : digest);
  });
}

/** What a device may ask for: bootc's own first, then what older releases of it compute, then the same in SHA-256. */
const ALL: readonly { readonly version: FormatVersion; readonly algorithm: HashAlgorithm }[] = [
  { version: 1, algorithm: "sha512" },
  { version: 2, algorithm: "sha512" },
  { version: 1, algorithm: "sha256" },
  { version: 2, algorithm: "sha256" },
];

/** The digest of a file that is an image already; undefined for anything else. */
async function digestOfImage(path: string | undefined, flags: DigestFlags) {
  if (path === undefined || path === "-" || isReference(path) || flags.fromDump !== undefined) return undefined;
  await using file = await openFile(path);
  if (!(await isComposefs(file))) return undefined;
  refusePreparation(path, flags);
  const { version } = await openComposefs(file);
  const algorithm = flags.algorithm ?? "sha256";
  const { digest } = await measureSource(file, defaultFsverity(algorithm), { hashes: nodeHashes });
  return { formatVersion: version, algorithm, digest: toHex(digest) };
}
