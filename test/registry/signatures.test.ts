// Signatures between us and other people's programs: what cosign signs we accept, what we sign cosign and skopeo accept, and
// a release is signed, verified, copied away and verified there.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";

import { openRegistries } from "../../core/src/node/registry/index.ts";
import { openPrivateKey } from "../../core/src/node/trust/index.ts";
import { pushReleases } from "../../core/src/ops/publish/index.ts";
import { parseRegistryReference } from "../../core/src/ops/registry/index.ts";
import { requireOracle, requirePeer } from "../support/oracle.ts";
import { missingPeers, PROGRAMS, type Registry, startRegistry } from "../support/registry.ts";
import { clientSettings } from "../support/registry-clients.ts";
import { publishEnvironment, sampleRelease } from "../support/releases.ts";
import { REPOSITORY } from "../support/roots.ts";
import { assertOneLine, digests, type RunResult, run, runOk, sampleLayout, workFolder } from "../support/samples.ts";

const folder = workFolder({ after });
const layout = await sampleLayout(join(folder, "layout"));
const PASSWORD = { ASHLAR_PASSWORD: "pw", COSIGN_PASSWORD: "pw" };
const KINDS = ["distribution", "go"] as const;

/** What cosign 3.1 needs where no transparency log takes part. */
const COSIGN_SIGN = ["--use-signing-config=false", "--tlog-upload=false", "-y"];
const CLASSIC = "--new-bundle-format=false";
const COSIGN_VERIFY = ["--insecure-ignore-tlog"];

async function keys(name: string, ...flags: readonly string[]): Promise<{ key: string; pub: string }> {
  const prefix = join(folder, name);
  await runOk(["keygen", "-o", prefix, ...flags], { env: PASSWORD });
  return { key: `${prefix}.key`, pub: `${prefix}.pub` };
}

const ours = await keys("ours");
const other = await keys("other", "--type", "ed25519", "--no-password");

function refused(result: RunResult, pattern: RegExp, status = 6): void {
  assert.equal(result.status, status, result.stdout + result.stderr);
  assertOneLine(result.stderr, pattern);
}

/** A registry with the image in `count` repositories of it. */
async function withImages(t: TestContext, kind: Registry["kind"], names: readonly string[]) {
  const skopeo = requireOracle(t, "skopeo");
  if (skopeo === undefined) return undefined;
  const registry = await startRegistry(t, { kind });
  const { ashlar, env, home } = clientSettings(folder, registry);
  for (const name of names)
    await skopeo.ok(
      [
        "--insecure-policy",
        "copy",
        "-q",
        "--dest-tls-verify=false",
        `oci:${layout.directory}:${layout.tag}`,
        `docker://${registry.host}/${name}:1`,
      ],
      { env },
    );
  const environment = { ...env, ...PASSWORD };
  return {
    registry,
    home,
    skopeo,
    env: environment,
    at: (name: string) => `${registry.host}/${name}:1`,
    verify: (name: string, ...flags: readonly string[]) =>
      run(["verify", `${registry.host}/${name}:1`, ...ashlar, ...flags], { env: environment }),
    sign: (name: string, ...flags: readonly string[]) =>
      runOk(["sign", `${registry.host}/${name}:1`, ...ashlar, ...flags], { env: environment }),
    ashlar,
  };
}

