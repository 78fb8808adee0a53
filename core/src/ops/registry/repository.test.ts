import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeUtf8 } from "../../bytes/index.ts";
import type { Descriptor, Repository } from "../../formats/oci/index.ts";
import { type Digest, digestOf } from "../../hash/index.ts";
import { nodeHashes } from "../../node/index.ts";
import { bytesSource } from "../../source/index.ts";
import { broken, cut, ORIGIN, type ScriptedRegistry, scriptedRegistry } from "./scripted-registry.ts";

const MANIFEST = "application/vnd.oci.image.manifest.v1+json";

function describe(bytes: Uint8Array, mediaType = "application/octet-stream"): Descriptor {
  return { mediaType, digest: digestOf(nodeHashes, bytes), size: bytes.length, annotations: {} };
}

/** Bytes that differ everywhere. */
function content(size: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, index) => (index * 7 + (index >> 8)) & 0xff);
}

function manifest(extra: Record<string, unknown> = {}) {
  const config = { mediaType: "application/vnd.oci.empty.v1+json", digest: `sha256:${"1".repeat(64)}`, size: 2 };
  const bytes = encodeUtf8(JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, config, layers: [], ...extra }));
  return { bytes, descriptor: describe(bytes, MANIFEST) };
}

async function pull(repository: Repository, descriptor: Descriptor): Promise<Uint8Array> {
  const blob = await repository.open(descriptor);
  const parts: Uint8Array[] = [];
  try {
    for await (const chunk of blob.chunks()) parts.push(Uint8Array.from(chunk));
  } finally {
    await blob.close();
  }
  return new Uint8Array(Buffer.concat(parts));
}

function serving(bytes: Uint8Array): { registry: ScriptedRegistry; blob: Descriptor } {
  const registry = scriptedRegistry();
  const blob = describe(bytes);
  registry.blobs.set(blob.digest, bytes);
  return { registry, blob };
}

const fails =
  (code: string, kind = "SourceError") =>
  (error: unknown) => {
    const { code: actual, kind: actualKind, message } = error as { code: string; kind: string; message: string };
    assert.equal(actual, code, message);
    assert.equal(actualKind, kind);
    assert.doesNotMatch(message, /\n/);
    return true;
  };

test("what is pushed can be pulled", async () => {
  const registry = scriptedRegistry();
  const repository = registry.open();
  const bytes = content(3000);
  const { descriptor, bytes: document } = manifest();
  assert.equal(await repository.putBlob(describe(bytes), bytesSource(bytes)), "sent");
  assert.equal(await repository.putBlob(describe(bytes), bytesSource(bytes)), "present");
  await repository.putManifest(descriptor, document, "v1");
  assert.deepEqual(await repository.resolve({ tag: "v1" }), descriptor);
  assert.deepEqual(await repository.resolve({ digest: descriptor.digest }), descriptor);
  assert.deepEqual(await pull(repository, describe(bytes)), bytes);
  assert.deepEqual(await pull(repository, descriptor), document);
  assert.deepEqual(await repository.tags(), ["v1"]);
  await assert.rejects(repository.resolve({ tag: "v2" }), fails("no-such-image"));
  await assert.rejects(pull(repository, describe(content(5))), fails("no-blob"));
});

test("a manifest that is not what its digest or the registry says is refused", async () => {
  const registry = scriptedRegistry();
  const { bytes, descriptor } = manifest();
  registry.manifests.set("v1", { type: MANIFEST, bytes });
  registry.manifests.set(descriptor.digest, { type: MANIFEST, bytes: manifest({ annotations: {} }).bytes });
  registry.script = (request) => {
    const answer = registry.answer(request);
    const headers = { ...answer.headers, "docker-content-digest": `sha256:${"0".repeat(64)}` };
    return { ...answer, headers };
  };
  await assert.rejects(registry.open().resolve({ tag: "v1" }), fails("digest-mismatch", "IntegrityError"));
  await assert.rejects(
    registry.open().resolve({ digest: descriptor.digest }),
    fails("digest-mismatch", "IntegrityError"),
  );
});

