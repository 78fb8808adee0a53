// Layers as GNU tar and bsdtar write them, against `umoci unpack` as root: the same layout, the same tree.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { compare } from "./unpacked.ts";

/** What `tar` of GNU makes of a directory. */
function gnuTar(directory: string, options: readonly string[]): Uint8Array {
  const { status, stdout, stderr } = spawnSync("tar", [...options, "-C", directory, "-cf", "-", "."], {
    maxBuffer: 1 << 28,
  });
  assert.equal(status, 0, stderr.toString());
  return stdout;
}

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: "utf8" });
  assert.equal(status, 0, `${command} ${args.join(" ")}: ${stderr}`);
}

interface Sample {
  /** Paths past 100 bytes, in two parts that ustar can and one that it cannot hold. */
  readonly names: "short" | "split" | "long";
  readonly devices: boolean;
  /** Owners and times that octal fields cannot hold. */
  readonly bigNumbers: boolean;
  readonly fractions: boolean;
}

function makeSample(root: string, sample: Sample): void {
  const at = (path: string) => join(root, path);
  mkdirSync(at("usr/bin"), { recursive: true });
  mkdirSync(at("tmp"));
  chmodSync(at("tmp"), 0o1777);
  writeFileSync(at("usr/bin/su"), "set-id\n");
  run("chown", "12:34", at("usr/bin/su"));
  chmodSync(at("usr/bin/su"), 0o6755);
  writeFileSync(at("empty"), "");
  writeFileSync(at("block"), new Uint8Array(512).fill(1));
  writeFileSync(
    at("large"),
    new Uint8Array(3_000_001).map((_, i) => i % 251),
  );
  linkSync(at("large"), at("usr/hardlink"));
  symlinkSync("../../nowhere", at("usr/dangling"));
  symlinkSync("bin/su", at("usr/link"));
  linkSync(at("usr/link"), at("usr/link-of-link")); // a hard link to a symbolic link
  writeFileSync(Buffer.from([...Buffer.from(`${root}/latin-`), 0xe9, 0xff]), "not UTF-8");
  writeFileSync(at("back\\slash and space"), "");
  if (sample.names !== "short") {
    const deep = `${"d".repeat(70)}/${"e".repeat(70)}`;
    mkdirSync(at(deep), { recursive: true });
    writeFileSync(at(`${deep}/${"f".repeat(90)}`), "deep");
  }
  if (sample.names === "long") {
    linkSync(at(`${"d".repeat(70)}/${"e".repeat(70)}/${"f".repeat(90)}`), at("to-deep"));
    writeFileSync(at("g".repeat(255)), "wide");
    symlinkSync("h/".repeat(150), at("long-target"));
    linkSync(at("g".repeat(255)), at("to-wide"));
  }
  if (sample.devices) {
    run("mknod", at("null"), "c", "1", "3");
    run("mknod", at("big"), "b", "259", "65537");
    run("mkfifo", at("fifo"));
  }
  if (sample.bigNumbers) {
    writeFileSync(at("owner"), "");
    run("chown", "-h", "4000000000:2097152", at("owner"));
    writeFileSync(at("before"), "");
    run("touch", "-d", "1960-02-03 04:05:06Z", at("before"));
    writeFileSync(at("after"), "");
    run("touch", "-d", "2200-01-01 00:00:00Z", at("after"));
  }
  if (sample.fractions) {
    writeFileSync(at("fraction"), "");
    run("touch", "-d", "2020-01-02 03:04:05.123456789Z", at("fraction"));
    writeFileSync(at("before-fraction"), "");
    run("touch", "-d", "1960-01-02 03:04:05.250000000Z", at("before-fraction"));
  }
  lutimesSync(at("usr/dangling"), 1_500_000_000, 1_500_000_000);
}

