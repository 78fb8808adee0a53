/** in-toto Statement v1: a predicate about subjects, each named by its digests. */
import * as v from "valibot";
import { encodeUtf8, oneLine } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { checkDocument, parseDocument } from "../../formats/oci/index.ts";
import { type Digest, digestAlgorithm } from "../../hash/index.ts";
import { STATEMENT_TYPE } from "./format.ts";

/** ResourceDescriptor, as far as it is used; in-toto has algorithm and hexadecimal digits apart. */
export interface Subject {
  readonly name?: string | undefined;
  readonly digest: Readonly<Record<string, string>>;
}

export interface Statement {
  readonly subject: readonly Subject[];
  readonly predicateType: string;
  readonly predicate: unknown;
}

/** Subjects of a statement. */
const MAX_SUBJECTS = 1024;

export const SubjectSchema = v.looseObject({
  name: v.optional(v.string()),
  digest: v.record(v.string(), v.string()),
});
const RawStatement = v.looseObject({
  _type: v.string(),
  subject: v.pipe(v.array(SubjectSchema), v.maxLength(MAX_SUBJECTS)),
  predicateType: v.string(),
  predicate: v.optional(v.unknown()),
});

/** Errors: FormatError `bad-json`, `bad-statement`. */
export function parseStatement(bytes: Uint8Array, what: string): Statement {
  const raw = checkDocument(RawStatement, parseDocument(bytes, what), "bad-statement", what);
  if (raw._type !== STATEMENT_TYPE)
    throw new FormatError("bad-statement", `${what}: is a ${oneLine(raw._type)}, expected ${STATEMENT_TYPE}`);
  return { subject: raw.subject, predicateType: raw.predicateType, predicate: raw.predicate };
}

export function encodeStatement({ subject, predicateType, predicate }: Statement): Uint8Array {
  return encodeUtf8(JSON.stringify({ _type: STATEMENT_TYPE, subject, predicateType, predicate }));
}

/** `sha256:…` as in-toto writes it. */
export function digestSet(digest: Digest): Record<string, string> {
  return { [digestAlgorithm(digest)]: digest.slice(digest.indexOf(":") + 1) };
}

export function hasDigest({ digest }: Subject, wanted: Digest): boolean {
  const algorithm = digestAlgorithm(wanted);
  return Object.hasOwn(digest, algorithm) && `${algorithm}:${digest[algorithm]}` === wanted;
}
