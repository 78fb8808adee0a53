// Makes OCI image layouts for tests out of tar files. Same input, same bytes (for one version of Node, whose compressors are used).
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable, Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createGzip, createZstdCompress } from "node:zlib";

import { TEST_MTIME } from "./tar.ts";

export type LayerCompression = "none" | "gzip" | "zstd";

export interface LayerInput {
  /** Path of a tar file, or its bytes. */
  readonly tar: string | Uint8Array;
  readonly compression?: LayerCompression; // gzip when absent, as most registries hold
}

export interface ImageInput {
  readonly layers: readonly LayerInput[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly created?: string; // RFC 3339; that of TEST_MTIME when absent
  readonly architecture?: string; // amd64 when absent
  readonly variant?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  /** More members of the config, or others in place of ours. */
  readonly config?: Readonly<Record<string, unknown>>;
}

export interface LayoutOptions {
  readonly tag?: string; // latest when absent; "" for none
  readonly mediaTypes?: "oci" | "docker";
}

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number; // bytes
  readonly [key: string]: unknown;
}

export interface OciLayout {
  readonly directory: string;
  readonly tag: string;
  /** What index.json points to: the manifest, or the image index of several platforms. */
  readonly top: Descriptor;
  /** In the order of the input. */
  readonly manifests: readonly Descriptor[];
  readonly diffIds: readonly (readonly string[])[];
}

const MEDIA_TYPES = {
  oci: {
    index: "application/vnd.oci.image.index.v1+json",
    manifest: "application/vnd.oci.image.manifest.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    layer: { none: ".tar", gzip: ".tar+gzip", zstd: ".tar+zstd" },
    layerStem: "application/vnd.oci.image.layer.v1",
  },
  docker: {
    index: "application/vnd.docker.distribution.manifest.list.v2+json",
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    layer: { none: ".tar", gzip: ".tar.gzip", zstd: ".tar.zstd" },
    layerStem: "application/vnd.docker.image.rootfs.diff",
  },
} as const;

/** Writes one image, or an index of one image for each platform, into `directory`. */
export async function writeLayout(
  directory: string,
  images: ImageInput | readonly ImageInput[],
  options: LayoutOptions = {},
): Promise<OciLayout> {
  const { tag = "latest", mediaTypes = "oci" } = options;
  const types = MEDIA_TYPES[mediaTypes];
  await mkdir(join(directory, "blobs/sha256"), { recursive: true });
  const list = isList(images) ? images : [images];
  const manifests: Descriptor[] = [];
  const diffIds: string[][] = [];
  for (const image of list) {
    const layers: Descriptor[] = [];
    const ids: string[] = [];
    for (const { tar, compression = "gzip" } of image.layers) {
      const blob = await writeLayer(directory, tar, compression);
      ids.push(blob.diffId);
      layers.push({ mediaType: types.layerStem + types.layer[compression], digest: blob.digest, size: blob.size });
    }
    const config = await writeJson(directory, types.config, configOf(image, ids));
    const manifest = await writeJson(directory, types.manifest, {
      schemaVersion: 2,
      mediaType: types.manifest,
      config,
      layers,
      ...(image.annotations === undefined ? {} : { annotations: image.annotations }),
    });
    manifests.push({ ...manifest, platform: platformOf(image) });
    diffIds.push(ids);
  }
  const only = manifests[0];
  if (only === undefined) throw new RangeError("a layout needs an image");
  const top = isList(images)
    ? await writeJson(directory, types.index, { schemaVersion: 2, mediaType: types.index, manifests })
    : only;
  const annotations = tag === "" ? {} : { annotations: { "org.opencontainers.image.ref.name": tag } };
  const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.oci.index, manifests: [{ ...top, ...annotations }] };
  await writeFile(join(directory, "index.json"), JSON.stringify(index));
  await writeFile(join(directory, "oci-layout"), JSON.stringify({ imageLayoutVersion: "1.0.0" }));
  return { directory, tag, top, manifests, diffIds };
}

/** Packs a layout directory as an `oci-archive`, a plain tar of it. */
export function archiveLayout(directory: string, file: string): void {
  const fixed = [
    "--sort=name",
    `--mtime=@${TEST_MTIME}`,
    "--owner=0",
    "--group=0",
    "--numeric-owner",
    "--mode=u=rwX,go=rX",
  ];
  const { status, stderr } = spawnSync("tar", ["--format=ustar", ...fixed, "-C", directory, "-cf", file, "."], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`tar of ${directory} failed: ${stderr}`);
}

/** Puts `bytes` into the layout under their digest; also for blobs that are no good, which tests of bad input need. */
export async function writeBlob(directory: string, bytes: Uint8Array): Promise<{ digest: string; size: number }> {
  const hex = createHash("sha256").update(bytes).digest("hex");
  await writeFile(join(directory, "blobs/sha256", hex), bytes);
  return { digest: `sha256:${hex}`, size: bytes.length };
}

const isList = (images: ImageInput | readonly ImageInput[]): images is readonly ImageInput[] => Array.isArray(images);

const platformOf = ({ architecture = "amd64", variant }: ImageInput): Record<string, string> => ({
  architecture,
  os: "linux",
  ...(variant === undefined ? {} : { variant }),
});

function configOf(image: ImageInput, diffIds: readonly string[]): Record<string, unknown> {
  const created = image.created ?? new Date(TEST_MTIME * 1000).toISOString().replace(".000", "");
  return {
    created,
    ...platformOf(image),
    config: { Labels: image.labels ?? {} },
    rootfs: { type: "layers", diff_ids: diffIds },
    history: diffIds.map((_, index) => ({ created, created_by: `layer ${index + 1}` })),
    ...image.config,
  };
}

async function writeJson(directory: string, mediaType: string, value: unknown): Promise<Descriptor> {
  return { mediaType, ...(await writeBlob(directory, new TextEncoder().encode(JSON.stringify(value)))) };
}

/** Streams, since a system's first layer has hundreds of megabytes. */
async function writeLayer(directory: string, tar: string | Uint8Array, compression: LayerCompression) {
  const plain = createHash("sha256");
  const packed = createHash("sha256");
  let size = 0;
  const source = typeof tar === "string" ? createReadStream(tar, { highWaterMark: 1 << 20 }) : Readable.from([tar]);
  const temporary = join(directory, "blobs", `partial-${process.pid}`);
  await pipeline(
    source,
    tap((chunk) => plain.update(chunk)),
    ...compressor(compression),
    tap((chunk) => {
      packed.update(chunk);
      size += chunk.length;
    }),
    createWriteStream(temporary),
  );
  const hex = packed.digest("hex");
  await rename(temporary, join(directory, "blobs/sha256", hex));
  return { digest: `sha256:${hex}`, size, diffId: `sha256:${plain.digest("hex")}` };
}

function compressor(compression: LayerCompression): Transform[] {
  if (compression === "gzip") return [createGzip({ level: 1 })]; // tests wait for it
  if (compression === "zstd") return [createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 1 } })];
  return [];
}

function tap(look: (chunk: Uint8Array) => void): Transform {
  return new Transform({
    transform(chunk: Uint8Array, _encoding, done) {
      look(chunk);
      done(null, chunk);
    },
  });
}
