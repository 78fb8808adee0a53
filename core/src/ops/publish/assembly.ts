/** How artifacts are put together from layers of the manifest, from each other and from zeros. */
import * as v from "valibot";
import { encodeUtf8 } from "../../bytes/index.ts";
import { FormatError, UnsupportedError } from "../../errors/index.ts";
import { checkDocument, parseDocument } from "../../formats/oci/index.ts";
import type { Release } from "../release/release.ts";

export const ASSEMBLY_SCHEMA = "ashlar.assembly/v1";

/** Pieces of all artifacts together; a disk has some tens. */
export const MAX_PIECES = 20_000;

const Count = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const PieceEntry = v.object({
  /** Digest of the literals or of the section that the bytes are in; of a section in frames it is not that of the layer. With neither this nor `artifact` they are zeros. */
  layer: v.optional(v.pipe(v.string(), v.regex(/^sha256:[0-9a-f]{64}$/, "a digest"))),
  /** Name of the artifact that the bytes are in: the root, its hash device, or one further up in this list. */
  artifact: v.optional(v.string()),
  /** Bytes from the start of the layer as it is uncompressed, or of the artifact; 0 where absent. */
  at: v.optional(Count),
  /** Bytes. */
  size: v.pipe(Count, v.minValue(1)),
});

const AssemblySchema = v.object({
  schema: v.literal(ASSEMBLY_SCHEMA),
  artifacts: v.array(v.object({ name: v.string(), pieces: v.array(PieceEntry) })),
});

export type Assembly = v.InferOutput<typeof AssemblySchema>;
export type AssemblyPiece = v.InferOutput<typeof PieceEntry>;

export function encodeAssembly(artifacts: Assembly["artifacts"]): Uint8Array {
  return encodeUtf8(JSON.stringify({ schema: ASSEMBLY_SCHEMA, artifacts } satisfies Assembly));
}

/**
 * Reads an assembly and holds it against the release: every artifact but root and hash device is there with its size, and
 * pieces lie inside of what they are taken from. Throws FormatError `bad-json`, `bad-assembly`; UnsupportedError
 * `assembly-schema`.
 * @param layers sizes of the layers that may be named, as far as they are known: those of zstd layers are not
 */
export function parseAssembly(
  bytes: Uint8Array,
  release: Release,
  layers: ReadonlyMap<string, number | undefined>,
  what: string,
): Assembly {
  const document = parseDocument(bytes, what);
  const { schema } = (document ?? {}) as { schema?: unknown };
  if (typeof schema === "string" && schema.startsWith("ashlar.assembly/") && schema !== ASSEMBLY_SCHEMA)
    throw new UnsupportedError(
      "assembly-schema",
      `${what}: schema ${JSON.stringify(schema.slice(0, 40))} is newer than this Ashlar`,
    );
  const assembly = checkDocument(AssemblySchema, document, "bad-assembly", what);
  const fail = (message: string): never => {
    throw new FormatError("bad-assembly", `${what}: ${message}`, { path: what });
  };
  if (assembly.artifacts.reduce((sum, { pieces }) => sum + pieces.length, 0) > MAX_PIECES)
    fail(`has more than ${MAX_PIECES} pieces`);
  const known = new Map<string, number>(); // sizes of what is put together already
  for (const { role, name, size } of release.artifacts) if (isSealed(role)) known.set(name, size);
  const wanted = new Map(release.artifacts.map(({ name, size }) => [name, size]));
  for (const [index, { name, pieces }] of assembly.artifacts.entries()) {
    const place = `artifact ${index}`;
    const size = wanted.get(name);
    if (size === undefined || known.has(name)) fail(`${place} is none of the release`);
    let end = 0;
    for (const piece of pieces) {
      const { layer, artifact, at = 0 } = piece;
      if (layer !== undefined && artifact !== undefined) fail(`a piece of ${place} is in a layer and in an artifact`);
      const there = layer !== undefined ? layers.get(layer) : artifact !== undefined ? known.get(artifact) : undefined;
      if ((layer !== undefined && !layers.has(layer)) || (artifact !== undefined && there === undefined))
        fail(`a piece of ${place} is in something that is not there`);
      if (there !== undefined && at + piece.size > there) fail(`a piece of ${place} ends behind what it is in`);
      end += piece.size;
    }
    if (end !== size) fail(`the pieces of ${place} have ${end} bytes, the release says ${size}`);
    known.set(name, end);
  }
  const missing = release.artifacts.find(({ name }) => !known.has(name));
  if (missing !== undefined) fail(`does not say how ${JSON.stringify(missing.name.slice(0, 200))} is put together`);
  return assembly;
}

/** Roles that are made from the recipe and need no assembly. */
export function isSealed(role: string): boolean {
  return role === "root" || role === "root-verity";
}
