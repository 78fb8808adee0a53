// `ashlar channel` as people use it, against a registry: alone, and with the keys in three hands.
import assert from "node:assert/strict";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { encodeUtf8 } from "../../core/src/bytes/index.ts";
import type { Repository } from "../../core/src/formats/oci/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import { openRegistries } from "../../core/src/node/registry/index.ts";
import { generateKey, type NewKeyType } from "../../core/src/node/trust/index.ts";
import { readChannel } from "../../core/src/ops/channel/index.ts";
import { serve } from "../support/channel-forgery.ts";
import { pushRelease } from "../support/channels.ts";
import { missingPeers, type Registry, startRegistry } from "../support/registry.ts";
import { assertOneLine, run, workFolder } from "../support/samples.ts";

const skip = missingPeers("go-registry");

describe("ashlar channel", { skip }, () => {
  let registry: Registry;
  let repository: Repository;
  let folder: string;
  const cleanups: (() => void | Promise<void>)[] = [];
  const lifetime = { after: (action: () => void | Promise<void>) => void cleanups.push(action) };
  after(async () => {
    for (const cleanup of cleanups.reverse()) await cleanup();
  });

  before(async () => {
    folder = workFolder(lifetime);
    registry = await startRegistry(lifetime, { kind: "go" });
    const registries = openRegistries({ tlsVerify: false, environment: {} });
    lifetime.after(() => registries.close());
    repository = await registries.open({ host: registry.host, repository: "os" });
    const types: Record<string, NewKeyType> = { root: "ed25519", ann: "ecdsa-p256", bob: "ed25519", eve: "rsa-3072" };
    for (const name of ["root", "targets", "online", "ann", "bob", "eve", "new"]) {
      const { privatePem, publicPem } = await generateKey(types[name] ?? "ed25519", undefined, name);
      writeFileSync(join(folder, `${name}.key`), privatePem);
      writeFileSync(join(folder, `${name}.pub`), publicPem);
    }
    const { privatePem, publicPem } = await generateKey("ed25519", encodeUtf8("secret"), "locked");
    writeFileSync(join(folder, "locked.key"), privatePem);
    writeFileSync(join(folder, "locked.pub"), publicPem);
    for (const version of ["1", "2", "3"]) await pushRelease(repository, { version });
    await pushRelease(repository, { version: "1", product: "toaster" }, "toast");
  });

  const at = (tag: string): string => `${registry.host}/os:${tag}`;
  const channel = (verb: string, ...args: string[]) =>
    run(["channel", verb, ...args, ...(verb === "sign" ? [] : ["--no-tls-verify"])], { cwd: folder, env: {} });
  async function ok(verb: string, ...args: string[]): Promise<string> {
    const { status, stdout, stderr } = await channel(verb, ...args);
    assert.equal(status, 0, `channel ${verb} ${args.join(" ")}: ${stdout}${stderr}`);
    return stdout;
  }
  async function fails(code: string, status: number, verb: string, ...args: string[]): Promise<void> {
    const result = await channel(verb, ...args, "--json");
    assert.equal(result.status, status, result.stdout + result.stderr);
    assert.equal((JSON.parse(result.stderr) as { code: string }).code, code);
  }
  const keys = (...names: string[]): string[] => names.flatMap((name) => ["--key", `${name}.key`]);

  test("one person: init, add, check, promote, refresh, remove", async () => {
    const made = ["--root-key", "root.key", "--targets-key", "targets.key", "--online-key", "online.key"];
    await ok("init", at("stable"), "--product", "os", ...made);
    await ok("init", at("beta"), "--product", "os", ...made);
    await ok("init", "oci:layout:stable", "--product", "os", ...made);
    await ok("refresh", "oci:layout:stable", ...keys("online"));
    await fails("channel-exists", 6, "init", at("beta"), "--product", "os", ...made);
    await ok("add", at("beta"), at("1"), ...keys("targets", "online"));
    await ok("add", at("beta"), at("2"), "--min-agent", "0.1", ...keys("targets", "online"));
    await ok("show", at("stable"), "--save-root", "stable.root.json");
    const check = ["--root", "stable.root.json", "--state", "stable.state", "--architecture", "amd64"];
    await fails("wrong-architecture", 6, "check", at("stable"), ...check);
    await ok("promote", at("beta"), at("stable"), ...keys("targets", "online"));
    const newer = await channel("check", at("stable"), ...check, "--version", "1", "--json");
    assert.equal(newer.status, 10, newer.stderr);
    const found = JSON.parse(newer.stdout) as {
      schema: string;
      result: string;
      decision: { release: { version: string } };
    };
    assert.deepEqual(
      [found.schema, found.result, found.decision.release.version],
      ["ashlar.channel-check/v1", "newer", "2"],
    );
    assert.match(await ok("check", at("stable"), ...check, "--version", "2"), /: current: nothing newer\n$/);
    await ok("refresh", at("stable"), ...keys("online"));
    assert.match(
      await ok("check", at("stable"), "--state", "stable.state", "--architecture", "amd64", "--version", "2"),
      /current/,
    );
    const stale = await channel(
      "check",
      at("stable"),
      ...check,
      "--version",
      "1",
      "--not-before",
      "2060-01-01T00:00:00Z",
    );
    assert.equal(stale.status, 11);
    assert.match(stale.stdout, /: stale: (timestamp|snapshot) has expired at /);
    assert.equal(stale.stderr, "");
    await ok("remove", at("beta"), "1", ...keys("targets", "online"));
    assert.doesNotMatch(await ok("show", at("beta")), /^1 /m);
    // A rollout, and halting it.
    await ok("add", at("stable"), at("3"), "--rollout", "100%", ...keys("targets", "online"));
    assert.equal((await channel("check", at("stable"), ...check, "--version", "2")).status, 10);
    await ok("add", at("stable"), at("3"), "--rollout", "0%", ...keys("targets", "online"));
    assert.match(
      await ok("check", at("stable"), ...check, "--version", "2", "--device", "machine"),
      /rolled out to 0 %/,
    );
  });

  test("what is refused", async () => {
    await fails("wrong-product", 6, "add", at("stable"), at("toast"), ...keys("targets", "online"));
    await fails("channel-threshold", 6, "add", at("stable"), at("1"), ...keys("online"));
    await fails("channel-threshold", 6, "refresh", at("stable"), ...keys("targets"));
    await fails("no-such-image", 7, "add", at("stable"), at("77"), ...keys("targets", "online"));
    await fails("not-a-release", 4, "add", at("stable"), at("beta"), ...keys("targets", "online"));
    await fails("not-a-channel", 6, "show", at("1"));
    await fails("no-trusted-root", 6, "check", at("stable"), "--version", "1");
    await fails("channel-root", 6, "check", at("beta"), "--root", "stable.root.json", "--version", "1");
    await fails("channel-root", 6, "check", at("beta"), "--state", "stable.state", "--version", "1");
    await fails("exists", 8, "show", at("stable"), "--save-root", "stable.root.json");
    await fails("channel-floor", 6, "add", at("stable"), at("1"), "--floor", "2", ...keys("targets", "online"));
    await fails("no-password", 6, "refresh", at("stable"), ...keys("locked"));
    await fails("connection", 7, "check", "127.0.0.1:1/os:stable", "--root", "stable.root.json");
    const { status, stderr } = await channel("refresh", at("stable"), "--key", "online.pub");
    assert.equal(status, 6);
    assertOneLine(stderr.split("\n").slice(-2).join("\n"), /online\.pub: is a public key/);
  });

  test("three people: a root that needs two of three, signed on machines without a network", async () => {
    const init = ["--product", "os", "--root-threshold", "2", "--partial", "draft.json"];
    const roots = ["ann", "bob", "eve"].flatMap((name) => ["--root-key", `${name}.pub`]);
    await ok("init", at("crew"), ...init, ...roots, "--targets-key", "targets.pub", "--online-key", "online.pub");
    assert.match(await ok("sign", "draft.json"), /root: 0 of 2 signatures that root 1 asks for/);
    await fails("channel-threshold", 6, "publish", at("crew"), "draft.json", ...keys("online"));
    await ok("sign", "draft.json", ...keys("ann"));
    await fails("channel-key", 6, "sign", "draft.json", ...keys("online"));
    assert.match(
      await ok("sign", "draft.json", ...keys("eve", "targets")),
      /root: 2 of 2 signatures that root 1 asks for: enough/,
    );
    await ok("publish", at("crew"), "draft.json", ...keys("online"));
    await ok("show", at("crew"), "--save-root", "crew.root.json");

    // A release: signed offline, published online, while cron refreshes in between.
    await ok("add", at("crew"), at("1"), "--partial", "release.json");
    assert.match(await ok("sign", "release.json", ...keys("targets")), /\+ 1 {2}amd64/);
    await ok("refresh", at("crew"), ...keys("online"));
    await ok("publish", at("crew"), "release.json", ...keys("online"));
    await fails("channel-moved", 7, "publish", at("crew"), "release.json", ...keys("online"));

    // Eve leaves; two of the old three sign, and two of the new three.
    await ok("rotate", at("crew"), "--add", "root=new.pub", "--remove", "root=eve.pub", "--partial", "rotation.json");
    copyFileSync(join(folder, "rotation.json"), join(folder, "other.json"));
    // On its way to the next signer, somebody lets it look as if a key of theirs had always been there.
    type Editable = { base: { root: { signed: { roles: { root: { keyids: string[] } } } } } };
    const faked = JSON.parse(readFileSync(join(folder, "rotation.json"), "utf8")) as Editable & {
      root: Editable["base"]["root"];
    };
    faked.base.root.signed.roles.root.keyids = faked.root.signed.roles.root.keyids;
    writeFileSync(join(folder, "faked.json"), JSON.stringify(faked));
    assert.match(
      await ok("sign", "rotation.json", "--root", "crew.root.json"),
      /root: 2 of 3 keys\n(.*\n)*? {2}\+ [0-9a-f]{64}\n/,
    );
    await fails("channel-root", 6, "sign", "faked.json", "--root", "crew.root.json", ...keys("ann"));
    await ok("sign", "rotation.json", ...keys("ann", "new"));
    await fails("channel-threshold", 6, "publish", at("crew"), "rotation.json", ...keys("online"));
    await ok("sign", "rotation.json", ...keys("bob"));
    await ok("publish", at("crew"), "rotation.json", ...keys("online"));
    await fails("channel-moved", 7, "publish", at("crew"), "other.json", ...keys("online"));
    const after = await channel(
      "check",
      at("crew"),
      "--root",
      "crew.root.json",
      "--architecture",
      "amd64",
      "--version",
      "1",
      "--json",
    );
    assert.equal(after.status, 0, after.stderr);
    assert.equal((JSON.parse(after.stdout) as { state: { root: { version: number } } }).state.root.version, 2);
    // The online key is replaced, in one step, by name of both its roles.
    await ok(
      "rotate",
      at("crew"),
      "--add",
      "online=eve.pub",
      "--remove",
      "online=online.pub",
      ...keys("ann", "bob", "eve"),
    );
    await ok("refresh", at("crew"), ...keys("eve"));
    await fails("channel-threshold", 6, "refresh", at("crew"), ...keys("online"));
    assert.match(await ok("show", at("crew"), "--root", "crew.root.json"), /^fresh, state sha256:/m);
  });

  test("keys that are encrypted, or in a program", async () => {
    const locked = at("locked");
    writeFileSync(join(folder, "password"), "secret\n");
    const made = ["--root-key", "ann.pub", "--targets-key", "targets.key", "--online-key", "locked.key"];
    const signing = [
      "--key",
      "ann.pub",
      "--signer",
      "openssl pkeyutl -sign -inkey ann.key",
      "--password-file",
      "password",
    ];
    await ok("init", locked, "--product", "os", ...made, ...signing);
    await ok("refresh", locked, "--key", "locked.key", "--password-file", "password");
    writeFileSync(join(folder, "password"), "wrong\n");
    await fails("wrong-password", 6, "refresh", locked, "--key", "locked.key", "--password-file", "password");
    const other = ["--key", "ann.pub", "--signer", "openssl pkeyutl -sign -inkey new.key"];
    await fails("signer-failed", 7, "rotate", locked, ...other);
    await fails("key-scheme", 4, "rotate", locked, "--key", "eve.pub", "--signer", "true");
    assert.match(await ok("show", locked), /^fresh/m);
  });

  test("who renews a channel remembers too: an old state is not made new", async () => {
    const old = await readChannel(repository, { tag: "stable" }, nodeHashes);
    const refresh = ["refresh", at("stable"), "--state", "ci.state", ...keys("online")] as const;
    await ok(...refresh);
    await ok(...refresh);
    await serve(repository, old);
    await fails("channel-rollback", 6, ...refresh);
  });

  test("a state file of somebody else's making", async () => {
    writeFileSync(join(folder, "bad.state"), readFileSync(join(folder, "stable.state"), "utf8").slice(0, -20));
    await fails("bad-metadata", 3, "check", at("stable"), "--state", "bad.state", "--version", "1");
  });
});
