/** What several commands set up in the same way: the environment of the operations, and their input. */
import { realpath } from "node:fs/promises";
import { dirname, relative, resolve, sep } from "node:path";
import process from "node:process";
import { PolicyError } from "@ashlar/core/errors";
import {
  fileScratch,
  nativeDecompressor,
  nodeCompressors,
  nodeCrc32,
  nodeHashes,
  openArtifacts,
} from "@ashlar/core/node";
import type { ArtifactStore, Environment } from "@ashlar/core/ops";
import { AGENT_INPUT, type Agent } from "@ashlar/core/ops/build";
import { type Admission, type Input, parseReference, type Reference, readInput } from "@ashlar/core/ops/image";
import type { Release } from "@ashlar/core/ops/release";
import type { Landing } from "@ashlar/core/ops/seal";
import type { ScratchSpace } from "@ashlar/core/source";
import type { InputFlags } from "../commands/flags.ts";
import type { SourceTrustFlags } from "../commands/trust-flags.ts";
import { parseTimestamp } from "../parse.ts";
import { inputEnvironment, platformOf } from "./inputs.ts";
import type { Session } from "./session.ts";
import { blockHasher, clusterEncoder } from "./workers.ts";

/** The clamp that the user asks for: the flag, else SOURCE_DATE_EPOCH (reproducible-builds.org). Nanoseconds. */
export function requestedClamp(flags: Pick<InputFlags, "timestamp">): bigint | undefined {
  if (flags.timestamp !== undefined) return flags.timestamp;
  const text = process.env["SOURCE_DATE_EPOCH"];
  if (text === undefined || text === "") return undefined;
  if (!/^-?\d{1,12}$/.test(text))
    throw new PolicyError("bad-timestamp", `SOURCE_DATE_EPOCH: not seconds since 1970: ${JSON.stringify(text)}`);
  return parseTimestamp(text);
}

/** A build's surroundings, opened and closed together. */
export interface Workshop {
  readonly input: Input;
  /** Where to look for what the input lacks (`--tools`). */
  readonly tools: Input | undefined;
  /** What is to keep the machine up to date (`--agent`). */
  readonly agent: Agent | undefined;
  /** What the result is made from, by digest; a directory has none. */
  readonly inputs: Release["inputs"];
  readonly clamp: bigint | undefined;
  readonly artifacts: ArtifactStore;
  readonly environment: Environment;
  /** What `land` opened for the contents of the input. */
  readonly landing: Landing | undefined;
}

/** Opens a place for the contents of the input where they can stay, before they are read. */
export type Land = (
  labels: Readonly<Record<string, string>>,
  workshop: Pick<Workshop, "clamp" | "artifacts" | "environment">,
) => Promise<Landing | undefined>;

/** Whom the flags say to trust; what checks signatures is loaded where somebody asks for it. */
async function requestedAdmission(flags: SourceTrustFlags, session: Session): Promise<Admission | undefined> {
  if ((flags.verifyKey ?? []).length === 0 && flags.policy === undefined) return undefined;
  const { sourceAdmission } = await import("./trust.ts");
  return sourceAdmission(flags, session);
}

/** The nearest directory above `path` that exists, without links in it. */
async function realParent(path: string): Promise<string> {
  for (let at = resolve(path); ; at = dirname(at)) {
    const real = await realpath(at).catch(() => undefined);
    if (real !== undefined) return real;
  }
}

/** What is written into a directory while it is read would become part of itself. */
async function refuseInside({ transport, path }: Reference, folders: readonly string[]): Promise<void> {
  if (transport !== "dir") return;
  const input = await realpath(path).catch(() => undefined);
  if (input === undefined) return; // readInput says it better
  for (const folder of folders) {
    const place = relative(input, await realParent(folder));
    if (place !== ".." && !place.startsWith(`..${sep}`))
      throw new PolicyError("output-in-input", `${folder}: is inside of dir:${path}, which is the input`, {
        path: folder,
      });
  }
}

/** Reads the input, opens the output directory, runs `work`, and leaves nothing behind that was not published. */
export async function inWorkshop<T>(
  reference: string,
  flags: InputFlags & SourceTrustFlags & { readonly tools?: string | undefined; readonly agent?: string | undefined },
  session: Session,
  work: (workshop: Workshop) => Promise<T>,
  land?: Land,
): Promise<T> {
  const clamp = requestedClamp(flags);
  const { reporter, signal } = session;
  const platform = platformOf(flags);
  const references = [reference, ...(flags.tools === undefined ? [] : [flags.tools])].map(parseReference);
  const folders = [flags.output, ...(flags.tmpdir === undefined ? [] : [flags.tmpdir])];
  for (const given of references) await refuseInside(given, folders);

  // The directory is made when there is something to put into it: not for a reference that leads nowhere.
  let opened: Promise<ArtifactStore> | undefined;
  const openOutput = () => {
    opened ??= openArtifacts(flags.output, { overwrite: flags.overwrite });
    return opened;
  };
  const temporary = fileScratch(flags.tmpdir ?? flags.output);
  const scratch: ScratchSpace = {
    async create() {
      await openOutput();
      return temporary.create();
    },
  };
  const reading = {
    ...inputEnvironment(flags, session),
    admit: await requestedAdmission(flags, session),
    scratch,
  };
  const read: Input[] = [];
  let agent: Agent | undefined;
  try {
    await using hasher = blockHasher(flags.workers);
    await using encoder = clusterEncoder(flags.workers);
    const environment: Environment = {
      hashes: nodeHashes,
      blockHasher: hasher,
      compressors: nodeCompressors,
      clusterEncoder: encoder,
      decompressor: nativeDecompressor(),
      crc32: nodeCrc32,
      scratch,
      reporter,
      signal,
    };
    let landing: Landing | undefined;
    const openStore = async (labels: Readonly<Record<string, string>>) => {
      landing = await land?.(labels, { clamp, artifacts: await openOutput(), environment });
      return landing;
    };
    for (const [index, given] of references.entries())
      read.push(await readInput(given, index === 0 ? { ...reading, openStore } : reading, { platform }));
    const [input, tools] = read as [Input, Input | undefined];
    const inputs: Release["inputs"] = [];
    if (input.digest !== undefined) inputs.push({ name: "image", digest: input.digest });
    if (tools?.digest !== undefined) inputs.push({ name: "tools", digest: tools.digest });
    if (flags.agent !== undefined) {
      const { architecture } = input;
      const own = platform ?? (architecture === undefined ? undefined : { os: "linux", architecture });
      agent = await (await import("./agent.ts")).readAgent(flags.agent, reading, { platform: own });
      inputs.push({ name: AGENT_INPUT, digest: agent.digest });
    }
    const artifacts = await openOutput();
    return await work({ input, tools, agent, inputs, clamp, artifacts, environment, landing });
  } finally {
    for (const { dispose } of read) await dispose();
    await agent?.dispose();
    await (await opened?.catch(() => undefined))?.discard();
  }
}
