// "Write faults" of issue 3: the device is full or broken at every write, flush and rename of a run. The run says so with a
// SinkError, leaves nothing behind, and the next one succeeds with the bytes of a run that nothing happened to.
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { SinkError } from "../../core/src/errors/index.ts";
import { inlineBlockHasher } from "../../core/src/hash/index.ts";
import {
  createBlockHasher,
  createFile,
  fileScratch,
  nodeCompressors,
  nodeDecompressors,
  nodeFiles,
  nodeHashes,
  openArtifacts,
} from "../../core/src/node/index.ts";
import { buildSystem } from "../../core/src/ops/build/index.ts";
import { type Input, type OpenContentStore, parseReference, readInput } from "../../core/src/ops/image/index.ts";
import { type ArtifactStore, type Compressors, type Environment, silentReporter } from "../../core/src/ops/index.ts";
import {
  type Landing,
  openContentLanding,
  type SealContentOptions,
  sealContent,
} from "../../core/src/ops/seal/index.ts";
import type { ScratchSpace } from "../../core/src/source/index.ts";
import { type Directory, directory, type Node, regularFile } from "../../core/src/tree/index.ts";
import { debianLayout } from "../support/debian.ts";
import type { ImageInput } from "../support/oci.ts";
import { filePrototype, type Method, type Wrap, watchWrites } from "../support/points.ts";
import { digests, SAMPLE_ARTIFACTS, SAMPLE_ENTRIES, sampleLayout, workFolder } from "../support/samples.ts";
import { type TarEntry, tarBytes } from "../support/tar.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";

type Code = "ENOSPC" | "EIO";
const MEANS: Readonly<Record<Code, string>> = { ENOSPC: "no-space", EIO: "io-error" };

/** Fails once, at the point with this number. Every call of the host that changes the output directory is a point. */
interface Fault {
  readonly at: number;
  readonly code: Code;
}

interface Watched<T> {
  readonly value?: T;
  readonly error?: unknown;
  /** What was called, in order. */
  readonly points: readonly string[];
}

function systemError(code: Code, call: string): Error {
  const text = code === "ENOSPC" ? "no space left on device" : "i/o error";
  return Object.assign(new Error(`${code}: ${text}, ${call}`), { code, syscall: call });
}

async function watch<T>(work: () => Promise<T>, fault?: Fault): Promise<Watched<T>> {
  const points: string[] = [];
  const wrap: Wrap = async (call, original) => {
    const isHere = points.push(call) - 1 === fault?.at;
    if (isHere && call !== "close") throw systemError(fault.code, call);
    const result = await original();
    if (isHere) throw systemError(fault.code, call); // a failing close closes all the same
    return result;
  };
  const undo = watchWrites(wrap);
  try {
    return { value: await work(), points };
  } catch (error) {
    return { error, points };
  } finally {
    undo();
  }
}

interface Row {
  readonly operation: string;
  readonly points: number;
  readonly faults: number;
  /** Faults that a run got over. */
  readonly harmless: number;
  readonly failures: readonly string[];
}
const rows: Row[] = [];
after(() => {
  const lines = rows.map(({ operation, points, faults, harmless, failures }) =>
    [operation, points, faults, harmless, failures.length].join("  "),
  );
  process.stdout.write(`The fault report\noperation  points  faults  got over  failures\n${lines.join("\n")}\n`);
});

interface Operation {
  readonly name: string;
  /** Empty before and after. */
  readonly directory: string;
  run(): Promise<unknown>;
  /** Which of the points, of how many. */
  choose(points: number): readonly number[];
  /** Whether another run comes after each fault, or one after all of them. */
  readonly again: "each" | "once";
}

