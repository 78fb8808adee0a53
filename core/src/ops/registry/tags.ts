/** All tags of a repository. Spec: distribution-spec 1.1, "Listing Tags". */
import * as v from "valibot";
import { decodeUtf8, oneLine } from "../../bytes/index.ts";
import { FormatError, SourceError } from "../../errors/index.ts";
import { MAX_DOCUMENT_SIZE } from "../../formats/oci/index.ts";
import type { ReadOptions } from "../../source/index.ts";
import { readBody } from "./body.ts";
import { failure, isHtml } from "./failure.ts";
import { MAX_PAGES, MAX_TAGS } from "./limits.ts";
import type { ManifestPlace } from "./manifests.ts";
import { isTag } from "./reference.ts";
import { nextLink, resolveLocation } from "./url.ts";

/** Tags asked for at once; registries may give fewer. */
const PAGE_SIZE = 1000;

const TagList = v.looseObject({ tags: v.nullish(v.array(v.string())) });

/** Errors: SourceError `no-such-image` for a repository that is not there; FormatError `bad-tags`; those of the client. */
export async function listTags(
  { client, repository, name }: ManifestPlace,
  options?: ReadOptions,
): Promise<readonly string[]> {
  const what = `${name}: tags`;
  const found = new Set<string>();
  let target: string | URL = `${repository}/tags/list?n=${PAGE_SIZE}`;
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const response = await client.send({
      method: "GET",
      target,
      headers: { accept: "application/json" },
      access: { action: "pull" },
      what,
      limit: MAX_DOCUMENT_SIZE,
      signal: options?.signal,
    });
    if (response.status !== 200 || isHtml(response)) throw await failure(response, client.timing, what);
    const link = nextLink(response.headers["link"]);
    const tags = parseTags(await readBody(response, MAX_DOCUMENT_SIZE, client.timing, what), what);
    const before = found.size;
    for (const tag of tags) found.add(tag);
    if (found.size > MAX_TAGS) throw new SourceError("too-large", `${what}: there are more than ${MAX_TAGS}`);
    if (link === undefined || (found.size === before && tags.length > 0)) return [...found]; // a page that goes round
    target = resolveLocation(link, response.url, what);
  }
  throw new SourceError("too-large", `${what}: the list has more than ${MAX_PAGES} pages`);
}

/** Errors: FormatError `bad-tags`. */
export function parseTags(bytes: Uint8Array, what: string): readonly string[] {
  let document: unknown;
  try {
    document = JSON.parse(decodeUtf8(bytes));
  } catch (cause) {
    throw new FormatError("bad-tags", `${what}: the list is not JSON`, { cause });
  }
  const list = v.safeParse(TagList, document);
  if (!list.success) throw new FormatError("bad-tags", `${what}: the answer is no list of tags`);
  const tags = list.output.tags ?? [];
  const strange = tags.find((tag) => !isTag(tag));
  if (strange !== undefined)
    throw new FormatError("bad-tags", `${what}: not a tag: ${JSON.stringify(oneLine(strange))}`);
  return tags;
}
