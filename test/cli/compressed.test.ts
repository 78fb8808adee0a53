// Compressed roots as people make them: sealed, verified, reproduced; and what is refused.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ashlar, ashlarOk } from "../support/ashlar.ts";

test("what is compressed is smaller, verified, and reproduced by what its release records", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-compressed-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const input = join(folder, "in");
  mkdirSync(input);
  for (let i = 0; i < 40; i++) writeFileSync(join(input, `${i}`), `${i} and the like\n`.repeat(i * 400));
  const seal = (out: string, ...flags: string[]): string[] => {
    const always = ["-o", join(folder, out), "--name", "x", "--timestamp", "1700000000", "--quiet"];
    return ["seal", `dir:${input}`, ...always, ...flags];
  };
  ashlarOk(seal("plain"));
  const sizeOf = (out: string): number => statSync(join(folder, out, "x.root.erofs")).size;
  for (const [out, flags, recorded] of [
    ["auto", ["--compress", "auto"], { compress: "lz4hc,9", cluster: 4096 }],
    ["lz4", ["--compress", "lz4", "--cluster", "64K", "--tails", "inline"], { compress: "lz4", cluster: 65536 }],
    ["zstd", ["--compress", "zstd", "--target-kernel", "6.12"], { compress: "zstd,3", cluster: 65536 }],
    [
      "bytes",
      ["--compress", "zstd,9", "--target-kernel", "6.18"],
      { compress: "zstd,9", cluster: 65536, packing: "bytes" },
    ],
  ] as const) {
    ashlarOk(seal(out, ...flags));
    assert.ok(sizeOf(out) < sizeOf("plain") / 3, out);
    const release = join(folder, out, "x.release.json");
    const { timestamp, tails, ...options } = JSON.parse(readFileSync(release, "utf8")).options;
    assert.deepEqual(
      { timestamp, tails, options },
      {
        timestamp: "1700000000",
        tails: out === "lz4" ? "inline" : "blocks",
        options: recorded,
      },
    );
    ashlarOk(["verify", release, "--quiet"]);
    ashlarOk(["reproduce", release, "--source", `dir:${input}`, "--quiet"]);
  }
  for (const [flags, message] of [
    [
      ["--compress", "zstd", "--target-kernel", "6.1"],
      /kernel cannot read zstd,3 .*Linux 6\.10 reads it, this is 6\.1/,
    ],
    [["--compress", "lz4hc,13"], /lz4hc has levels 1 to 12/],
    [["--compress", "brotli"], /compression is none, auto, lz4/],
    [["--cluster", "64K"], /nothing is compressed/],
    [["--compress", "lz4", "--cluster", "5000"], /multiple of 4096/],
    [["--compress", "lz4", "--target-kernel", "old"], /kernel is auto or a version/],
  ] as const) {
    const { status, stderr } = ashlar(seal("refused", ...flags));
    assert.notEqual(status, 0);
    assert.match(stderr, message);
  }
});

test("layouts are recorded and given again: hints, chunks, whose data comes first, ends of files", (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-layout-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const input = join(folder, "in");
  mkdirSync(input);
  for (let i = 0; i < 20; i++) writeFileSync(join(input, `${i}.txt`), `${i} and the like\n`.repeat(i * 400));
  writeFileSync(join(input, "holes"), new Uint8Array(3_000_000));
  const list = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text);
    return join(folder, name);
  };
  const hints = list("hints", "# some\n\n1*.txt none\n  *.txt lz4hc,12 16K\n");
  const first = list("first", "7.txt\nholes\nnot-there\n");
  const seal = (...flags: string[]): string[] => {
    const always = ["-o", join(folder, "out"), "--name", "x", "--timestamp", "1700000000", "--quiet", "--overwrite"];
    return ["seal", `dir:${input}`, ...always, ...flags];
  };
  for (const [flags, recorded] of [
    [["--chunksize", "64K", "--data-first", first], { chunksize: 65536, dataFirst: ["7.txt", "holes", "not-there"] }],
    [["--compress-hints", hints], { compress: "none", compressHints: ["1*.txt none", "*.txt lz4hc,12 16384"] }],
    [["--compress", "lz4", "--tails", "ztailpacking"], { tails: "ztailpacking", compress: "lz4", cluster: 4096 }],
    [
      ["--compress", "zstd", "--tails", "fragments", "--target-kernel", "6.18"],
      { tails: "fragments", compress: "zstd,3", cluster: 65536 },
    ],
  ] as const) {
    ashlarOk(seal(...flags));
    const release = join(folder, "out", "x.release.json");
    const { timestamp: _, ...options } = JSON.parse(readFileSync(release, "utf8")).options;
    assert.deepEqual(options, { tails: "blocks", ...recorded });
    ashlarOk(["verify", release, "--quiet"]);
    ashlarOk(["reproduce", release, "--source", `dir:${input}`, "--quiet"]);
  }
  for (const [flags, message] of [
    [["--chunksize", "64K", "--compress", "lz4"], /cut into chunks is not compressed/],
    [["--chunksize", "5000"], /power of two/],
    [["--tails", "fragments"], /nothing is compressed/],
    [["--tails", "fragments", "--compress", "lz4", "--target-kernel", "5.18"], /Linux 6\.1 reads it/],
    [["--compress-hints", list("bad", "*.txt\n")], /hint .* is not a pattern, a method/],
    [["--compress-hints", join(folder, "missing")], /no such file/],
    [["--data-first", list("binary", "a/../x\n")], /has \. or \.\. in it/],
  ] as const) {
    const { status, stderr } = ashlar(seal(...flags));
    assert.notEqual(status, 0);
    assert.match(stderr, message);
  }
});