async function injectFaults({ name, directory: output, run, choose, again }: Operation): Promise<void> {
  const clear = () => {
    for (const file of readdirSync(output)) rmSync(join(output, file), { recursive: true });
  };
  async function succeed(): Promise<[points: readonly string[], found: Record<string, string>]> {
    const { error, points } = await watch(run);
    if (error !== undefined) throw error;
    const found = digests(output);
    clear();
    return [points, found];
  }
  const [points, expected] = await succeed();
  const failures: string[] = [];
  const chosen = choose(points.length);
  let faults = 0;
  let harmless = 0;
  for (const code of ["ENOSPC", "EIO"] as const)
    for (const at of chosen) {
      faults++;
      const { error } = await watch(run, { at, code });
      const problems: string[] = [];
      if (error === undefined) {
        // Nothing was lost: a temporary file that is not wanted any more could not be closed.
        assert.deepEqual(digests(output), expected, `${code} at point ${at} (${points[at]}) was not noticed`);
        harmless++;
        clear();
        continue;
      }
      if (!(error instanceof SinkError) || error.code !== MEANS[code]) problems.push(`gave ${String(error)}`);
      else if (error.message.includes("\n")) problems.push("a message of several lines");
      const left = readdirSync(output);
      if (left.length > 0) problems.push(`left ${left.join(", ")}`);
      clear();
      if (again === "each") assert.deepEqual((await succeed())[1], expected, `after ${code} at point ${at}`);
      if (problems.length > 0) failures.push(`${code} at point ${at} (${points[at]}): ${problems.join("; ")}`);
    }
  assert.deepEqual((await succeed())[1], expected);
  rows.push({ operation: name, points: points.length, faults, harmless, failures });
  assert.deepEqual(failures, []);
}

interface Workshop {
  readonly input: Input;
  readonly artifacts: ArtifactStore;
  readonly environment: Environment;
}

/** What the command sets up around an operation, with everything in `output`. */
async function inWorkshop(
  output: string,
  work: (workshop: Workshop) => Promise<unknown>,
  read: (scratch: ScratchSpace, workshop: Omit<Workshop, "input">) => Promise<Input>,
  lent: Pick<Environment, "blockHasher" | "compressors">,
): Promise<void> {
  const artifacts = await openArtifacts(output, { overwrite: false });
  let input: Input | undefined;
  try {
    const scratch = fileScratch(output);
    const environment = { hashes: nodeHashes, scratch, reporter: silentReporter, ...lent };
    input = await read(scratch, { artifacts, environment });
    await work({ input, artifacts, environment });
  } finally {
    await input?.dispose();
    await artifacts.discard();
  }
}

const readLayout = (path: string, scratch: ScratchSpace, openStore?: OpenContentStore): Promise<Input> =>
  readInput(parseReference(`oci:${path}`), {
    hashes: nodeHashes,
    files: nodeFiles,
    scratch,
    decompressors: nodeDecompressors,
    reporter: silentReporter,
    openStore,
  });

/** As the command does: contents go straight into the image, as far as they can stay there. */
function sealLayout(path: string, output: string): Promise<void> {
  const options: SealContentOptions = { algorithm: "sha256", tails: "blocks" };
  let landing: Landing | undefined;
  return inWorkshop(
    output,
    ({ input, artifacts, environment }) =>
      sealContent({ ...input, inputs: [], landing }, options, artifacts, environment),
    (scratch, { artifacts, environment }) =>
      readLayout(path, scratch, async (labels) => {
        landing = await openContentLanding(labels, options, artifacts, environment);
        return landing;
      }),
    { blockHasher: inlineBlockHasher(nodeHashes), compressors: nodeCompressors },
  );
}

/** Files in the order of their paths, so that all of them stay where they land. */
const ORDERED: Partial<ImageInput> = {
  layers: [{ tar: tarBytes(["closed/inside", "etc/motd", "sparse", "usr/bin/tool"].map(sampleEntry)) }],
};

function sampleEntry(name: string): TarEntry {
  return SAMPLE_ENTRIES.find((entry) => entry.name === name)!; // it is in that list
}

for (const [name, image] of [
  ["seal", {}],
  ["seal in the order of paths", ORDERED],
] as const)
  test(`${name}: a full and a broken device at every point`, async (t) => {
    const folder = workFolder(t);
    const output = join(folder, "out");
    mkdirSync(output);
    const layout = await sampleLayout(join(folder, "layout"), image);
    await injectFaults({
      name,
      directory: output,
      run: () => sealLayout(layout.directory, output),
      choose: (points) => Array.from({ length: points }, (_, i) => i),
      again: "each",
    });
  });

