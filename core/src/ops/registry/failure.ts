/** What to throw for an answer that is not the expected one: one line with what the registry says. */
import { decodeUtf8, oneLine } from "../../bytes/index.ts";
import { SinkError, SourceError } from "../../errors/index.ts";
import { readStart } from "./body.ts";
import { MAX_ERROR_BODY } from "./limits.ts";
import type { HttpResponse, Timing } from "./transport.ts";

/** Codes and messages of distribution-spec, "Error Codes". */
export interface RegistryComplaint {
  readonly code: string;
  readonly message: string;
}

/** The first complaint of an error document; undefined for anything else. Never throws. */
export function parseComplaint(bytes: Uint8Array): RegistryComplaint | undefined {
  let document: unknown;
  try {
    document = JSON.parse(decodeUtf8(bytes));
  } catch {
    return undefined;
  }
  const text = (value: unknown): string => (typeof value === "string" ? value : "");
  const member = (value: unknown, key: string): unknown =>
    typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
  const errors = member(document, "errors");
  const first = Array.isArray(errors) ? (errors[0] as unknown) : document;
  const code = text(member(first, "code"));
  const message = text(member(first, "message")) || text(member(first, "details")) || text(member(first, "error"));
  return code === "" && message === "" ? undefined : { code, message };
}

/** Whether an answer is a page for people, as login pages and captive portals send in place of documents. */
export function isHtml({ headers }: HttpResponse): boolean {
  return /^\s*(?:text\/html|application\/xhtml)/i.test(headers["content-type"] ?? "");
}

/** Our code and words for a status. @codes SourceError SinkError */
function meaningOf(status: number, isPage: boolean): readonly [code: string, meaning: string] {
  if (isPage) return ["not-a-registry", "a web page came where a registry would answer"];
  switch (status) {
    case 401:
      return ["unauthorized", "the registry wants other credentials"];
    case 403:
      return ["denied", "access is denied"];
    case 404:
      return ["no-such-image", "not found"];
    case 413:
      return ["too-large-for-registry", "the registry takes no request of that size"];
    case 429:
      return ["too-many-requests", "the registry wants fewer requests"];
    case 507:
      return ["registry-full", "the registry has no space left"];
    default:
      return status >= 500 ? ["server-error", "the registry has failed"] : ["unexpected-answer", "unexpected answer"];
  }
}

/**
 * The error for an unexpected answer, whose body it uses up. SinkError where something was to be stored.
 * Codes: `unauthorized`, `denied`, `no-such-image`, `too-many-requests`, `server-error`, `not-a-registry` for a page in
 * place of a document, …
 * @param what was tried, such as `docker://host/name: manifest latest`
 */
export async function failure(
  response: HttpResponse,
  timing: Timing,
  what: string,
  direction: "reading" | "writing" = "reading",
): Promise<SourceError | SinkError> {
  const { status } = response;
  const make = (code: string, message: string) =>
    direction === "reading" ? new SourceError(code, message) : new SinkError(code, message);
  const body = await readStart(response, MAX_ERROR_BODY, timing);
  const complaint = parseComplaint(body);
  const said =
    complaint === undefined ? "" : `: ${oneLine([complaint.code, complaint.message].filter(Boolean).join(": "))}`;
  const isPage = isHtml(response) && status < 500 && status !== 401 && status !== 403 && status !== 429;
  const [code, meaning] = meaningOf(status, isPage);
  return make(code, `${what}: ${meaning} (status ${status}${said})`);
}
