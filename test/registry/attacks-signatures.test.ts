// The rows of the table of attacks that concern signatures, played against a registry process: an attacker who may push, and
// one who has the registry's disk. A device that knows the key wants `os:1`; whatever it is given, it takes the release
// that was signed or nothing. The report names attack, deed and answer.
import assert from "node:assert/strict";
import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { before, describe, test } from "node:test";

import { decodeUtf8, encodeUtf8, fromBase64, toBase64 } from "../../core/src/bytes/index.ts";
import { type Descriptor, parseArtifactManifest, type Repository, readBlob } from "../../core/src/formats/oci/index.ts";
import { type Digest, digestOf } from "../../core/src/hash/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import { openRegistries, type Registries } from "../../core/src/node/registry/index.ts";
import { generateKey, nodeVerifier, openPrivateKey } from "../../core/src/node/trust/index.ts";
import { pullRelease, pushReleases, resolveRelease } from "../../core/src/ops/publish/index.ts";
import { parseRegistryReference } from "../../core/src/ops/registry/index.ts";
import {
  BUNDLE_TYPE,
  type SignatureForm,
  type Signer,
  signatureTag,
  signDigest,
  verifySignature,
} from "../../core/src/ops/trust/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { attackReport } from "../support/attack-report.ts";
import { memoryArtifacts } from "../support/memory-artifacts.ts";
import { missingPeers, PROGRAMS, type Registry, startRegistry, suiteLifetime } from "../support/registry.ts";
import { publishEnvironment, type SampleRelease, sampleRelease } from "../support/releases.ts";

const FORMS = ["classic", "bundle"] as const;
/** Of bytes of a signature: a push each. All of them are changed in memory too, beside the code. */
const STEP = process.env["ASHLAR_LONG"] === "true" ? 1 : 3;
const ARBITRARY = "arbitrary software";
const trust = { hashes: nodeHashes, verifier: nodeVerifier };

// biome-ignore lint/suspicious/noExplicitAny: documents that are spoiled at will
type Json = any;

async function newSigner(name: string): Promise<Signer> {
  const { privatePem } = await generateKey("ecdsa-p256", undefined, name);
  return openPrivateKey(privatePem, name, async () => undefined);
}

function describeBytes(bytes: Uint8Array, mediaType: string): Descriptor {
  return { mediaType, digest: digestOf(nodeHashes, bytes), size: bytes.length, annotations: {} };
}

/** Every string and number in a document, with a way to change it. */
function* leaves(value: Json, path = ""): Generator<{ readonly path: string; change(): void }> {
  for (const [key, inner] of Object.entries(value as Record<string, Json>)) {
    const at = path === "" ? key : `${path}.${key}`;
    if (typeof inner === "object" && inner !== null) yield* leaves(inner, at);
    else
      yield {
        path: at,
        change() {
          value[key] = typeof inner === "number" ? inner + 1 : otherText(String(inner));
        },
      };
  }
}

/** The last digit or letter replaced by its neighbour: a digest stays one. */
const otherText = (text: string): string =>
  text.replace(/[0-9a-z](?=[^0-9a-z]*$)/, (last) =>
    last === "0" ? "1" : last === "a" ? "b" : last === "9" ? "8" : /\d/.test(last) ? "0" : "a",
  );

