// Whole images with one document spoiled: opened, read and flattened, they give a tree or one of our errors. What the
// documents promise is made true again where only a digest would hide the spoiled value from the code behind it.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";

import { isAshlarError, SourceError } from "../../core/src/errors/index.ts";
import { nodeDecompressors, nodeHashes } from "../../core/src/node/index.ts";
import { flatten, type HostFiles, openImage, parseReference } from "../../core/src/ops/image/index.ts";
import { bytesSource, memoryScratch } from "../../core/src/source/index.ts";
import { walkTree } from "../../core/src/tree/index.ts";
import { startEffort } from "../support/effort.ts";
import { type Random, seededRandom } from "../support/mutate.ts";
import { opaque, tarBytes, whiteout } from "../support/tar.ts";

const RUNS = Number(process.env["ASHLAR_RUNS"] ?? 400);
const SEED = process.env["ASHLAR_SEED"] ?? "1";
/** Milliseconds one image may take. */
const MAX_TIME = 2000;

const OCI = "application/vnd.oci.image";
const utf8 = (text: string) => new TextEncoder().encode(text);
const hex = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const TARS = [
  tarBytes([{ name: "a", content: "1" }, { name: "d/" }, { name: "d/b", content: "2" }]),
  tarBytes([whiteout("a"), ...opaque("d"), { name: "l", type: "link", target: "d/b" }]),
];

type Files = Map<string, Uint8Array>;
type Spoil = (name: "index" | "manifest" | "config", text: string) => Uint8Array;

const CONFIG = JSON.stringify({
  architecture: "amd64",
  os: "linux",
  created: "2025-01-01T00:00:00Z",
  config: { Labels: { "org.opencontainers.image.title": "t" } },
  rootfs: { type: "layers", diff_ids: TARS.map((tar) => `sha256:${hex(tar)}`) },
});

const blob = (files: Files, at: (hex: string) => string, mediaType: string, bytes: Uint8Array) => {
  files.set(at(hex(bytes)), bytes);
  return { mediaType, digest: `sha256:${hex(bytes)}`, size: bytes.length };
};

function manifestOf(files: Files, at: (hex: string) => string, spoil: Spoil): Uint8Array {
  const config = blob(files, at, `${OCI}.config.v1+json`, spoil("config", CONFIG));
  const layers = TARS.map((tar) => blob(files, at, `${OCI}.layer.v1.tar`, tar));
  return spoil("manifest", JSON.stringify({ schemaVersion: 2, mediaType: `${OCI}.manifest.v1+json`, config, layers }));
}

/** Each makes the files of one image, with one document passed through `spoil`. */
const LAYOUTS: Readonly<Record<string, (spoil: Spoil) => Files>> = {
  oci(spoil) {
    const files: Files = new Map([["oci-layout", utf8('{"imageLayoutVersion":"1.0.0"}')]]);
    const at = (name: string) => `blobs/sha256/${name}`;
    const manifest = blob(files, at, `${OCI}.manifest.v1+json`, manifestOf(files, at, spoil));
    const platform = { os: "linux", architecture: "amd64" };
    const index = { schemaVersion: 2, manifests: [{ ...manifest, platform }, manifest] };
    return files.set("index.json", spoil("index", JSON.stringify(index)));
  },
  dir(spoil) {
    const files: Files = new Map([["version", utf8("Directory Transport Version: 1.1\n")]]);
    return files.set(
      "manifest.json",
      manifestOf(files, (name) => name, spoil),
    );
  },
  "docker-archive"(spoil) {
    const files: Files = new Map([["image.json", spoil("config", CONFIG)]]);
    for (const [index, tar] of TARS.entries()) files.set(`${index}/layer.tar`, tar);
    const Layers = TARS.map((_, index) => `${index}/layer.tar`);
    const manifest = [{ Config: "image.json", RepoTags: ["some/name:1"], Layers }];
    return files.set("manifest.json", spoil("manifest", JSON.stringify(manifest)));
  },
};

const hostOf = (files: Files): HostFiles => ({
  openDirectory: async () => ({
    async open(path) {
      const bytes = files.get(path);
      if (bytes === undefined) throw new SourceError("not-found", `no ${path.slice(0, 100)}`);
      return { ...bytesSource(bytes), close: async () => {} };
    },
    close: async () => {},
  }),
  openFile: async () => ({
    ...bytesSource(tarBytes([...files].map(([name, content]) => ({ name, content })))),
    close: async () => {},
  }),
});