async function withDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "ashlar-sample-"));
  try {
    await body(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const FORMATS: readonly (readonly [format: string, sample: Sample])[] = [
  ["v7", { names: "short", devices: false, bigNumbers: false, fractions: false }],
  ["ustar", { names: "split", devices: true, bigNumbers: false, fractions: false }],
  ["oldgnu", { names: "long", devices: true, bigNumbers: true, fractions: false }],
  ["gnu", { names: "long", devices: true, bigNumbers: true, fractions: false }],
  ["posix", { names: "long", devices: true, bigNumbers: true, fractions: true }],
];

for (const [format, sample] of FORMATS)
  test(`GNU tar ${format}: the tree that umoci unpacks`, async (t) => {
    await withDirectory(async (directory) => {
      makeSample(directory, sample);
      const tar = gnuTar(directory, [`--format=${format}`, "--sort=name"]);
      const listing = await compare(t, [{ tar }]);
      if (listing.size > 0) assert.ok(listing.size >= 12);
    });
  });

for (const compression of ["none", "gzip"] as const)
  test(`bsdtar, layer compression ${compression}`, async (t) => {
    if (spawnSync("bsdtar", ["--version"]).status !== 0) return t.skip("bsdtar is not there");
    await withDirectory(async (directory) => {
      makeSample(directory, { names: "long", devices: true, bigNumbers: true, fractions: true });
      run("setfattr", "-n", "user.note", "-v", "0x000a3d0a", join(directory, "large"));
      const { stdout } = spawnSync("bsdtar", ["--format=pax", "-C", directory, "-cf", "-", "."], {
        maxBuffer: 1 << 28,
      });
      await compare(t, [{ tar: stdout, compression }]);
    });
  });

const SPARSE = [
  "gnu",
  "oldgnu",
  "posix --sparse-version=0.0",
  "posix --sparse-version=0.1",
  "posix --sparse-version=1.0",
];
for (const options of SPARSE)
  test(`sparse files, ${options}`, async (t) => {
    await withDirectory(async (directory) => {
      const sparse = (name: string, size: number, runs: readonly (readonly [at: number, length: number])[]) => {
        const file = openSync(join(directory, name), "w");
        for (const [at, length] of runs) writeSync(file, new Uint8Array(length).fill(65 + (at % 23)), 0, length, at);
        truncateSync(join(directory, name), size);
      };
      sparse("hole-only", 1_000_000, []);
      sparse("hole-first", 1_000_000, [[900_000, 100_000]]);
      sparse("hole-last", 2_000_000, [[0, 4096]]);
      sparse("odd-end", 1_000_001, [[999_900, 101]]);
      sparse(
        "many",
        60 * 100_000,
        Array.from({ length: 60 }, (_, i) => [i * 100_000, 5000 + i] as const),
      );
      sparse(`${"long-".repeat(30)}name`, 500_000, [[100_000, 10]]);
      writeFileSync(join(directory, "zz-after"), "the next header is found");
      const tar = gnuTar(directory, ["-S", "--sort=name", ...`--format=${options}`.split(" ")]);
      await compare(t, [{ tar }], { oracle: options.includes("gnu") ? "tar" : "umoci" });
    });
  });

test("xattrs as bytes, by GNU tar", async (t) => {
  await withDirectory(async (directory) => {
    const file = (name: string, attribute: string, value: string) => {
      writeFileSync(join(directory, name), "");
      run("setfattr", "-n", attribute, "-v", value, join(directory, name));
    };
    file("newlines", "user.text", "0x0a310a3d0a");
    file("nul", "user.nul", "0x000001ff00");
    file("capability", "security.capability", "0x0100000200040000000000000000000000000000");
    file("trusted", "trusted.own", "0x41");
    file("large", "user.large", `0x${"5a".repeat(3000)}`);
    file("equals", "user.a=b", "0x41");
    mkdirSync(join(directory, "dir"));
    run("setfattr", "-n", "user.dir", "-v", "0x42", join(directory, "dir"));
    file("empty-value", "user.empty", "0x");
    const tar = gnuTar(directory, ["--format=posix", "--xattrs", "--xattrs-include=*", "--sort=name"]);
    await compare(t, [{ tar }], {
      differs: { "empty-value: xattrs": "Go's reader takes an empty record for a removal; GNU tar restores it" },
    });
  });
});
