import { tmpdir } from "node:os";
import { isAshlarError, SourceError } from "@ashlar/core/errors";
import type { Digest } from "@ashlar/core/hash";
import {
  fileScratch,
  nativeDecompressor,
  nodeCompressors,
  nodeCrc32,
  nodeDecompressors,
  nodeFiles,
  nodeHashes,
  openArtifacts,
  openFile,
} from "@ashlar/core/node";
import { openRegistries } from "@ashlar/core/node/registry";
import type { Environment } from "@ashlar/core/ops";
import { AGENT_INPUT, type Agent } from "@ashlar/core/ops/build";
import { type Input, nameOf, parseReference, type Reference, readInput } from "@ashlar/core/ops/image";
import { MAX_RELEASE_SIZE, parseRelease, type Release } from "@ashlar/core/ops/release";
import { agentOfRelease, type Original, type Reproduction, reproduceRelease } from "@ashlar/core/ops/reproduce";
import { readAll, type Source } from "@ashlar/core/source";
import type { ReproduceFlags } from "../commands/reproduce.ts";
import { EXIT } from "../exit-codes.ts";
import { reproductionLines } from "../output/reproduce.ts";
import { openArtifact } from "./images.ts";
import { registryOptions } from "./registries.ts";
import { Failed, inSession, type Session } from "./session.ts";
import { releaseEnvironment, repositoryReference, withRelease } from "./stored-releases.ts";
import { blockHasher, clusterEncoder } from "./workers.ts";

const SCHEMA = "ashlar.reproduce/v1";

/** A release beside its artifacts. They are closed when `work` is done. */
async function withReleaseFile<T>(path: string, work: (original: Original) => Promise<T>): Promise<T> {
  await using file = await openFile(path);
  const bytes = await readAll(file, MAX_RELEASE_SIZE, path);
  const opened = new Map<string, Source & { close(): Promise<void> }>();
  async function open(name: string): Promise<Source> {
    const source = opened.get(name) ?? (await openArtifact(path, name));
    opened.set(name, source);
    return source;
  }
  try {
    return await work({ name: path, release: parseRelease(bytes, path), bytes, open });
  } finally {
    for (const source of opened.values()) await source.close();
  }
}

function recordedDigest({ inputs }: Release, name: string): Digest | undefined {
  return inputs.find((input) => input.name === name)?.digest as Digest | undefined;
}

/** Where an input is: as given, without a tag by the recorded digest; else in the repository of the release. */
function inputReference(
  given: string | undefined,
  digest: Digest | undefined,
  stored: Reference | undefined,
  what: string,
): Reference {
  if (given !== undefined) {
    const reference = parseReference(given);
    const isOpen = reference.tag === undefined && reference.digest === undefined;
    const hasDigests = reference.transport === "docker" || reference.transport === "oci";
    return isOpen && hasDigests && digest !== undefined ? { ...reference, digest } : reference;
  }
  if (stored !== undefined && digest !== undefined)
    return { transport: stored.transport, path: stored.path, tag: undefined, digest };
  throw new SourceError("no-source", `${what}: say where the image is that it was made from, by --source`);
}

async function readSource(
  reference: Reference,
  release: Release,
  isGiven: boolean,
  environment: Parameters<typeof readInput>[1],
): Promise<Input> {
  const { architecture } = release;
  const platform = architecture === undefined ? undefined : { os: "linux", architecture };
  try {
    return await readInput(reference, environment, { platform });
  } catch (cause) {
    if (isGiven || !isAshlarError(cause) || cause.code !== "no-such-image") throw cause;
    const message = `${nameOf(reference)}: the source image ${reference.digest} is not in the release's repository; say where by --source`;
    throw new SourceError("no-source", message, { cause });
  }
}

async function reproduce(
  original: Original,
  stored: Reference | undefined,
  flags: ReproduceFlags,
  session: Session,
  environment: Environment,
): Promise<Reproduction> {
  const { release, name } = original;
  const { reporter, signal } = session;
  const { hashes, scratch } = environment;
  const registries = openRegistries(registryOptions(flags));
  const reading = { hashes, files: nodeFiles, registries, scratch, decompressors: nodeDecompressors, reporter, signal };
  const read: Input[] = [];
  let agent: Agent | undefined;
  const artifacts = await openArtifacts(flags.tmpdir ?? tmpdir(), { overwrite: true });
  try {
    const image = inputReference(flags.source, recordedDigest(release, "image"), stored, name);
    const source = await readSource(image, release, flags.source !== undefined, reading);
    read.push(source);
    const toolsDigest = recordedDigest(release, "tools");
    let tools: Input | undefined;
    if (flags.tools !== undefined || toolsDigest !== undefined) {
      const reference = inputReference(flags.tools ?? flags.source, toolsDigest, stored, name);
      tools = await readSource(reference, release, flags.tools !== undefined, reading);
      read.push(tools);
    }
    if (flags.agent !== undefined) {
      const { architecture } = source;
      const platform = architecture === undefined ? undefined : { os: "linux", architecture };
      agent = await (await import("./agent.ts")).readAgent(flags.agent, reading, { platform });
    } else if (recordedDigest(release, AGENT_INPUT) !== undefined) agent = await agentOfRelease(original, environment);
    return await reproduceRelease(original, { image: source, tools, agent }, artifacts, environment);
  } finally {
    for (const { dispose } of read) await dispose();
    await agent?.dispose();
    await artifacts.discard();
    registries.close();
  }
}

export function runReproduce(flags: ReproduceFlags, word: string): Promise<void> {
  return inSession(flags, async (session) => {
    const { reporter, signal } = session;
    await using hasher = blockHasher(flags.workers);
    await using encoder = clusterEncoder(flags.workers);
    const environment: Environment = {
      hashes: nodeHashes,
      blockHasher: hasher,
      compressors: nodeCompressors,
      clusterEncoder: encoder,
      decompressor: nativeDecompressor(),
      crc32: nodeCrc32,
      scratch: fileScratch(flags.tmpdir ?? tmpdir()),
      reporter,
      signal,
    };
    const reference = await repositoryReference(word);
    const result =
      reference === undefined
        ? await withReleaseFile(word, (original) => reproduce(original, undefined, flags, session, environment))
        : await withRelease(reference, flags, releaseEnvironment(flags, hasher, signal), (release) =>
            reproduce(release, reference, flags, session, environment),
          );
    if (flags.json) session.printJson({ schema: SCHEMA, subject: word, ...forJson(result), notes: session.notes });
    else for (const line of reproductionLines(word, result)) session.print(line);
    if (!result.identical) throw new Failed(EXIT.different);
  });
}

function forJson({ inputs, artifacts, ...rest }: Reproduction) {
  return {
    ...rest,
    inputs: inputs.map(({ expected = null, actual = null, name }) => ({ name, expected, actual })),
    artifacts: artifacts.map(({ actual = null, ...artifact }) => ({ ...artifact, actual })),
  };
}
