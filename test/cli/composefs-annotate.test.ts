/** Digests in an image's manifest, by the draft of sealed images. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ashlar, ashlarOk } from "../support/ashlar.ts";
import { writeLayout } from "../support/oci.ts";
import { tarBytes } from "../support/tar.ts";

let folder = "";
let layout = "";
before(async () => {
  folder = await mkdtemp(join(tmpdir(), "ashlar-annotate-"));
  layout = join(folder, "layout");
  const lower = tarBytes([
    { name: "usr/", mtime: 1_700_000_000 },
    { name: "usr/tool", content: new Uint8Array(5000).fill(1) },
    { name: "boot/" },
    { name: "boot/uki.efi", content: "uki" },
    { name: "sysroot/" },
  ]);
  const upper = tarBytes([{ name: "usr/more", content: "more" }]);
  await writeLayout(layout, { layers: [{ tar: lower }, { tar: upper, compression: "zstd" }] }, { tag: "v1" });
});
after(() => rm(folder, { recursive: true }));

interface RawManifest {
  readonly config: { readonly digest: string; readonly annotations?: Readonly<Record<string, string>> };
  readonly layers: readonly unknown[];
  readonly annotations?: Readonly<Record<string, string>>;
}

async function manifestIn(path: string, tag: string): Promise<RawManifest> {
  const index = JSON.parse(await readFile(join(path, "index.json"), "utf8"));
  const { digest } = index.manifests.find(
    ({ annotations }: { annotations?: Record<string, string> }) =>
      annotations?.["org.opencontainers.image.ref.name"] === tag,
  );
  return JSON.parse(await readFile(join(path, "blobs", digest.replace(":", "/")), "utf8"));
}

test("annotations are written, and checked", async () => {
  const before = await manifestIn(layout, "v1");
  const reference = `oci:${layout}:v1`;
  assert.equal(ashlar(["composefs", "annotate", "--check", "--quiet", reference]).status, 6);
  const digest = ashlarOk(["composefs", "annotate", "--quiet", "--bootable", reference]).stdout.trim();
  assert.match(digest, /^sha256:[0-9a-f]{64}$/);
  const manifest = await manifestIn(layout, "v1");
  const configPath = join(layout, "blobs", manifest.config.digest.replace(":", "/"));
  const digestOf = (...args: string[]) =>
    ashlarOk(["composefs", "digest", "--quiet", "--algorithm", "sha512", ...args]).stdout.trim();
  assert.deepEqual(manifest.annotations, {
    ...before.annotations,
    "composefs.merged.erofs.v1.fsverity-sha512-12": digestOf("--oci", reference),
    "composefs.merged.bootable.erofs.v1.fsverity-sha512-12": digestOf("--bootable", reference),
  });
  assert.deepEqual(manifest.config.annotations, {
    "composefs.config.fsverity-sha512-12": ashlarOk([
      "fsverity",
      "digest",
      "--compact",
      "--quiet",
      "--algorithm",
      "sha512",
      configPath,
    ]).stdout.trim(),
  });
  assert.deepEqual(manifest.layers, before.layers);
  assert.match(ashlarOk(["composefs", "annotate", "--check", "--quiet", reference]).stdout, /3 annotations verified/);

  // An image whose manifest has the annotations of another one: exit code 5.
  const names = ["usr/", "boot/", "sysroot/"].map((name) => ({ name }));
  const layer = { tar: tarBytes([...names, { name: "usr/tool", content: "other" }]) };
  await writeLayout(join(folder, "lie"), { layers: [layer], annotations: manifest.annotations ?? {} }, { tag: "v1" });
  const lie = ashlar(["composefs", "annotate", "--check", "--quiet", `oci:${join(folder, "lie")}:v1`]);
  assert.equal(lie.status, 5);
  assert.match(lie.stderr, /composefs\.merged\.erofs\.v1\.fsverity-sha512-12 is [0-9a-f]{128}, the manifest says/);
});

test("what has no manifest of its own to change is refused", () => {
  for (const [args, pattern] of [
    [[`oci:${layout}`], /needs a tag/],
    [[`oci:${layout}@sha256:${"0".repeat(64)}`], /./],
  ] as const) {
    const result = ashlar(["composefs", "annotate", "--quiet", ...args]);
    assert.notEqual(result.status, 0);
    assert.match(result.stderr, pattern);
  }
});
