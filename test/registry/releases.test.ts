// Releases in registries of other people, as the command puts them there and takes them out again, counted at the server.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { FRAME_SIZE, openPack, readPackShape } from "../../core/src/formats/pack/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import { missingPeers, PROGRAMS, startRegistry } from "../support/registry.ts";
import * as faults from "../support/registry-faults.ts";
import { startProxy } from "../support/registry-proxy.ts";
import { REPOSITORY } from "../support/roots.ts";
import {
  digests,
  ended,
  noise,
  run,
  runOk,
  SAMPLE_LABELS,
  sampleLayout,
  startAshlar,
  workFolder,
} from "../support/samples.ts";
import { type TarEntry, tarBytes } from "../support/tar.ts";

const folder = workFolder({ after });
const at = (name: string): string => join(folder, name);

/** 3 MB that compress badly, and small files. */
const ENTRIES: readonly TarEntry[] = [
  ...Array.from({ length: 30 }, (_, i): TarEntry => ({ name: `usr/lib/${i}`, content: noise(100_000, `${i}`) })),
  { name: "etc/conf", content: "a = 1\n" },
  { name: "etc/link", type: "symlink", target: "../etc/conf" },
];

function entriesWith(name: string, content: string): TarEntry[] {
  return ENTRIES.map((entry) => (entry.name === name ? { name, content } : entry));
}

const HTTP = ["--no-tls-verify", "--quiet"];

await sampleLayout(at("image"), { layers: [{ tar: tarBytes(ENTRIES) }] });
await sampleLayout(at("changed"), { layers: [{ tar: tarBytes(entriesWith("etc/conf", "a = 2\n")) }] });
await sampleLayout(at("next-image"), {
  labels: { ...SAMPLE_LABELS, "org.opencontainers.image.version": "2" },
  layers: [{ tar: tarBytes(entriesWith("etc/conf", "a = 3\n")) }],
});
await runOk(["seal", `oci:${at("image")}`, "-o", at("one"), "--quiet"]);
await runOk(["seal", `oci:${at("next-image")}`, "-o", at("two"), "--quiet"]);

for (const kind of ["distribution", "go"] as const)
  test(`${PROGRAMS[kind]}: push, push again, an update, read in place, pull, reproduce`, {
    skip: missingPeers(PROGRAMS[kind]),
  }, async (t) => {
    const registry = await startRegistry(t, { kind });
    const proxy = await startProxy(t, registry);
    const repository = `${proxy.host}/library/os`;
    await runOk(["copy", `oci:${at("image")}`, `docker://${repository}:source`, ...HTTP]);

    proxy.reset();
    const first = JSON.parse((await runOk(["push", at("one"), `docker://${repository}`, "--json", ...HTTP])).stdout);
    assert.equal(first.schema, "ashlar.push/v1");
    assert.equal(first.tag, "1");
    assert.equal(
      first.releases[0].subject,
      JSON.parse(readFileSync(at("one/sample_1.release.json"), "utf8")).inputs[0].digest,
    );
    const whole = proxy.received();
    assert.ok(whole > 3_000_000, `${whole} bytes`);

    proxy.reset();
    await runOk(["push", at("one"), `docker://${repository}`, ...HTTP]);
    assert.equal(proxy.received(), 0, "pushing twice sends nothing");

    proxy.reset();
    await runOk(["push", at("two"), `docker://${repository}`, ...HTTP]);
    assert.ok(proxy.received() < 64_000, `an update of one line sends ${proxy.received()} bytes`);

    proxy.reset();
    assert.equal((await runOk(["cat", `docker://${repository}:2`, "/etc/link", "--no-tls-verify"])).stdout, "a = 3\n");
    assert.ok(proxy.sent() < 400_000, `reading a line fetches ${proxy.sent()} bytes`);
    assert.match((await runOk(["ls", "-l", `${repository}:2`, "/etc", "--no-tls-verify"])).stdout, /conf/);
    assert.match((await runOk(["inspect", `${repository}:2`, ...HTTP])).stdout, /release sample 2/);
    const diff = (await runOk(["diff", `docker://${repository}:1`, `docker://${repository}:2`, "--json", ...HTTP]))
      .stdout;
    assert.deepEqual(
      JSON.parse(diff).files.map(({ path }: { path: string }) => path),
      ["/etc/conf"],
    );

    for (const [tag, made] of [
      ["1", "one"],
      ["2", "two"],
    ] as const) {
      const out = at(`${kind}-${tag}`);
      await runOk(["pull", `docker://${repository}:${tag}`, "-o", out, ...HTTP]);
      assert.deepEqual(digests(out), digests(at(made)));
    }
    // The image that the release was made from leads to it.
    assert.equal((await runOk(["cat", `${repository}:source`, "/etc/conf", "--no-tls-verify"])).stdout, "a = 1\n");

    assert.match((await runOk(["reproduce", `docker://${repository}:1`, ...HTTP])).stdout, /: identical\n$/);
    const other = await run([
      "reproduce",
      `docker://${repository}:1`,
      "--source",
      `oci:${at("changed")}:latest`,
      ...HTTP,
    ]);
    assert.equal(other.status, 9);
    assert.match(other.stdout, /^OTHER {3}image/m);
    assert.match(other.stdout, /^root \/etc\/conf: has another content$/m);
    const elsewhere = await run(["reproduce", `docker://${repository}:2`, ...HTTP]);
    assert.equal(elsewhere.status, 7);
    assert.match(elsewhere.stderr, /say where by --source\n$/);
  });

