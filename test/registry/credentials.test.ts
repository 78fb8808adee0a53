// Where credentials go, and where they never do: what a registry or somebody between says moves no password or token to
// another server.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { isAshlarError } from "../../core/src/errors/index.ts";
import { type Descriptor, type Repository, readBlob } from "../../core/src/formats/oci/index.ts";
import type { Digest } from "../../core/src/hash/index.ts";
import { nodeHashes } from "../../core/src/node/index.ts";
import { bytesSource } from "../../core/src/source/index.ts";
import {
  missingPeers,
  PASSWORD,
  PROGRAMS,
  type Registry,
  startRegistry,
  suiteLifetime,
  USER,
} from "../support/registry.ts";
import * as faults from "../support/registry-faults.ts";
import { type RegistryProxy, startProxy } from "../support/registry-proxy.ts";
import { hurriedRepository } from "../support/registry-repository.ts";
import { sampleLayout, workFolder } from "../support/samples.ts";

const folder = workFolder({ after });
const layout = await sampleLayout(join(folder, "layout"));
const basic = `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString("base64")}`;

/** Every blob of the image and the manifest, each checked. */
async function readAll(repository: Repository, tag = "1"): Promise<void> {
  const top = await repository.resolve({ tag });
  const read = (descriptor: Descriptor) => readBlob(repository, descriptor, nodeHashes, "blob");
  const { config, layers } = JSON.parse(Buffer.from(await read(top)).toString()) as {
    config: Descriptor;
    layers: Descriptor[];
  };
  for (const blob of [config, ...layers]) await read(blob);
}

async function writeAll(repository: Repository, tag: string): Promise<void> {
  const bytesOf = (digest: string) => readFileSync(join(layout.directory, "blobs", digest.replace(":", "/")));
  const bytes = bytesOf(layout.top.digest);
  const { config, layers } = JSON.parse(bytes.toString()) as { config: Descriptor; layers: Descriptor[] };
  for (const blob of [config, ...layers]) await repository.putBlob(blob, bytesSource(bytesOf(blob.digest)));
  const descriptor = { ...layout.top, digest: layout.top.digest as Digest, annotations: {} };
  await repository.putManifest(descriptor, bytes, tag);
}

