// Keys, signatures and policies.
import { Buffer } from "node:buffer";
import { fromUtf8 } from "../../../core/src/bytes/index.ts";
import { nodeHashes } from "../../../core/src/node/index.ts";
import { nodeVerifier } from "../../../core/src/node/trust/index.ts";
import {
  dockerScopes,
  encodeBundle,
  encodeEncryptedKey,
  encodePem,
  encodeSimpleSigning,
  encodeStatement,
  nameRefusal,
  parseBundle,
  parseEncryptedKey,
  parsePem,
  parsePolicy,
  parseProvenance,
  parsePublicKey,
  parseSimpleSigning,
  parseStatement,
  provenanceOf,
  requirementsFor,
} from "../../../core/src/ops/trust/index.ts";
import { parseRegistriesD, usesAttachments } from "../../../core/src/ops/trust/registries-d.ts";
import { mutateJson, mutateText, type Random } from "../../support/mutate.ts";
import type { Parser } from "../harness.ts";
import { json, runOf, shape, text } from "./common.ts";

const DIGEST = `sha256:${"ab".repeat(32)}` as const;
const EC_KEY =
  "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEJkdwyGHlHolNbv63QsrEvHdzvNoGZs6BxorkzS7eiEoLYRE63WS7LNDEHILw/q/VdS5FqUClJFPAeEgauOIOAg==";
const ED_KEY = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=";
const PROVENANCE = provenanceOf({
  release: {
    schema: "ashlar.release/v1",
    formatVersion: 1,
    rootHash: "ab".repeat(32),
    verity: { algorithm: "sha256", salt: "", uuid: "", dataBlockSize: 4096, hashBlockSize: 4096, dataBlocks: 1 },
    inputs: [{ name: "image", digest: DIGEST }],
    options: { kargs: ["a"] },
    artifacts: [{ role: "root", name: "os.root.erofs", size: 1, digest: DIGEST }],
  },
  digest: DIGEST,
  name: "registry.example/os",
});
const POLICY = {
  default: [{ type: "reject" }],
  transports: {
    docker: {
      "registry.example/os": [
        { type: "sigstoreSigned", keyData: "AAAA", signedIdentity: { type: "matchRepository" } },
        {
          type: "sigstoreSigned",
          keyPaths: ["/a", "/b"],
          signedIdentity: { type: "exactReference", dockerReference: "q.io/a:1" },
        },
        { type: "signedBy", keyType: "GPGKeys", keyPath: "/k" },
      ],
      "": [{ type: "insecureAcceptAnything" }],
    },
  },
};
const REGISTRIES_D =
  "default-docker:\n  use-sigstore-attachments: true # all\ndocker:\n  q.io/a: &a\n    lookaside: 'file:///x'\n  q.io/b: *a\n";

const jsonOf = (bytes: Uint8Array) => (random: Random) => mutateJson(Buffer.from(bytes).toString(), random);

/** The bytes inside the PEM spoiled, or the PEM itself. */
function* keyMutants(random: Random) {
  const files = [EC_KEY, ED_KEY].map((key) => encodePem({ label: "PUBLIC KEY", bytes: Buffer.from(key, "base64") }));
  const texts = files.map((file) => mutateText(file, random));
  for (;;) {
    for (const mutants of texts) {
      const { value } = mutants.next();
      if (value !== undefined) yield value;
    }
    const der = Uint8Array.from(Buffer.from(random.pick([EC_KEY, ED_KEY]), "base64"));
    const at = random.below(der.length);
    der[at] = random.pick([0, 1, 0x30, 0x7f, 0x80, 0x82, 0xff, der[at]! ^ 1]);
    yield shape(`byte ${at}`, encodePem({ label: "PUBLIC KEY", bytes: der.subarray(0, der.length - random.below(3)) }));
  }
}

