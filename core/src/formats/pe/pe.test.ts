import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { concatBytes, encodeUtf8, toHex } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { pureHashes } from "../../hash/index.ts";
import { bytesSource, chunksOf, forwardSink, memorySink, readAll } from "../../source/index.ts";
import {
  RawDataDirectory,
  RawDebugEntry,
  RawDosHeader,
  RawFileHeader,
  RawOptionalHeader,
  RawSectionHeader,
} from "./format.ts";
import {
  assembleUki,
  authenticodeDigest,
  checksumOffset,
  findSection,
  measureUki,
  mergeSbat,
  openPe,
  parsePe,
  peChecksum,
  type UkiOptions,
} from "./index.ts";
import { orderSections } from "./sections.ts";

const MAGIC = "#### LoaderInfo: systemd-stub 257.1-2 ####\0";
const SBAT = "sbat,1,SBAT Version,sbat,1,https://example.org\nsystemd,1,S,systemd,257,https://example.org\n\0";

interface Shape {
  readonly machine?: number;
  readonly subsystem?: number;
  readonly sections?: readonly (readonly [name: string, address: number, content: Uint8Array])[];
  readonly headersSize?: number;
  readonly tail?: Uint8Array;
  readonly symbols?: boolean;
  readonly debug?: boolean;
  readonly directories?: number;
}

/** A PE32+ image like a stub, of the smallest size. */
function image(shape: Shape = {}): Uint8Array {
  const { machine = 0x8664, subsystem = 10, headersSize = 0x400, tail = new Uint8Array(0), directories = 16 } = shape;
  const debugged = RawDebugEntry.encode({
    ...{ characteristics: 0, timestamp: 0, major: 0, minor: 0, type: 2, size: 4, address: 0x1000 },
    rawOffset: headersSize,
  });
  const sections = shape.sections ?? [
    [".text", 0x1000, new Uint8Array(700).fill(0x90)] as const,
    [".sbat", 0x2000, encodeUtf8(SBAT)] as const,
    [".sdmagic", 0x3000, encodeUtf8(MAGIC)] as const,
    ...(shape.debug === true ? [[".rdata", 0x4000, debugged] as const] : []),
  ];
  const pad = (bytes: Uint8Array, to: number): Uint8Array =>
    concatBytes(bytes, new Uint8Array((to - (bytes.length % to)) % to));
  let rawOffset = headersSize;
  const table = sections.map(([name, virtualAddress, content]) => {
    const rawSize = Math.ceil(content.length / 512) * 512;
    const characteristics = 0x40000040;
    const none = { relocations: 0, lineNumbers: 0, relocationCount: 0, lineNumberCount: 0 };
    const at = rawOffset;
    rawOffset += rawSize;
    return RawSectionHeader.encode({
      ...{
        name: encodeUtf8(name),
        virtualSize: content.length,
        virtualAddress,
        rawSize,
        rawOffset: at,
        characteristics,
      },
      ...none,
    });
  });
  const symbols =
    shape.symbols === true
      ? concatBytes(new Uint8Array(18).fill(1), Uint8Array.of(8, 0, 0, 0, 65, 66, 67, 0))
      : undefined;
  const zero64 = { stackReserve: 0n, stackCommit: 0n, heapReserve: 0n, heapCommit: 0n, imageBase: 0x14df90000n };
  const versions = { linkerMajor: 0, linkerMinor: 0, osMajor: 0, osMinor: 0, imageMajor: 257, imageMinor: 1 };
  const headers = concatBytes(
    RawDosHeader.encode({ magic: 0x5a4d, dos: new Uint8Array(0), peOffset: 64 }),
    RawFileHeader.encode({
      ...{ signature: 0x4550, machine, sectionCount: sections.length, timestamp: 0x12345678 },
      ...{ symbolTable: symbols === undefined ? 0 : rawOffset, symbolCount: symbols === undefined ? 0 : 1 },
      ...{ optionalHeaderSize: RawOptionalHeader.size + 8 * directories, characteristics: 0x206 },
    }),
    RawOptionalHeader.encode({
      ...{
        magic: 0x20b,
        codeSize: 0,
        initializedDataSize: 0,
        uninitializedDataSize: 0,
        entryPoint: 0x1000,
        codeBase: 0x1000,
      },
      ...{ sectionAlignment: 4096, fileAlignment: 512, subsystemMajor: 1, subsystemMinor: 1, win32Version: 0 },
      ...{ imageSize: 0x5000, headersSize, checksum: 0, subsystem, dllCharacteristics: 0x160 },
      ...{ loaderFlags: 0, directoryCount: directories },
      ...zero64,
      ...versions,
    }),
    ...Array.from({ length: directories }, (_, i) =>
      RawDataDirectory.encode(
        i === 6 && shape.debug === true ? { address: 0x4000, size: 28 } : { address: 0, size: 0 },
      ),
    ),
    ...table,
  );
  return concatBytes(pad(headers, headersSize), ...sections.map(([, , content]) => pad(content, 512)), symbols ?? tail);
}

