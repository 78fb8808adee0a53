/** HTTP as the client needs it, lent by the host: one request, one answer, no redirects, nothing tried twice. */

/** A body whose bytes can be given again, for when a request is repeated. */
export interface HttpBody {
  /** Bytes. */
  readonly size: number;
  /** Each chunk is valid until the next one is asked for. */
  chunks(): AsyncIterable<Uint8Array>;
}

export interface HttpRequest {
  readonly method: "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE";
  /** http or https, without user and fragment. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: HttpBody | undefined;
  /** The server's certificate is not checked. */
  readonly insecure: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface HttpResponse {
  readonly status: number;
  /** Names in lower case; several values of one name are joined with `, `. */
  readonly headers: Readonly<Record<string, string>>;
  /** Can be read once. Each chunk is valid until the next one is asked for. Fails as {@link Transport.send} does. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Lets go of what was not read. May be called at any time and more than once. */
  cancel(): void;
}

export interface Transport {
  /**
   * Errors: SourceError `connection` where the connection could not be made or broke; `timeout` where nothing came for
   * long; `host-not-found`; `tls` where the two cannot agree on encryption or the certificate is not trusted; `proxy`;
   * `bad-response` for what is no HTTP. `connection` and `timeout` are worth another try.
   */
  send(request: HttpRequest): Promise<HttpResponse>;
}

/** Clock, patience and chance. */
export interface Timing {
  /** Milliseconds, monotonic. */
  now(): number;
  /** Milliseconds since 1970. */
  date(): number;
  /** Rejects with the signal's reason when that is aborted. */
  sleep(milliseconds: number, signal?: AbortSignal): Promise<void>;
  /** From 0 to less than 1. */
  random(): number;
}
