import assert from "node:assert/strict";
import { test } from "node:test";
import { decodeUtf8, encodeUtf8, fromBase64, toBase64 } from "../../core/src/bytes/index.ts";
import { isAshlarError, SourceError } from "../../core/src/errors/index.ts";
import type { Descriptor } from "../../core/src/formats/oci/index.ts";
import { digestOf } from "../../core/src/hash/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import { generateKey, nodeVerifier, openPrivateKey } from "../../core/src/node/trust/index.ts";
import {
  type Admitted,
  admissionBy,
  attachStatement,
  digestSet,
  type IdentityRule,
  nameRefusal,
  parseImageName,
  readBundles,
  readClassic,
  SIGN_PREDICATE,
  type SignatureRule,
  type Signer,
  showName,
  signatureTag,
  signDigest,
  verifySignature,
  verifyStatement,
} from "../../core/src/ops/trust/index.ts";
import { memoryRepository } from "../support/memory-repository.ts";

const environment = { hashes: nodeHashes, verifier: nodeVerifier };
const NAME = "registry.example/os";
const FORMS = ["classic", "bundle"] as const;

async function newSigner(name = "key"): Promise<Signer> {
  const { privatePem } = await generateKey("ecdsa-p256", undefined, name);
  return openPrivateKey(privatePem, name, async () => undefined);
}

function describe(bytes: Uint8Array): Descriptor {
  const mediaType = "application/vnd.oci.image.manifest.v1+json";
  return { mediaType, digest: digestOf(nodeHashes, bytes), size: bytes.length, annotations: {} };
}

/** A repository with one manifest in it. */
async function newRepository(label = "one") {
  const empty = {
    mediaType: "application/vnd.oci.empty.v1+json",
    size: 2,
    digest: digestOf(nodeHashes, encodeUtf8("{}")),
  };
  const bytes = encodeUtf8(JSON.stringify({ schemaVersion: 2, config: empty, layers: [], annotations: { label } }));
  const repository = memoryRepository(NAME);
  const subject = describe(bytes);
  await repository.putManifest(subject, bytes, "1");
  const verify = (rule: Partial<SignatureRule> & Pick<SignatureRule, "keys">, name: string | undefined = NAME) =>
    verifySignature(
      { repository, digest: subject.digest, name },
      { identity: { type: "matchRepositoryIfNamed" }, ...rule },
      environment,
    );
  return { repository, subject, verify };
}

