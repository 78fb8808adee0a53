// Which release a machine takes: signatures, rollouts, barriers, floors, and what failed before.
import assert from "node:assert/strict";
import { test } from "node:test";
import { nodeHashes } from "../../core/src/node/index.ts";
import { generateKey, nodeVerifier, openPrivateKey } from "../../core/src/node/trust/index.ts";
import { machineStatus, recordBoot, rollback, switchSource, upgrade } from "../../core/src/ops/machine/index.ts";
import { type Signer, signDigest } from "../../core/src/ops/trust/index.ts";
import { type Fleet, fleet } from "../support/fleet.ts";

const run = ({ machine, environment }: Fleet, options = {}) => upgrade(machine, environment, options);

async function newSigner(name: string): Promise<Signer> {
  const { privatePem } = await generateKey("ecdsa-p256", undefined, name);
  return openPrivateKey(privatePem, name, async () => undefined);
}

async function fails({ machine }: Fleet): Promise<void> {
  for (let boots = 0; boots < 4; boots++) await machine.boot();
  await recordBoot(machine);
}

async function reboot({ machine }: Fleet): Promise<string> {
  const { version } = await machine.boot();
  await machine.bless();
  await recordBoot(machine);
  return version;
}

test("a name in a repository is taken where a key of the policy has signed it, and the status says which", async () => {
  const one = await fleet('[source]\nreference = "registry.example/os:2"\n[trust]\nkeys = ["release.pub"]\n');
  const { repository, keys, machine } = one;
  const [signer, other] = [await newSigner("release.pub"), await newSigner("other.pub")];
  keys.set("release.pub", signer.publicKey);
  await one.release("2");
  await assert.rejects(run(one), { code: "unsigned" });
  const sign = async (by: typeof signer) => {
    const subject = await repository.resolve({ tag: "2" });
    const options = { signer: by, form: "bundle", name: "registry.example/os" } as const;
    await signDigest(repository, subject, options, { hashes: nodeHashes, verifier: nodeVerifier });
  };
  await sign(other);
  await assert.rejects(run(one), { code: "wrong-key" });
  await sign(signer);
  assert.equal((await run(one)).result, "staged");
  const { ashlar } = await machineStatus(machine);
  assert.deepEqual(
    ashlar.staged?.verified?.signatures.map(({ key }) => key),
    [signer.publicKey.id],
  );
});

test("a rollout that has not come to this machine is waited for", async () => {
  const one = await fleet();
  await one.release("2", { rollout: [{ parts: 0 }] });
  const report = await run(one);
  assert.equal(report.result, "waiting");
  assert.match(report.message, /release 2 is there, and its rollout \(0 %\)/);
});

test("a release that failed is passed over for an older one that is newer than what runs", async () => {
  const one = await fleet();
  await one.release("3");
  await run(one);
  await fails(one);
  await one.release("2");
  const report = await run(one);
  assert.deepEqual([report.result, report.release?.imageVersion], ["staged", "2"]);
});

test("beyond a barrier that failed nothing is installed", async () => {
  const one = await fleet();
  await one.release("2", { barrier: true });
  await run(one);
  await fails(one);
  await one.release("3");
  const report = await run(one);
  assert.equal(report.result, "refused");
  assert.match(report.message, /release 2 is not tried again/);
  assert.equal((await run(one, { force: true })).release?.imageVersion, "2");
});

test("a channel that has nothing for this machine is an error, and so is one of another product", async () => {
  const one = await fleet();
  const facts = await one.machine.facts();
  const other = { ...one, machine: { ...one.machine, facts: async () => ({ ...facts, imageId: "other" }) } };
  await assert.rejects(run(other), { code: "wrong-product" });
  const arm = { ...one, machine: { ...one.machine, facts: async () => ({ ...facts, architecture: "arm64" }) } };
  await assert.rejects(run(arm), { code: "no-slots" });
});

test("a machine with one release has nothing to go back to", async () => {
  const one = await fleet();
  await assert.rejects(rollback(one.machine), { code: "no-such-release" });
  assert.equal((await one.machine.boot()).version, "1");
});

test("while what runs is on trial nothing is staged over what it would fall back to", async () => {
  const one = await fleet();
  await one.release("2");
  await run(one);
  await one.machine.boot();
  await one.release("3");
  await assert.rejects(run(one), { code: "running-unconfirmed" });
  await one.machine.bless();
  assert.equal((await run(one)).release?.imageVersion, "3");
});

test("a release of another product is taken by switch alone", async () => {
  const one = await fleet('[source]\nreference = "registry.example/os:other"\n[trust]\nunsigned = "accept"\n');
  const { machine, environment, repository } = one;
  await one.release("2");
  const facts = machine.facts;
  machine.facts = async () => ({ ...(await facts()), imageId: "was" });
  repository.tagged.set("other", repository.tagged.get("2")!);
  await assert.rejects(run(one), { code: "wrong-product" });
  const chosen = { kind: "reference", reference: "registry.example/os:other" } as const;
  assert.equal((await switchSource(machine, environment, chosen)).result, "staged");
  assert.equal(await reboot(one), "2");
});

test("the first update of a machine that was installed fetches no digest of a block that is there", async () => {
  const one = await fleet();
  await one.release("2");
  await run(one);
  const first = (await one.machine.facts()).root!.rootHash;
  assert.ok(one.machine.recipes.files.has(first));
});