async function read(transport: string, files: Files): Promise<number> {
  const image = await openImage(parseReference(`${transport}:x`), { hashes: nodeHashes, files: hostOf(files) });
  try {
    const flat = await flatten(image, { hashes: nodeHashes, scratch: memoryScratch, decompressors: nodeDecompressors });
    return [...walkTree(flat.root)].length;
  } finally {
    await image.close();
  }
}

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

const STRANGE: readonly Json[] = [
  null,
  true,
  0,
  -1,
  1e308,
  2 ** 53,
  "",
  "../../etc/passwd",
  "/",
  "\0",
  "\ud800",
  "x".repeat(100_000),
  "sha256:",
  `sha256:${"0".repeat(64)}`,
  `sha512:${"0".repeat(128)}`,
  "9999-99-99T99:99:99Z",
  [],
  [[]],
  {},
  { __proto__: null, toString: "x", length: -1 },
];

/** One value of a document replaced, removed, doubled or moved to the place of another. */
function spoilValue(document: Json, random: Random): Json {
  if (typeof document !== "object" || document === null || random.below(4) === 0) {
    if (typeof document === "string" && random.below(3) === 0) {
      const at = random.below(document.length + 1);
      return (
        document.slice(0, at) + random.pick(["", "\0", "/", "..", "é", "A"]) + document.slice(at + random.below(3))
      );
    }
    return random.pick(STRANGE);
  }
  const entries = Object.entries(document);
  if (entries.length === 0) return random.pick(STRANGE);
  const at = random.below(entries.length);
  const [key, value] = entries[at]!; // below the length
  const kind = random.below(8);
  if (Array.isArray(document)) {
    if (kind === 0) return document.toSpliced(at, 1);
    if (kind === 1) return [...document, value];
    if (kind === 2) return Array.from({ length: 2000 }, () => value);
    if (kind === 3) return random.shuffle(document);
    return document.with(at, spoilValue(value, random));
  }
  const rest = Object.fromEntries(entries.filter(([other]) => other !== key));
  if (kind === 0) return rest;
  if (kind === 1)
    return { ...document, [random.pick(["manifests", "layers", "config", "fsLayers", "mediaType"])]: value };
  if (kind === 2) return { ...document, [key]: random.pick(entries)[1] };
  return { ...document, [key]: spoilValue(value, random) };
}

function* mutants(text: string, random: Random): Generator<{ what: string; bytes: Uint8Array }, never> {
  const document = JSON.parse(text) as Json;
  for (;;) {
    let spoiled = document;
    for (let count = 1 + random.below(3); count > 0; count--) spoiled = spoilValue(spoiled, random);
    let written = JSON.stringify(spoiled);
    if (random.below(20) === 0) written = written.slice(0, random.below(written.length));
    if (random.below(20) === 0) written = `${"[".repeat(100_000)}${written}`;
    if (random.below(20) === 0) written = `\ufeff${written}`;
    yield { what: written.slice(0, 1000), bytes: utf8(written) };
  }
}

for (const [transport, make] of Object.entries(LAYOUTS))
  for (const document of transport === "oci"
    ? (["index", "manifest", "config"] as const)
    : (["manifest", "config"] as const))
    test(`${transport}: a spoiled ${document} gives a tree or one of our errors`, async (t) => {
      assert.equal(
        await read(
          transport,
          make((_, text) => utf8(text)),
        ),
        3,
      );
      let text = "";
      make((name, right) => {
        if (name === document) text = right;
        return utf8(right);
      });
      const spoiled = mutants(text, seededRandom(`${transport} ${document} ${SEED}`));
      const counts = { trees: 0, errors: 0 };
      for (let run = 0; run < RUNS; run++) {
        const { value } = spoiled.next();
        const effort = startEffort();
        try {
          await read(
            transport,
            make((name, right) => (name === document ? value.bytes : utf8(right))),
          );
          counts.trees++;
        } catch (error) {
          assert.ok(
            isAshlarError(error),
            `${value.what}: ${(error as Error).stack}\n${Buffer.from(value.bytes).toString().slice(0, 2000)}`,
          );
          assert.ok(!error.message.includes("\n") && error.message.length < 4000, `${value.what}: ${error.message}`);
          counts.errors++;
        }
        assert.ok(effort() < MAX_TIME, `${value.what}: took too long`);
      }
      t.diagnostic(`${counts.trees} trees, ${counts.errors} errors`);
      assert.ok(counts.errors > RUNS / 10);
    });
