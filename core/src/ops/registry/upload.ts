/**
 * Blobs going to a registry: mounted from another repository, in one piece, or in chunks that are taken up again where
 * the connection broke. Spec: distribution-spec 1.1, "Pushing blobs".
 */
import { IntegrityError } from "../../errors/index.ts";
import type { Descriptor, PutOptions, PutResult } from "../../formats/oci/index.ts";
import { assertDigest, digestAlgorithm, formatDigest, type Hasher, type Hashes } from "../../hash/index.ts";
import { chunksOf, type Source, sliceSource } from "../../source/index.ts";
import type { Access } from "./authorizer.ts";
import type { Client, ClientRequest, ClientResponse } from "./client.ts";
import { failure } from "./failure.ts";
import { MAX_RESUMES } from "./limits.ts";
import { isTransientError, isTransientStatus } from "./retry.ts";
import { bytesBody } from "./token.ts";
import type { HttpBody } from "./transport.ts";
import { resolveLocation, textOf } from "./url.ts";

/** Up to this many bytes a blob travels in one request together with its digest. */
export const MAX_SINGLE = 4 * 1024 * 1024;
/** Bytes read from the content at once. */
const READ_SIZE = 1024 * 1024;
/** Where a registry or a proxy before it takes no larger request: bytes of a chunk then, halved while it refuses. */
const FIRST_CHUNK = 64 * 1024 * 1024;
const LEAST_CHUNK = 1024 * 1024;

export interface UploadPlace {
  readonly client: Client;
  readonly repository: string;
  readonly name: string;
  readonly hashes: Hashes;
}

/** A blob that is not there yet. Errors: IntegrityError `size-mismatch`, `digest-mismatch`; SinkError of {@link failure}. */
export async function uploadBlob(
  place: UploadPlace,
  descriptor: Descriptor,
  content: Source,
  options: PutOptions = {},
): Promise<PutResult> {
  const { digest, size } = descriptor;
  const what = `${place.name}: upload of ${digest}`;
  if (content.size !== size)
    throw new IntegrityError("size-mismatch", `${what}: has ${content.size} bytes, expected ${size}`, {
      expected: size,
      actual: content.size,
    });
  const upload = new Upload(place, descriptor, content, what, options);
  const session = await upload.begin();
  if (session === "mounted") return "mounted";
  await (size <= MAX_SINGLE ? upload.inOne(session) : upload.inChunks(session));
  return "sent";
}

/** What is the same for all requests of one upload, and how far it has come. */
class Upload {
  private readonly place: UploadPlace;
  private readonly descriptor: Descriptor;
  private readonly content: Source;
  private readonly what: string;
  private readonly options: PutOptions;
  private readonly access: Access;
  private readonly hash: Hasher;
  /** Bytes that the hash has seen: what is sent twice is hashed once. */
  private hashed = 0;

  constructor(place: UploadPlace, descriptor: Descriptor, content: Source, what: string, options: PutOptions) {
    this.place = place;
    this.descriptor = descriptor;
    this.content = content;
    this.what = what;
    this.options = options;
    const from = options.mountFrom ?? [];
    this.access = { action: "push", ...(from.length > 0 ? { from } : {}) };
    this.hash = place.hashes.create(digestAlgorithm(descriptor.digest));
  }

  private send(request: Omit<ClientRequest, "access" | "what" | "signal">): Promise<ClientResponse> {
    return this.place.client.send({ ...request, access: this.access, what: this.what, signal: this.options.signal });
  }

  private fail(response: ClientResponse): Promise<Error> {
    return failure(response, this.place.client.timing, this.what, "writing");
  }

  /** Where the session of an upload goes on, as each answer says anew. */
  private next(response: ClientResponse): URL {
    return resolveLocation(response.headers["location"], response.url, this.what);
  }

  /** Asks for a mount, else for a session: its address. */
  async begin(): Promise<URL | "mounted"> {
    const target = `${this.place.repository}/blobs/uploads/`;
    const body = bytesBody(new Uint8Array(0));
    for (const from of this.options.mountFrom ?? []) {
      const query = new URLSearchParams({ mount: this.descriptor.digest, from });
      const response = await this.send({ method: "POST", target: `${target}?${query}`, body });
      response.cancel();
      if (response.status === 201) return "mounted";
      if (response.status === 202) return this.next(response); // not there; a session was opened in its place
    }
    return this.open();
  }

  private async open(): Promise<URL> {
    const target = `${this.place.repository}/blobs/uploads/`;
    const response = await this.send({ method: "POST", target, body: bytesBody(new Uint8Array(0)) });
    if (response.status !== 202) throw await this.fail(response);
    response.cancel();
    return this.next(response);
  }

  async inOne(first: URL): Promise<void> {
    const { size } = this.content;
    for await (const _ of this.read(0, size)); // for its digest: what is wrong is not sent
    await this.assertDigest(first);
    // A session in which a request broke off may have kept a part of it: each attempt has one of its own.
    let session: URL | undefined = first;
    const next = async (): Promise<URL> => {
      const place = session ?? (await this.open());
      session = undefined;
      return place;
    };
    await this.finish(next, { size, chunks: () => this.read(0, size) });
  }

