// As reading-faults, for a release that is pulled: documents, whole blobs, and ranges of a pack.
import assert from "node:assert/strict";
import process from "node:process";
import { before, describe, test } from "node:test";

import { isAshlarError } from "../../core/src/errors/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import {
  PACK_TYPE,
  type PublishEnvironment,
  pullRelease,
  pushReleases,
  resolveRelease,
} from "../../core/src/ops/publish/index.ts";
import { memoryArtifacts } from "../support/memory-artifacts.ts";
import { missingPeers, PROGRAMS, startRegistry, suiteLifetime } from "../support/registry.ts";
import * as faults from "../support/registry-faults.ts";
import { type Fault, type RegistryProxy, startProxy } from "../support/registry-proxy.ts";
import { type HurriedOptions, hurriedRepository } from "../support/registry-repository.ts";
import { publishEnvironment, type SampleRelease, sampleRelease } from "../support/releases.ts";
import { noise } from "../support/samples.ts";
import { expectOutcome, firstOfEach, type Row } from "./outcome.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";

/** What is asked for while a release is pulled: its description, and ranges of its pack. */
const PULLED: readonly Row[] = (["manifest", "blob"] as const).flatMap((kind): Row[] => {
  const filter = { kind, method: "GET" } as const;
  const wrong = ["IntegrityError", /^(digest|size|verity|root-hash)-mismatch$/] as const;
  const row = (title: string, fault: () => Fault, outcome: Row["outcome"], more: Partial<Row> = {}): Row => ({
    title: `${kind}: ${title}`,
    fault,
    filter,
    outcome,
    ...more,
  });
  return [
    row("503 twice", () => firstOfEach(2, faults.status(503)), "succeeds", { hits: 2 }),
    row("429 at first", () => firstOfEach(1, faults.tooManyRequests(9)), "succeeds"),
    row("reset before the head", () => firstOfEach(2, faults.resetAt(-1)), "succeeds", { hits: 2 }),
    row("reset in the body", () => firstOfEach(2, faults.resetAt(100)), "succeeds", { hits: 2 }),
    row("ends early", () => firstOfEach(1, faults.endAt(100)), "succeeds"),
    row("HTTP 1.0", () => faults.http10(), "succeeds"),
    row("slow, but not too slow", () => faults.drip(20_000, 1), "succeeds"),
    row("reset for ever", () => faults.resetAt(0), ["SourceError", "connection"], { hits: 3 }),
    row("gone", () => faults.status(404), ["SourceError", kind === "manifest" ? "no-such-image" : "no-blob"]),
    row("a login page", () => faults.loginPage(), ["SourceError", "not-a-registry"]),
    row("redirects in a circle", () => faults.redirectLoop(), ["SourceError", "too-many-redirects"], { hits: 5 }),
    row("a byte at a time", () => faults.drip(1, 2), ["SourceError", "too-slow"], { options: { speed: 20_000 } }),
    row("one bit is another", () => faults.flipAt(50), wrong),
    row("shorter than it should be", () => faults.cutAt(60), wrong),
  ];
});

describe("a release that is pulled", { skip: missingPeers(PROGRAMS.distribution) }, () => {
  const lifetime = suiteLifetime();
  let proxy: RegistryProxy;
  let environment: PublishEnvironment;
  let release: SampleRelease;
  let pack: { readonly digest: string; readonly size: number };

  before(async () => {
    const registry = await startRegistry(lifetime, { kind: "distribution" });
    proxy = await startProxy(lifetime, registry);
    environment = await publishEnvironment();
    release = await sampleRelease({ "usr/data": noise(400_000, "pulled") }, environment, { rootOnly: true });
    const { repository, close } = hurriedRepository(registry.host, "os");
    const pushed = await pushReleases([release], repository, { tag: "1" }, environment);
    close();
    pack = pushed.releases[0]!.blobs.find(({ mediaType }) => mediaType === PACK_TYPE)!;
  });

  async function pull(options?: HurriedOptions): Promise<void> {
    const store = memoryArtifacts();
    const { repository, close } = hurriedRepository(proxy.host, "os", options);
    try {
      const descriptor = await resolveRelease(repository, { tag: "1" }, nodeHashes);
      await pullRelease(repository, descriptor, store, environment);
      for (const [name, bytes] of release.files) assert.ok(Buffer.from(bytes).equals(store.published.get(name)!), name);
    } finally {
      if (store.published.size !== release.files.size) assert.equal(store.published.size, 0, "a part was published");
      close();
    }
  }

  async function play({ fault, filter = {}, hits = 1, outcome, options, holds }: Row): Promise<void> {
    proxy.reset();
    const injected = proxy.inject(fault(), filter);
    await expectOutcome(outcome, () => pull(options));
    assert.ok(injected.hits >= hits, `played ${injected.hits} times`);
    holds?.(proxy, []);
  }

  for (const row of PULLED) test(row.title, () => play(row));

  test("ranges of the pack: other bytes than were asked for, in every way", async () => {
    const isPack = ({ path, headers }: { path: string; headers: { range?: string | undefined } }) =>
      path.includes(pack.digest) && headers.range !== undefined;
    const filter = { kind: "blob", when: isPack } as const;
    const play1 = (fault: Fault, outcome: Row["outcome"]) => play({ title: "", fault: () => fault, filter, outcome });
    await play1(faults.ignoreRange(), "succeeds");
    await play1(faults.wrongContentRange(7), ["SourceError", "content-range"]);
    await play1(faults.status(416), ["SourceError", /./]);
    // Past the end of the pack there is nothing, which the registry says itself.
    for (const shift of [-1, 1, 4096])
      await assert.rejects(play1(faults.otherRange(shift), "succeeds"), (error) => {
        assert.ok(
          isAshlarError(error) && ["FormatError", "IntegrityError", "SourceError"].includes(error.kind),
          String(error),
        );
        return true;
      });
  });

  test("the pack: reset at every k-th byte", async () => {
    const step = isLong ? 4_000 : 40_000;
    for (let at = 0; at < pack.size; at += step) {
      const filter = { kind: "blob", method: "GET", when: ({ path }: { path: string }) => path.includes(pack.digest), times: 3 } as const; // biome-ignore format: one line
      await play({ title: "", fault: () => faults.resetAt(at), filter, outcome: "succeeds" });
    }
  });
});