const KERNEL = image({ sections: [[".text", 0x1000, new Uint8Array(70_000).fill(3)]] });

function options(values: Partial<UkiOptions> = {}): UkiOptions {
  const sections = [
    { name: ".linux", content: KERNEL },
    { name: ".initrd", content: new Uint8Array(20_001).fill(9) },
    { name: ".cmdline", content: encodeUtf8("quiet") },
    { name: ".osrel", content: encodeUtf8("ID=x\n") },
  ];
  return { stub: image(), sections, ...values };
}

const whole = async (values: Partial<UkiOptions> = {}): Promise<Uint8Array> =>
  readAll((await assembleUki(options(values))).source, 2 ** 24, "UKI");

describe("UKI", () => {
  test("sections come back exactly, where they should be", async () => {
    const uki = await assembleUki(options());
    const read = await openPe(uki.source);
    assert.deepEqual(
      read.sections.map(({ name }) => name),
      [".text", ".sbat", ".sdmagic", ".osrel", ".cmdline", ".initrd", ".linux"],
    );
    assert.deepEqual(read.loaderInfo, { name: "systemd-stub", version: "257.1-2", major: 257 });
    assert.equal(read.fileHeader.timestamp, 0x12345678);
    for (const { name, content } of options().sections) {
      const section = findSection(read, name);
      assert.ok(section);
      assert.deepEqual(await readAll(section.content, 2 ** 20, name), content, name);
      assert.equal(section.virtualAddress % 4096, 0);
    }
    for (const name of [".initrd", ".linux"]) assert.equal((findSection(read, name)?.rawOffset ?? 1) % 4096, 0);
    assert.ok(uki.spareHeaders >= 8);
    assert.equal(await peChecksum(uki.source, checksumOffset(read)), read.optionalHeader.checksum);
    assert.equal(read.optionalHeader.checksum, uki.checksum);
    await authenticodeDigest(read, pureHashes); // no gaps
  });

  test("the same input gives the same bytes, in any order, and emitting writes them", async () => {
    const sections = options().sections.toReversed();
    assert.equal(toHex(await whole({ sections })), toHex(await whole()));
    const sink = memorySink();
    const forward = forwardSink(sink);
    for await (const chunk of chunksOf((await assembleUki(options())).source)) await forward.write(chunk);
    assert.equal(toHex(sink.bytes()), toHex(await whole()));
  });

  test("the stub is not changed; symbols go, debug entries move, headers grow", async () => {
    const stub = image({ symbols: true, debug: true, headersSize: 0x200 });
    const copy = stub.slice();
    const read = await openPe((await assembleUki(options({ stub }))).source);
    assert.deepEqual(stub, copy);
    assert.equal(read.fileHeader.symbolTable, 0);
    const debug = findSection(read, ".rdata");
    assert.ok(debug);
    const entry = RawDebugEntry.view(await readAll(debug.content, 100, "debug"));
    assert.equal(entry.rawOffset, findSection(read, ".text")?.rawOffset);
    assert.notEqual(entry.rawOffset, 0x200);
  });

  test("SBAT: merged in place where it fits, else in a new section; the lower generation stays", async () => {
    const more = ["sbat,1,SBAT Version,sbat,1,https://example.org\nsystemd,2,S,x,1,u\nashlar,3,A,x,1,u\n"];
    const text = async (values: Partial<UkiOptions>): Promise<[number, string]> => {
      const read = await openPe((await assembleUki(options({ sbat: more, ...values }))).source);
      const section = read.sections.filter(({ name }) => name === ".sbat");
      assert.equal(section.length, 1);
      return [section[0]!.virtualAddress, new TextDecoder().decode(await readAll(section[0]!.content, 4096, ""))];
    };
    const expected = `${SBAT.slice(0, -1)}ashlar,3,A,x,1,u\n\0`;
    assert.deepEqual(await text({}), [0x2000, expected]);
    const tight = image({
      sections: [
        [".text", 0x1000, new Uint8Array(700)],
        [".sbat", 0x2000, encodeUtf8(SBAT)],
        [".sdmagic", 0x2060, encodeUtf8(MAGIC)],
      ],
    });
    assert.deepEqual(await text({ stub: tight }), [0x3000, expected]);
    assert.equal(mergeSbat(["a,2,x\n", "a,1,y\n", "b,1\n"]).split("\n").slice(1).join("|"), "a,1,y|b,1|");
    assert.throws(() => mergeSbat(["no generation"]), { code: "sbat" });
  });

  test("what cannot become a UKI is refused", async () => {
    const refused = (code: string, values: Partial<UkiOptions>) =>
      assert.rejects(
        assembleUki(options(values)),
        (error) => isAshlarError(error) && error.code === code && !error.message.includes("\n"),
        code,
      );
    const { sections } = options();
    await refused("not-a-stub", { stub: KERNEL });
    await refused("not-a-stub", { stub: await whole() });
    await refused("not-a-stub", { stub: image({ subsystem: 3 }) });
    await refused("wrong-machine", { stub: image({ machine: 0xaa64 }) });
    await refused("wrong-machine", { architecture: "arm64" });
    await refused("wrong-machine", { stub: image({ machine: 1 }) });
    await refused("pe-overlay", { stub: image({ tail: Uint8Array.of(0, 0, 5) }) });
    await refused("bad-magic", { stub: new Uint8Array(1000) });
    await refused("no-linux", { sections: sections.slice(1) });
    await refused("kernel-not-efi", { sections: [{ name: ".linux", content: encodeUtf8("\x1f\x8b") }] });
    await refused("uki-section", { sections: [...sections, { name: ".osrel", content: new Uint8Array(1) }] });
    await refused("uki-section", { sections: [...sections, { name: ".toolong12", content: new Uint8Array(1) }] });
    await refused("uki-section", { sections: [...sections, { name: ".text", content: new Uint8Array(1) }] });
    const many = Array.from({ length: 90 }, (_, i) => ({ name: `.x${i}`, content: new Uint8Array(1) }));
    await refused("pe-headers", { sections: [...sections, ...many] });
    await refused("pe32", { stub: patched(image(), 64 + 24, Uint8Array.of(0x0b, 0x01)) });
  });

  test("profiles keep their place", () => {
    const names = [".linux", ".cmdline", ".profile", ".cmdline", ".profile", ".osrel"].map((name) => ({ name }));
    assert.deepEqual(
      orderSections(names).map(({ name }) => name),
      [".cmdline", ".linux", ".profile", ".cmdline", ".profile", ".osrel"],
    );
  });

  test("PCR 11 depends on the stub's version", async () => {
    const uki = await assembleUki(options());
    const base = async (stubVersion: number, sections: Parameters<typeof measureUki>[0]["sections"] = uki.sections) => {
      const [first] = await measureUki({
        sections,
        algorithm: "sha256",
        stubVersion,
        hashes: pureHashes,
        phases: [""],
      });
      return toHex(first!.value);
    };
    assert.equal(await base(252), await base(254));
    assert.notEqual(await base(252), await base(255)); // .sbat
    const profile = [...uki.sections, { name: ".profile", content: bytesSource(new Uint8Array(1)) }];
    await assert.rejects(base(257, profile), { code: "uki-choice" });
  });
});

