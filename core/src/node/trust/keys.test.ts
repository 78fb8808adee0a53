import assert from "node:assert/strict";
import { createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import { test } from "node:test";
import { encodeUtf8, toHex } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { pureHashes } from "../../hash/index.ts";
import {
  ecdsaToDer,
  encodeEncryptedKey,
  encodePem,
  type KeyType,
  type PublicKey,
  parseEncryptedKey,
  parsePem,
  parsePublicKey,
} from "../../ops/trust/index.ts";
import { nodeHashes } from "../hashes.ts";
import { commandSigner } from "./command-signer.ts";
import { generateKey, nodeVerifier, openPrivateKey } from "./keys.ts";

const MESSAGE = encodeUtf8("what is signed");
const password = async () => encodeUtf8("pw");
const nobody = async () => undefined;

/** As `cosign generate-key-pair` of version 2.6.5 made it, with the password `pw`. */
const COSIGN_KEY = [
  "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----",
  "eyJrZGYiOnsibmFtZSI6InNjcnlwdCIsInBhcmFtcyI6eyJOIjo2NTUzNiwiciI6",
  "OCwicCI6MX0sInNhbHQiOiJUbVdUT3BlRTRLaFpkbEE4a29PSHpaMG50WlhrS29W",
  "TzZ0azJBaFFGcnA4PSJ9LCJjaXBoZXIiOnsibmFtZSI6Im5hY2wvc2VjcmV0Ym94",
  "Iiwibm9uY2UiOiJZbFV2SkZFYkJPa3Z4cHB3RkZWcXllZlgydm5IZkEvUyJ9LCJj",
  "aXBoZXJ0ZXh0IjoiTU1IV0ozd0FhbG93YzhyNHBtclZuUUdYUDlmd2VpendaTkd1",
  "S1p3MWxnNmVMRW1WSFdlWnZhY1E5WVlaOHJYUkNQWFQvcU5DRjFtNFZUMTd5Rkc1",
  "VFNOY0hucCtqd05Ka1BXVzZGVm81dFdrRFJVTnpaT1ZXbm1WZm5VOXk3WVZNZStX",
  "NXR4THU3bFh6d2FHbVE5aHlvVGdGRXRZRWdxNWFKY1lWUS9jZG1tQWhaL09tdjNS",
  "SjJEcmtzcUlOTlVCTEpLU0RpUjdpRmROZFE9PSJ9",
  "-----END ENCRYPTED SIGSTORE PRIVATE KEY-----",
].join("\n");
const COSIGN_PUB = [
  "-----BEGIN PUBLIC KEY-----",
  "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEJkdwyGHlHolNbv63QsrEvHdzvNoG",
  "Zs6BxorkzS7eiEoLYRE63WS7LNDEHILw/q/VdS5FqUClJFPAeEgauOIOAg==",
  "-----END PUBLIC KEY-----",
].join("\n");

function pair(type: string, options: object) {
  const { publicKey, privateKey } = (
    generateKeyPairSync as (type: string, options: object) => ReturnType<typeof generateKeyPairSync>
  )(type, options);
  const spki = encodeUtf8(publicKey.export({ type: "spki", format: "pem" }) as string);
  const pkcs8 = (more: object = {}) =>
    encodeUtf8(
      privateKey.export({ type: "pkcs8", format: "pem", ...more } as { type: "pkcs8"; format: "pem" }) as string,
    );
  return { spki, pkcs8, publicKey, privateKey };
}

const KINDS: readonly (readonly [KeyType, string, object])[] = [
  ["ecdsa-p256", "ec", { namedCurve: "P-256" }],
  ["ed25519", "ed25519", {}],
  ["rsa", "rsa", { modulusLength: 2048 }],
];

for (const [kind, type, options] of KINDS)
  test(`${kind}: a signature is accepted; with any bit of it, of the message or of the key changed it is not`, async () => {
    const { spki, pkcs8 } = pair(type, options);
    const key = parsePublicKey(spki, pureHashes, "key.pub");
    assert.equal(key.type, kind);
    assert.equal(key.bits, kind === "rsa" ? 2048 : undefined);
    const signer = await openPrivateKey(pkcs8(), "key", nobody);
    assert.deepEqual({ ...signer.publicKey, name: "" }, { ...key, name: "" });
    const signature = await signer.sign(MESSAGE);
    assert.equal(await nodeVerifier.verify(key, MESSAGE, signature), true);
    for (let i = 0; i < signature.length; i++) {
      const changed = Uint8Array.from(signature);
      changed[i]! ^= 1 << (i % 8);
      assert.equal(await nodeVerifier.verify(key, MESSAGE, changed), false, `byte ${i}`);
    }
    for (const bad of [new Uint8Array(0), signature.subarray(1), signature.subarray(0, -1), new Uint8Array(2000)])
      assert.equal(await nodeVerifier.verify(key, MESSAGE, bad), false);
    for (let i = 0; i < MESSAGE.length; i++) {
      const changed = Uint8Array.from(MESSAGE);
      changed[i]! ^= 0x80;
      assert.equal(await nodeVerifier.verify(key, changed, signature), false);
    }
    const other = parsePublicKey(pair(type, options).spki, pureHashes, "other.pub");
    assert.equal(await nodeVerifier.verify(other, MESSAGE, signature), false);
  });

test("a zero after the signature, or leading zeros in it, make another signature", async () => {
  const { spki, privateKey } = pair("ec", { namedCurve: "P-256" });
  const key = parsePublicKey(spki, pureHashes, "key.pub");
  const plain = sign("sha256", MESSAGE, { key: privateKey, dsaEncoding: "ieee-p1363" });
  const der = ecdsaToDer(plain);
  assert.equal(await nodeVerifier.verify(key, MESSAGE, der), true);
  assert.equal(await nodeVerifier.verify(key, MESSAGE, plain), false, "only DER is a signature in a repository");
  assert.equal(await nodeVerifier.verify(key, MESSAGE, Uint8Array.from([...der, 0])), false);
  const padded = Uint8Array.from([0x30, der[1]! + 1, 2, der[3]! + 1, 0, ...der.subarray(4)]);
  assert.equal(await nodeVerifier.verify(key, MESSAGE, padded), false);
});

test("keys that we make are read again, by us and by OpenSSL", async () => {
  for (const type of ["ecdsa-p256", "ed25519", "rsa-3072"] as const) {
    const plain = await generateKey(type, undefined, "new");
    assert.equal(parsePem(plain.privatePem, "new").label, "PRIVATE KEY");
    const signature = await (await openPrivateKey(plain.privatePem, "new", nobody)).sign(MESSAGE);
    assert.equal(await nodeVerifier.verify(plain.publicKey, MESSAGE, signature), true);
    assert.equal(parsePublicKey(plain.publicPem, nodeHashes, "new").id, plain.publicKey.id);
    assert.ok(createPublicKey(Buffer.from(plain.privatePem)));
  }
  const encrypted = await generateKey("ed25519", encodeUtf8("pw"), "new");
  assert.equal(parsePem(encrypted.privatePem, "new").label, "ENCRYPTED SIGSTORE PRIVATE KEY");
  assert.equal((await openPrivateKey(encrypted.privatePem, "new", password)).publicKey.id, encrypted.publicKey.id);
});

test("cosign's encrypted key, under its new and its old name", async () => {
  const key = parsePublicKey(encodeUtf8(COSIGN_PUB), nodeHashes, "cosign.pub");
  for (const text of [COSIGN_KEY, COSIGN_KEY.replaceAll("SIGSTORE", "COSIGN")])
    assert.equal((await openPrivateKey(encodeUtf8(text), "cosign.key", password)).publicKey.id, key.id);
  const wrong = async () => encodeUtf8("PW");
  await assert.rejects(openPrivateKey(encodeUtf8(COSIGN_KEY), "cosign.key", wrong), { code: "wrong-password" });
  await assert.rejects(openPrivateKey(encodeUtf8(COSIGN_KEY), "cosign.key", nobody), { code: "no-password" });
});

test("PKCS#8 with a password (PBES2)", async () => {
  const { pkcs8, spki } = pair("ec", { namedCurve: "P-256" });
  for (const cipher of ["aes-256-cbc", "aes-128-cbc"]) {
    const file = pkcs8({ cipher, passphrase: "pw" });
    assert.match(Buffer.from(file).toString(), /^-----BEGIN ENCRYPTED PRIVATE KEY-----/);
    const { publicKey } = await openPrivateKey(file, "key", password);
    assert.equal(publicKey.id, parsePublicKey(spki, nodeHashes, "key").id);
    await assert.rejects(
      openPrivateKey(file, "key", async () => encodeUtf8("PW")),
      { code: "wrong-password" },
    );
    await assert.rejects(openPrivateKey(file, "key", nobody), { code: "no-password" });
  }
});

test("what is no key, and keys of other kinds", async () => {
  const spki = (type: string, options: object) => pair(type, options).spki;
  const cases: readonly (readonly [Uint8Array, string])[] = [
    [encodeUtf8(""), "bad-pem"],
    [encodeUtf8("-----BEGIN PUBLIC KEY-----\nAAAA\n"), "bad-pem"],
    [encodeUtf8(`${COSIGN_PUB}\n${COSIGN_PUB}`), "bad-pem"],
    [encodeUtf8(COSIGN_PUB.replace("M", "!")), "bad-base64"],
    [encodeUtf8(COSIGN_PUB.replace("MFkw", "MFgw")), "bad-der"],
    [encodeUtf8(COSIGN_KEY), "key-type"],
    [new Uint8Array(100_000), "too-large"],
    [spki("ec", { namedCurve: "P-384" }), "key-type"],
    [spki("ed448", {}), "key-type"],
    [spki("rsa", { modulusLength: 1024 }), "key-type"],
    [encodeUtf8(encodePem({ label: "CERTIFICATE", bytes: new Uint8Array(10) })), "key-type"],
  ];
  for (const [bytes, code] of cases)
    assert.throws(
      () => parsePublicKey(bytes, nodeHashes, "x"),
      (error) => isAshlarError(error) && error.code === code,
      code,
    );
  const der = parsePem(encodeUtf8(COSIGN_PUB), "x").bytes;
  for (let i = 0; i < der.length; i++) {
    const changed = Uint8Array.from(der);
    changed[i]! ^= 1;
    const file = encodeUtf8(encodePem({ label: "PUBLIC KEY", bytes: changed }));
    try {
      const key: PublicKey = parsePublicKey(file, nodeHashes, "x");
      await assert.rejects(nodeVerifier.verify(key, MESSAGE, new Uint8Array(70)), { code: "bad-key" }); // no point of the curve
    } catch (error) {
      assert.ok(isAshlarError(error), `byte ${i}: ${error}`);
    }
  }
  await assert.rejects(openPrivateKey(encodeUtf8(COSIGN_PUB), "x", nobody), { code: "bad-key" });
  const broken = encodePem({ label: "PRIVATE KEY", bytes: new Uint8Array(50) });
  await assert.rejects(openPrivateKey(encodeUtf8(broken), "x", nobody), { code: "bad-key" });
});

test("an encrypted key must not ask for more than a machine has", () => {
  const good = parseEncryptedKey(parsePem(encodeUtf8(COSIGN_KEY), "x").bytes, "x");
  for (const change of [
    { N: 2 ** 30 },
    { N: 65537 },
    { N: 1 },
    { r: 1e6 },
    { p: 1e6 },
    { N: 65536, r: 1 },
    { N: 2, r: 2 ** 20, p: 16 },
  ])
    assert.throws(
      () => parseEncryptedKey(encodeEncryptedKey({ ...good, kdf: { ...good.kdf, ...change } }), "x"),
      { code: "key-cipher" },
      JSON.stringify(change),
    );
  assert.throws(() => parseEncryptedKey(encodeEncryptedKey({ ...good, nonce: new Uint8Array(3) }), "x"), {
    code: "bad-key",
  });
});

test("an external signer: digest or message in, signature out in any of its forms, checked before it is used", async (t) => {
  const { writeFileSync, mkdtempSync, rmSync } = await import("node:fs");
  const { join } = await import("node:path");
  const { tmpdir } = await import("node:os");
  const folder = mkdtempSync(join(tmpdir(), "ashlar-keys-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const script = join(folder, "sign.mjs");
  writeFileSync(
    script,
    `import { createPrivateKey, createHash, sign } from "node:crypto";
     import { readFileSync, writeSync } from "node:fs";
     const [key, form] = process.argv.slice(2);
     const input = readFileSync(0);
     const algorithm = process.env.ASHLAR_SIGN_ALGORITHM;
     const message = Buffer.from("what is signed");
     const digest = createHash("sha256").update(message).digest();
     if (!input.equals(algorithm === "ed25519" ? message : digest)) throw new Error("other input");
     if (process.env.ASHLAR_SIGN_SHA256 !== digest.toString("hex")) throw new Error("other digest");
     const options = { key: readFileSync(key), dsaEncoding: form === "plain" ? "ieee-p1363" : "der" };
     const signature = sign(algorithm === "ed25519" ? null : "sha256", message, options);
     writeSync(1, form === "base64" ? signature.toString("base64") + "\\n" : signature);`,
  );
  const node = JSON.stringify(process.execPath);
  for (const [, type, options] of KINDS) {
    const { spki, pkcs8 } = pair(type, options);
    const file = join(folder, `${type}.pem`);
    writeFileSync(file, pkcs8());
    const publicKey = parsePublicKey(spki, nodeHashes, "hsm.pub");
    for (const form of type === "ec" ? ["der", "plain", "base64"] : ["raw", "base64"]) {
      const command = `${node} ${script} ${file} ${form}`;
      const signature = await commandSigner({ command, publicKey, verifier: nodeVerifier }).sign(MESSAGE);
      assert.equal(
        await nodeVerifier.verify(publicKey, MESSAGE, signature),
        true,
        `${type} ${form} ${toHex(signature)}`,
      );
    }
  }
  const publicKey = parsePublicKey(encodeUtf8(COSIGN_PUB), nodeHashes, "cosign.pub");
  const fails = (command: string, code: string, timeout?: number) =>
    assert.rejects(
      commandSigner({ command, publicKey, verifier: nodeVerifier, timeout }).sign(MESSAGE),
      { code },
      command,
    );
  await fails(`${node} ${script} ${join(folder, "ec.pem")} der`, "bad-signature"); // another key
  await fails("cat", "bad-signature");
  await fails("echo no such token >&2; exit 3", "signer-failed");
  await fails("/nowhere/signer", "signer-failed");
  await fails("head -c 100000 /dev/zero", "signer-failed");
  await fails("sleep 60", "signer-timeout", 50);
  const stop = new AbortController();
  const running = commandSigner({ command: "sleep 60", publicKey, verifier: nodeVerifier }).sign(MESSAGE, stop);
  stop.abort(new Error("enough"));
  await assert.rejects(running, /enough/);
  assert.throws(() => commandSigner({ command: " ", publicKey, verifier: nodeVerifier }), { code: "no-signer" });
});

test("a signer that has ended before anybody could look", { timeout: 60_000 }, async () => {
  const { pbkdf2 } = await import("node:crypto");
  const publicKey = parsePublicKey(encodeUtf8(COSIGN_PUB), nodeHashes, "cosign.pub");
  let isOver = false;
  // The thread pool, in which files are closed, has so much to do that each program ends meanwhile.
  const occupy = (): void => pbkdf2("", "", 300_000, 32, "sha256", () => (isOver ? undefined : occupy()));
  for (let i = 0; i < 8; i++) occupy();
  try {
    const sign = (command: string) => commandSigner({ command, publicKey, verifier: nodeVerifier }).sign(MESSAGE);
    await assert.rejects(sign("exit 3"), { code: "signer-failed" });
    await assert.rejects(sign("echo 12345"), { code: "bad-signature", message: /\(6 bytes\)/ });
  } finally {
    isOver = true;
  }
});