test("a download that breaks goes on where it was", async () => {
  const bytes = content(10_000);
  const { registry, blob } = serving(bytes);
  registry.script = (request, number) => {
    const answer = registry.answer(request);
    const body = answer.body as Uint8Array;
    return number > 3
      ? answer
      : { ...answer, headers: { ...answer.headers, "content-length": String(body.length) }, body: cut(body, 1000) };
  };
  assert.deepEqual(await pull(registry.open(), blob), bytes);
  assert.deepEqual(
    registry.requests.map(({ headers }) => headers["range"]),
    [undefined, "bytes=1000-9999", "bytes=2000-9999", "bytes=3000-9999"],
  );
});

test("a download that breaks after every few bytes comes to an end, one way or the other", async () => {
  const bytes = content(600);
  for (const step of [1, 3, 7, 50, 599]) {
    const { registry, blob } = serving(bytes);
    registry.script = (request) => {
      const answer = registry.answer(request);
      const body = answer.body as Uint8Array;
      return body.length <= step ? answer : { ...answer, body: cut(body, step) };
    };
    const pulled = pull(registry.open(), blob);
    if (step * 100 >= bytes.length) assert.deepEqual(await pulled, bytes);
    else await assert.rejects(pulled, fails("connection"));
  }
});

test("200 in place of 206 is read up to the place; a wrong Content-Range is an error", async () => {
  const bytes = content(5000);
  const { registry, blob } = serving(bytes);
  registry.script = (request) => registry.answer({ ...request, headers: {} });
  const source = await registry.open().openBlob(blob);
  assert.deepEqual(await source.read(4000, 100), bytes.slice(4000, 4100));
  for (const range of ["bytes 0-99/5000", "bytes 4001-4100/5000", "bytes */5000", "lines 4000-4099/5000", ""]) {
    registry.script = (request) => {
      const answer = registry.answer(request);
      return { ...answer, headers: { "content-range": range } };
    };
    await assert.rejects(source.read(4000, 100), fails("content-range"), range);
  }
});

test("ranges are read exactly, also where the registry gives less at a time", async () => {
  const bytes = content(5000);
  const { registry, blob } = serving(bytes);
  const source = await registry.open().openBlob(blob);
  assert.deepEqual(await source.read(0, 1), bytes.slice(0, 1));
  assert.deepEqual(await source.read(4999, 1), bytes.slice(4999));
  assert.deepEqual(await source.read(17, 4000), bytes.slice(17, 4017));
  await assert.rejects(source.read(4999, 2), fails("out-of-range"));
  registry.script = (request) => {
    const [, start = ""] = /=(\d+)/.exec(request.headers["range"] ?? "") ?? [];
    const end = Number(start) + 99;
    return registry.answer({ ...request, headers: { range: `bytes=${start}-${end}` } });
  };
  assert.deepEqual(await source.read(10, 950), bytes.slice(10, 960));
});

test("an endless body is cut at the promised size", async () => {
  const bytes = content(100);
  const { registry, blob } = serving(bytes);
  let given = 0;
  registry.script = () => ({
    status: 200,
    body: (async function* () {
      for (;;) {
        given += 65536;
        yield new Uint8Array(65536);
      }
    })(),
  });
  await assert.rejects(pull(registry.open(), blob), fails("size-mismatch", "IntegrityError"));
  assert.ok(given <= 65536 * 2);
  await assert.rejects(registry.open().resolve({ tag: "v1" }), fails("too-large"));
});

test("a body that drips is given up", async () => {
  const { registry, blob } = serving(content(100_000));
  registry.script = () => ({
    status: 200,
    body: (async function* () {
      for (;;) {
        registry.clock += 1000;
        yield new Uint8Array(1);
      }
    })(),
  });
  await assert.rejects(pull(registry.open({ retryTimes: 1 }), blob), fails("too-slow"));
  await assert.rejects(registry.open({ retryTimes: 0 }).resolve({ tag: "v1" }), fails("too-slow"));
});

