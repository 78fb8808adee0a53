import assert from "node:assert/strict";
import { test } from "node:test";
import { encodeUtf8, fromUtf8 } from "../../bytes/index.ts";
import { inlineClusterEncoder } from "../../codecs/index.ts";
import { writeErofs } from "../../formats/erofs/index.ts";
import { bytesSource, memorySink } from "../../source/index.ts";
import { attributes, directory, putNode, regularFile, symlink } from "../../tree/index.ts";
import {
  type CompressionOptions,
  chooseCompression,
  recordCompression,
  storesPlain,
  writerCompression,
} from "./compression.ts";
import { targetKernel } from "./target-kernel.ts";
import { verifyRoot } from "./verify-root.ts";

const K = 1024;

/** A root with kernels: version → configuration. */
function rootWith(kernels: Readonly<Record<string, string | undefined>>) {
  const root = directory(attributes(0o755));
  for (const [version, config] of Object.entries(kernels)) {
    const put = (name: string, text: string): void =>
      putNode(root, fromUtf8(name), regularFile(attributes(0o644), bytesSource(encodeUtf8(text))));
    put(`usr/lib/modules/${version}/vmlinuz`, "a kernel");
    if (config !== undefined) put(`boot/config-${version}`, config);
  }
  return root;
}

async function chosen(options: CompressionOptions, kernels: Readonly<Record<string, string | undefined>> = {}) {
  const choice = await chooseCompression(options, 4096, () => targetKernel(rootWith(kernels), options.targetKernel));
  return choice && Object.values(recordCompression(choice)).join(" ");
}

const ALL = "CONFIG_EROFS_FS=m\nCONFIG_EROFS_FS_ZIP=y\nCONFIG_EROFS_FS_ZIP_ZSTD=y\n";
const NO_ZSTD = "CONFIG_EROFS_FS=m\nCONFIG_EROFS_FS_ZIP=y\n# CONFIG_EROFS_FS_ZIP_ZSTD is not set\n";
const NO_ZIP = "CONFIG_EROFS_FS=m\n# CONFIG_EROFS_FS_ZIP is not set\n";

test("auto takes what the kernel reads, by version and configuration", async () => {
  const auto = { compress: "auto" };
  assert.equal(await chosen(auto, { "6.12.48+deb13-amd64": ALL }), `zstd,3 ${64 * K}`);
  assert.equal(await chosen(auto, { "6.12.48+deb13-amd64": undefined }), `zstd,3 ${64 * K}`);
  assert.equal(await chosen(auto, { "6.12.48+deb13-amd64": NO_ZSTD }), `lz4hc,9 ${64 * K}`);
  assert.equal(await chosen(auto, { "6.12.48+deb13-amd64": NO_ZIP }), undefined);
  assert.equal(await chosen(auto, { "6.1.0-39-amd64": NO_ZSTD }), `lz4hc,9 ${64 * K}`);
  assert.equal(await chosen(auto, { "5.10.0-35-amd64": NO_ZSTD }), "lz4hc,9 4096");
  assert.equal(await chosen(auto, { "6.1.0-39-amd64": NO_ZSTD, "6.12.48+deb13-amd64": ALL }), `lz4hc,9 ${64 * K}`);
  assert.equal(await chosen(auto), "lz4hc,9 4096"); // whatever kernel that will be
  assert.equal(await chosen(auto, { "6.18.1": ALL }), `zstd,3 ${64 * K} bytes`);
  assert.equal(await chosen({ ...auto, packing: "blocks" }, { "6.18.1": ALL }), `zstd,3 ${64 * K}`);
  assert.equal(await chosen({ ...auto, targetKernel: "6.10" }), `zstd,3 ${64 * K}`);
  assert.equal(await chosen({ ...auto, targetKernel: "6.9.7" }), `lz4hc,9 ${64 * K}`);
  assert.equal(await chosen({ ...auto, cluster: 16 * K }, { "5.10.0-35-amd64": NO_ZSTD }), undefined);
});

test("what the kernel lacks is refused, and so is what makes no sense", async () => {
  assert.equal(await chosen({}), undefined);
  assert.equal(await chosen({ compress: "zstd" }), `zstd,3 ${64 * K}`); // content that is for no kernel in particular
  assert.equal(await chosen({ compress: "lz4" }, { "5.10.1": NO_ZSTD }), "lz4 4096");
  assert.equal(await chosen({ compress: "lz4hc,12", cluster: 8 * K, targetKernel: "6.1" }), `lz4hc,12 ${8 * K}`);
  const recorded = { compress: "zstd,3", cluster: 64 * K, packing: "bytes", targetKernel: "any" } as const;
  assert.equal(await chosen(recorded, { "5.10.1": NO_ZIP }), `zstd,3 ${64 * K} bytes`);
  for (const [options, kernels, code] of [
    [{ compress: "zstd" }, { "6.1.0-39-amd64": NO_ZSTD }, "kernel-lacks"],
    [{ compress: "zstd" }, { "6.12.48+deb13-amd64": NO_ZSTD }, "kernel-lacks"],
    [{ compress: "lz4", cluster: 64 * K }, { "5.10.1": ALL }, "kernel-lacks"],
    [{ compress: "lz4" }, { "6.12.1": NO_ZIP }, "kernel-lacks"],
    [{ compress: "zstd", packing: "bytes" }, { "6.12.1": ALL }, "kernel-lacks"],
    [{ compress: "zstd", targetKernel: "6.9" }, {}, "kernel-lacks"],
    [{ compress: "lz4", targetKernel: "newest" }, {}, "bad-kernel-version"],
    [{ compress: "brotli" }, {}, "bad-compression"],
    [{ compress: "lz4hc,13" }, {}, "bad-compression"],
    [{ compress: "lz4hc,0" }, {}, "bad-compression"],
    [{ compress: "constructor" }, {}, "bad-compression"],
    [{ compress: "lz4", cluster: 5000 }, {}, "bad-compression"],
    [{ compress: "lz4", cluster: 2048 * K }, {}, "bad-compression"],
    [{ cluster: 64 * K }, {}, "bad-compression"],
    [{ compressHints: ["a zstd"], targetKernel: "6.1" }, {}, "kernel-lacks"],
    [{ compressHints: ["a"] }, {}, "bad-hint"],
    [{ compressHints: ["a lz4 4096 b"] }, {}, "bad-hint"],
    [{ compressHints: ["a lz4 4k4"] }, {}, "bad-hint"],
    [{ compressHints: ["a lz4 5000"] }, {}, "bad-compression"],
    [{ compressHints: ["[ lz4"] }, {}, "bad-pattern"],
    [{ compressHints: ["a brotli"] }, {}, "bad-compression"],
    [{ compressHints: new Array(1001).fill("a none") }, {}, "bad-hint"],
  ] as const)
    await assert.rejects(chosen(options, kernels), { code }, JSON.stringify(options));
  assert.equal(storesPlain({}, 4096), true);
  assert.equal(storesPlain({ compress: "auto" }, 4096), false);
});