for (const form of FORMS) {
  test(`${form}: signed, found, accepted; signing again changes nothing`, async () => {
    const signer = await newSigner();
    const { repository, subject, verify } = await newRepository();
    await assert.rejects(verify({ keys: [signer.publicKey] }), { kind: "PolicyError", code: "unsigned" });
    const options = { signer, form, name: NAME };
    assert.deepEqual(await signDigest(repository, subject, options, environment), { form, result: "added" });
    const { sent } = repository.traffic;
    assert.deepEqual(await signDigest(repository, subject, options, environment), { form, result: "present" });
    assert.equal(repository.traffic.sent, sent);
    const accepted = await verify({ keys: [(await newSigner()).publicKey, signer.publicKey] });
    assert.deepEqual(
      { ...accepted, what: "" },
      { form, what: "", key: signer.publicKey, digest: subject.digest, signedName: NAME },
    );
  });

  test(`${form}: several keys sign the same; each is accepted, another is not`, async () => {
    const signers = [await newSigner("a"), await newSigner("b"), await newSigner("c")];
    const { repository, subject, verify } = await newRepository();
    for (const signer of signers) await signDigest(repository, subject, { signer, form, name: NAME }, environment);
    for (const { publicKey } of signers) assert.equal((await verify({ keys: [publicKey] })).key, publicKey);
    const code = form === "classic" ? "bad-signature" : "wrong-key"; // only bundles say whose they are
    await assert.rejects(verify({ keys: [(await newSigner("d")).publicKey] }), { code, message: /2 others/ });
  });

  test(`${form}: a signature for another name`, async () => {
    const signer = await newSigner();
    const { repository, subject, verify } = await newRepository();
    await signDigest(repository, subject, { signer, form, name: "registry.example/dev" }, environment);
    const keys = [signer.publicKey];
    await assert.rejects(verify({ keys }), {
      kind: "PolicyError",
      code: "wrong-identity",
      message: /registry.example\/dev/,
    });
    await verify({ keys, identity: { type: "any" } });
    await verify({ keys, identity: { type: "exactRepository", repository: "registry.example/dev" } }, undefined);
    await assert.rejects(verify({ keys, identity: { type: "matchRepository" } }), { code: "wrong-identity" });
  });

  test(`${form}: the signature of another digest`, async () => {
    const signer = await newSigner();
    const { repository, subject, verify } = await newRepository();
    const { subject: other } = await newRepository("two");
    await signDigest(repository, other, { signer, form, name: NAME }, environment);
    if (form === "classic") {
      const stolen = repository.tagged.get(signatureTag(other.digest));
      assert.ok(stolen !== undefined);
      repository.tagged.set(signatureTag(subject.digest), stolen);
    } else {
      const [found] = await repository.referrers(other.digest);
      const entry = repository.manifests.get(found!.digest)!;
      const bytes = encodeUtf8(decodeUtf8(entry.bytes).replaceAll(other.digest, subject.digest));
      await repository.putManifest(describe(bytes), bytes);
    }
    await assert.rejects(verify({ keys: [signer.publicKey] }), { kind: "PolicyError", code: "wrong-digest" });
  });

  test(`${form}: every byte of what is stored, changed behind the repository's back`, async () => {
    const signer = await newSigner();
    const { repository, subject, verify } = await newRepository();
    await signDigest(repository, subject, { signer, form, name: NAME }, environment);
    const keys = [signer.publicKey];
    const own = [...repository.manifests.values()].find(({ descriptor }) => descriptor.digest !== subject.digest)!;
    let count = 0;
    for (const [digest, bytes] of repository.blobs)
      if (bytes.length > 2 && !decodeUtf8(bytes).includes("rootfs"))
        for (let i = 0; i < bytes.length; i++, count++) {
          bytes[i]! ^= 1;
          await assert.rejects(verify({ keys }), { kind: "IntegrityError", code: "digest-mismatch" }, `${digest} ${i}`);
          bytes[i]! ^= 1;
        }
    assert.ok(count > 200);
    for (let i = 0; i < own.bytes.length; i++) {
      own.bytes[i]! ^= 1;
      await verify({ keys }).then(
        () => assert.fail(`accepted with byte ${i} of the manifest changed`),
        (error) => assert.ok(isAshlarError(error), `${i}: ${error}`), // the list of referrers may break first
      );
      own.bytes[i]! ^= 1;
    }
    await verify({ keys });
  });

  test(`${form}: a blob that is missing`, async () => {
    const signer = await newSigner();
    const { repository, subject, verify } = await newRepository();
    await signDigest(repository, subject, { signer, form, name: NAME }, environment);
    for (const [digest, bytes] of [...repository.blobs]) {
      if (bytes.length <= 2 || decodeUtf8(bytes).includes("rootfs")) continue;
      repository.blobs.delete(digest);
      await assert.rejects(verify({ keys: [signer.publicKey] }), { kind: "PolicyError", code: "unusable-signature" });
      repository.blobs.set(digest, bytes);
    }
    await verify({ keys: [signer.publicKey] });
  });
}

// biome-ignore lint/suspicious/noExplicitAny: JSON that the cases below spoil as they like
type BundleDocument = any;

/** The document inside the one bundle of the repository, changed, with right digests everywhere. */
async function changeBundle(
  repository: Awaited<ReturnType<typeof newRepository>>["repository"],
  change: (bundle: BundleDocument) => void,
) {
  const [digest, { bytes: manifest }] = [...repository.manifests].find(([, { bytes }]) =>
    decodeUtf8(bytes).includes("subject"),
  )!;
  const layer = JSON.parse(decodeUtf8(manifest)).layers[0];
  const bundle = JSON.parse(decodeUtf8(repository.blobs.get(layer.digest)!));
  change(bundle);
  const bytes = encodeUtf8(JSON.stringify(bundle));
  const changed = describe(bytes);
  repository.blobs.set(changed.digest, bytes);
  const document = JSON.parse(decodeUtf8(manifest));
  document.layers[0] = { ...layer, digest: changed.digest, size: changed.size };
  const bound = encodeUtf8(JSON.stringify(document));
  repository.manifests.delete(digest);
  await repository.putManifest(describe(bound), bound);
}

