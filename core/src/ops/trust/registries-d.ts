/**
 * containers' `registries.d`: where signatures of images are. Only `use-sigstore-attachments` matters here; `lookaside`
 * is about signatures of another kind. Spec: containers-registries.d(5). Not part of the index: the reader of YAML is
 * loaded with it.
 */
import * as v from "valibot";
import { parse as parseYaml } from "yaml";
import { decodeUtf8Strict } from "../../bytes/index.ts";
import { FormatError } from "../../errors/index.ts";
import { checkDocument } from "../../formats/oci/index.ts";

/** Bytes of a file; they have some hundreds. The reader of YAML takes the square of a long list of keys (measured). */
export const MAX_REGISTRIES_D_SIZE = 64 * 1024;
/** Aliases that a document may follow; the files have none. */
const MAX_ALIASES = 100;

const Settings = v.looseObject({ "use-sigstore-attachments": v.nullish(v.boolean()) });
const RawRegistriesD = v.strictObject({
  "default-docker": v.nullish(Settings),
  docker: v.nullish(v.record(v.string(), v.nullish(Settings))),
});

/** Scope → whether signatures beside the image are read; the scope "" is the default. */
export type AttachmentUse = ReadonlyMap<string, boolean | undefined>;

/** All files of the directory, by their paths. Errors: FormatError `bad-yaml`, `bad-registries-d`. */
export function parseRegistriesD(files: readonly (readonly [path: string, bytes: Uint8Array])[]): AttachmentUse {
  const use = new Map<string, boolean | undefined>();
  for (const [path, bytes] of files) {
    const raw = checkDocument(RawRegistriesD, parseDocument(bytes, path) ?? {}, "bad-registries-d", path);
    const scopes = Object.entries(raw.docker ?? {});
    if (raw["default-docker"]) scopes.push(["", raw["default-docker"]]);
    for (const [scope, settings] of scopes) {
      if (use.has(scope))
        throw new FormatError("bad-registries-d", `${path}: ${JSON.stringify(scope.slice(0, 100))} is defined twice`);
      use.set(scope, settings?.["use-sigstore-attachments"] ?? undefined);
    }
  }
  return use;
}

function parseDocument(bytes: Uint8Array, path: string): unknown {
  const text = bytes.length > MAX_REGISTRIES_D_SIZE ? undefined : decodeUtf8Strict(bytes);
  try {
    if (text !== undefined) return parseYaml(text, { maxAliasCount: MAX_ALIASES });
  } catch (cause) {
    throw new FormatError("bad-yaml", `${path}: is not YAML`, { path, cause });
  }
  throw new FormatError("bad-yaml", `${path}: is not UTF-8, or larger than ${MAX_REGISTRIES_D_SIZE} bytes`, { path });
}

/** The most specific scope that says anything. */
export function usesAttachments(use: AttachmentUse, scopes: readonly string[]): boolean {
  for (const scope of [...scopes, ""]) {
    const said = use.get(scope);
    if (said !== undefined) return said;
  }
  return false;
}
