import { toHex } from "@ashlar/core/bytes";
import { PolicyError } from "@ashlar/core/errors";
import {
  type FsverityParameters,
  layoutMerkleTree,
  type Measurement,
  measureSource,
  verifiedFsveritySource,
} from "@ashlar/core/formats/fsverity";
import { type Digest, digestAlgorithm, digestBytes, parseDigest } from "@ashlar/core/hash";
import { nodeHashes, type OpenSource, openFile } from "@ashlar/core/node";
import type { Artifact } from "@ashlar/core/ops";
import { passingChunksOf, type Source } from "@ashlar/core/source";
import type { FsverityDigestFlags, FsverityVerifyFlags } from "../commands/fsverity.ts";
import { withOutputFile } from "./outputs.ts";
import { inSession, type Session } from "./session.ts";
import { blockHasher } from "./workers.ts";

type Flags = Pick<FsverityDigestFlags, "algorithm" | "blockSize" | "salt">;

function parametersOf({ algorithm, blockSize, salt }: Flags): FsverityParameters {
  return { algorithm, blockSize, salt: salt ?? new Uint8Array(0) };
}

export function runFsverityDigest(flags: FsverityDigestFlags, ...paths: string[]): Promise<void> {
  return inSession(flags, async (session) => {
    const parameters = parametersOf(flags);
    const { outMerkleTree, outDescriptor } = flags;
    if (paths.length > 1 && (outMerkleTree ?? outDescriptor) !== undefined)
      throw new PolicyError("one-file-only", "--out-merkle-tree and --out-descriptor are for one FILE");
    await using hasher = blockHasher(flags.workers);
    const files: { path: string; size: number; digest: Digest }[] = [];
    const task = session.reporter.start("measure");
    for (const path of paths) {
      await using file = await openFile(path);
      const measure = async (tree?: Artifact): Promise<Measurement> => {
        const measured = await measureSource(file, parameters, {
          hashes: nodeHashes,
          blockHasher: hasher,
          tree,
          signal: session.signal,
          onProgress: task.advance,
        });
        await tree?.setSize(layoutMerkleTree(file.size, parameters).size);
        return measured;
      };
      const { digest, descriptor } = await (outMerkleTree === undefined
        ? measure()
        : withOutputFile(outMerkleTree, flags, measure));
      if (outDescriptor !== undefined)
        await withOutputFile(outDescriptor, flags, (output) => output.writeAt(0, descriptor));
      const hex = toHex(digest);
      files.push({ path, size: file.size, digest: `${flags.algorithm}:${hex}` });
      if (!flags.json) session.print(flags.compact ? hex : `${flags.algorithm}:${hex} ${path}`);
    }
    task.end();
    if (flags.json) session.printJson({ schema: "ashlar.fsverity/v1", blockSize: flags.blockSize, files });
  });
}

/** Reads all of it: each read checks what it reads. */
async function readThrough(verified: Source, session: Session, path: string): Promise<void> {
  const task = session.reporter.start(path, verified.size);
  for await (const chunk of passingChunksOf(verified, { signal: session.signal })) task.advance(chunk.length);
  task.end();
}

export function runFsverityVerify(flags: FsverityVerifyFlags, wanted: string, path: string): Promise<void> {
  return inSession(flags, async (session) => {
    const digest = parseDigest(wanted.includes(":") ? wanted : `${flags.algorithm}:${wanted}`);
    const parameters = { ...parametersOf(flags), algorithm: digestAlgorithm(digest) };
    await using hasher = blockHasher(flags.workers);
    await using file = await openFile(path);
    let tree: OpenSource | undefined;
    try {
      if (flags.merkleTree !== undefined) tree = await openFile(flags.merkleTree);
      const verified = await verifiedFsveritySource(file, digestBytes(digest), parameters, {
        hashes: nodeHashes,
        blockHasher: hasher,
        tree,
        what: path,
        signal: session.signal,
      });
      // Without a tree the file was read for the digest when it was opened.
      if (tree !== undefined) await readThrough(verified, session, path);
    } finally {
      await tree?.close();
    }
    if (flags.json) session.printJson({ schema: "ashlar.fsverity/v1", path, size: file.size, digest, verified: true });
    else session.print(`${path}: verified`);
  });
}