test("bundle: whoever may write to the repository may put any document there", async () => {
  const signer = await newSigner();
  const other = await newSigner("other");
  const payloadWith = (from: string, to: string) => (bundle: BundleDocument) => {
    bundle.dsseEnvelope.payload = toBase64(
      encodeUtf8(decodeUtf8(fromBase64(bundle.dsseEnvelope.payload)).replace(from, to)),
    );
  };
  const cases: readonly (readonly [string, string, (bundle: BundleDocument, subject: Descriptor) => unknown])[] = [
    [
      "another digest in the payload",
      "bad-signature",
      (b, { digest }) => payloadWith(digest.slice(7), "ab".repeat(32))(b),
    ],
    ["another predicate", "bad-signature", payloadWith(SIGN_PREDICATE, "https://example.org/x")],
    ["white space in the payload", "bad-signature", payloadWith("{", "{ ")],
    [
      "another payload type",
      "unusable-signature",
      (b) => {
        b.dsseEnvelope.payloadType = "text/plain";
      },
    ],
    [
      "no signature",
      "unusable-signature",
      (b) => {
        b.dsseEnvelope.signatures = [];
      },
    ],
    [
      "an empty signature",
      "bad-signature",
      (b) => {
        b.dsseEnvelope.signatures[0].sig = "";
      },
    ],
    [
      "no envelope",
      "unusable-signature",
      (b) => {
        delete b.dsseEnvelope;
      },
    ],
    [
      "a certificate",
      "unusable-signature",
      (b) => {
        b.verificationMaterial = { certificate: { rawBytes: "AAAA" } };
      },
    ],
    [
      "another version",
      "unusable-signature",
      (b) => {
        b.mediaType = b.mediaType.replace("v0.3", "v0.9");
      },
    ],
    [
      "another hint and signature",
      "wrong-key",
      (b) => {
        b.verificationMaterial.publicKey.hint = toBase64(new Uint8Array(32));
        b.dsseEnvelope.signatures[0].sig = toBase64(new Uint8Array(70));
      },
    ],
    [
      "an array",
      "unusable-signature",
      (b) => {
        b.verificationMaterial = [];
      },
    ],
  ];
  for (const [what, code, change] of cases) {
    const { repository, subject, verify } = await newRepository();
    await signDigest(repository, subject, { signer, form: "bundle", name: NAME }, environment);
    await changeBundle(repository, (bundle) => change(bundle, subject));
    await assert.rejects(verify({ keys: [signer.publicKey] }), { kind: "PolicyError", code }, what);
    // A bad one does not keep a good one from counting.
    await signDigest(repository, subject, { signer: other, form: "bundle", name: NAME }, environment);
    assert.equal((await verify({ keys: [signer.publicKey, other.publicKey] })).key.name, "other", what);
  }
  // The hint is not signed and decides nothing.
  const { repository, subject, verify } = await newRepository();
  await signDigest(repository, subject, { signer, form: "bundle", name: NAME }, environment);
  await changeBundle(repository, (bundle) => delete bundle.verificationMaterial.publicKey.hint);
  await verify({ keys: [signer.publicKey] });
});

test("a statement about an image is no approval of it", async () => {
  const signer = await newSigner();
  const { repository, subject, verify } = await newRepository();
  const predicateType = "https://example.org/scanned-and-found-bad/v1";
  const statement = { subject: [{ digest: digestSet(subject.digest) }], predicateType, predicate: { bad: true } };
  assert.equal((await attachStatement(repository, subject, statement, signer, environment)).result, "added");
  assert.equal((await attachStatement(repository, subject, statement, signer, environment)).result, "present");
  const keys = [signer.publicKey];
  await assert.rejects(verify({ keys }), { code: "unsigned" });
  const signed = { repository, digest: subject.digest, name: NAME };
  const read = await verifyStatement(signed, predicateType, keys, environment);
  assert.deepEqual(read.statement, statement);
  // The annotation that says what is inside is not signed.
  for (const [digest, { bytes }] of [...repository.manifests]) {
    const text = decodeUtf8(bytes);
    if (!text.includes(predicateType)) continue;
    const lying = encodeUtf8(text.replaceAll(predicateType, SIGN_PREDICATE));
    repository.manifests.delete(digest);
    await repository.putManifest(describe(lying), lying);
  }
  await assert.rejects(verify({ keys }), { code: "unusable-signature", message: /says https:\/\/example.org/ });
  await assert.rejects(verifyStatement(signed, predicateType, keys, environment), { code: "unsigned" });
});

test("a repository that does not answer is not one without signatures", async () => {
  const signer = await newSigner();
  for (const form of FORMS) {
    const { repository, subject } = await newRepository();
    await signDigest(repository, subject, { signer, form, name: NAME }, environment);
    const fail = async (): Promise<never> => {
      throw new SourceError("http-status", "500 Internal Server Error");
    };
    const rule: SignatureRule = { keys: [signer.publicKey], identity: { type: "any" } };
    for (const broken of [
      { ...repository, referrers: fail },
      { ...repository, open: fail },
      ...(form === "classic" ? [{ ...repository, resolve: fail }] : []),
    ])
      await assert.rejects(
        verifySignature({ repository: broken, digest: subject.digest, name: NAME }, rule, environment),
        { kind: "SourceError", code: "http-status" },
      );
  }
});

