/** The payload of a classic signature: which digest, and under which name (containers-signature(5), cosign's spec). */
import * as v from "valibot";
import { encodeUtf8, oneLine } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { checkDocument, parseDocument } from "../../formats/oci/index.ts";
import { type Digest, parseDigest } from "../../hash/index.ts";
import { SIMPLE_SIGNING_CLAIM } from "./format.ts";

export interface SimpleSigning {
  /** What was signed. */
  readonly digest: Digest;
  /** The name it was signed under: a repository, or a reference with tag or digest. */
  readonly reference: string;
}

// What is critical is understood whole or not at all: that is what the word means there.
const RawPayload = v.looseObject({
  critical: v.strictObject({
    identity: v.strictObject({ "docker-reference": v.string() }),
    image: v.strictObject({ "docker-manifest-digest": v.string() }),
    type: v.string(),
  }),
  optional: v.nullish(v.record(v.string(), v.unknown())),
});

/** Errors: FormatError `bad-json`, `bad-payload`, `bad-digest`. */
export function parseSimpleSigning(bytes: Uint8Array, what: string): SimpleSigning {
  const { critical } = checkDocument(RawPayload, parseDocument(bytes, what), "bad-payload", what);
  if (critical.type !== SIMPLE_SIGNING_CLAIM)
    throw new FormatError("bad-payload", `${what}: claims to be ${JSON.stringify(oneLine(critical.type))}`);
  return {
    digest: parseDigest(critical.image["docker-manifest-digest"]),
    reference: critical.identity["docker-reference"],
  };
}

/** The same bytes as cosign makes for the same claim. */
export function encodeSimpleSigning({ digest, reference }: SimpleSigning): Uint8Array {
  return encodeUtf8(
    JSON.stringify({
      critical: {
        identity: { "docker-reference": reference },
        image: { "docker-manifest-digest": digest },
        type: SIMPLE_SIGNING_CLAIM,
      },
      optional: null,
    }),
  );
}