describe("signatures under attack", { skip: missingPeers(PROGRAMS.distribution) }, () => {
  const report = attackReport("The attack report: signatures");
  const lifetime = suiteLifetime();
  let registry: Registry;
  let registries: Registries;
  let owner: Signer;
  let attacker: Signer;
  let good: SampleRelease;
  let evil: SampleRelease;
  let environment: Awaited<ReturnType<typeof publishEnvironment>>;
  let count = 0;

  before(async () => {
    registry = await startRegistry(lifetime, { kind: "distribution" });
    registries = openRegistries({ tlsVerify: false });
    lifetime.after(() => registries.close());
    environment = await publishEnvironment();
    [owner, attacker] = [await newSigner("owner.pub"), await newSigner("attacker.pub")];
    good = await sampleRelease({ "etc/motd": "good\n", "usr/bin/tool": "x".repeat(9000) }, environment, {
      version: "1",
    });
    evil = await sampleRelease({ "etc/motd": "evil\n", "usr/bin/tool": "y".repeat(9000) }, environment, {
      version: "2",
      initrd: encodeUtf8("evil".repeat(40_000)),
    });
  });

  interface Stage {
    readonly name: string;
    readonly repository: Repository;
    /** The manifests of the two. */
    readonly good: Descriptor;
    readonly evil: Descriptor;
    /** What a device does that is told to get `os:1`. */
    accept(): Promise<void>;
    sign(subject: Descriptor, signer: Signer, form: SignatureForm, name?: string): Promise<unknown>;
  }

  /** A repository of its own with both releases in it, the good one under the tag; nothing is signed. */
  async function stage(): Promise<Stage> {
    const name = `${registry.host}/os${count++}`;
    const repository = await registries.open(parseRegistryReference(name));
    await pushReleases([evil], repository, { tag: "evil", previous: "none" }, environment);
    await pushReleases([good], repository, { tag: "1", previous: "none" }, environment);
    return {
      name,
      repository,
      good: await repository.resolve({ tag: "1" }),
      evil: await repository.resolve({ tag: "evil" }),
      sign: (subject, signer, form, as = name) => signDigest(repository, subject, { signer, form, name: as }, trust),
      async accept() {
        // Remembers nothing of what was there before, and asks once.
        const own = openRegistries({ tlsVerify: false, retryTimes: 0 });
        try {
          const fresh = await own.open(parseRegistryReference(name));
          const start = await fresh.resolve({ tag: "1" });
          const signed = { repository: fresh, digest: start.digest, name: `${name}:1` };
          const rule = { keys: [owner.publicKey], identity: { type: "matchRepositoryIfNamed" } } as const;
          const { digest } = await verifySignature(signed, rule, trust);
          const artifacts = memoryArtifacts();
          await pullRelease(fresh, await resolveRelease(fresh, { digest }, nodeHashes), artifacts, environment);
          for (const [file, bytes] of good.files) assert.deepEqual(artifacts.published.get(file), bytes, file);
        } finally {
          own.close();
        }
      },
    };
  }

  const refused = (
    attack: string,
    done: string,
    { accept }: Stage,
    code: string | readonly string[],
    kind: "PolicyError" | "IntegrityError" = "PolicyError",
  ) => report.refused(attack, done, accept, { kind, code });

  async function document(repository: Repository, descriptor: Descriptor): Promise<Json> {
    return JSON.parse(decodeUtf8(await readBlob(repository, descriptor, nodeHashes, "document")));
  }

  async function put(repository: Repository, value: Json, mediaType: string, tag?: string): Promise<Descriptor> {
    const bytes = typeof value === "string" ? encodeUtf8(value) : encodeUtf8(JSON.stringify(value));
    const descriptor = describeBytes(bytes, mediaType);
    if (mediaType.includes("manifest")) await repository.putManifest(descriptor, bytes, tag);
    else await repository.putBlob(descriptor, bytesSource(bytes));
    return descriptor;
  }

  const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
  const plain = ({ mediaType, digest, size }: Descriptor) => ({ mediaType, digest, size });

  /** The signature of the good release, for an attacker to change and put back in place of the right one. */
  async function stolen({ repository, good: { digest } }: Stage, form: SignatureForm) {
    if (form === "classic") {
      const tag = signatureTag(digest);
      const manifest = await document(repository, await repository.resolve({ tag }));
      const [layer] = manifest.layers;
      return {
        payload: await document(repository, { ...layer }),
        signature: fromBase64(layer.annotations["dev.cosignproject.cosign/signature"]),
        async put(payload: Json, signature: Uint8Array, mediaType: string = layer.mediaType) {
          const blob = await put(repository, payload, mediaType);
          const annotations = { "dev.cosignproject.cosign/signature": toBase64(signature) };
          await put(repository, { ...manifest, layers: [{ ...plain(blob), annotations }] }, MANIFEST, tag);
        },
      };
    }
    const [referrer] = await repository.referrers(digest, { artifactType: BUNDLE_TYPE });
    assert.ok(referrer !== undefined);
    const manifest = await document(repository, referrer);
    const bundle = await document(repository, manifest.layers[0]);
    return {
      payload: JSON.parse(decodeUtf8(fromBase64(bundle.dsseEnvelope.payload))),
      signature: fromBase64(bundle.dsseEnvelope.signatures[0].sig),
      async put(payload: Json, signature: Uint8Array, artifactType = BUNDLE_TYPE) {
        const envelope = {
          ...bundle.dsseEnvelope,
          payload: toBase64(encodeUtf8(JSON.stringify(payload))),
          signatures: [{ sig: toBase64(signature) }],
        };
        const blob = await put(repository, { ...bundle, dsseEnvelope: envelope }, BUNDLE_TYPE);
        const changed = { ...manifest, artifactType, layers: [plain(blob)] };
        await forget(repository, digest);
        await put(repository, changed, MANIFEST);
      },
    };
  }

  /** An attacker who may push may also empty the list of referrers, which is a tag in this registry. */
  async function forget(repository: Repository, digest: Digest): Promise<void> {
    const mediaType = "application/vnd.oci.image.index.v1+json";
    const bytes = encodeUtf8(JSON.stringify({ schemaVersion: 2, mediaType, manifests: [] }));
    await repository.putManifest(describeBytes(bytes, mediaType), bytes, digest.replace(":", "-"));
  }

  /** Where the registry has the bytes of a digest. */
  function fileOf(digest: string): string {
    const hex = digest.slice("sha256:".length);
    const found = readdirSync(registry.storage, { recursive: true, encoding: "utf8" }).find((path) =>
      path.endsWith(`blobs/sha256/${hex.slice(0, 2)}/${hex}/data`),
    );
    assert.ok(found !== undefined, digest);
    return join(registry.storage, found);
  }

  test("what is signed is taken, in either form", async () => {
    for (const form of FORMS) {
      const place = await stage();
      await place.sign(place.good, owner, form);
      await place.accept();
    }
  });

  test("unsigned, and signed by somebody else", async () => {
    const place = await stage();
    await refused(ARBITRARY, "nothing is signed", place, "unsigned");
    for (const form of FORMS) {
      const other = await stage();
      await other.repository.putManifest(
        other.evil,
        await readBlob(other.repository, other.evil, nodeHashes, "evil"),
        "1",
      );
      await other.sign(other.good, owner, form);
      await refused(
        ARBITRARY,
        `the tag is moved to another release; only the good one is signed (${form})`,
        other,
        "unsigned",
      );
      await other.sign(other.evil, attacker, form);
      await refused(
        ARBITRARY,
        `…and that is signed with the attacker's own key (${form})`,
        other,
        form === "bundle" ? "wrong-key" : "bad-signature",
      );
    }
  });

  for (const form of FORMS) {
    test(`${form}: each signed field, and bytes of the signature`, async () => {
      const place = await stage();
      await place.sign(place.good, owner, form);
      const right = await stolen(place, form);
      const fields = [...leaves(structuredClone(right.payload))].map(({ path }) => path);
      assert.ok(fields.length >= 3);
      for (const [index, path] of fields.entries()) {
        const payload = structuredClone(right.payload);
        [...leaves(payload)][index]?.change();
        await right.put(payload, right.signature);
        await refused(ARBITRARY, `${form}: signed field ${path} is changed`, place, "bad-signature");
      }
      for (let i = 0; i < right.signature.length; i += STEP) {
        const signature = Uint8Array.from(right.signature);
        signature[i]! ^= 1 << (i % 8);
        await right.put(right.payload, signature);
        const done = `${form}: byte ${i} of the signature is changed`;
        await assert.rejects(place.accept(), { kind: "PolicyError", code: "bad-signature" }, done);
      }
      report.add({
        attack: ARBITRARY,
        done: `${form}: ${STEP === 1 ? "each byte" : "every third byte"} of the ${right.signature.length} of the signature is changed`,
        said: "PolicyError bad-signature, each time",
      });
      const typed = form === "classic" ? "application/vnd.oci.image.layer.v1.tar" : "application/vnd.example.other";
      await right.put(right.payload, right.signature, typed);
      await refused(
        ARBITRARY,
        `${form}: the right signature under another ${form === "classic" ? "media type" : "artifactType"}`,
        place,
        ["unsigned", "unusable-signature"],
      );
      await right.put(right.payload, right.signature);
      await place.accept();
    });

    test(`${form}: replayed, and for another place`, async () => {
      const place = await stage();
      await place.sign(place.evil, owner, form); // the owner has signed the other release too, at some time
      const swapped = { ...place, good: place.evil };
      const old = await stolen(swapped, form);
      await place.sign(place.good, attacker, form);
      const target = await stolen(place, form);
      await target.put(old.payload, old.signature);
      await refused(
        ARBITRARY,
        `${form}: the owner's signature of another release is put on this one`,
        place,
        "wrong-digest",
      );
      const elsewhere = await stage();
      await elsewhere.sign(elsewhere.good, owner, form, `${registry.host}/testing`);
      await refused(
        ARBITRARY,
        `${form}: what the owner signed for the repository testing is served from another`,
        elsewhere,
        "wrong-identity",
      );
    });

    test(`${form}: parts of the signature are missing or spoiled on the registry's disk`, async () => {
      const place = await stage();
      await place.sign(place.good, owner, form);
      const manifest: Json =
        form === "classic"
          ? await document(place.repository, await place.repository.resolve({ tag: signatureTag(place.good.digest) }))
          : await document(place.repository, (await place.repository.referrers(place.good.digest))[0]!);
      const [{ digest }] = manifest.layers;
      const file = fileOf(digest);
      const bytes = readFileSync(file);
      for (let i = 0; i < bytes.length; i += 31) {
        const changed = Uint8Array.from(bytes);
        changed[i]! ^= 1;
        writeFileSync(file, changed);
        await assert.rejects(place.accept(), { kind: "IntegrityError", code: "digest-mismatch" }, `byte ${i}`);
      }
      report.add({
        attack: "wrong-hash cache",
        done: `${form}: every 31st byte of the signed document is flipped on disk`,
        said: "IntegrityError digest-mismatch, each time",
      });
      rmSync(file);
      await refused("partial bundle", `${form}: the signed document is deleted`, place, "unusable-signature");
    });
  }

  test("each field of the release and of its manifest", async () => {
    const place = await stage();
    await place.sign(place.good, owner, "bundle");
    await place.sign(place.good, owner, "classic");
    const manifest = await document(place.repository, place.good);
    const release = await document(place.repository, manifest.config);
    const fields = [...leaves(structuredClone(release))].map(({ path }) => path);
    assert.ok(fields.includes("rootHash") && fields.includes("imageVersion") && fields.includes("architecture"));
    for (const [index, path] of fields.entries()) {
      const changed = structuredClone(release);
      [...leaves(changed)][index]?.change();
      const config = await put(place.repository, `${JSON.stringify(changed, null, 2)}\n`, manifest.config.mediaType);
      await put(place.repository, { ...manifest, config: plain(config) }, MANIFEST, "1");
      await assert.rejects(place.accept(), { kind: "PolicyError", code: "unsigned" }, path);
    }
    report.add({
      attack: ARBITRARY,
      done: `each of the ${fields.length} fields of release.json is changed: root hash, digests, sizes, version, architecture, …`,
      said: "PolicyError unsigned, each time",
    });
    await put(place.repository, { ...manifest, artifactType: "application/vnd.example.other" }, MANIFEST, "1");
    await refused(ARBITRARY, "the manifest gets another artifactType", place, "unsigned");
    await place.repository.putManifest(place.good, encodeUtf8(JSON.stringify(manifest)), "1");
    await place.accept();
  });

  test("mix and match: every part of one release in place of the other's, both signed", async () => {
    const place = await stage();
    for (const subject of [place.good, place.evil]) await place.sign(subject, owner, "bundle");
    const [ours, theirs] = await Promise.all(
      [place.good, place.evil].map(async (descriptor) =>
        parseArtifactManifest(await readBlob(place.repository, descriptor, nodeHashes, "manifest"), "manifest"),
      ),
    );
    const manifest = await document(place.repository, place.good);
    const other = await document(place.repository, place.evil);
    let swaps = 0;
    for (const [index, layer] of manifest.layers.entries()) {
      const foreign = other.layers[index];
      if (foreign === undefined || foreign.digest === layer.digest) continue;
      const layers = manifest.layers.with(index, foreign);
      await put(place.repository, { ...manifest, layers }, MANIFEST, "1");
      await refused(
        "mix-and-match",
        `layer ${index + 1} (${layer.mediaType}) of another signed release in the manifest`,
        place,
        "unsigned",
      );
    }
    await put(place.repository, { ...manifest, config: other.config }, MANIFEST, "1");
    await refused("mix-and-match", "release.json of another signed release in the manifest", place, "unsigned");
    await place.repository.putManifest(place.good, encodeUtf8(JSON.stringify(manifest)), "1");
    for (const mine of [ours!.config, ...ours!.layers]) {
      const file = fileOf(mine.digest);
      const bytes = readFileSync(file);
      for (const foreign of [theirs!.config, ...theirs!.layers]) {
        if (foreign.digest === mine.digest) continue;
        writeFileSync(file, readFileSync(fileOf(foreign.digest)));
        await place.accept().then(
          () => assert.fail(`${mine.mediaType} was taken from ${foreign.mediaType}`),
          (error) => assert.match(error.kind, /^(IntegrityError|FormatError|SourceError)$/, String(error.stack)),
        );
        swaps++;
      }
      writeFileSync(file, bytes);
    }
    report.add({
      attack: "mix-and-match",
      done: `${swaps} pairs: the bytes of one blob in the place of another on disk`,
      said: "IntegrityError, or an error of the format or registry; nothing published",
    });
    await place.accept();
  });

  test("partial bundle and wrong-hash cache: every blob deleted, every blob flipped", async () => {
    const place = await stage();
    await place.sign(place.good, owner, "bundle");
    const { config, layers } = parseArtifactManifest(
      await readBlob(place.repository, place.good, nodeHashes, "manifest"),
      "manifest",
    );
    for (const { digest, mediaType } of [config, ...layers]) {
      const file = fileOf(digest);
      const bytes = readFileSync(file);
      for (const at of [0, bytes.length >> 1, bytes.length - 1]) {
        const changed = Uint8Array.from(bytes);
        changed[at]! ^= 0x10;
        writeFileSync(file, changed);
        await place.accept().then(
          // What no device reads, such as the table of a pack that is read whole, may be anything.
          () => assert.match(mediaType, /pack|tree/, `byte ${at} of ${mediaType}`),
          (error) => assert.match(error.kind, /^(IntegrityError|FormatError)$/, `${mediaType} ${at}: ${error.stack}`),
        );
      }
      rmSync(file);
      await report.refused("partial bundle", `${mediaType} is deleted`, place.accept, {
        kind: ["SourceError", "IntegrityError"],
        code: ["no-blob", "digest-mismatch"],
      });
      writeFileSync(file, bytes);
    }
    report.add({
      attack: "wrong-hash cache",
      done: `a bit of each of the ${layers.length + 1} blobs is flipped, at its start, middle and end`,
      said: "IntegrityError or FormatError wherever the byte is used; nothing published",
    });
    await place.accept();
  });
});