test("a pull that is killed goes on, and fetches at most one frame twice", {
  skip: missingPeers(PROGRAMS.go),
}, async (t) => {
  const registry = await startRegistry(t, { kind: "go" });
  const proxy = await startProxy(t, registry);
  const reference = `docker://${proxy.host}/library/os:1`;
  const pushed = JSON.parse((await runOk(["push", at("one"), reference, "--json", ...HTTP])).stdout);
  const isPack = ({ mediaType }: { mediaType: string }): boolean => mediaType.startsWith("application/vnd.ashlar.pack");
  const { digest, size } = pushed.releases[0].blobs.find(isPack) as { digest: string; size: number };
  await runOk(["push", at("one"), `oci:${at("local")}:1`, "--quiet"]);
  const bytes = readFileSync(join(at("local"), "blobs", digest.replace(":", "/")));
  const pack = await openPack(bytesSource(bytes), await readPackShape(bytesSource(bytes), "pack"), "pack");
  const frames = Array.from({ length: pack.frameCount }, (_, index) => pack.frame(index));
  const largest = Math.max(...frames.map((frame) => frame.size));
  const framesEnd = frames.at(-1)!.offset + frames.at(-1)!.size;

  const stops = 1_500_000;
  const whole = frames.filter((frame) => frame.offset + frame.size <= stops).length;
  const output = at("killed");
  proxy.reset();
  const isFrames = (exchange: { path: string; headers: Record<string, unknown> }): boolean =>
    exchange.path.includes(digest) && exchange.headers["range"] === `bytes=0-${framesEnd - 1}`;
  const stalled = proxy.inject(faults.stallAt(stops), { kind: "blob", when: isFrames });
  const child = spawn(join(REPOSITORY, "ashlar"), ["pull", reference, "-o", output, ...HTTP], { stdio: "ignore" });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  // Until every frame that came as a whole is in the file.
  for (;;) {
    const [partial] = readdirSync(folder).includes("killed") ? readdirSync(output) : [];
    const file =
      partial === undefined
        ? undefined
        : statSync(join(output, partial, "sample_1.root.erofs"), { throwIfNoEntry: false });
    if (stalled.hits > 0 && file !== undefined && file.blocks * 512 >= whole * FRAME_SIZE) break;
    assert.equal(child.exitCode, null);
    await sleep(20);
  }
  child.kill("SIGKILL");
  await ended;
  stalled.remove();

  const result = JSON.parse((await runOk(["pull", reference, "-o", output, "--json", ...HTTP])).stdout);
  assert.equal(result.schema, "ashlar.pull/v1");
  assert.deepEqual(digests(output), digests(at("one")), "and nothing else is left there");
  const sent = proxy.exchanges
    .filter(({ path, headers }) => path.includes(digest) && /^bytes=\d+-/.test(headers.range ?? ""))
    .filter(({ headers }) => Number(/-(\d+)$/.exec(headers.range ?? "")?.[1]) < framesEnd)
    .reduce((sum, exchange) => sum + exchange.sent, 0);
  assert.ok(sent <= framesEnd + largest, `${sent} bytes of frames for ${framesEnd}, a frame has at most ${largest}`);
  assert.ok(size > framesEnd);
});

test("a pull that is interrupted says what it leaves, and one that never began leaves nothing", {
  skip: missingPeers(PROGRAMS.go),
}, async (t) => {
  const registry = await startRegistry(t, { kind: "go" });
  const proxy = await startProxy(t, registry);
  const reference = `docker://${proxy.host}/library/os:1`;
  await runOk(["push", at("one"), reference, "--source-index", `sha256:${"ab".repeat(32)}`, ...HTTP]);
  const inspected = JSON.parse((await runOk(["inspect", reference, "--json", ...HTTP])).stdout);
  assert.equal(inspected.stored.annotations["vnd.ashlar.source.index"], `sha256:${"ab".repeat(32)}`);

  const missing = await run(["pull", `${reference}9`, "-o", at("missing"), ...HTTP]);
  assert.equal(missing.status, 7);
  assert.ok(!readdirSync(folder).includes("missing"));

  proxy.inject(faults.stallAt(1_500_000), {
    kind: "blob",
    when: ({ headers }) => (headers.range ?? "").startsWith("bytes=0-"),
  });
  const child = startAshlar(["pull", reference, "-o", at("interrupted"), ...HTTP]);
  const result = ended(child);
  for (;;) {
    const [partial] = readdirSync(folder).includes("interrupted") ? readdirSync(at("interrupted")) : [];
    const file =
      partial && statSync(join(at("interrupted"), partial, "sample_1.root.erofs"), { throwIfNoEntry: false });
    if (file && file.blocks > 0) break;
    await sleep(20);
  }
  child.kill("SIGINT");
  const { status, stderr } = await result;
  assert.equal(status, 130);
  assert.match(stderr, /interrupted, .*interrupted keeps what the next pull goes on with\n$/);
  proxy.reset();
  await runOk(["pull", reference, "-o", at("interrupted"), ...HTTP]);
  assert.deepEqual(digests(at("interrupted")), digests(at("one")));
  // A pull that fails because of what came leaves nothing.
  proxy.inject(faults.flipAt(1_000_000), {
    kind: "blob",
    when: ({ headers }) => (headers.range ?? "").startsWith("bytes=0-"),
  });
  const refused = await run(["pull", reference, "-o", at("refused"), ...HTTP]);
  assert.ok(refused.status === 5 || refused.status === 3, refused.stderr);
  assert.match(refused.stderr, /pack sha256:[0-9a-f]{64}: frame \d+/);
  assert.ok(!existsSync(at("refused")));
});
