// Programs that are killed in the middle of it: what was pushed until then moves no tag, what was pulled until then is not
// fetched again.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { PACK_TYPE, pushReleases } from "../../core/src/ops/publish/index.ts";
import { missingPeers, PROGRAMS, type Registry, startRegistry, suiteLifetime } from "../support/registry.ts";
import { type ClientSettings, clientSettings } from "../support/registry-clients.ts";
import * as faults from "../support/registry-faults.ts";
import { type RegistryProxy, startProxy } from "../support/registry-proxy.ts";
import { hurriedRepository } from "../support/registry-repository.ts";
import { publishEnvironment, type SampleRelease, sampleRelease } from "../support/releases.ts";
import { digests, ended, noise, runOk, sampleLayout, startAshlar, workFolder } from "../support/samples.ts";
import { tarBytes } from "../support/tar.ts";

const folder = workFolder({ after });
const isLong = process.env["ASHLAR_LONG"] === "true";
const environment = await publishEnvironment();

describe("killed", { skip: missingPeers(PROGRAMS.distribution) }, () => {
  const lifetime = suiteLifetime();
  let registry: Registry;
  let proxy: RegistryProxy;
  let settings: ClientSettings;
  let pack: { readonly digest: string; readonly size: number };
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

  test("a pull goes on where it was: at most one frame comes twice", async (t) => {
    const release = await sampleRelease({ "usr/large": noise(6_000_000, "large") }, environment, { rootOnly: true });
    const { repository, close } = hurriedRepository(registry.host, "pulled");
    const pushed = await pushReleases([release], repository, { tag: "stable" }, environment);
    close();
    pack = pushed.releases[0]!.blobs.find(({ mediaType }) => mediaType === PACK_TYPE)!;
    const reference = `docker://${proxy.host}/pulled:stable`;
    const expected = join(folder, "pulled-whole");
    proxy.reset();
    await finish("pull", reference, "-o", expected);
    const undisturbed = proxy.sent("blob");
    assert.ok(undisturbed < pack.size * 1.2, `${undisturbed} bytes for a pack of ${pack.size}`);

    for (const part of [0.2, 0.5, 0.9]) {
      const out = join(folder, `pulled-${part}`);
      proxy.reset();
      const budget = Math.round(undisturbed * part);
      proxy.inject(faults.stallAfter(budget), { kind: "blob", method: "GET" });
      const child = start("pull", reference, "-o", out);
      const end = ended(child);
      while (proxy.sent("blob") < budget) await sleep(5);
      await settled(out);
      child.kill("SIGKILL");
      await end;
      const first = sentParts();
      proxy.reset();
      await finish("pull", reference, "-o", out);
      const twice = overlap(first, sentParts());
      t.diagnostic(`killed after ${budget} bytes: ${twice} of them came twice`);
      assert.ok(twice <= FRAME, `${twice} bytes came twice`);
      assert.deepEqual(digests(out), digests(expected));
    }
  });

  /** Parts of the pack's frames that went to the client: leaf digests and seek table after them are fetched each time. */
  const sentParts = (): Part[] =>
    proxy.exchanges
      .map(({ path, headers, sent }) => ({
        path,
        start: Number(/^bytes=(\d+)-/.exec(headers.range ?? "")?.[1] ?? -1),
        sent,
      }))
      .filter(({ path, start }) => path.includes(pack.digest) && start >= 0)
      .map(({ start, sent }): Part => [start, Math.min(start + sent, pack.size - TAIL)])
      .filter(([from, to]) => to > from);

  /** Writes a release to a folder; its path. */
  function write(release: SampleRelease): string {
    const directory = join(folder, `release-${release.release.imageVersion}`);
    mkdirSync(directory);
    for (const [name, bytes] of release.files) writeFileSync(join(directory, name), bytes);
    return join(directory, release.name);
  }
});

/** Bytes: 64 KiB of blocks, which noise leaves as large as they are. */
const FRAME = 68 * 1024;
/** Bytes at the end of the pack that hold at least the leaf digests (32 for each 4 KiB) and the seek table. */
const TAIL = 64 * 1024;

type Part = readonly [start: number, end: number];

/** Bytes that are in parts of both lists. */
function overlap(a: readonly Part[], b: readonly Part[]): number {
  return a
    .flatMap(([from, to]) => b.map(([start, end]) => Math.min(to, end) - Math.max(from, start)))
    .reduce((sum, common) => sum + Math.max(0, common), 0);
}

/** Waits until nothing grows in `directory` any more: what came was written down. */
async function settled(directory: string): Promise<void> {
  const sizeOf = () =>
    existsSync(directory)
      ? readdirSync(directory).reduce((sum, name) => sum + statSync(join(directory, name)).blocks, 0)
      : 0;
  for (let last = -1, still = 0; still < 10; ) {
    const size = sizeOf();
    still = size === last && size > 0 ? still + 1 : 0;
    last = size;
    await sleep(100);
  }
}
