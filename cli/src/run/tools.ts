/** What several commands set up in the same way: the environment of the operations, and the image that is their input. */
import { availableParallelism } from "node:os";
import process from "node:process";
import { PolicyError } from "@ashlar/core/errors";
import { parsePlatform } from "@ashlar/core/formats/oci";
import {
  createBlockHasher,
  createCompressors,
  fileScratch,
  nodeDecompressors,
  nodeFiles,
  nodeHashes,
  openArtifacts,
} from "@ashlar/core/node";
import type { ArtifactStore, Environment } from "@ashlar/core/ops";
import { flatten, type Image, openImage, parseReference } from "@ashlar/core/ops/image";
import type { InputFlags } from "../commands/flags.ts";
import { parseTimestamp } from "../parse.ts";
import type { Session } from "./session.ts";

/** More than these do not pay: reading and decompressing the layers is the rest of the work. */
const MAX_DEFAULT_WORKERS = 8;

export function blockHasher(workers: number | undefined): ReturnType<typeof createBlockHasher> {
  return createBlockHasher({ workers: workers ?? Math.min(availableParallelism(), MAX_DEFAULT_WORKERS) });
}

/** The clamp that the user asks for: the flag, else SOURCE_DATE_EPOCH (reproducible-builds.org). Nanoseconds. */
function requestedClamp(flags: InputFlags): bigint | undefined {
  if (flags.timestamp !== undefined) return flags.timestamp;
  const text = process.env["SOURCE_DATE_EPOCH"];
  if (text === undefined || text === "") return undefined;
  if (!/^-?\d{1,12}$/.test(text))
    throw new PolicyError("bad-timestamp", `SOURCE_DATE_EPOCH: not seconds since 1970: ${JSON.stringify(text)}`);
  return parseTimestamp(text);
}

/** The creation time of an image, nanoseconds; undefined where it has none or it is no time. */
function createdOf(image: Image): bigint | undefined {
  const { created } = image.config;
  if (created === undefined) return undefined;
  const match = /^(.*?)(?:\.(\d{1,9})\d*)?(Z|[+-]\d{2}:\d{2})$/.exec(created);
  if (match === null) return undefined;
  const [, whole, fraction = "", zone] = match as unknown as [string, string, string | undefined, string];
  const milliseconds = Date.parse(`${whole}${zone}`);
  return Number.isNaN(milliseconds)
    ? undefined
    : BigInt(milliseconds) * 1_000_000n + BigInt(fraction.padEnd(9, "0").slice(0, 9));
}

/** A build's surroundings, opened and closed together. */
export interface Workshop {
  readonly image: Image;
  readonly tree: Awaited<ReturnType<typeof flatten>>["root"];
  readonly created: bigint | undefined;
  readonly clamp: bigint | undefined;
  readonly artifacts: ArtifactStore;
  readonly environment: Environment;
}

/** Opens the image and the output directory, runs `work`, and leaves nothing behind that was not published. */
export async function inWorkshop<T>(
  reference: string,
  flags: InputFlags,
  session: Session,
  work: (workshop: Workshop) => Promise<T>,
): Promise<T> {
  const clamp = requestedClamp(flags);
  const { reporter, signal } = session;
  const platform = flags.platform === undefined ? undefined : parsePlatform(flags.platform);
  const image = await openImage(
    parseReference(reference),
    { hashes: nodeHashes, files: nodeFiles },
    { platform, signal },
  );
  try {
    const artifacts = await openArtifacts(flags.output, { overwrite: flags.overwrite });
    try {
      const scratch = fileScratch(flags.tmpdir ?? flags.output);
      const flat = await flatten(image, {
        hashes: nodeHashes,
        scratch,
        decompressors: nodeDecompressors,
        reporter,
        signal,
      });
      try {
        await using hasher = blockHasher(flags.workers);
        const environment: Environment = {
          hashes: nodeHashes,
          blockHasher: hasher,
          compressors: await createCompressors(),
          scratch,
          reporter,
          signal,
        };
        return await work({ image, tree: flat.root, created: createdOf(image), clamp, artifacts, environment });
      } finally {
        await flat.dispose();
      }
    } finally {
      await artifacts.discard();
    }
  } finally {
    await image.close();
  }
}