test("failures that pass are tried again, later each time, as Retry-After says where it does", async () => {
  const { descriptor, bytes } = manifest();
  const registry = scriptedRegistry();
  registry.manifests.set("v1", { type: MANIFEST, bytes });
  const failures = [{ status: 503 }, { status: 429, headers: { "retry-after": "7" } }, { status: 502 }];
  registry.script = (_, number) => failures[number - 1];
  assert.deepEqual(await registry.open().resolve({ tag: "v1" }), descriptor);
  assert.deepEqual(registry.slept, [250, 7000, 1000]);

  registry.requests.length = 0;
  registry.script = (_, number) => {
    if (number === 1) throw broken();
    return undefined;
  };
  assert.deepEqual(await registry.open().resolve({ tag: "v1" }), descriptor);

  registry.script = () => ({ status: 429, headers: { "retry-after": "86400" } });
  await assert.rejects(registry.open().resolve({ tag: "v1" }), fails("too-many-requests"));
  registry.script = () => ({ status: 500, body: "oops" });
  registry.requests.length = 0;
  await assert.rejects(registry.open({ retryTimes: 2 }).resolve({ tag: "v1" }), fails("server-error"));
  assert.equal(registry.requests.length, 3);
  registry.script = () => ({ status: 403, body: JSON.stringify({ errors: [{ code: "DENIED", message: "no\nway" }] }) });
  registry.requests.length = 0;
  await assert.rejects(registry.open().resolve({ tag: "v1" }), (error: Error) => {
    assert.match(error.message, /status 403: DENIED: no\\u000away/);
    return fails("denied")(error);
  });
  assert.equal(registry.requests.length, 1);
});

test("a web page in place of a document is one line", async () => {
  const registry = scriptedRegistry();
  registry.script = () => ({ status: 200, headers: { "content-type": "text/html" }, body: "<html>\nlog in" });
  const repository = registry.open();
  await assert.rejects(repository.resolve({ tag: "v1" }), fails("not-a-registry"));
  await assert.rejects(repository.tags(), fails("not-a-registry"));
  await assert.rejects(pull(repository, describe(content(3))), fails("not-a-registry"));
  await assert.rejects(repository.referrers(describe(content(3)).digest), fails("not-a-registry"));
  // Nothing is there because a page says that all is well.
  const bytes = content(3);
  await assert.rejects(repository.has(describe(bytes)), fails("not-a-registry"));
  await assert.rejects(
    repository.has({ ...describe(bytes), mediaType: "application/vnd.oci.image.index.v1+json" }),
    fails("not-a-registry"),
  );
  await assert.rejects(repository.putBlob(describe(bytes), bytesSource(bytes)), fails("not-a-registry", "SinkError"));
});

test("redirects are followed, without credentials to another origin, and not for ever", async () => {
  const bytes = content(1000);
  const { registry, blob } = serving(bytes);
  const credentials = async () => ({ username: "user", password: "secret" });
  registry.script = ({ path, headers }) => {
    if (path.startsWith("https://cdn.example/"))
      return headers["authorization"] === undefined ? { status: 200, body: bytes } : { status: 400 };
    if (headers["authorization"] === undefined)
      return { status: 401, headers: { "www-authenticate": 'Basic realm="x"' } };
    return { status: 307, headers: { location: "https://cdn.example/b?signature=1" } };
  };
  assert.deepEqual(await pull(registry.open({ credentials }), blob), bytes);
  assert.deepEqual(
    registry.requests.map(({ headers }) => headers["authorization"]),
    [undefined, `Basic ${btoa("user:secret")}`, undefined],
  );

  // Credentials are not for whoever asks for them behind a redirect.
  registry.script = ({ path }) =>
    path.startsWith("https://cdn.example/")
      ? { status: 401, headers: { "www-authenticate": 'Basic realm="x"' } }
      : { status: 307, headers: { location: "https://cdn.example/b" } };
  registry.requests.length = 0;
  await assert.rejects(pull(registry.open({ credentials }), blob), fails("unauthorized"));
  assert.ok(registry.requests.every(({ headers }) => headers["authorization"] === undefined));

  registry.requests.length = 0;
  registry.script = () => ({ status: 302, headers: { location: `${ORIGIN}/round` } });
  await assert.rejects(pull(registry.open(), blob), fails("too-many-redirects"));
  assert.equal(registry.requests.length, 11);
  registry.script = () => ({ status: 302, headers: { location: "http://registry.example/b" } });
  await assert.rejects(pull(registry.open(), blob), fails("insecure-redirect", "PolicyError"));
  for (const location of ["", "file:///etc/passwd", "https://"]) {
    registry.script = () => ({ status: 302, headers: { location } });
    await assert.rejects(pull(registry.open(), blob), fails("bad-location"), location);
  }
});