for (const kind of KINDS) {
  const skip = missingPeers("cosign", PROGRAMS[kind]);

  test(`${kind}: cosign accepts what we sign, and only by the right key`, { skip }, async (t) => {
    const cosign = requirePeer(t, "cosign");
    const rig = await withImages(t, kind, ["classic", "bundle", "both", "none"]);
    if (cosign === undefined || rig === undefined) return;
    const ask = (name: string, pub: string, ...flags: readonly string[]) =>
      cosign.run(["verify", "--key", pub, ...COSIGN_VERIFY, ...flags, rig.at(name)], { env: rig.env });
    // Where there is no referrers API cosign takes its time.
    for (const form of kind === "go" ? ["classic", "bundle", "both"] : ["both"]) {
      await rig.sign(form, "--key", ours.key, "--form", form);
      for (const flags of form === "both" ? [[], [CLASSIC]] : form === "classic" ? [[CLASSIC], []] : [[]]) {
        const accepted = await ask(form, ours.pub, ...flags);
        assert.equal(accepted.status, 0, accepted.stderr);
        assert.ok(accepted.stdout.includes(layout.top.digest));
      }
      assert.notEqual((await ask(form, other.pub)).status, 0);
      await rig.sign(form, "--key", other.key, "--form", form);
      assert.equal((await ask(form, other.pub)).status, 0);
      assert.equal((await ask(form, ours.pub)).status, 0);
    }
    assert.notEqual((await ask("none", ours.pub)).status, 0);
    // The key pair is one that cosign signs with.
    await cosign.ok(["sign", "--key", ours.key, ...COSIGN_SIGN, rig.at("none")], { env: rig.env });
    assert.equal((await rig.verify("none", "--key", ours.pub)).status, 0);
  });

  test(`${kind}: we accept what cosign signs, and only by the right key`, { skip }, async (t) => {
    const cosign = requirePeer(t, "cosign");
    const rig = await withImages(t, kind, ["classic", "bundle"]);
    if (cosign === undefined || rig === undefined) return;
    const prefix = join(folder, `cosign-${kind}`);
    await cosign.ok(["generate-key-pair", "--output-key-prefix", prefix], { env: rig.env });
    const pub = `${prefix}.pub`;
    for (const [name, flags] of [
      ["bundle", []],
      ["classic", [CLASSIC]],
    ] as const) {
      refused(await rig.verify(name, "--key", pub), /is not signed$/m);
      await cosign.ok(["sign", "--key", `${prefix}.key`, ...COSIGN_SIGN, ...flags, rig.at(name)], { env: rig.env });
      const { status, stdout } = await rig.verify(name, "--key", pub, "--key", other.pub, "--json");
      assert.equal(status, 0);
      const { schema, digest, signatures } = JSON.parse(stdout);
      assert.deepEqual(
        [schema, digest, signatures[0].form, signatures[0].key.name],
        ["ashlar.verify/v1", layout.top.digest, name, pub],
      );
      refused(
        await rig.verify(name, "--key", ours.pub),
        name === "bundle" ? /by another key than/ : /is not by .*ours.pub/,
      );
      // We sign with cosign's key as well; what is there already is not added again.
      const again = await rig.sign(name, "--key", `${prefix}.key`, "--form", name, "--quiet");
      assert.match(again.stdout, name === "classic" ? /was signed by this key before/ : /bundle: signed/); // ours names the repository
    }
    refused(await rig.verify("classic"), /say whose signature counts/);
  });

  test(`${kind}: containers' policies: skopeo and we say the same`, { skip }, async (t) => {
    const rig = await withImages(t, kind, ["signed", "moved", "unsigned", "ns/rejected", "ns/free"]);
    if (rig === undefined) return;
    const { host } = rig.registry;
    await rig.sign("signed", "--key", ours.key);
    await rig.sign("moved", "--key", ours.key, "--identity", `${host}/elsewhere`);
    const signedBy = (pub: string, identity: object = { type: "matchRepository" }) => [
      { type: "sigstoreSigned", keyPath: pub, signedIdentity: identity },
    ];
    const exact = { type: "exactRepository", dockerRepository: `${host}/elsewhere` };
    const anything = [{ type: "insecureAcceptAnything" }];
    const reject = [{ type: "reject" }];
    const policy = (docker: object, fallback: readonly object[] = reject) => ({
      default: fallback,
      transports: { docker },
    });
    const cases: readonly (readonly [string, object, "accepted" | RegExp])[] = [
      ["signed", policy({ [host]: signedBy(ours.pub) }), "accepted"],
      ["signed", policy({ [host]: signedBy(other.pub) }), /is not by|another key/],
      ["signed", policy({ [`${host}/signed`]: reject, [host]: anything }), /the policy rejects it/],
      [
        "signed",
        policy({ [`${host}/signed`]: signedBy(ours.pub, { type: "matchRepoDigestOrExact" }) }),
        /is for .*signed, not for/,
      ],
      ["moved", policy({ [host]: signedBy(ours.pub) }), /elsewhere, not for/],
      ["moved", policy({ [host]: signedBy(ours.pub, exact) }), "accepted"],
      ["unsigned", policy({ [host]: signedBy(ours.pub) }), /is not signed/],
      ["unsigned", policy({ "": anything }), "accepted"],
      ["unsigned", policy({}), /the policy rejects it/],
      ["ns/rejected", policy({ [`${host}/ns/rejected`]: reject, [`${host}/ns`]: anything }), /the policy rejects it/],
      ["ns/free", policy({ [`${host}/ns/rejected`]: reject, [`${host}/ns`]: anything }), "accepted"],
    ];
    const registriesD = join(rig.home, "registries.d");
    mkdirSync(registriesD, { recursive: true });
    for (const enabled of [true, false]) {
      writeFileSync(join(registriesD, "a.yaml"), `docker:\n  ${host}:\n    use-sigstore-attachments: ${enabled}\n`);
      for (const [index, [name, document, expected]] of cases.entries()) {
        const what = `${name} ${JSON.stringify(document)} ${enabled}`;
        const needsSignature = JSON.stringify(document).includes("sigstoreSigned");
        if (!enabled && !needsSignature) continue;
        const file = join(folder, `${kind}-policy.json`);
        writeFileSync(file, JSON.stringify(document));
        const ok = enabled && expected === "accepted";
        const flags = ["--policy", file, "--registries.d", registriesD, "copy", "-q", "--src-tls-verify=false"];
        const theirs = await rig.skopeo.run(
          [...flags, `docker://${rig.at(name)}`, `dir:${join(folder, `${kind}-${index}-${enabled}`)}`],
          { env: rig.env },
        );
        // Debian builds its skopeo without sigstore.
        if (!theirs.stderr.includes("sigstore disabled"))
          assert.equal(theirs.status === 0, ok, `skopeo: ${what}: ${theirs.stderr}`);
        const mine = await rig.verify(name, "--policy", file, "--registries-d", registriesD);
        if (ok) assert.equal(mine.status, 0, `${what}: ${mine.stderr}`);
        else refused(mine, enabled ? (expected as RegExp) : /use-sigstore-attachments/);
      }
    }
    // The rest of a policy is refused when it is needed, by its name.
    const file = join(folder, `${kind}-signed-by.json`);
    writeFileSync(
      file,
      JSON.stringify(policy({ [host]: [{ type: "signedBy", keyType: "GPGKeys", keyPath: "/x" }] }, anything)),
    );
    refused(await rig.verify("signed", "--policy", file), /signedBy is not supported/, 4);
  });

  test(`${kind}: a source image is verified before it is used`, { skip }, async (t) => {
    const rig = await withImages(t, kind, ["signed", "unsigned"]);
    if (rig === undefined) return;
    await rig.sign("signed", "--key", ours.key);
    const seal = (name: string, ...flags: readonly string[]) => {
      const out = join(folder, `${kind}-out`);
      return run(["seal", name, "-o", out, "--name", "x", "--overwrite", ...rig.ashlar, ...flags], { env: rig.env });
    };
    const accepted = await seal(rig.at("signed"), "--verify-key", ours.pub);
    assert.equal(accepted.status, 0, accepted.stderr);
    assert.match(accepted.stderr, /note \[signed\] sha256:[0-9a-f]{64} is signed by ECDSA P-256 key .*ours\.pub/);
    const before = digests(join(folder, `${kind}-out`));
    const quiet = ["--quiet", "--verify-key"];
    refused(await seal(rig.at("signed"), ...quiet, other.pub), /not by|another key/);
    refused(await seal(rig.at("unsigned"), ...quiet, ours.pub), /is not signed/);
    refused(await seal(`oci:${layout.directory}`, ...quiet, ours.pub), /is not signed/);
    // copy too takes what was signed, and nothing else.
    const copy = (name: string, ...flags: readonly string[]) =>
      run(["copy", rig.at(name), `oci:${join(folder, `${kind}-${name}`)}`, "--all", ...rig.ashlar, ...flags], {
        env: rig.env,
      });
    assert.equal((await copy("signed", ...quiet, ours.pub)).status, 0);
    refused(await copy("unsigned", ...quiet, ours.pub), /is not signed/);
    assert.equal(existsSync(join(folder, `${kind}-unsigned`)), false);
    const there = `oci:${join(folder, `${kind}-signed`)}`;
    refused(await seal(there, ...quiet, ours.pub), /has no name to compare with/);
    const signedAs = ["--identity", `${rig.registry.host}/signed`];
    assert.equal((await seal(there, ...quiet, ours.pub, ...signedAs)).status, 0);
    refused(await seal(`dir:${layout.directory}`, ...quiet, ours.pub), /only what is in a repository can be/);
    const policy = join(folder, `${kind}-source.json`);
    writeFileSync(
      policy,
      JSON.stringify({
        default: [{ type: "reject" }],
        transports: { oci: { [folder]: [{ type: "insecureAcceptAnything" }] } },
      }),
    );
    refused(await seal(rig.at("signed"), "--quiet", "--policy", policy), /the policy rejects it/);
    refused(await seal(`dir:${layout.directory}`, "--quiet", "--policy", policy), /the policy rejects it/);
    assert.deepEqual(digests(join(folder, `${kind}-out`)), before);
    assert.equal((await seal(`oci:${layout.directory}`, "--quiet", "--policy", policy)).status, 0);
  });

  test(`${kind}: a release is signed with its provenance, verified block by block, and again where it was copied`, {
    skip,
  }, async (t) => {
    const cosign = requirePeer(t, "cosign");
    const rig = await withImages(t, kind, []);
    if (cosign === undefined || rig === undefined) return;
    const environment = await publishEnvironment();
    const registries = openRegistries({ tlsVerify: false });
    t.after(() => registries.close());
    const release = await sampleRelease({ "etc/motd": "hello\n" }, environment, {
      rootOnly: true,
      inputs: [{ name: "image", digest: `sha256:${"ab".repeat(32)}` }],
    });
    await pushReleases(
      [release],
      await registries.open(parseRegistryReference(rig.at("os"))),
      { tag: "1" },
      environment,
    );
    refused(await rig.verify("os", "--key", ours.pub), /is not signed/);
    const builder = "https://ci.example/os";
    await rig.sign("os", "--key", ours.key, "--provenance", "--builder-id", builder);
    const verified = await rig.verify("os", "--key", ours.pub, "--quiet");
    assert.equal(verified.status, 0, verified.stdout + verified.stderr);
    assert.match(verified.stdout, /^ok {4}signature: .*ours\.pub/m);
    assert.match(verified.stdout, new RegExp(`^ok {4}release: .*root hash ${release.release.rootHash}`, "m"));
    assert.match(verified.stdout, /^ok {4}provenance: by https:\/\/ci\.example\/os, from 1 input/m);
    assert.match(verified.stdout, /^ok {4}root: hash tree: \d+ blocks match/m);
    const pull = (...flags: readonly string[]) =>
      run(["pull", rig.at("os"), "-o", join(folder, `${kind}-pulled`), "--quiet", ...rig.ashlar, ...flags], {
        env: rig.env,
      });
    refused(await pull("--verify-key", other.pub), /not by|another key/);
    assert.equal(existsSync(join(folder, `${kind}-pulled`)), false);
    const pulled = await pull("--verify-key", ours.pub);
    assert.equal(pulled.status, 0, pulled.stderr);
    const attested = await cosign.ok(
      ["verify-attestation", "--key", ours.pub, "--type", "slsaprovenance1", ...COSIGN_VERIFY, rig.at("os")],
      { env: rig.env },
    );
    assert.match(attested.stdout + attested.stderr, /payload|verified/);
    // Away, signatures and all: the name that was signed stays the name of where it was signed.
    const archive = `oci-archive:${join(folder, `${kind}.tar`)}`;
    await runOk(["copy", "--all", rig.at("os"), archive, ...rig.ashlar], { env: rig.env });
    refused(await run(["verify", archive, "--key", ours.pub], { env: rig.env }), /has no name to compare with/);
    const there = await run(["verify", archive, "--key", ours.pub, "--identity", `${rig.registry.host}/os`, "--json"], {
      env: rig.env,
    });
    assert.equal(there.status, 0, there.stdout + there.stderr);
    assert.equal(
      JSON.parse(there.stdout).digest,
      JSON.parse((await rig.verify("os", "--key", ours.pub, "--json")).stdout).digest,
    );
  });
}