for (const auth of ["basic", "token"] as const)
  describe(`${auth} authentication`, { skip: missingPeers(PROGRAMS.distribution) }, () => {
    const lifetime = suiteLifetime();
    let registry: Registry;
    /** The registry as clients know it. */
    let proxy: RegistryProxy;
    /** Another origin with the same content, for which nobody needs to log in. */
    let elsewhere: RegistryProxy;

    before(async () => {
      registry = await startRegistry(lifetime, { kind: "distribution", auth });
      proxy = await startProxy(lifetime, registry);
      const { repository, close } = hurriedRepository(proxy.host, "os", { login: true });
      await writeAll(repository, "1");
      close();
      let authorization = basic;
      if (registry.tokens !== undefined) {
        const query = new URLSearchParams({ service: registry.tokens.service, scope: "repository:os:pull,push" });
        const answer = await fetch(`${registry.tokens.realm}?${query}`, { headers: { authorization: basic } });
        authorization = `Bearer ${((await answer.json()) as { token: string }).token}`;
      }
      elsewhere = await startProxy(lifetime, registry, { authorization });
    });

    const open = (login = true) => hurriedRepository(proxy.host, "os", { login });

    test("read and written with a password, refused without", async () => {
      proxy.reset();
      const mine = open();
      await readAll(mine.repository);
      await writeAll(mine.repository, "again");
      mine.close();
      assert.ok(proxy.exchanges.every(({ kind, headers }) => kind === "token" || kind === "base" || !headers.authorization || headers.authorization.startsWith(auth === "basic" ? "Basic " : "Bearer "))); // biome-ignore format: one line
      if (auth === "token") {
        const asked = proxy.exchanges.filter(({ kind }) => kind === "token");
        assert.equal(asked.length, 2, "one token to pull and one to push");
        assert.ok(asked.every(({ headers }) => headers.authorization === basic));
      }
      const nobody = open(false);
      await assert.rejects(readAll(nobody.repository), isUnauthorized);
      nobody.close();
    });

    for (const [kind, method] of [
      ["manifest", "GET"],
      ["blob", "GET"],
    ] as const)
      test(`a redirect of a ${kind} to another origin goes there without Authorization`, async () => {
        proxy.reset();
        elsewhere.reset();
        const injected = proxy.inject(faults.redirectTo(elsewhere.url), {
          kind,
          method,
          when: ({ headers }) => headers.authorization !== undefined,
        });
        const mine = open();
        await readAll(mine.repository);
        mine.close();
        assert.ok(injected.hits >= 1);
        assert.ok(elsewhere.exchanges.length >= 1);
        for (const { headers } of elsewhere.exchanges) {
          assert.equal(headers.authorization, undefined);
          assert.equal(headers.cookie, undefined);
          assert.doesNotMatch(JSON.stringify(headers), new RegExp(`${PASSWORD}|${basic.slice(6)}`));
        }
      });

    test("a redirect that comes back home may be answered with credentials, and goes round only so often", async () => {
      proxy.reset();
      elsewhere.reset();
      proxy.inject(faults.redirectTo(elsewhere.url), { kind: "blob", method: "GET" });
      elsewhere.inject(faults.redirectTo(proxy.url), { kind: "blob" });
      const mine = open();
      await assert.rejects(readAll(mine.repository), (error) => isAshlarError(error) && error.code === "too-many-redirects"); // biome-ignore format: one line
      mine.close();
      for (const { headers } of elsewhere.exchanges) assert.equal(headers.authorization, undefined);
      assert.ok(proxy.exchanges.length + elsewhere.exchanges.length < 60);
    });

    test("an upload that is sent to another origin goes there without Authorization", async () => {
      proxy.reset();
      elsewhere.reset();
      // Registries that keep their blobs elsewhere say so where they open the session.
      proxy.inject(
        async (call) => {
          const answer = await call.ask();
          const { location } = answer.headers;
          const moved = location?.replace(/^(https?:\/\/[^/]+)?/, elsewhere.url);
          await call.answer(answer, { headers: moved === undefined ? {} : { location: moved } });
        },
        { kind: "upload", method: "POST" },
      );
      const bytes = Buffer.from(`only here, for ${auth}`);
      const digest = `sha256:${Buffer.from(nodeHashes.hash("sha256", bytes)).toString("hex")}` as Digest;
      const blob = { mediaType: "application/octet-stream", digest, size: bytes.length, annotations: {} };
      const mine = open();
      assert.equal(await mine.repository.putBlob(blob, bytesSource(bytes)), "sent");
      assert.deepEqual(Buffer.from(await readBlob(mine.repository, blob, nodeHashes, "blob")), bytes);
      mine.close();
      assert.ok(elsewhere.received() >= bytes.length);
      for (const { headers } of elsewhere.exchanges) assert.equal(headers.authorization, undefined);
    });

    test("a login that stops being good ends in one line, after few requests", async () => {
      proxy.reset();
      const mine = open();
      await readAll(mine.repository);
      const injected = proxy.inject(faults.withoutToken(), { kind: "blob" });
      await assert.rejects(readAll(mine.repository), isUnauthorized);
      mine.close();
      assert.ok(injected.hits <= 4, `${injected.hits} requests`);
    });

    if (auth === "token")
      test("a token that runs out is fetched anew", async () => {
        proxy.reset();
        const mine = open();
        await readAll(mine.repository);
        const before = proxy.exchanges.filter(({ kind }) => kind === "token").length;
        const injected = proxy.inject(faults.withoutToken(), { kind: "blob", times: 1 });
        await readAll(mine.repository);
        mine.close();
        assert.equal(injected.hits, 1);
        assert.equal(proxy.exchanges.filter(({ kind }) => kind === "token").length, before + 1);
      });

    if (auth === "token")
      test("a token server that fails, drops the line or shows a page", async () => {
        for (const [fault, code] of [
          [faults.status(503), undefined],
          [faults.resetAt(-1), undefined],
          [faults.resetAt(10), undefined],
          [faults.loginPage(), "not-a-registry|bad-token"],
          [faults.status(200, { "content-type": "application/json" }, "{}"), "bad-token"],
          [faults.status(200, { "content-type": "application/json" }, '{"token":"a\\nb"}'), "bad-token"],
          [faults.endless(), "too-large|bad-token"],
        ] as const) {
          proxy.reset();
          const injected = proxy.inject(fault, { kind: "token", times: code === undefined ? 2 : 100 });
          const mine = open();
          if (code === undefined) await readAll(mine.repository);
          else await assert.rejects(readAll(mine.repository), (error) => isAshlarError(error) && error.kind === "SourceError" && new RegExp(`^(${code})$`).test(error.code)); // biome-ignore format: one line
          mine.close();
          assert.ok(injected.hits >= 1);
        }
      });
  });

function isUnauthorized(error: unknown): boolean {
  assert.ok(isAshlarError(error), String(error));
  assert.equal(`${error.kind} ${error.code}`, "SourceError unauthorized");
  assert.doesNotMatch(error.message, new RegExp(`\n|${PASSWORD}|${basic.slice(6)}`));
  return true;
}