test("ranges go straight to where a redirect has led, until that no longer answers", async () => {
  const bytes = content(5000);
  const { registry, blob } = serving(bytes);
  let signature = 1;
  registry.script = (request) => {
    if (!request.path.startsWith("https://cdn.example/"))
      return { status: 307, headers: { location: `https://cdn.example/b?signature=${signature}` } };
    assert.equal(request.headers["authorization"], undefined);
    if (!request.path.endsWith(`=${signature}`)) return { status: 403, body: "expired" };
    return registry.answer({ ...request, path: `/v2/os/blobs/${blob.digest}` });
  };
  const source = await registry.open().openBlob(blob);
  for (const offset of [0, 1000, 4000]) assert.deepEqual(await source.read(offset, 9), bytes.slice(offset, offset + 9));
  assert.equal(registry.requests.length, 4);
  signature = 2;
  for (const offset of [0, 1000]) assert.deepEqual(await source.read(offset, 9), bytes.slice(offset, offset + 9));
  assert.equal(registry.requests.length, 4 + 3 + 1);
});

const BEARER = 'Bearer realm="https://auth.example/token?x=1",service="registry.example",scope="repository:os:pull"';

test("tokens: asked for with the scope, renewed when they end, also in the middle of a download", async () => {
  const bytes = content(4000);
  const { registry, blob } = serving(bytes);
  let issued = 0;
  let valid = "";
  registry.script = (request) => {
    if (request.path.startsWith("https://auth.example/")) {
      valid = `token-${++issued}`;
      return { status: 200, body: JSON.stringify({ token: valid, expires_in: 300 }) };
    }
    if (request.headers["authorization"] !== `Bearer ${valid}`)
      return { status: 401, headers: { "www-authenticate": BEARER } };
    const answer = registry.answer(request);
    if (issued > 1) return answer;
    valid = "ended";
    return { ...answer, body: cut(answer.body as Uint8Array, 1000) };
  };
  assert.deepEqual(await pull(registry.open(), blob), bytes);
  const asked = registry.requests.filter(({ path }) => path.startsWith("https://auth.example/"));
  assert.equal(asked.length, 2);
  const query = new URL(asked[0]!.url).searchParams;
  assert.deepEqual(
    [...query],
    [
      ["x", "1"],
      ["service", "registry.example"],
      ["scope", "repository:os:pull"],
    ],
  );
  assert.equal(asked[0]!.headers["authorization"], undefined);
});