test("an external command signs", { skip: missingPeers(PROGRAMS.go) }, async (t) => {
  const openssl = requireOracle(t, "openssl");
  const rig = await withImages(t, "go", ["hsm"]);
  if (openssl === undefined || rig === undefined) return;
  let signer = "";
  for (const type of ["ecdsa-p256", "rsa-3072"]) {
    const plain = await keys(`hsm-${type}`, "--no-password", "--type", type);
    signer = `openssl pkeyutl -sign -inkey ${plain.key} -pkeyopt digest:sha256 -in /dev/stdin`;
    await rig.sign("hsm", "--key", plain.pub, "--signer", signer);
    assert.equal((await rig.verify("hsm", "--key", plain.pub)).status, 0);
  }
  const failed = await run(["sign", rig.at("hsm"), ...rig.ashlar, "--key", ours.pub, "--signer", signer], {
    env: rig.env,
  });
  refused(failed, /is no signature by .*ours\.pub/, 5);
});

test("keygen: nothing is overwritten, the private key is its owner's alone, and somebody must give a password", async () => {
  const prefix = join(folder, "new");
  const made = await runOk(["keygen", "-o", prefix, "--json"], { env: PASSWORD, umask: "000" });
  const { privateKey, publicKey, encrypted } = JSON.parse(made.stdout);
  assert.deepEqual([privateKey, publicKey, encrypted], [`${prefix}.key`, `${prefix}.pub`, true]);
  assert.equal(statSync(privateKey).mode & 0o777, 0o600);
  const bytes = readFileSync(privateKey);
  refused(await run(["keygen", "-o", prefix], { env: PASSWORD }), /new\.key: exists already/, 8);
  assert.deepEqual(readFileSync(privateKey), bytes);
  writeFileSync(join(folder, "half.pub"), "mine");
  refused(await run(["keygen", "-o", join(folder, "half")], { env: PASSWORD }), /half\.pub: exists already/, 8);
  assert.throws(() => statSync(join(folder, "half.key")));
  refused(
    await run(["keygen", "-o", join(folder, "nobody")], { env: {}, wrapper: ["setsid", "-w"] }),
    /no password for the new key/,
  );
  const file = join(folder, "password");
  writeFileSync(file, "secret\n");
  await runOk(["keygen", "-o", join(folder, "filed"), "--password-file", file]);
  assert.throws(() => statSync(join(folder, "nobody.key")));
});