test("more signatures than anybody has are not all read", async () => {
  const signer = await newSigner();
  const { repository, subject, verify } = await newRepository();
  await signDigest(repository, subject, { signer, form: "classic", name: NAME }, environment);
  const tag = signatureTag(subject.digest);
  const digest = repository.tagged.get(tag)!;
  const document = JSON.parse(decodeUtf8(repository.manifests.get(digest)!.bytes));
  const [good] = document.layers;
  const bad = { ...good, annotations: { "dev.cosignproject.cosign/signature": toBase64(new Uint8Array(70)) } };
  const put = async (layers: readonly unknown[]) => {
    const bytes = encodeUtf8(JSON.stringify({ ...document, layers }));
    await repository.putManifest(describe(bytes), bytes, tag);
  };
  await put([...Array.from({ length: 63 }, () => bad), good]);
  await verify({ keys: [signer.publicKey] });
  await put([...Array.from({ length: 64 }, () => bad), good]);
  await assert.rejects(verify({ keys: [signer.publicKey] }), { code: "bad-signature" });
});

test("a classic signature needs a name, and what others have signed stays", async () => {
  const { repository, subject } = await newRepository();
  const signer = await newSigner();
  const unnamed = { signer, form: "classic", name: undefined } as const;
  await assert.rejects(signDigest(repository, subject, unnamed, environment), { code: "no-identity" });
  for (const name of [NAME, "registry.example/two"])
    await signDigest(repository, subject, { ...unnamed, name }, environment);
  const { attachments, unreadable } = await readClassic(repository, subject.digest, environment);
  assert.deepEqual(unreadable, []);
  assert.equal(attachments.length, 2);
  assert.deepEqual((await readBundles(repository, subject.digest, SIGN_PREDICATE, environment)).attachments, []);
});

test("names of images", () => {
  const D = `sha256:${"ab".repeat(32)}`;
  const names: readonly (readonly [string, string])[] = [
    ["busybox", "docker.io/library/busybox"],
    ["index.docker.io/library/busybox:1", "docker.io/library/busybox:1"],
    ["me/os", "docker.io/me/os"],
    ["localhost/os", "localhost/os"],
    ["127.0.0.1:5000/os:1", "127.0.0.1:5000/os:1"],
    ["[::1]:5000/os", "[::1]:5000/os"],
    [`quay.io/a/b/c@${D}`, `quay.io/a/b/c@${D}`],
    [`quay.io/a:t@${D}`, `quay.io/a:t@${D}`],
  ];
  for (const [text, full] of names) assert.equal(showName(parseImageName(text)), full);
  for (const bad of [
    "",
    "/",
    "a/",
    "a//b",
    "A",
    "quay.io/A",
    "a:",
    "a b",
    "https://x/y",
    "a@sha256:1",
    "x".repeat(600),
    "-a",
    "a:b:c/d",
  ])
    assert.throws(() => parseImageName(bad), { kind: "FormatError" }, bad);
});

