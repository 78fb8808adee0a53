import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeUtf8, toBase64 } from "../../core/src/bytes/index.ts";
import { isAshlarError } from "../../core/src/errors/index.ts";
import { digestOf } from "../../core/src/hash/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import { generateKey, loadPolicyKey, nodeVerifier, openPrivateKey } from "../../core/src/node/trust/index.ts";
import {
  dockerScopes,
  parsePolicy,
  parsePublicKey,
  pathScopes,
  requirementsFor,
  signDigest,
  verifyRequirements,
} from "../../core/src/ops/trust/index.ts";
import { parseRegistriesD, usesAttachments } from "../../core/src/ops/trust/registries-d.ts";
import { memoryRepository } from "../support/memory-repository.ts";

const environment = { hashes: nodeHashes, verifier: nodeVerifier };
const bytes = (value: unknown) => encodeUtf8(JSON.stringify(value));
const parse = (value: unknown) => parsePolicy(bytes(value), "policy.json");
const reject = [{ type: "reject" }];
const accept = [{ type: "insecureAcceptAnything" }];
const DIGEST = `sha256:${"ab".repeat(32)}`;

test("the most specific scope decides", () => {
  assert.deepEqual(dockerScopes("registry.example.org:5000/ns/os:1"), [
    "registry.example.org:5000/ns/os:1",
    "registry.example.org:5000/ns/os",
    "registry.example.org:5000/ns",
    "registry.example.org:5000",
    "*.example.org",
    "*.org",
  ]);
  assert.deepEqual(dockerScopes("busybox"), [
    "docker.io/library/busybox:latest",
    "docker.io/library/busybox",
    "docker.io/library",
    "docker.io",
    "*.io",
  ]);
  assert.equal(dockerScopes(`q.io/a:1@${DIGEST}`)[0], `q.io/a@${DIGEST}`);
  assert.deepEqual(pathScopes("/srv/images/os", "1"), ["/srv/images/os:1", "/srv/images/os", "/srv/images", "/srv"]);
  const type = (policy: unknown, transport: string, scopes: readonly string[]) =>
    requirementsFor(parse(policy), transport, scopes)[0]?.type;
  const scoped = (...scopes: readonly string[]) => ({
    default: reject,
    transports: { docker: Object.fromEntries(scopes.map((scope) => [scope, accept])) },
  });
  const name = "registry.example.org/ns/os:1";
  for (const scope of [...dockerScopes(name), ""])
    assert.equal(type(scoped(scope), "docker", dockerScopes(name)), "insecureAcceptAnything", scope);
  for (const scope of [
    "registry.example.org/ns/os:2",
    "registry.example.org/n",
    "example.org",
    "registry.example",
    "*.example",
  ])
    assert.equal(type(scoped(scope), "docker", dockerScopes(name)), "reject", scope);
  assert.equal(type(scoped(""), "oci", ["/srv"]), "reject", "another transport");
  const nearer = {
    default: accept,
    transports: { docker: { "": accept, "registry.example.org": accept, [name]: reject } },
  };
  assert.equal(type(nearer, "docker", dockerScopes(name)), "reject");
});

test("a policy is read strictly: what is not understood is no permission", () => {
  const signed = (members: object) => ({ default: [{ type: "sigstoreSigned", ...members }] });
  const bad: readonly unknown[] = [
    {},
    [],
    { default: [] },
    { default: accept, transport: {} },
    { default: [{ type: "insecureAcceptAnything", keyPath: "/k" }] },
    { default: [{ type: "acceptAnything" }] },
    { default: [{ type: "Reject" }] },
    { default: reject, transports: { docker: { "": [] } } },
    signed({}),
    signed({ keyPath: "/k", keyData: "AAAA" }),
    signed({ keyPaths: [] }),
    signed({ keyPath: "/k", keypath: "/l" }),
    signed({ keyData: "not base64" }),
    signed({ keyPath: "/k", signedIdentity: { type: "matchAnything" } }),
    signed({ keyPath: "/k", signedIdentity: { type: "exactRepository" } }),
    signed({ keyPath: "/k", signedIdentity: { type: "exactRepository", dockerRepository: "NO" } }),
    signed({ keyPath: "/k", signedIdentity: { type: "exactReference", dockerReference: "q.io/a" } }),
  ];
  for (const policy of bad)
    assert.throws(
      () => parse(policy),
      (error) => isAshlarError(error) && error.kind === "FormatError",
      JSON.stringify(policy),
    );
  assert.throws(() => parsePolicy(encodeUtf8("{"), "policy.json"), { code: "bad-json" });
  for (const text of [
    '{"default":[{"type":"reject"}],"default":[{"type":"insecureAcceptAnything"}]}',
    '{"default":[{"type":"reject"}],"transports":{"docker":{"a":[{"type":"reject"}],"b":[{"type":"reject"}],"\\u0061":[{"type":"reject"}]}}}',
    '{"default":[{"type":"reject","type":"insecureAcceptAnything"}]}',
  ])
    assert.throws(() => parsePolicy(encodeUtf8(text), "policy.json"), {
      code: "bad-policy",
      message: /is there twice/,
    });
  parse({
    default: [{ type: "sigstoreSigned", keyPath: '"type": "type":' }],
    transports: { a: { "": reject }, b: { "": reject } },
  });
});

