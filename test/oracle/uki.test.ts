// Our PE reader and UKIs against ukify, systemd-measure, pesign, objdump and pefile, with the stubs and kernels of Debian.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, type TestContext, test } from "node:test";

import { encodeUtf8, toHex } from "../../core/src/bytes/index.ts";
import {
  assembleUki,
  authenticodeDigest,
  checksumOffset,
  measureUki,
  openPe,
  parsePe,
  peChecksum,
  type Uki,
} from "../../core/src/formats/pe/index.ts";
import { pureHashes } from "../../core/src/hash/index.ts";
import { bytesSource, readAll } from "../../core/src/source/index.ts";
import { oracle, requireOracle } from "../support/oracle.ts";
import { findRoot } from "../support/roots.ts";

const SBAT = "sbat,1,SBAT Version,sbat,1,https://example.org\nashlar.test,2,Ashlar,uki,1,https://example.org\n";

for (const suite of ["trixie", "bookworm"] as const)
  describe(`UKI with the stub of ${suite}`, () => {
    let folder = "";
    let path = "";
    let stub: Uint8Array;
    let kernel: Uint8Array;
    let uki: Uki;
    const parts = {
      osrel: encodeUtf8("ID=debian\nIMAGE_ID=ashlar\nIMAGE_VERSION=1\n"),
      cmdline: encodeUtf8("console=ttyS0 roothash=00"),
      uname: encodeUtf8("6.1.0-test"),
      initrd: new Uint8Array(200_001).map((_, i) => i % 253),
      pcrpkey: encodeUtf8("-----BEGIN PUBLIC KEY-----\n"),
    };

    before(async () => {
      const tar = findRoot(suite);
      if (tar === undefined) return;
      folder = await mkdtemp(join(tmpdir(), "ashlar-uki-"));
      const wanted = ["./boot/vmlinuz-*", "./usr/lib/systemd/boot/efi/*"];
      spawnSync("tar", ["-xf", tar, "-C", folder, "--wildcards", ...wanted]);
      const [name] = await readdir(join(folder, "boot"));
      stub = await readFile(join(folder, "usr/lib/systemd/boot/efi/linuxx64.efi.stub"));
      kernel = await readFile(join(folder, "boot", name ?? ""));
      const sections = Object.entries(parts).map(([part, content]) => ({ name: `.${part}`, content }));
      uki = await assembleUki({
        stub,
        architecture: "x86-64",
        sbat: [SBAT],
        sections: [{ name: ".linux", content: kernel }, ...sections],
      });
      path = join(folder, "uki.efi");
      await writeFile(path, await readAll(uki.source, 2 ** 28, "UKI"));
      for (const [part, content] of [...Object.entries(parts), ["linux", kernel] as const])
        await writeFile(join(folder, part), content);
      const sbat = uki.sections.find(({ name: section }) => section === ".sbat");
      if (sbat !== undefined) await writeFile(join(folder, "sbat"), await readAll(sbat.content, 4096, "sbat"));
    });
    after(async () => {
      if (folder !== "") await rm(folder, { recursive: true, force: true });
    });
    const scenario = (name: string, run: (t: TestContext) => Promise<void>): void =>
      void test(name, async (t) => {
        if (path !== "") return run(t);
        const why = `no root ${suite}; run scripts/fetch-roots`;
        if (process.env["CI"]) throw new Error(why);
        t.skip(why);
      });

    scenario("layout: exact sizes, blocks, room, no gaps", async () => {
      const image = await openPe(bytesSource(await readFile(path)));
      assert.equal(image.architecture, "x86-64");
      assert.equal(image.loaderInfo?.major, suite === "trixie" ? 257 : 252);
      assert.ok(uki.spareHeaders >= 8);
      let end = image.optionalHeader.headersSize;
      for (const section of image.sections) {
        assert.equal(section.rawOffset, end, section.name);
        end += section.rawSize;
      }
      assert.equal(end, image.source.size);
      const names = image.sections.map(({ name }) => name);
      assert.equal(new Set(names).size, names.length);
      assert.equal(names.at(-1), ".linux");
      for (const name of [".linux", ".initrd"]) {
        const section = image.sections.find((candidate) => candidate.name === name);
        assert.equal((section?.rawOffset ?? 1) % 4096, 0);
      }
      const original = await parsePe(stub);
      for (const section of original.sections.filter(({ name }) => name !== ".sbat")) {
        const now = image.sections.find(({ name }) => name === section.name);
        assert.equal(now?.virtualAddress, section.virtualAddress);
        const [a, b] = [await readAll(section.content, 2 ** 20, ""), await readAll(now.content, 2 ** 20, "")];
        assert.equal(Buffer.compare(a, b), 0, section.name);
      }
    });

    scenario("ukify inspect finds every section", async (t) => {
      const ukify = requireOracle(t, "ukify");
      if (ukify === undefined) return;
      const { stdout } = await ukify.ok(["inspect", path, "--json=short"]);
      const seen = JSON.parse(stdout) as Record<string, { size: number; sha256: string; text?: string }>;
      for (const [part, content] of [...Object.entries(parts), ["linux", kernel] as const]) {
        assert.equal(seen[`.${part}`]?.size, content.length, part);
        assert.equal(seen[`.${part}`]?.sha256, createHash("sha256").update(content).digest("hex"), part);
      }
      assert.match(seen[".sbat"]?.text ?? "", /^sbat,1,SBAT Version[\s\S]*\nsystemd[\s\S]*\nashlar\.test,2,/);
    });

    scenario("objdump reads the section table", async (t) => {
      const objdump = requireOracle(t, "objdump");
      if (objdump === undefined) return;
      const { stdout, stderr } = await objdump.ok(["-h", path]);
      assert.equal(stderr, "");
      for (const { name, virtualSize, rawOffset } of uki.sections) {
        const row = new RegExp(`^ +\\d+ \\${name} +([0-9a-f]+) +[0-9a-f]+ +[0-9a-f]+ +([0-9a-f]+)`, "m").exec(stdout);
        assert.equal(Number.parseInt(row?.[1] ?? "", 16), virtualSize, name);
        assert.equal(Number.parseInt(row?.[2] ?? "", 16), rawOffset, name);
      }
    });

    scenario("pesign computes the same Authenticode hash of UKI, signed kernel and boot loader", async (t) => {
      const pesign = requireOracle(t, "pesign");
      if (pesign === undefined) return;
      // pesign pads a file to 8 bytes only when it signs; systemd-boot 252 has an odd size.
      const loader = suite === "trixie" ? [join(folder, "usr/lib/systemd/boot/efi/systemd-bootx64.efi")] : [];
      for (const file of [path, join(folder, "linux"), ...loader]) {
        const { stdout } = await pesign.ok(["-h", "-d", "sha256", "-i", file]);
        const image = await openPe(bytesSource(await readFile(file)));
        assert.equal(toHex(await authenticodeDigest(image, pureHashes)), /hash: ([0-9a-f]{64})/.exec(stdout)?.[1]);
      }
    });

    scenario("the kernel's own checksum is what we compute", async () => {
      const image = await parsePe(kernel);
      // Only its signer renewed it.
      assert.equal(await peChecksum(image.source, checksumOffset(image)), image.optionalHeader.checksum);
    });

    scenario("pefile has no complaints and agrees on the checksum", async (t) => {
      const python = oracle("python3", { from: "tools" });
      const script =
        "import sys, pefile; p = pefile.PE(sys.argv[1]); print(p.get_warnings(), p.generate_checksum() == p.OPTIONAL_HEADER.CheckSum)";
      const result = await python?.run(["-c", script, path]);
      if (result?.status !== 0) {
        if (process.env["CI"]) throw new Error(result?.stderr ?? "no python3 in the tools root");
        return t.skip("no python3-pefile in the tools root");
      }
      // Stub 252 has two relocations that do nothing at one place; nothing of ours.
      assert.match(result.stdout, /^\[(?:'Overlapping offsets in relocation data at RVA: 0x[0-9a-f]+')?\] True\n$/);
    });

    for (const from of ["host", "tools"] as const)
      scenario(`systemd-measure (${from}) computes the same PCR 11`, async (t) => {
        const measure = requireOracle(t, "systemd-measure", { from });
        if (measure === undefined) return;
        const version = Number(/systemd (\d+)/.exec((await measure.ok(["--version"])).stdout)?.[1]);
        const known = version < 255 ? [] : ["uname", "sbat"];
        const given = ["linux", "osrel", "cmdline", "initrd", "pcrpkey", ...known];
        const { stdout } = await measure.ok([
          "calculate",
          "--json=short",
          "--bank=sha256",
          ...given.map((name) => `--${name}=${join(folder, name)}`),
          "--phase=",
          "--phase=enter-initrd",
          "--phase=enter-initrd:leave-initrd:sysinit:ready",
        ]);
        const theirs = JSON.parse(stdout) as { sha256: { phase?: string; hash: string }[] };
        const ours = await measureUki({
          sections: uki.sections,
          algorithm: "sha256",
          stubVersion: version,
          hashes: pureHashes,
          phases: ["", "enter-initrd", "enter-initrd:leave-initrd:sysinit:ready"],
        });
        assert.deepEqual(
          ours.map(({ value }) => toHex(value)),
          theirs.sha256.map(({ hash }) => hash),
        );
      });
  });