test("which name a signature may have: containers' rules", () => {
  const D = `@sha256:${"ab".repeat(32)}`;
  const E = `@sha256:${"cd".repeat(32)}`;
  const exact = (rule: IdentityRule["type"]) => ({ type: rule }) as IdentityRule;
  const table: readonly (readonly [IdentityRule, string | undefined, string | undefined, boolean])[] = [
    [exact("matchExact"), "q.io/a:1", "q.io/a:1", true],
    [exact("matchExact"), "q.io/a:1", "q.io/a:2", false],
    [exact("matchExact"), "q.io/a", "q.io/a", false], // would be for any tag
    [exact("matchExact"), `q.io/a${D}`, `q.io/a${D}`, true],
    [exact("matchExact"), `q.io/a${D}`, "q.io/a:1", false],
    [exact("matchRepoDigestOrExact"), "q.io/a:1", "q.io/a:1", true],
    [exact("matchRepoDigestOrExact"), "q.io/a:1", "q.io/a", false],
    [exact("matchRepoDigestOrExact"), "q.io/a:1", "q.io/a:2", false],
    [exact("matchRepoDigestOrExact"), `q.io/a${D}`, "q.io/a:1", true],
    [exact("matchRepoDigestOrExact"), `q.io/a${D}`, `q.io/a${E}`, true],
    [exact("matchRepoDigestOrExact"), `q.io/a${D}`, "q.io/b:1", false],
    [exact("matchRepoDigestOrExact"), "q.io/a", "q.io/a:1", false],
    [exact("matchRepository"), "q.io/a:1", "q.io/a", true],
    [exact("matchRepository"), "busybox:1", "docker.io/library/busybox", true],
    [exact("matchRepository"), "q.io/a:1", "q.io/a/b", false],
    [exact("matchRepository"), "q.io/a:1", undefined, false],
    [exact("matchRepository"), undefined, "q.io/a", false],
    [exact("matchRepository"), "q.io/a", "not a name", false],
    [exact("matchRepositoryIfNamed"), "q.io/a:1", undefined, true],
    [exact("matchRepositoryIfNamed"), "q.io/a:1", "q.io/b", false],
    [exact("any"), undefined, "whatever", true],
    [{ type: "exactReference", reference: "q.io/a:1" }, "mirror/x:9", "q.io/a:1", true],
    [{ type: "exactReference", reference: "q.io/a:1" }, "q.io/a:2", "q.io/a:2", false],
    [{ type: "exactRepository", repository: "q.io/a" }, "mirror/x:9", "q.io/a:7", true],
    [{ type: "exactRepository", repository: "q.io/a" }, "mirror/x:9", "q.io/b", false],
    [{ type: "remapIdentity", prefix: "mirror.io/q", signedPrefix: "q.io" }, "mirror.io/q/a:1", "q.io/a:1", true],
    [
      { type: "remapIdentity", prefix: "mirror.io/q", signedPrefix: "q.io" },
      "mirror.io/q/a:1",
      "mirror.io/q/a:1",
      false,
    ],
    [
      { type: "remapIdentity", prefix: "mirror.io/q", signedPrefix: "q.io" },
      "mirror.io/quay/a:1",
      "q.iouay/a:1",
      false,
    ],
    [{ type: "remapIdentity", prefix: "mirror.io/q", signedPrefix: "q.io" }, "else.io/a:1", "else.io/a:1", true],
    [{ type: "remapIdentity", prefix: "mirror.io", signedPrefix: "q.io" }, "mirror.io/a:1", "q.io/a:1", true],
  ];
  for (const [rule, image, signed, accepted] of table)
    assert.equal(
      nameRefusal(rule, image, signed) === undefined,
      accepted,
      `${JSON.stringify(rule)} ${image} ${signed}`,
    );
});

test("an index that is signed covers what is chosen from it; else the chosen manifest is asked", async () => {
  const signer = await newSigner();
  const { repository, subject: manifest } = await newRepository();
  const mediaType = "application/vnd.oci.image.index.v1+json";
  const { digest, size } = manifest;
  const entry = { mediaType: manifest.mediaType, digest, size, platform: { os: "linux", architecture: "arm64" } };
  const bytes = encodeUtf8(JSON.stringify({ schemaVersion: 2, mediaType, manifests: [entry] }));
  const index = { ...describe(bytes), mediaType };
  await repository.putManifest(index, bytes, "1");
  const reference = { transport: "docker", path: NAME, tag: "1", digest: undefined } as const;
  const candidate = { reference, repository, digests: [index.digest, digest] };
  const decide = async (change: object = {}) => {
    const admitted: Admitted[] = [];
    const trust = { kind: "keys", keys: [signer.publicKey], identity: { type: "matchRepositoryIfNamed" } } as const;
    await admissionBy(trust, environment, (_, one) => admitted.push(one))({ ...candidate, ...change });
    return admitted[0]?.digest;
  };
  await assert.rejects(decide(), { kind: "PolicyError", code: "unsigned" });
  await signDigest(repository, manifest, { signer, form: "classic", name: "registry.example/dev" }, environment);
  await assert.rejects(decide(), { kind: "PolicyError", code: "wrong-identity" });
  await signDigest(repository, manifest, { signer, form: "bundle", name: NAME }, environment);
  assert.equal(await decide(), digest);
  await assert.rejects(decide({ digests: [index.digest] }), { code: "unsigned" });
  await signDigest(repository, index, { signer, form: "bundle", name: NAME }, environment);
  assert.equal(await decide(), index.digest);
  // What is in no repository, or is a plain tree, is signed by nobody.
  await assert.rejects(decide({ repository: undefined }), { code: "unsigned" });
  await assert.rejects(decide({ digests: [] }), { code: "unsigned" });
});