  async inChunks(start: URL): Promise<void> {
    const { size } = this.content;
    let session = start;
    let position = 0;
    let chunkSize = size;
    let failures = 0; // since the last progress
    for (let resumes = 0; position < size; ) {
      const end = Math.min(size, position + chunkSize);
      const sent = await this.sendChunk(session, position, end);
      if ("next" in sent) {
        session = sent.next;
        position = end;
        failures = 0;
        continue;
      }
      if (sent.isTooLarge && end - position > LEAST_CHUNK) {
        chunkSize = Math.min(FIRST_CHUNK, Math.ceil((end - position) / 2));
        continue;
      }
      if (!sent.isTransient || ++resumes > MAX_RESUMES) throw sent.error;
      await this.place.client.pause(++failures, sent.error, this.options.signal);
      const before = position;
      const resumed = await this.resume(session);
      if (resumed === "mounted") return;
      ({ session, position } = resumed);
      if (position > before) failures = 0;
    }
    await this.assertDigest(session);
    const last = session;
    await this.finish(async () => last, bytesBody(new Uint8Array(0)));
  }

  /** Where to go on, or what went wrong. */
  private async sendChunk(session: URL, start: number, end: number) {
    let response: ClientResponse;
    try {
      response = await this.send({
        method: "PATCH",
        target: session,
        headers: {
          "content-type": "application/octet-stream",
          // All at once goes without, as Docker sends it: that every registry takes.
          ...(end - start === this.content.size ? {} : { "content-range": `${start}-${end - 1}` }),
        },
        body: { size: end - start, chunks: () => this.read(start, end) },
        once: true,
      });
    } catch (error) {
      return { error, isTransient: isTransientError(error), isTooLarge: false };
    }
    const { status } = response;
    if (status >= 200 && status < 300) {
      response.cancel();
      return { next: this.next(response) };
    }
    const error = await this.fail(response);
    // 416: the registry has another number of bytes than we think. 404: it has forgotten the session.
    const isTransient = isTransientStatus(status) || status === 416 || status === 404;
    return { error, isTransient, isTooLarge: status === 413 };
  }

  /** Asks how much has arrived; where that is not to be known, begins again. */
  private async resume(session: URL): Promise<{ session: URL; position: number } | "mounted"> {
    const response = await this.send({ method: "GET", target: session });
    response.cancel();
    const last = Number(/^(?:bytes=)?0-(\d{1,15})$/.exec(response.headers["range"] ?? "")?.[1] ?? 0);
    // `0-0` is what registries say of no byte as well as of one.
    if (response.status >= 300 || last === 0 || last >= this.hashed) {
      const begun = await this.begin();
      return begun === "mounted" ? "mounted" : { session: begun, position: 0 };
    }
    return { session: response.headers["location"] === undefined ? session : this.next(response), position: last + 1 };
  }

  /** Throws IntegrityError `digest-mismatch` where the content is not the promised one; the upload is given up then. */
  private async assertDigest(session: URL): Promise<void> {
    const { digest } = this.descriptor;
    const actual = formatDigest(digestAlgorithm(digest), this.hash.digest());
    if (actual === digest) return;
    await this.send({ method: "DELETE", target: session, once: true }).then(
      (response) => response.cancel(),
      () => {}, // sessions end by themselves
    );
    assertDigest(actual, digest, this.what);
  }

  /** @param session asked for each attempt */
  private async finish(session: () => Promise<URL>, body: HttpBody): Promise<void> {
    const target = async (): Promise<URL> => {
      const url = new URL(textOf(await session()));
      url.searchParams.set("digest", this.descriptor.digest);
      return url;
    };
    const response = await this.send({
      method: "PUT",
      target,
      headers: { "content-type": "application/octet-stream" },
      body,
    });
    if (response.status === 201 || response.status === 204) {
      response.cancel();
      return;
    }
    // An answer that was lost makes the second attempt fail, though the first has worked.
    const error = await this.fail(response);
    const blob = `${this.place.repository}/blobs/${this.descriptor.digest}`;
    const there = await this.send({ method: "HEAD", target: blob });
    there.cancel();
    if (there.status !== 200) throw error;
  }

  /** Bytes of the content, hashed and counted when they pass for the first time. */
  private async *read(start: number, end: number): AsyncGenerator<Uint8Array> {
    let position = start;
    const part = sliceSource(this.content, start, end - start);
    for await (const chunk of chunksOf(part, { chunkSize: READ_SIZE, signal: this.options.signal })) {
      position += chunk.length;
      const fresh = position - this.hashed;
      if (fresh > 0) {
        this.hash.update(chunk.subarray(chunk.length - fresh));
        this.hashed = position;
        this.options.onProgress?.(fresh);
      }
      yield chunk;
    }
  }
}
