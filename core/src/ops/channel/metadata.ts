/** One TUF document: bytes to checked values and back. Who signed it is another question: see verify.ts. */
import { canonicalize } from "@tufjs/canonical-json";
import * as v from "valibot";
import { decodeUtf8Strict, encodeUtf8, oneLine } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { type Digest, digestOf, type Hashes } from "../../hash/index.ts";
import { MAX_DEPTH, MAX_METADATA_SIZE, type Role } from "./format.ts";
import {
  EnvelopeSchema,
  RootSchema,
  type SignedOf,
  SnapshotSchema,
  TargetsSchema,
  TimestampSchema,
  type TufKey,
  type TufSignature,
} from "./schema.ts";

export interface Metadata<R extends Role = Role> {
  readonly role: R;
  readonly signed: SignedOf[R];
  readonly signatures: readonly TufSignature[];
  /** As they came: what a signature of another document is about. */
  readonly bytes: Uint8Array;
  /** Digest of the signed part in canonical form: the same whoever signed it, and however often. */
  readonly fingerprint: Digest;
}

const SCHEMAS: { readonly [R in Role]: v.GenericSchema<unknown, SignedOf[R]> } = {
  root: RootSchema,
  timestamp: TimestampSchema,
  snapshot: SnapshotSchema,
  targets: TargetsSchema,
};

/** Canonical JSON (OLPC): what is signed. It is no JSON: a line feed in it stands for itself. */
export function canonicalBytes(value: unknown): Uint8Array {
  return encodeUtf8(canonicalize(value));
}

/** JSON for people and programs, as documents and drafts are stored. */
export function jsonBytes(value: unknown): Uint8Array {
  return encodeUtf8(`${JSON.stringify(value, null, 1)}\n`);
}

/** TUF's id of a key: the digest of its canonical form. */
export function keyIdOf(key: TufKey, hashes: Hashes): string {
  return digestOf(hashes, canonicalBytes(key)).slice("sha256:".length);
}

/** Errors: FormatError `bad-metadata`, `too-large`. */
export function parseMetadata<R extends Role>(
  role: R,
  bytes: Uint8Array,
  hashes: Hashes,
  what: string = role,
): Metadata<R> {
  const envelope = checkValue(EnvelopeSchema, parsePlainJson(bytes, MAX_METADATA_SIZE[role], what), what);
  const schema: v.GenericSchema<unknown, SignedOf[R]> = SCHEMAS[role];
  const signed: SignedOf[R] = checkValue(schema, envelope.signed, what);
  return {
    role,
    signed,
    signatures: envelope.signatures,
    bytes,
    fingerprint: digestOf(hashes, canonicalBytes(envelope.signed)),
  };
}

/** A document as it is stored, and read back as anybody will read it. */
export function encodeMetadata<R extends Role>(
  role: R,
  signed: SignedOf[R],
  signatures: readonly TufSignature[],
  hashes: Hashes,
): Metadata<R> {
  return parseMetadata(role, jsonBytes({ signatures, signed }), hashes);
}

/** JSON that canonical JSON can say again: no fractions, no broken text, no `__proto__`, not too deep. */
export function parsePlainJson(bytes: Uint8Array, limit: number, what: string): unknown {
  if (bytes.length > limit)
    throw new FormatError("too-large", `${what} has ${bytes.length} bytes, more than ${limit}`, {
      expected: limit,
      actual: bytes.length,
    });
  const text = decodeUtf8Strict(bytes);
  let value: unknown;
  try {
    value = JSON.parse(text ?? "");
  } catch (cause) {
    throw new FormatError("bad-metadata", `${what}: is not JSON`, { cause });
  }
  assertPlain(value, what);
  return value;
}

function assertPlain(document: unknown, what: string): void {
  const fail = (reason: string): never => {
    throw new FormatError("bad-metadata", `${what}: ${reason}`);
  };
  let level = [document];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) fail(`has more than ${MAX_DEPTH} levels`);
    const below: unknown[] = [];
    for (const value of level) {
      if (typeof value === "number" && !Number.isSafeInteger(value)) fail("has a number that is no safe integer");
      if (typeof value === "string" && !value.isWellFormed()) fail("has text that is not Unicode");
      if (typeof value !== "object" || value === null) continue;
      for (const key of Object.keys(value)) {
        if (key === "__proto__") fail('has a field "__proto__"');
        if (!key.isWellFormed()) fail("has text that is not Unicode");
      }
      for (const item of Object.values(value)) below.push(item);
    }
    level = below;
  }
}

/** Throws FormatError `bad-metadata` with the first thing that is not as the schema says. */
export function checkValue<S extends v.GenericSchema>(schema: S, value: unknown, what: string): v.InferOutput<S> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const [issue] = result.issues;
  const path = v.getDotPath(issue);
  throw new FormatError("bad-metadata", `${what}: ${oneLine(path ?? "document")}: ${oneLine(issue.message)}`, {
    path: what,
  });
}
