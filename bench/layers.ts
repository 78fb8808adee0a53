// One large layer, as most images have it: 600 MB and 18,000 files of Debian in a single gzip layer. Ours against the chain
// that people use (umoci, mkfs.erofs, veritysetup) and against the leanest there is, which unpacks nothing and checks no digest.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream, existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { oracle } from "../test/support/oracle.ts";
import { cacheDirectory, IN_TOOLS, REPOSITORY } from "../test/support/roots.ts";
import { benchFolder, type Command, compare } from "./compare.ts";

const ROUNDS = Number(process.argv[2] ?? 5);

/** With documentation and translations, which the roots of the tests leave out. */
const PACKAGES =
  "systemd,systemd-sysv,systemd-boot-efi,systemd-cryptsetup,linux-image-cloud-amd64,udev,dbus,kmod,e2fsprogs,dmsetup," +
  "login,passwd,python3,gcc,vim,git,man-db,curl";

function makeRoot(folder: string): string {
  const path = join(folder, `root-${createHash("sha256").update(PACKAGES).digest("hex").slice(0, 16)}.tar`);
  if (existsSync(path)) return path;
  process.stderr.write("layers: making a root of 600 MB with mmdebstrap (a minute)\n");
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

const cache = join(cacheDirectory(), "bench");
mkdirSync(cache, { recursive: true });
const { layout, layer } = await makeLayout(makeRoot(cache));
const folder = benchFolder();
const at = (name: string): string => join(folder, name);
if (oracle("umoci", { from: "tools" }) === undefined) throw new Error("no tools root: run scripts/fetch-roots tools");
const erofs = "mkfs.erofs -T1735689600 -U 00000000-0000-0000-0000-000000000000 --quiet";
const scripts = {
  umoci: [
    `rm -rf ${at("bundle")} ${at("a.erofs")} ${at("a.verity")}`,
    `umoci unpack --image ${layout}:latest ${at("bundle")}`,
    `${erofs} ${at("a.erofs")} ${at("bundle")}/rootfs`,
    `veritysetup format --salt=- ${at("a.erofs")} ${at("a.verity")}`,
  ],
  lean: [
    `rm -rf ${at("b.erofs")} ${at("b.verity")}`,
    `gzip -dc ${layer} | ${erofs} --tar=f ${at("b.erofs")}`,
    `veritysetup format --salt=- ${at("b.erofs")} ${at("b.verity")}`,
  ],
};
for (const [name, lines] of Object.entries(scripts))
  writeFileSync(at(`${name}.sh`), ["set -eu", ...lines, ""].join("\n"));
const commands: readonly Command[] = [
  { name: "gzip + mkfs.erofs --tar + veritysetup", command: IN_TOOLS, args: ["sh", at("lean.sh")] },
  { name: "umoci + mkfs.erofs + veritysetup", command: IN_TOOLS, args: ["sh", at("umoci.sh")] },
  {
    name: "ashlar seal",
    command: join(REPOSITORY, "ashlar"),
    args: ["seal", `oci:${layout}`, "-o", at("ours"), "--name", "x", "--overwrite", "--quiet"],
  },
];
console.log(`one gzip layer; medians of ${ROUNDS} rounds, the chains in turn\n`);
await compare(commands, ROUNDS);
console.log();
spawnSync(process.execPath, [join(REPOSITORY, "bench/steps.ts"), layout], { stdio: "inherit" });