/** Runs the command on a terminal of its own and answers each question when it is asked. */
async function onTerminal(t: TestContext, command: string, answers: readonly string[]): Promise<RunResult | undefined> {
  if (requireOracle(t, "script") === undefined) return undefined;
  const env = { PATH: process.env["PATH"] ?? "", HOME: folder };
  const child = spawn("script", ["-qec", command, "/dev/null"], { env, timeout: 60_000, killSignal: "SIGKILL" });
  let said = "";
  let asked = 0;
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    said += text;
    while (asked < answers.length && said.split(/(?:key|again): /).length - 1 > asked)
      child.stdin.write(answers[asked++]!);
  });
  const [status, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  return { status, signal, stdout: said, stderr: "" };
}

test("a person at a terminal is asked for the password, which nobody sees", async (t) => {
  const command = `${join(REPOSITORY, "ashlar")} keygen -o`;
  const made = await onTerminal(t, `${command} ${join(folder, "asked")}`, ["secret\r", "secret\r"]);
  if (made === undefined) return;
  assert.equal(made.status, 0, made.stdout);
  assert.doesNotMatch(made.stdout, /secret/);
  const signer = await openPrivateKey(readFileSync(join(folder, "asked.key")), "asked.key", async () =>
    Buffer.from("secret"),
  );
  assert.equal(signer.publicKey.type, "ecdsa-p256");
  const differ = await onTerminal(t, `${command} ${join(folder, "differ")}`, ["secret\r", "other\r"]);
  assert.equal(differ?.status, 6, differ?.stdout);
  const stopped = await onTerminal(t, `${command} ${join(folder, "stopped")}`, ["sec\x03"]);
  assert.equal(stopped?.status, 130, stopped?.stdout);
  for (const name of ["differ", "stopped"]) assert.equal(existsSync(join(folder, `${name}.key`)), false);
});
