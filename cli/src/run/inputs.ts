/** What reading an input takes, the same for all commands. */
import { tmpdir } from "node:os";
import { type Platform, parsePlatform } from "@ashlar/core/formats/oci";
import { fileScratch, nodeDecompressors, nodeFiles, nodeHashes } from "@ashlar/core/node";
import type { InputEnvironment } from "@ashlar/core/ops/image";
import type { CacheFlags, RegistryFlags } from "../commands/flags.ts";
import { inputRegistries } from "./registries.ts";
import type { Session } from "./session.ts";

export interface ReadingFlags extends RegistryFlags, Partial<CacheFlags> {
  readonly tmpdir?: string | undefined;
}

export function inputEnvironment(flags: ReadingFlags, { reporter, signal }: Pick<Session, "reporter" | "signal">) {
  return {
    hashes: nodeHashes,
    files: nodeFiles,
    registries: inputRegistries(flags),
    scratch: fileScratch(flags.tmpdir ?? tmpdir()),
    decompressors: nodeDecompressors,
    reporter,
    signal,
  } satisfies InputEnvironment;
}

export function platformOf({ platform }: { readonly platform?: string | undefined }): Platform | undefined {
  return platform === undefined ? undefined : parsePlatform(platform);
}
