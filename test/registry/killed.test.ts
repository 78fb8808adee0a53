// Programs that are killed in the middle of it: what was stored until then moves no tag.
import assert from "node:assert/strict";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { missingPeers, PROGRAMS, type Registry, startRegistry, suiteLifetime } from "../support/registry.ts";
import { type ClientSettings, clientSettings } from "../support/registry-clients.ts";
import * as faults from "../support/registry-faults.ts";
import { type RegistryProxy, startProxy } from "../support/registry-proxy.ts";
import { publishEnvironment, type SampleRelease, sampleRelease } from "../support/releases.ts";
import { ended, noise, runOk, sampleLayout, startAshlar, workFolder } from "../support/samples.ts";
import { tarBytes } from "../support/tar.ts";

const folder = workFolder({ after });
const isLong = process.env["ASHLAR_LONG"] === "true";
const environment = await publishEnvironment();

describe("killed", { skip: missingPeers(PROGRAMS.distribution) }, () => {
  const lifetime = suiteLifetime();
  let registry: Registry;
  let proxy: RegistryProxy;
  let settings: ClientSettings;
  before(async () => {
    registry = await startRegistry(lifetime, { kind: "distribution" });
    proxy = await startProxy(lifetime, registry);
    settings = clientSettings(folder, registry, { host: proxy.host });
  });

  const start = (...args: string[]) => startAshlar([...args, "--quiet", "--no-tls-verify"], settings);
  const finish = (...args: string[]) => runOk([...args, "--quiet", "--no-tls-verify"], settings);

  async function tagged(name: string): Promise<string | null> {
    const headers = { accept: "application/vnd.oci.image.manifest.v1+json" };
    const answer = await fetch(`${registry.url}/v2/${name}/manifests/stable`, { headers });
    await answer.arrayBuffer();
    return answer.headers.get("docker-content-digest");
  }

  /** Runs `args` until its request number `at` is on its way, and kills it. False: there are fewer requests. */
  async function killAt(at: number, args: readonly string[]): Promise<boolean> {
    proxy.reset();
    let count = 0;
    const held = proxy.inject(faults.stallAt(-1), { when: ({ kind }) => kind !== "base" && ++count >= at });
    const child = start(...args);
    const end = ended(child);
    let isOver = false;
    end.then(() => {
      isOver = true;
    });
    while (held.hits === 0 && !isOver) await sleep(5);
    child.kill("SIGKILL");
    const { status } = await end;
    if (status !== null) assert.equal(status, 0);
    proxy.reset();
    return held.hits > 0;
  }

  /** Stores one thing over another, killed at each of its requests. */
  async function killEverywhere(first: (to: string) => Promise<unknown>, second: (to: string) => readonly string[]) {
    let kills = 0;
    let expected: string | null = null;
    for (let at = 1; ; at += isLong ? 1 : 3) {
      const name = `${second("x")[0]}/at-${at}`;
      const to = `docker://${proxy.host}/${name}:stable`;
      await first(to);
      const old = await tagged(name);
      assert.notEqual(old, null);
      const wasKilled = await killAt(at, second(to));
      const now = await tagged(name);
      if (!wasKilled) {
        assert.notEqual(now, old);
        assert.equal(now, expected);
        break;
      }
      kills++;
      assert.equal(now, old, `killed at request ${at}`);
      await finish(...second(to));
      const moved = await tagged(name);
      assert.notEqual(moved, old);
      expected ??= moved;
      assert.equal(moved, expected);
    }
    return kills;
  }

  test("a copy leaves the tag where it was, at any request", async (t) => {
    const [one, two] = await Promise.all(
      ["one", "two"].map((word) =>
        sampleLayout(join(folder, word), { layers: [{ tar: tarBytes([{ name: word, content: word }]) }] }),
      ),
    );
    const from = (layout: typeof one) => `oci:${layout!.directory}:${layout!.tag}`;
    const kills = await killEverywhere(
      (to) => finish("copy", from(one), to),
      (to) => ["copy", from(two), to],
    );
    t.diagnostic(`killed at ${kills} requests`);
    assert.ok(kills >= (isLong ? 6 : 2));
  });

  test("a push leaves the tag where it was, at any request", async (t) => {
    const [one, two] = await Promise.all(
      ["1", "2"].map(async (version) => write(await sampleRelease({ v: noise(20_000, version) }, environment, { version, rootOnly: true }))), // biome-ignore format: one line
    );
    const kills = await killEverywhere(
      (to) => finish("push", one!, to),
      (to) => ["push", two!, to],
    );
    t.diagnostic(`killed at ${kills} requests`);
    assert.ok(kills >= (isLong ? 10 : 3));
  });

  /** Writes a release to a folder; its path. */
  function write(release: SampleRelease): string {
    const directory = join(folder, `release-${release.release.imageVersion}`);
    mkdirSync(directory);
    for (const [name, bytes] of release.files) writeFileSync(join(directory, name), bytes);
    return join(directory, release.name);
  }
});
