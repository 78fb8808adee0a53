/**
 * For tests: a registry without a network, behind the client's Transport: keeps blobs, manifests and uploads in memory, and does
 * what a test scripts before it answers. Requests are recorded; time is the test's.
 */
import { concatBytes, decodeUtf8, encodeUtf8 } from "../../bytes/index.ts";
import { SourceError } from "../../errors/index.ts";
import { OCI_INDEX, type Repository } from "../../formats/oci/index.ts";
import { digestOf, pureHashes } from "../../hash/index.ts";
import { openRegistryRepository, type RegistryOptions } from "./registry-repository.ts";
import type { HttpRequest, HttpResponse, Timing } from "./transport.ts";

export interface Sent extends HttpRequest {
  readonly path: string; // with the query
  readonly bytes: Uint8Array;
}

export interface Answer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string | AsyncIterable<Uint8Array>;
}

/** Returns an answer in place of the registry's, throws, or lets the registry answer. */
export type Script = (request: Sent, number: number) => Answer | undefined | Promise<Answer | undefined>;

export interface ScriptedRegistry {
  readonly requests: Sent[];
  readonly blobs: Map<string, Uint8Array>;
  readonly manifests: Map<string, { readonly type: string; readonly bytes: Uint8Array }>; // by tag and digest
  readonly uploads: Map<string, Uint8Array>;
  /** Milliseconds slept, in order. */
  readonly slept: number[];
  clock: number; // milliseconds
  referrersApi: boolean;
  script: Script | undefined;
  open(options?: Partial<RegistryOptions>): Repository;
  /** What the registry itself would say. */
  answer(request: Sent): Answer;
}

export const ORIGIN = "https://registry.example";

/** A connection that breaks. */
export function broken(): SourceError {
  return new SourceError("connection", "registry.example: the connection was reset");
}

/** `bytes` up to `end`, then a break. */
export async function* cut(bytes: Uint8Array, end: number): AsyncGenerator<Uint8Array> {
  if (end > 0) yield bytes.subarray(0, end);
  throw broken();
}

export function scriptedRegistry(): ScriptedRegistry {
  const registry: ScriptedRegistry = {
    requests: [],
    blobs: new Map(),
    manifests: new Map(),
    uploads: new Map(),
    slept: [],
    clock: 0,
    referrersApi: true,
    script: undefined,
    open: (options) =>
      openRegistryRepository(
        {
          host: "registry.example",
          repository: "os",
          insecure: false,
          credentials: async () => undefined,
          ...options,
        },
        { transport: { send }, timing, hashes: pureHashes },
      ),
    answer: (request) => answer(registry, request),
  };
  const timing: Timing = {
    now: () => registry.clock,
    date: () => registry.clock,
    random: () => 0,
    async sleep(milliseconds, signal) {
      signal?.throwIfAborted();
      registry.slept.push(milliseconds);
      registry.clock += milliseconds;
    },
  };
  async function send(request: HttpRequest): Promise<HttpResponse> {
    const { origin, pathname, search } = new URL(request.url);
    const parts: Uint8Array[] = [];
    const sent = { ...request, path: (origin === ORIGIN ? "" : origin) + pathname + search };
    let failure: unknown;
    try {
      for await (const chunk of request.body?.chunks() ?? []) parts.push(Uint8Array.from(chunk));
    } catch (error) {
      failure = error;
    }
    const whole = { ...sent, bytes: concatBytes(...parts) };
    registry.requests.push(whole);
    if (failure !== undefined) throw failure;
    return toResponse((await registry.script?.(whole, registry.requests.length)) ?? answer(registry, whole));
  }
  return registry;
}

function toResponse({ status, headers = {}, body = "" }: Answer): HttpResponse {
  const bytes = typeof body === "string" ? encodeUtf8(body) : body;
  const isBytes = bytes instanceof Uint8Array;
  return {
    status,
    headers: isBytes ? { "content-length": String(bytes.length), ...headers } : headers,
    body: isBytes
      ? (async function* () {
          if (bytes.length > 0) yield bytes;
        })()
      : bytes,
    cancel() {},
  };
}

const complaint = (code: string) => JSON.stringify({ errors: [{ code, message: code.toLowerCase() }] });