test("seal: a device that takes a part of every write gets the same bytes", async (t) => {
  const folder = workFolder(t);
  const output = join(folder, "out");
  mkdirSync(output);
  const layout = await sampleLayout(join(folder, "layout"));
  async function seal(): Promise<Record<string, string>> {
    await sealLayout(layout.directory, output);
    const found = digests(output);
    for (const name of SAMPLE_ARTIFACTS) rmSync(join(output, name));
    return found;
  }
  const expected = await seal();
  const write = filePrototype["write"] as (...given: unknown[]) => Promise<unknown>;
  let writes = 0;
  filePrototype["write"] = function (this: unknown, ...given: unknown[]) {
    const [bytes, start, length, position] = given as [Uint8Array, number, number, number];
    return write.call(this, bytes, start, Math.max(1, length >> (writes++ % 3)), position);
  } as Method;
  try {
    assert.deepEqual(await seal(), expected);
    assert.ok(writes > 10);
  } finally {
    filePrototype["write"] = write as Method;
  }
});

test("a device that takes nothing and says nothing is a broken one", async (t) => {
  const file = await createFile(join(workFolder(t), "file"));
  const write = filePrototype["write"] as Method;
  filePrototype["write"] = async () => ({ bytesWritten: 0 });
  try {
    await assert.rejects(file.writeAt(0, new Uint8Array(10).fill(1)), (error) => {
      return error instanceof SinkError && error.code === "io-error";
    });
  } finally {
    filePrototype["write"] = write;
    await file.close();
  }
});

/** A tree that may be changed without changing this one; a hard link stays one. */
function copyTree(root: Directory): Directory {
  const copies = new Map<Node, Node>();
  function copy(node: Node): Node {
    const known = copies.get(node);
    if (known !== undefined) return known;
    const made =
      node.type === "directory"
        ? directory(
            node,
            [...node.entries].map(([name, child]) => [name, copy(child)] as const),
          )
        : node.type === "file"
          ? regularFile(node, node.content)
          : { ...node };
    copies.set(node, made);
    return made;
  }
  return copy(root) as Directory;
}

/** Compresses the same bytes once; the initrd is the same in every run. */
function remembering(compress: Compressors["zstd"]): Compressors["zstd"] {
  const known = new Map<string, Promise<Uint8Array>>();
  return (bytes) => {
    const key = Buffer.from(nodeHashes.hash("sha256", bytes)).toString("hex");
    const result = known.get(key) ?? compress(bytes);
    known.set(key, result);
    return result;
  };
}

/** First and last points, where files are made and published, and some between. */
function spread(points: number, count: number): number[] {
  const chosen = Array.from({ length: count }, (_, i) => Math.round((i * (points - 1)) / (count - 1)));
  return [...new Set([...chosen, Math.max(0, points - 3)])].sort((a, b) => a - b);
}

test("build: a full and a broken device at points of a whole system", { timeout: 3_600_000 }, async (t) => {
  const folder = workFolder(t);
  const output = join(folder, "out");
  mkdirSync(output);
  const read = await readLayout(await debianLayout("trixie"), fileScratch(folder));
  await using blockHasher = createBlockHasher({ workers: 2 });
  const { gzip, zstd } = nodeCompressors;
  const lent = { blockHasher, compressors: { gzip: remembering(gzip), zstd: remembering(zstd) } };
  const MIB = 2 ** 20;
  const build = ({ input, artifacts, environment }: Workshop) =>
    buildSystem(
      { tree: input.tree, architecture: "amd64", created: input.created, labels: input.labels, inputs: [] },
      { etc: "persistent", tails: "blocks", espSize: 300 * MIB, slotSize: 512 * MIB, varSize: 64 * MIB },
      artifacts,
      environment,
    );
  try {
    await injectFaults({
      name: "build",
      directory: output,
      run: () =>
        inWorkshop(output, build, async () => ({ ...read, tree: copyTree(read.tree), dispose: async () => {} }), lent),
      choose: (points) => spread(points, isLong ? points : 9),
      again: "once",
    });
  } finally {
    await read.dispose();
  }
});
