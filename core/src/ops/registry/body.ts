/** Bodies of answers, held to a size, a time and a speed. */
import { SourceError } from "../../errors/index.ts";
import { DOCUMENT_DEADLINE, MIN_RATE, RATE_WINDOW } from "./limits.ts";
import type { HttpResponse, Timing } from "./transport.ts";

/**
 * The chunks of a body; SourceError `too-slow` where they drip. Only the time spent waiting for them counts, not what
 * is done with them. @param what names the body in errors
 */
export async function* atMinimumRate(
  body: AsyncIterable<Uint8Array>,
  timing: Timing,
  what: string,
  deadline = Number.POSITIVE_INFINITY,
): AsyncGenerator<Uint8Array> {
  let waited = 0; // milliseconds, in this window
  let arrived = 0; // bytes, in this window
  let total = 0; // milliseconds
  let since = timing.now();
  for await (const chunk of body) {
    const elapsed = timing.now() - since;
    waited += elapsed;
    total += elapsed;
    arrived += chunk.length;
    if (waited >= RATE_WINDOW) {
      if (arrived < (MIN_RATE * waited) / 1000)
        throw new SourceError("too-slow", `${what}: ${arrived} bytes came in ${Math.round(waited / 1000)} s`);
      waited = 0;
      arrived = 0;
    }
    if (total > deadline) throw new SourceError("too-slow", `${what}: not there after ${Math.round(total / 1000)} s`);
    yield chunk;
    since = timing.now();
  }
}

/** A whole small body. SourceError `too-large` past `limit` bytes; `too-slow`. */
export async function readBody(
  response: HttpResponse,
  limit: number,
  timing: Timing,
  what: string,
): Promise<Uint8Array> {
  const promised = Number(response.headers["content-length"] ?? 0);
  const tooLarge = () => new SourceError("too-large", `${what}: the answer has more than ${limit} bytes`);
  try {
    if (promised > limit) throw tooLarge();
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of atMinimumRate(response.body, timing, what, DOCUMENT_DEADLINE)) {
      size += chunk.length;
      if (size > limit) throw tooLarge();
      parts.push(chunk.slice());
    }
    return joined(parts, size);
  } finally {
    response.cancel();
  }
}

/** The first bytes of a body, at most `limit`; whatever goes wrong, what came until then. */
export async function readStart(response: HttpResponse, limit: number, timing: Timing): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of atMinimumRate(response.body, timing, "", DOCUMENT_DEADLINE)) {
      const part = chunk.slice(0, limit - size);
      parts.push(part);
      size += part.length;
      if (size >= limit) break;
    }
  } catch {
    // it is only for a message
  } finally {
    response.cancel();
  }
  return joined(parts, size);
}

/** Not concatBytes: a drip has more parts than a call may have arguments. */
function joined(parts: readonly Uint8Array[], size: number): Uint8Array {
  const whole = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
