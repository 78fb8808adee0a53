/**
 * Builds a release again from its recorded digests and options, and compares: how a third party checks that a binary
 * image is what its public container image says.
 */
import { equalBytes } from "../../bytes/index.ts";
import type { Digest } from "../../hash/index.ts";
import type { Source } from "../../source/index.ts";
import { type ArtifactStore, unpublished } from "../artifacts.ts";
import { AGENT_INPUT, type Agent, buildSystem } from "../build/index.ts";
import type { Environment } from "../environment.ts";
import type { Input } from "../image/index.ts";
import { encodeRelease, type Release } from "../release/release.ts";
import { sealContent } from "../seal/index.ts";
import { type Difference, locateDifferences } from "./locate.ts";
import { assertReproducible, buildOptionsOf, isSystem, sealOptionsOf } from "./options.ts";

/** The release that is to be reproduced. */
export interface Original {
  /** For people. */
  readonly name: string;
  readonly release: Release;
  /** The bytes of release.json. */
  readonly bytes: Uint8Array;
  /** An artifact by its name; nothing is opened where everything is the same. */
  open(name: string): Promise<Source>;
}

/** What to build from again. */
export interface ReproductionInputs {
  readonly image: Input;
  readonly tools: Input | undefined;
  readonly agent: Pick<Agent, "content" | "digest"> | undefined;
}

export interface ArtifactComparison {
  readonly role: string;
  readonly name: string;
  readonly expected: Digest;
  /** Undefined where the new build has no such artifact. */
  readonly actual: Digest | undefined;
}

export interface InputComparison {
  readonly name: string;
  /** What the release records; undefined where it does not name the input. */
  readonly expected: Digest | undefined;
  /** What was built from; undefined for a directory. */
  readonly actual: Digest | undefined;
}

export interface Reproduction {
  readonly identical: boolean;
  readonly inputs: readonly InputComparison[];
  readonly artifacts: readonly ArtifactComparison[];
  /** The first is what the others follow from, as far as that can be told. Empty where all is identical. */
  readonly differences: readonly Difference[];
}

/**
 * Builds into `artifacts`, which publishes nothing; the caller discards it. Errors: UnsupportedError `format-version`,
 * `unknown-input`, `unknown-option`; FormatError `bad-release`; those of a build.
 */
export async function reproduceRelease(
  original: Original,
  given: ReproductionInputs,
  artifacts: ArtifactStore,
  environment: Environment,
): Promise<Reproduction> {
  const { release, name } = original;
  assertReproducible(release, name);
  const inputs = compareInputs(release, given);
  const store = unpublished(artifacts);
  const rebuilt = await rebuild(original, given, store, environment);
  const entries = release.artifacts.map((artifact): ArtifactComparison => {
    const found = rebuilt.artifacts.find((other) => other.name === artifact.name);
    return {
      role: artifact.role,
      name: artifact.name,
      expected: artifact.digest as Digest,
      actual: found?.digest as Digest | undefined,
    };
  });
  const differing = entries.filter(({ expected, actual }) => expected !== actual);
  const differences =
    differing.length > 0
      ? await locateDifferences(original, rebuilt, differing, (wanted) => store.source(wanted, rebuilt), environment)
      : releaseDifferences(original, rebuilt);
  return { identical: differences.length === 0, inputs, artifacts: entries, differences };
}

function compareInputs(release: Release, { image, tools, agent }: ReproductionInputs): InputComparison[] {
  const given = new Map([
    ["image", image.digest],
    ["tools", tools?.digest],
    [AGENT_INPUT, agent?.digest],
  ]);
  const recorded = new Map(release.inputs.map(({ name, digest }) => [name, digest as Digest]));
  return [...new Set([...recorded.keys(), ...given.keys()])]
    .map((name) => ({ name, expected: recorded.get(name), actual: given.get(name) }))
    .filter(({ expected, actual }) => expected !== undefined || actual !== undefined);
}

async function rebuild(
  { release, name }: Original,
  { image, tools, agent }: ReproductionInputs,
  store: ArtifactStore,
  environment: Environment,
): Promise<Release> {
  const { tree, created, labels, dispose } = image;
  const { architecture, inputs } = release; // the recorded inputs, so that nothing but the bytes is compared
  if (isSystem(release)) {
    const input = {
      tree,
      architecture: architecture ?? "",
      created,
      labels,
      inputs,
      tools: tools?.tree,
      agent,
      dispose,
    };
    return (await buildSystem(input, buildOptionsOf(release, name), store, environment)).release;
  }
  const input = { tree, architecture, created, labels, inputs, dispose };
  return (await sealContent(input, sealOptionsOf(release, name), store, environment)).release;
}

/** All artifacts are the same; release.json may still say something else of them. */
function releaseDifferences({ release, bytes }: Original, rebuilt: Release): Difference[] {
  if (equalBytes(bytes, encodeRelease(rebuilt))) return [];
  const keys = new Set([...Object.keys(release), ...Object.keys(rebuilt)]) as Set<keyof Release>;
  const key = [...keys].find((one) => JSON.stringify(release[one]) !== JSON.stringify(rebuilt[one]));
  const message = key === undefined ? "is written in another way" : `field ${key} is another one`;
  return [{ artifact: "release.json", place: key ?? null, message }];
}