export const TRUST_PARSERS: readonly Parser[] = [
  {
    name: "public key",
    mutants: keyMutants,
    *shapes() {
      yield shape("many lines", `-----BEGIN PUBLIC KEY-----\n${"A\n".repeat(30_000)}-----END PUBLIC KEY-----\n`);
      yield shape("many begins", "-----BEGIN PUBLIC KEY-----\n".repeat(2400));
      const rsa = Buffer.concat([
        Buffer.from("30820122300d06092a864886f70d01010105000382010f003082010a02820101", "hex"),
        Buffer.alloc(300, 0xff),
      ]);
      yield shape("large modulus", encodePem({ label: "PUBLIC KEY", bytes: rsa }));
    },
    read: async (bytes) =>
      nodeVerifier.verify(parsePublicKey(bytes, nodeHashes, "key.pub"), bytes, bytes.subarray(0, 70)),
  },
  {
    name: "encrypted key",
    mutants: jsonOf(
      encodeEncryptedKey({
        kdf: { N: 65536, r: 8, p: 1 },
        salt: new Uint8Array(32),
        nonce: new Uint8Array(24),
        ciphertext: new Uint8Array(150),
      }),
    ),
    read: async (bytes) => parseEncryptedKey(bytes, "key"),
  },
  {
    name: "pem",
    mutants: text(encodePem({ label: "PRIVATE KEY", bytes: new Uint8Array(100) })),
    read: async (bytes) => parsePem(bytes, "key"),
  },
  {
    name: "simple signing",
    mutants: jsonOf(encodeSimpleSigning({ digest: DIGEST, reference: "registry.example/os:1" })),
    async read(bytes) {
      const { reference } = parseSimpleSigning(bytes, "payload");
      return nameRefusal({ type: "matchExact" }, "registry.example/os:1", reference);
    },
  },
  {
    name: "sigstore bundle",
    mutants: jsonOf(
      encodeBundle({ hint: "AAAA", payload: encodeStatement(PROVENANCE), signatures: [new Uint8Array(70)] }),
    ),
    async read(bytes) {
      const statement = parseStatement(parseBundle(bytes, "bundle").payload, "statement");
      return parseProvenance(statement, "statement");
    },
  },
  {
    name: "provenance",
    mutants: jsonOf(encodeStatement(PROVENANCE)),
    read: async (bytes) => parseProvenance(parseStatement(bytes, "statement"), "statement"),
  },
  {
    name: "policy.json",
    mutants: json(POLICY),
    *shapes() {
      yield shape(
        "many scopes",
        JSON.stringify({
          default: POLICY.default,
          transports: {
            docker: Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`a${i}`, POLICY.default])),
          },
        }),
      );
      yield shape(
        "__proto__",
        '{"default":[{"type":"reject"}],"transports":{"__proto__":{"":[{"type":"insecureAcceptAnything"}]}}}',
      );
    },
    read: async (bytes) =>
      requirementsFor(parsePolicy(bytes, "policy.json"), "docker", dockerScopes("registry.example/os:1")),
  },
  {
    name: "registries.d",
    mutants: text(REGISTRIES_D),
    *shapes() {
      yield shape("deep", `docker: ${runOf("[", 5000)}`);
      yield shape("deep maps", `docker: ${"{a: ".repeat(3000)}`);
      yield shape("many scopes", `docker:\n${Array.from({ length: 3500 }, (_, i) => `  q.io/a${i}: {}\n`).join("")}`);
    },
    read: async (bytes) => usesAttachments(parseRegistriesD([["a.yaml", bytes]]), dockerScopes("q.io/a/b:1")),
  },
  {
    name: "image name",
    mutants: text("registry.example:5000/ns/os:1.2@sha256:".concat("ab".repeat(32))),
    *shapes() {
      yield shape("dashes", `${runOf("a-", 250)}/b`);
      yield shape("dots", `${runOf("a.", 255)}/b`);
      yield shape("slashes", runOf("a/", 255));
    },
    read: async (bytes) => dockerScopes(fromUtf8(Buffer.from(bytes).toString())),
  },
];