test("hints: what each file gets, whether the kernel reads it, and what is recorded", async () => {
  const compressHints = ["*.xz none", "usr/lib/*.so lz4hc,12 16K", "opt/ zstd 1M"];
  const options = { compress: "lz4", compressHints, targetKernel: "6.12" };
  const choice = await chooseCompression(options, 4096, () => targetKernel(rootWith({}), options.targetKernel));
  assert.deepEqual(recordCompression(choice)["compressHints"], [
    "*.xz none",
    `usr/lib/*.so lz4hc,12 ${16 * K}`,
    `opt/ zstd,3 ${1024 * K}`,
  ]);
  const { hints, ...usual } = writerCompression(choice, {}) ?? assert.fail();
  assert.equal(usual.algorithm, "lz4");
  const of = (path: string) => {
    const method = hints?.choose(fromUtf8(path));
    return typeof method === "object" ? `${method.algorithm},${method.level} ${method.clusterSize}` : method;
  };
  assert.equal(of("usr/lib/a.so"), `lz4hc,12 ${16 * K}`);
  assert.equal(of("opt/a.xz"), "none"); // the first line decides
  assert.equal(of("opt/a/b"), `zstd,3 ${1024 * K}`);
  assert.equal(of("bin/a"), "lz4,1 4096");
  const again = {
    ...options,
    compressHints: recordCompression(choice)["compressHints"] as string[],
    targetKernel: "any",
  };
  assert.deepEqual(
    recordCompression(await chooseCompression(again, 4096, async () => undefined)),
    recordCompression(choice),
  );

  // Hints alone compress what they name.
  const only = await chooseCompression({ compressHints: ["*.txt lz4"] }, 4096, async () => undefined);
  assert.deepEqual(recordCompression(only), { compress: "none", compressHints: ["*.txt lz4 4096"] });
  const { hints: rest } = writerCompression(only, {}) ?? assert.fail();
  assert.equal(rest?.choose(fromUtf8("a")), "none");
  assert.equal(await chosen({ compressHints: ["*.xz none"] }), undefined);
});

test("reading back finds every difference", async () => {
  const make = (change: "none" | "content" | "mode" | "xattr" | "target" | "missing" | "more" | "size" = "none") => {
    const root = directory(attributes(0o755));
    const content = new Uint8Array(100_000).map((_, i) => (i * i) >> 5);
    if (change === "content") content[70_000]! ^= 1;
    const xattrs = new Map([[fromUtf8("user.a"), Uint8Array.of(change === "xattr" ? 2 : 1)]]);
    const bytes = change === "size" ? content.subarray(1) : content;
    const own = attributes(change === "mode" ? 0o600 : 0o644, { xattrs });
    const file = regularFile(own, bytesSource(bytes));
    putNode(root, fromUtf8("a/file"), file);
    putNode(root, fromUtf8("b/second name"), change === "more" ? regularFile(own, bytesSource(bytes)) : file);
    if (change !== "missing")
      putNode(root, fromUtf8("link"), symlink(attributes(0o777), fromUtf8(change === "target" ? "x" : "y")));
    return root;
  };
  const sink = memorySink();
  const compression = { algorithm: "lz4", level: 1, clusterSize: 4096, encoder: inlineClusterEncoder() } as const;
  await writeErofs(make(), sink, { compression });
  const image = sink.bytes();
  let done = 0;
  await verifyRoot(make(), bytesSource(image), { onVerified: (bytes) => (done += bytes) });
  assert.equal(done, 100_000);
  for (const change of ["content", "mode", "xattr", "target", "missing", "more", "size"] as const)
    await assert.rejects(verifyRoot(make(change), bytesSource(image)), { code: "root-differs" }, change);
  // A byte of a cluster: either it cannot be decompressed, or what comes out is something else.
  for (let at = 4096; at < 40_000; at += 997) {
    const broken = image.slice();
    if (broken[at] === 0) continue; // may be padding
    broken[at]! ^= 0x55;
    await assert.rejects(verifyRoot(make(), bytesSource(broken)), { code: "root-differs" }, `${at}`);
  }
});
