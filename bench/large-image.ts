// The image of the benches: 600 MB and 18,000 files of Debian in a single gzip layer. Made once, kept in the cache.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { cacheDirectory } from "../test/support/roots.ts";

/** With documentation and translations, which the roots of the tests leave out. */
const PACKAGES =
  "systemd,systemd-sysv,systemd-boot-efi,systemd-cryptsetup,linux-image-cloud-amd64,udev,dbus,kmod,e2fsprogs,dmsetup," +
  "login,passwd,python3,gcc,vim,git,man-db,curl";

function makeRoot(folder: string): string {
  const path = join(folder, `root-${createHash("sha256").update(PACKAGES).digest("hex").slice(0, 16)}.tar`);
  if (existsSync(path)) return path;
  process.stderr.write("bench: making a root of 600 MB with mmdebstrap (a minute)\n");
  const args = ["--quiet", "--variant=minbase", `--include=${PACKAGES}`, "trixie", `${path}.tmp`];
  const { status } = spawnSync("mmdebstrap", ["--format=tar", ...args], { stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new Error("mmdebstrap failed");
  renameSync(`${path}.tmp`, path);
  return path;
}

/** A layout of one gzip layer at level 6, as docker and buildah push them. */
async function makeLayout(tar: string): Promise<{ layout: string; layer: string }> {
  const layout = tar.replace(/\.tar$/, "-gzip");
  const blobs = join(layout, "blobs/sha256");
  const named = join(layout, "layer");
  if (!existsSync(join(layout, "index.json"))) {
    mkdirSync(blobs, { recursive: true });
    await pipeline(createReadStream(tar), createGzip({ level: 6 }), createWriteStream(named));
    const put = (bytes: Uint8Array, mediaType: string) => {
      const hex = createHash("sha256").update(bytes).digest("hex");
      writeFileSync(join(blobs, hex), bytes);
      return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
    };
    const digestOf = async (path: string) => {
      const hash = createHash("sha256");
      let size = 0;
      for await (const chunk of createReadStream(path)) {
        hash.update(chunk as Buffer);
        size += (chunk as Buffer).length;
      }
      return { hex: hash.digest("hex"), size };
    };
    const json = (value: unknown) => Buffer.from(JSON.stringify(value));
    const types = "application/vnd.oci.image";
    const packed = await digestOf(named);
    spawnSync("ln", ["-f", named, join(blobs, packed.hex)]);
    const config = {
      created: "2025-01-01T00:00:00Z",
      architecture: "amd64",
      os: "linux",
      rootfs: { type: "layers", diff_ids: [`sha256:${(await digestOf(tar)).hex}`] },
    };
    const manifest = {
      schemaVersion: 2,
      config: put(json(config), `${types}.config.v1+json`),
      layers: [{ mediaType: `${types}.layer.v1.tar+gzip`, digest: `sha256:${packed.hex}`, size: packed.size }],
    };
    const annotations = { "org.opencontainers.image.ref.name": "latest" };
    const top = { ...put(json(manifest), `${types}.manifest.v1+json`), annotations };
    writeFileSync(join(layout, "oci-layout"), json({ imageLayoutVersion: "1.0.0" }));
    writeFileSync(join(layout, "index.json"), json({ schemaVersion: 2, manifests: [top] }));
  }
  return { layout, layer: named };
}

/** The same as a tar. */
export function largeTar(): string {
  const cache = join(cacheDirectory(), "bench");
  mkdirSync(cache, { recursive: true });
  return makeRoot(cache);
}

/** Paths of an OCI layout, whose tag is `latest`, and of its one layer. */
export async function largeImage(): Promise<{ layout: string; layer: string }> {
  return makeLayout(largeTar());
}