test("tokens: with a password, with an identity token, for mounts; a refusal is one line", async () => {
  const { registry } = serving(content(10));
  const script =
    (token: () => { status: number; body?: string; headers?: Record<string, string> }) =>
    (request: { path: string; headers: Readonly<Record<string, string>> }) => {
      if (request.path.startsWith("https://auth.example/")) return token();
      return request.headers["authorization"] === "Bearer good"
        ? undefined
        : { status: 401, headers: { "www-authenticate": BEARER.replace(/,scope.*/, "") } };
    };
  const good = () => ({ status: 200, body: JSON.stringify({ access_token: "good" }) });
  registry.script = script(good);
  const bytes = content(20);
  const credentials = async () => ({ username: "user", password: "secret" });
  await registry.open({ credentials }).putBlob(describe(bytes), bytesSource(bytes), { mountFrom: ["base/os"] });
  const asked = registry.requests.filter(({ path }) => path.startsWith("https://auth.example/"));
  assert.equal(asked[0]!.headers["authorization"], `Basic ${btoa("user:secret")}`);
  assert.deepEqual(new URL(asked.at(-1)!.url).searchParams.getAll("scope"), [
    "repository:os:pull,push",
    "repository:base/os:pull",
  ]);

  registry.requests.length = 0;
  const identity = async () => ({ username: "", password: "", identityToken: "refresh" });
  await registry.open({ credentials: identity }).tags();
  const exchange = registry.requests.find(({ method }) => method === "POST");
  assert.equal(
    new TextDecoder().decode(exchange?.bytes),
    "grant_type=refresh_token&service=registry.example&client_id=ashlar&scope=repository%3Aos%3Apull&refresh_token=refresh",
  );
  assert.equal(exchange?.headers["authorization"], undefined);

  // An identity token is in the body, which a redirect would take along.
  registry.requests.length = 0;
  registry.script = (request) =>
    request.path.startsWith("https://elsewhere.example/")
      ? good()
      : script(() => ({ status: 307, headers: { location: "https://elsewhere.example/token" } }))(request);
  await assert.rejects(registry.open({ credentials: identity }).tags(), fails("credentials-redirect", "PolicyError"));
  assert.ok(registry.requests.every(({ url }) => !url.startsWith("https://elsewhere.example/")));

  registry.script = script(() => ({ status: 401 }));
  await assert.rejects(registry.open({ credentials }).tags(), fails("unauthorized"));
  for (const body of ["", "{}", "<html>", JSON.stringify({ token: "a\r\nb" }), JSON.stringify({ token: "" })]) {
    registry.script = script(() => ({ status: 200, body }));
    await assert.rejects(registry.open().tags(), fails("bad-token"), body);
  }
  registry.requests.length = 0;
  registry.script = script(() => {
    throw broken();
  });
  await assert.rejects(registry.open({ retryTimes: 2 }).tags(), fails("token-service"));
  assert.equal(registry.requests.length, 1 + 3); // not three for each of three
  registry.script = () => ({ status: 401, headers: { "www-authenticate": 'Bearer realm="http://auth.example/"' } });
  await assert.rejects(registry.open({ credentials }).tags(), fails("insecure-realm", "PolicyError"));
  registry.script = () => ({ status: 401, headers: { "www-authenticate": "Basic" } });
  await assert.rejects(registry.open().tags(), fails("unauthorized"));
  await assert.rejects(registry.open({ credentials }).tags(), fails("unauthorized"));
});

test("who is interrupted while waiting for a token interrupts nobody else", async () => {
  const { registry, blob } = serving(content(100));
  const controller = new AbortController();
  const interruption = new Error("interrupted");
  let asked = 0;
  registry.script = (request) => {
    if (request.path.startsWith("https://auth.example/")) {
      if (++asked > 1) return { status: 200, body: JSON.stringify({ token: "good" }) };
      return new Promise((_, reject) => {
        setImmediate(() => {
          controller.abort(interruption);
          reject(interruption);
        });
      });
    }
    return request.headers["authorization"] === "Bearer good"
      ? undefined
      : { status: 401, headers: { "www-authenticate": BEARER } };
  };
  const repository = registry.open();
  const [first, second] = await Promise.allSettled([
    repository.has(blob, { signal: controller.signal }),
    repository.has(blob),
  ]);
  assert.equal(first.status === "rejected" && first.reason, interruption);
  assert.equal(second.status === "fulfilled" && second.value, true);
});

test("a large blob goes up in chunks, from where the connection broke", async () => {
  const bytes = content(5_000_000);
  const registry = scriptedRegistry();
  let breaks = 2;
  registry.script = (request) => {
    if (request.method !== "PATCH" || breaks === 0) return undefined;
    breaks--;
    // What came before the break is kept.
    registry.answer({ ...request, bytes: request.bytes.subarray(0, 1_000_000) });
    throw broken();
  };
  let progress = 0;
  const onProgress = (amount: number) => {
    progress += amount;
  };
  assert.equal(await registry.open().putBlob(describe(bytes), bytesSource(bytes), { onProgress }), "sent");
  assert.deepEqual(new Uint8Array(registry.blobs.get(describe(bytes).digest)!), bytes);
  assert.equal(progress, bytes.length);
  assert.deepEqual(
    registry.requests.filter(({ method }) => method === "PATCH").map(({ headers }) => headers["content-range"]),
    [undefined, "1000000-4999999", "2000000-4999999"],
  );
});

test("an upload that the registry has forgotten begins anew; one that it finds too large gets smaller", async () => {
  const bytes = content(5_000_000);
  const registry = scriptedRegistry();
  registry.script = (request, number) => {
    if (request.method === "PATCH" && number < 4) {
      registry.uploads.clear();
      throw broken();
    }
    return request.method === "PATCH" && request.bytes.length > 2_000_000 ? { status: 413 } : undefined;
  };
  assert.equal(await registry.open().putBlob(describe(bytes), bytesSource(bytes)), "sent");
  assert.deepEqual(new Uint8Array(registry.blobs.get(describe(bytes).digest)!), bytes);
});

