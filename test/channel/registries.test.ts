// The attack table for channels against registries that are processes, and what only they can do wrong.
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Repository } from "../../core/src/formats/oci/index.ts";
import { openRegistries } from "../../core/src/node/registry/index.ts";
import { attackReport } from "../support/attack-report.ts";
import { device, publisher } from "../support/channels.ts";
import { missingPeers, type RegistryKind, startRegistry } from "../support/registry.ts";
import { cutAt, drip, endless, flipAt, loginPage, redirectLoop, resetAt, status } from "../support/registry-faults.ts";
import { startProxy } from "../support/registry-proxy.ts";
import { hurriedRepository } from "../support/registry-repository.ts";
import { playAttacks } from "./attacks.ts";

async function openAt(t: TestContext, host: string): Promise<Repository> {
  const registries = openRegistries({ tlsVerify: false, retryTimes: 0, environment: {} });
  t.after(() => registries.close());
  return registries.open({ host, repository: "os" });
}

const KINDS: readonly RegistryKind[] = ["go", "distribution"];
for (const kind of KINDS) {
  const skip = missingPeers(kind === "go" ? "go-registry" : "registry");
  const report = attackReport(`Attacks on a channel, in a registry (${kind})`);
  playAttacks(
    report,
    async (t) => {
      const { host } = await startRegistry(t, { kind });
      return openAt(t, host);
    },
    { skip },
  );

  test(`${kind}: a registry that lets a device wait`, { skip }, async (t) => {
    const registry = await startRegistry(t, { kind });
    const channel = await publisher(await openAt(t, registry.host));
    for (const about of ["manifest", "blob"] as const) {
      const proxy = await startProxy(t, registry);
      proxy.inject(drip(1, 2), { kind: about });
      const slow = hurriedRepository(proxy.host, "os", { retryTimes: 0, speed: 20_000 });
      t.after(() => slow.close());
      const done = `a byte at a time of ${about === "blob" ? "the documents" : "the manifest"}`;
      const expected = { kind: "SourceError", code: "too-slow" } as const;
      await report.refused("slow retrieval", done, device(slow.repository, channel.pin).follow, expected);
    }
  });

  test(`${kind}: a registry that fails or refuses never means that there is nothing newer`, { skip }, async (t) => {
    const registry = await startRegistry(t, { kind });
    const repository = await openAt(t, registry.host);
    const channel = await publisher(repository);
    await channel.release({ version: "1" });
    for (const [attack, done, about, fault] of [
      ["refusal", "404 for the tag", "manifest", status(404)],
      ["refusal", "401", "manifest", status(401)],
      ["refusal", "403", "manifest", status(403)],
      ["refusal", "429", "manifest", status(429)],
      ["refusal", "500", "manifest", status(500)],
      ["refusal", "503 for the documents", "blob", status(503)],
      ["refusal", "a login page instead of the manifest", "manifest", loginPage()],
      ["refusal", "a login page instead of the documents", "blob", loginPage()],
      ["refusal", "redirects in a circle", "blob", redirectLoop()],
      ["refusal", "connections reset", "manifest", resetAt(10)],
      ["refusal", "an empty manifest", "manifest", status(200)],
      ["partial state", "404 for the documents", "blob", status(404)],
      ["partial state", "documents that end early", "blob", cutAt(100)],
      ["endless data", "an endless manifest", "manifest", endless()],
      ["endless data", "endless documents", "blob", endless()],
      ["wrong cache", "a bit of a document flipped", "blob", flipAt(20)],
      ["wrong cache", "a bit of the manifest flipped", "manifest", flipAt(200)],
    ] as const) {
      const proxy = await startProxy(t, registry);
      proxy.inject(fault, { kind: about });
      // Another device each time: what a client remembers must not help it.
      const machine = device(await openAt(t, proxy.host), channel.pin);
      const result = await machine.check();
      assert.ok(result.result === "error", `${done}: ${result.result}`);
      assert.doesNotMatch(result.error.message, /\n/);
      report.add({
        attack,
        done,
        said: `${result.error.kind} ${result.error.code}: ${result.error.message.replaceAll(proxy.host, "REGISTRY")}`,
      });
    }
  });
}
