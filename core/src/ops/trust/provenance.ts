/**
 * Provenance of a release: an in-toto statement with the SLSA predicate `https://slsa.dev/provenance/v1`, that is: these
 * artifacts were made by this kind of build from these inputs with these options. A function of the release alone, so
 * that two people who make the same release say the same.
 */
import * as v from "valibot";
import { IntegrityError } from "../../errors/index.ts";
import { checkDocument } from "../../formats/oci/index.ts";
import type { Digest } from "../../hash/index.ts";
import type { Release } from "../release/index.ts";
import { PROVENANCE_PREDICATE } from "./format.ts";
import { digestSet, hasDigest, type Statement, type Subject, SubjectSchema } from "./statement.ts";

/** What externalParameters mean: the options of release.json. */
const BUILD_TYPES = { build: "urn:ashlar:build:v1", seal: "urn:ashlar:seal:v1" } as const;
/** Whose build it was, where nobody says. */
const UNKNOWN_BUILDER = "urn:ashlar:builder:unspecified";
/** In a digest set: the root hash of the hash tree, which is a digest of the root in its own way. */
const ROOT_HASH_DIGEST = "dmVerityRootHash";

export interface ProvenanceSubject {
  readonly release: Release;
  /** Of the release's manifest. */
  readonly digest: Digest;
  readonly name: string | undefined;
}

export interface Provenance {
  readonly buildType: string;
  readonly builder: string;
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly dependencies: readonly Subject[];
}

/** @param builder a URI that names who runs the build, as SLSA asks for */
export function provenanceOf({ release, digest, name }: ProvenanceSubject, builder = UNKNOWN_BUILDER): Statement {
  const { imageId, imageVersion, architecture, options, inputs, formatVersion } = release;
  return {
    subject: [{ ...(name === undefined ? {} : { name }), digest: digestSet(digest) }, ...releaseSubjects(release)],
    predicateType: PROVENANCE_PREDICATE,
    predicate: {
      buildDefinition: {
        buildType: release.commandLine === undefined ? BUILD_TYPES.seal : BUILD_TYPES.build,
        externalParameters: { imageId, imageVersion, architecture, options },
        internalParameters: { formatVersion },
        resolvedDependencies: inputs.map((input) => ({ name: input.name, digest: digestSet(input.digest as Digest) })),
      },
      runDetails: { builder: { id: builder } },
    },
  };
}

function releaseSubjects({ artifacts, rootHash }: Release): Subject[] {
  return [
    ...artifacts.map((artifact) => ({ name: artifact.name, digest: digestSet(artifact.digest as Digest) })),
    { name: "root hash", digest: { [ROOT_HASH_DIGEST]: rootHash } },
  ];
}

const RawProvenance = v.looseObject({
  buildDefinition: v.looseObject({
    buildType: v.string(),
    externalParameters: v.record(v.string(), v.unknown()),
    resolvedDependencies: v.optional(
      v.array(v.looseObject({ ...SubjectSchema.entries, digest: v.optional(SubjectSchema.entries.digest, {}) })),
      [],
    ),
  }),
  runDetails: v.looseObject({ builder: v.looseObject({ id: v.string() }) }),
});

/** Errors: FormatError `bad-provenance`. */
export function parseProvenance({ predicate }: Statement, what: string): Provenance {
  const { buildDefinition, runDetails } = checkDocument(RawProvenance, predicate, "bad-provenance", what);
  return {
    buildType: buildDefinition.buildType,
    builder: runDetails.builder.id,
    parameters: buildDefinition.externalParameters,
    dependencies: buildDefinition.resolvedDependencies,
  };
}

/** Throws IntegrityError `provenance-mismatch` unless the statement is about every artifact and the inputs of the release. */
export function assertProvenance(statement: Statement, release: Release, what: string): Provenance {
  const provenance = parseProvenance(statement, what);
  const fail = (message: string): never => {
    throw new IntegrityError("provenance-mismatch", `${what}: ${message}`, { path: what });
  };
  for (const wanted of releaseSubjects(release))
    for (const [algorithm, value] of Object.entries(wanted.digest))
      if (!statement.subject.some(({ digest }) => Object.hasOwn(digest, algorithm) && digest[algorithm] === value))
        fail(`says nothing about ${wanted.name}`);
  for (const { name, digest } of release.inputs)
    if (!provenance.dependencies.some((dependency) => hasDigest(dependency, digest as Digest)))
      fail(`does not name the input ${name} (${digest})`);
  return provenance;
}