test("requirements that are not implemented are refused by name, where an image falls under them", async () => {
  const signed = { repository: memoryRepository(), digest: DIGEST as `sha256:${string}`, name: "q.io/a:1" };
  const host = { loadKey: loadPolicyKey, usesAttachments: true };
  for (const [requirement, pattern] of [
    [{ type: "signedBy", keyType: "GPGKeys", keyPath: "/k" }, /default\[0\]: signedBy/],
    [{ type: "sigstoreSigned", fulcio: { oidcIssuer: "x" } }, /fulcio/],
    [{ type: "sigstoreSigned", pki: {} }, /pki/],
    [{ type: "sigstoreSigned", keyPath: "/k", rekorPublicKeyPath: "/r" }, /rekorPublicKeyPath/],
  ] as const) {
    const policy = parse({ default: [requirement], transports: { docker: { "q.io/b": accept } } });
    const require = (name: string) => requirementsFor(policy, "docker", dockerScopes(name));
    await assert.rejects(verifyRequirements(require("q.io/a:1"), "q.io/a:1", signed, host, environment), {
      kind: "UnsupportedError",
      code: "policy-requirement",
      message: pattern,
    });
    assert.deepEqual(await verifyRequirements(require("q.io/b:1"), "q.io/b:1", signed, host, environment), []);
  }
  await assert.rejects(verifyRequirements(parse({ default: reject }).default, "q.io/a:1", signed, host, environment), {
    kind: "PolicyError",
    code: "rejected",
  });
});

test("sigstoreSigned: every requirement, each by any of its keys, under its identity", async () => {
  const make = async (name: string) => {
    const { privatePem, publicPem } = await generateKey("ed25519", undefined, name);
    const signer = await openPrivateKey(privatePem, name, async () => undefined);
    return { signer, data: toBase64(publicPem), key: parsePublicKey(publicPem, nodeHashes, name) };
  };
  const [a, b, c] = [await make("a"), await make("b"), await make("c")];
  const repository = memoryRepository();
  const manifest = encodeUtf8('{"schemaVersion":2}');
  const mediaType = "application/vnd.oci.image.index.v1+json";
  const subject = { mediaType, digest: digestOf(nodeHashes, manifest), size: manifest.length, annotations: {} };
  await repository.putManifest(subject, manifest, "1");
  for (const { signer } of [a, b])
    await signDigest(repository, subject, { signer, form: "classic", name: "q.io/os" }, environment);
  const signed = { repository, digest: subject.digest, name: "q.io/os:1" };
  const signedIdentity = { type: "matchRepository" };
  const one = (...keys: readonly (typeof a)[]) => ({
    type: "sigstoreSigned",
    ...(keys.length === 1 ? { keyData: keys[0]?.data } : { keyDatas: keys.map(({ data }) => data) }),
    signedIdentity,
  });
  const check = (requirements: readonly unknown[], usesAttachments = true) =>
    verifyRequirements(
      parse({ default: requirements }).default,
      signed.name,
      signed,
      { loadKey: loadPolicyKey, usesAttachments },
      environment,
    );
  const ids = async (requirements: readonly unknown[]) => (await check(requirements)).map(({ key }) => key.id);
  assert.deepEqual(await ids([one(a)]), [a.key.id]);
  assert.deepEqual(await ids([one(c, b)]), [b.key.id]);
  assert.deepEqual(await ids([one(a), one(b)]), [a.key.id, b.key.id]);
  assert.deepEqual(await ids([...accept, one(b)]), [b.key.id]);
  await assert.rejects(check([one(a), one(c)]), { code: "bad-signature" });
  await assert.rejects(check([one(a), ...reject]), { code: "rejected" });
  // cosign's signatures name no tag: the default rule of containers does not take them.
  await assert.rejects(check([{ ...one(a), signedIdentity: undefined }]), { code: "wrong-identity" });
  await assert.rejects(check([one(a)], false), { code: "attachments-disabled" });
});

test("registries.d: the most specific that says anything", () => {
  const use = (...files: readonly string[]) =>
    parseRegistriesD(files.map((text, index) => [`${index}.yaml`, encodeUtf8(text)] as const));
  const known = use(
    "default-docker:\n  use-sigstore-attachments: true\n  lookaside: https://example.org/sigs\n",
    "docker:\n  q.io:\n    use-sigstore-attachments: false\n  q.io/ns:\n    lookaside: file:///x\n  q.io/ns/os:\n    use-sigstore-attachments: true\n",
    "",
    "# nothing\n",
  );
  const answer = (name: string) => usesAttachments(known, dockerScopes(name));
  assert.equal(answer("other.io/a"), true);
  assert.equal(answer("q.io/a"), false);
  assert.equal(answer("q.io/ns/a"), false);
  assert.equal(answer("q.io/ns/os:3"), true);
  assert.equal(usesAttachments(use(), dockerScopes("q.io/a")), false);
  const bad = [
    "docker: [",
    "docker: 1",
    "dockers: {}",
    "docker:\n  q.io:\n    use-sigstore-attachments: yes please\n",
    "- a",
    "a: &a [*a]",
  ];
  for (const text of bad)
    assert.throws(
      () => use(text),
      (error) => isAshlarError(error) && error.kind === "FormatError",
      text,
    );
  assert.throws(() => use("docker: {q.io: {}}", "docker: {q.io: {}}"), { code: "bad-registries-d", message: /twice/ });
  const bomb = `a: &a [x]\n${Array.from(
    { length: 9 },
    (_, i) =>
      `b${i}: &b${i} [${Array(9)
        .fill(i === 0 ? "*a" : `*b${i - 1}`)
        .join(",")}]`,
  ).join("\n")}\n`;
  assert.throws(() => use(bomb), { code: "bad-yaml" });
});