function patched(bytes: Uint8Array, at: number, patch: Uint8Array): Uint8Array {
  const copy = new Uint8Array(bytes);
  copy.set(patch.subarray(0, Math.max(0, copy.length - at)), at);
  return copy;
}

/** Opens, reads, hashes and uses as a stub: a value, or one of our errors in one line. */
async function valueOrOurs(bytes: Uint8Array): Promise<void> {
  const attempts = [
    async () => {
      const read = await parsePe(bytes);
      for (const { content } of read.sections) await content.read(0, Math.min(content.size, 4096));
      await authenticodeDigest(read, pureHashes);
    },
    async () => assembleUki(options({ stub: bytes })),
    async () => assembleUki(options({ sections: [{ name: ".linux", content: bytes }] })),
  ];
  for (const attempt of attempts)
    await attempt().catch((error: unknown) => {
      if (!isAshlarError(error)) throw error;
      assert.ok(!error.message.includes("\n"));
    });
}

describe("PE, hostile", () => {
  const stub = image({ debug: true });

  test("every field at its limits", async () => {
    const optionalAt = 64 + RawFileHeader.size;
    const tableAt = optionalAt + RawOptionalHeader.size + 16 * 8;
    const fields = [
      ...Object.values(RawDosHeader.fields).map(({ offset, size }) => ({ offset, size })),
      ...Object.values(RawFileHeader.fields).map(({ offset, size }) => ({ offset: 64 + offset, size })),
      ...Object.values(RawOptionalHeader.fields).map(({ offset, size }) => ({ offset: optionalAt + offset, size })),
      ...Array.from({ length: 32 }, (_, i) => ({ offset: optionalAt + RawOptionalHeader.size + 4 * i, size: 4 })),
      ...[0, 1, 2, 3].flatMap((section) =>
        Object.values(RawSectionHeader.fields).map(({ offset, size }) => ({
          offset: tableAt + section * RawSectionHeader.size + offset,
          size,
        })),
      ),
    ];
    for (const { offset, size } of fields)
      for (const value of [
        0n,
        1n,
        0x7fn,
        0xffn,
        0x200n,
        BigInt(stub.length),
        0x7fffffffn,
        0xffffffffn,
        2n ** 64n - 1n,
      ]) {
        const bytes = new Uint8Array(8);
        new DataView(bytes.buffer).setBigUint64(0, value, true);
        await valueOrOurs(patched(stub, offset, bytes.subarray(0, Math.min(size, 8))));
      }
  });

  test("cut short, and noise", async () => {
    for (let size = 0; size < 1200; size += 7) await valueOrOurs(stub.subarray(0, size));
    await fc.assert(
      fc.asyncProperty(fc.nat(0x240), fc.uint8Array({ minLength: 1, maxLength: 40 }), async (at, noise) =>
        valueOrOurs(patched(stub, at, noise)),
      ),
      { numRuns: 300 },
    );
  });
});