/** As distribution-spec has it, without any doubt about who asks. */
function answer(registry: ScriptedRegistry, { method, path, headers, bytes }: Sent): Answer {
  const { blobs, manifests } = registry;
  const url = new URL(path, ORIGIN);
  const [, name, kind, rest = ""] = /^\/v2\/(.+?)\/(blobs|manifests|tags|referrers)\/(.*)$/.exec(url.pathname) ?? [];
  if (kind === "tags") {
    const tags = [...manifests.keys()].filter((key) => !key.includes(":"));
    return { status: 200, headers: { "content-type": "application/json" }, body: JSON.stringify({ name, tags }) };
  }
  if (kind === "referrers") {
    if (!registry.referrersApi) return { status: 404, body: "404 page not found" };
    const found = [...manifests].flatMap(([key, { type, bytes: document }]) => {
      const { subject, artifactType, config } = JSON.parse(decodeUtf8(document));
      if (!key.includes(":") || subject?.digest !== rest) return [];
      return [{ mediaType: type, digest: key, size: document.length, artifactType: artifactType ?? config.mediaType }];
    });
    const body = JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: found });
    return { status: 200, headers: { "content-type": OCI_INDEX }, body };
  }
  if (kind === "manifests" && method === "PUT") {
    const digest = digestOf(pureHashes, bytes);
    const stored = { type: headers["content-type"] ?? "", bytes };
    manifests.set(digest, stored);
    manifests.set(rest, stored);
    const { subject } = JSON.parse(decodeUtf8(bytes));
    return {
      status: 201,
      headers: subject !== undefined && registry.referrersApi ? { "oci-subject": subject.digest } : {},
    };
  }
  if (kind === "manifests") {
    const found = manifests.get(rest);
    if (found === undefined) return { status: 404, body: complaint("MANIFEST_UNKNOWN") };
    const digest = digestOf(pureHashes, found.bytes);
    return {
      status: 200,
      headers: { "content-type": found.type, "docker-content-digest": digest },
      body: method === "HEAD" ? "" : found.bytes,
    };
  }
  if (rest.startsWith("uploads/"))
    return answerUpload(registry, method, name ?? "", rest.slice(8), url, headers, bytes);
  const blob = blobs.get(rest);
  if (blob === undefined) return { status: 404, body: complaint("BLOB_UNKNOWN") };
  if (method === "HEAD") return { status: 200 };
  const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(headers["range"] ?? "") ?? [];
  if (start === undefined) return { status: 200, body: blob };
  if (Number(start) >= blob.length) return { status: 416 };
  const last = Math.min(Number(end), blob.length - 1);
  return {
    status: 206,
    headers: { "content-range": `bytes ${start}-${last}/${blob.length}` },
    body: blob.subarray(Number(start), last + 1),
  };
}

function answerUpload(
  { blobs, uploads }: ScriptedRegistry,
  method: string,
  name: string,
  id: string,
  url: URL,
  headers: Readonly<Record<string, string>>,
  bytes: Uint8Array,
): Answer {
  if (method === "POST") {
    const mount = url.searchParams.get("mount");
    if (mount !== null && blobs.has(mount)) return { status: 201 };
    let number = 1;
    while (uploads.has(String(number))) number++; // of several at once one may be over
    const made = String(number);
    uploads.set(made, new Uint8Array(0));
    return { status: 202, headers: { location: `/v2/${name}/blobs/uploads/${made}` } };
  }
  const there = uploads.get(id);
  if (there === undefined) return { status: 404, body: complaint("BLOB_UPLOAD_UNKNOWN") };
  const location = `/v2/${name}/blobs/uploads/${id}`;
  const state = (size: number) => ({ location, range: `0-${Math.max(size - 1, 0)}` });
  if (method === "GET") return { status: 204, headers: state(there.length) };
  if (method === "DELETE") return { status: uploads.delete(id) ? 204 : 404 };
  if (method === "PATCH") {
    const start = Number(/^(\d+)-/.exec(headers["content-range"] ?? "0-")?.[1]);
    if (start !== there.length) return { status: 416, headers: state(there.length) };
    const whole = concatBytes(there, bytes);
    uploads.set(id, whole);
    return { status: 202, headers: state(whole.length) };
  }
  const whole = concatBytes(there, bytes);
  const digest = url.searchParams.get("digest") ?? "";
  uploads.delete(id);
  if (digestOf(pureHashes, whole) !== digest) return { status: 400, body: complaint("DIGEST_INVALID") };
  blobs.set(digest, whole);
  return { status: 201 };
}