test("content that is not the promised one is not stored", async () => {
  const registry = scriptedRegistry();
  for (const size of [10, 5_000_000]) {
    const bytes = content(size);
    const other = { ...describe(bytes), digest: `sha256:${"2".repeat(64)}` as Digest };
    await assert.rejects(
      registry.open().putBlob(other, bytesSource(bytes)),
      fails("digest-mismatch", "IntegrityError"),
    );
  }
  const short = { ...describe(content(10)), size: 9 };
  await assert.rejects(
    registry.open().putBlob(short, bytesSource(content(10))),
    fails("size-mismatch", "IntegrityError"),
  );
  assert.equal(registry.blobs.size, 0);
  const { descriptor, bytes } = manifest();
  await assert.rejects(
    registry.open().putManifest({ ...descriptor, size: 3 }, bytes, "v1"),
    fails("digest-mismatch", "IntegrityError"),
  );
  assert.equal(registry.manifests.size, 0);
});

test("a refused push is a SinkError", async () => {
  const registry = scriptedRegistry();
  registry.script = ({ method }) => (method === "HEAD" ? { status: 404 } : { status: 403 });
  const bytes = content(10);
  await assert.rejects(registry.open().putBlob(describe(bytes), bytesSource(bytes)), fails("denied", "SinkError"));
  const { descriptor, bytes: document } = manifest();
  await assert.rejects(registry.open().putManifest(descriptor, document, "v1"), fails("denied", "SinkError"));
});

test("referrers: by the registry's list, or by the tag that takes its place", async () => {
  for (const referrersApi of [true, false]) {
    const registry = scriptedRegistry();
    registry.referrersApi = referrersApi;
    const repository = registry.open();
    const subject = manifest();
    await repository.putManifest(subject.descriptor, subject.bytes, "v1");
    assert.deepEqual(await repository.referrers(subject.descriptor.digest), []);
    const one = manifest({ subject: subject.descriptor, artifactType: "application/x-one" });
    const two = manifest({ subject: subject.descriptor, artifactType: "application/x-two" });
    for (const { descriptor, bytes } of [one, two, one]) await repository.putManifest(descriptor, bytes);
    const found = await repository.referrers(subject.descriptor.digest);
    assert.deepEqual(found.map(({ digest }) => digest).sort(), [one.descriptor.digest, two.descriptor.digest].sort());
    const only = await repository.referrers(subject.descriptor.digest, { artifactType: "application/x-two" });
    assert.deepEqual(
      only.map(({ digest }) => digest),
      [two.descriptor.digest],
    );
    const tag = subject.descriptor.digest.replace(":", "-");
    assert.equal((await repository.tags()).includes(tag), !referrersApi);
  }
});

test("referrers: what is refused is not an empty list", async () => {
  const registry = scriptedRegistry();
  for (const status of [401, 403, 500]) {
    registry.script = () => ({ status });
    await assert.rejects(registry.open({ retryTimes: 0 }).referrers(manifest().descriptor.digest));
  }
});

test("tags: page by page, never in circles", async () => {
  const registry = scriptedRegistry();
  const page = (tags: string[], next?: string) => ({
    status: 200,
    headers: next === undefined ? {} : { link: `<${next}>; rel="next"` },
    body: JSON.stringify({ name: "os", tags }),
  });
  registry.script = ({ path }) =>
    path.includes("last=b") ? page(["c"]) : page(["a", "b"], "/v2/os/tags/list?n=2&last=b");
  assert.deepEqual(await registry.open().tags(), ["a", "b", "c"]);
  registry.script = () => page(["a"], "/v2/os/tags/list?last=a");
  assert.deepEqual(await registry.open().tags(), ["a"]);
  registry.script = () => page([], "/v2/os/tags/list?last=a");
  await assert.rejects(registry.open().tags(), fails("too-large"));
  for (const body of ["{", "3", '{"tags":[1]}', '{"tags":["a\\u001b"]}']) {
    registry.script = () => ({ status: 200, body });
    await assert.rejects(registry.open().tags(), fails("bad-tags", "FormatError"), body);
  }
});
