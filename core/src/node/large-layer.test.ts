/** A layer of many chunks through the real decompressors: they free their memory behind the reader's back. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { byteString } from "../bytes/index.ts";
import { tarParser } from "../formats/tar/index.ts";
import { nodeDecompressors } from "./decompress.ts";
import { nodeHashes } from "./hashes.ts";
import { fileScratch } from "./scratch.ts";

const MIB = 1024 * 1024;

/** An archive of files of random bytes, written without our own writer. */
function archive(sizes: readonly number[]): { readonly tar: Buffer; readonly contents: readonly Buffer[] } {
  const contents = sizes.map((size, i) => Buffer.alloc(size, nodeHashes.hash("sha256", Uint8Array.of(i))));
  const parts: Buffer[] = [];
  for (const [i, content] of contents.entries()) {
    const header = Buffer.alloc(512);
    header.write(`file-${i}`);
    header.write(
      `0000644\x000000000\x000000000\x00${content.length.toString(8).padStart(11, "0")}\x0000000000000\x00`,
      100,
    );
    header.write("        0", 148);
    header.write("ustar\x0000", 257);
    const sum = header.reduce((total, byte) => total + byte, 0);
    header.write(`${sum.toString(8).padStart(6, "0")}\x00 `, 148);
    parts.push(header, content, Buffer.alloc((512 - (content.length % 512)) % 512));
  }
  return { tar: Buffer.concat([...parts, Buffer.alloc(1024)]), contents };
}

async function* inChunks(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 64 * 1024) yield bytes.slice(at, at + 64 * 1024);
}

for (const [name, compress, open] of [
  ["gzip", gzipSync, nodeDecompressors.gunzip],
  ["zstd", zstdCompressSync, nodeDecompressors.unzstd],
] as const)
  test(`content is where the parser says, in a ${name} layer of many chunks`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "ashlar-layer-"));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const { tar, contents } = archive([700, 3 * MIB + 1, 5, MIB, 7 * MIB - 512, 1, 2 * MIB]);
    const scratch = await fileScratch(folder).create();
    const parser = tarParser();
    const found: { readonly path: string; readonly at: number; readonly size: number }[] = [];
    for await (const chunk of open(inChunks(compress(tar)), "test")) {
      const appended = scratch.append(chunk);
      parser.push(chunk);
      for (let event = parser.next(); event !== undefined; event = parser.next())
        if (event.kind === "entry")
          found.push({ path: event.entry.path, at: event.entry.contentOffset, size: event.entry.size });
      await appended;
    }
    parser.end();
    assert.equal(found.length, contents.length);
    for (const [i, { path, at, size }] of found.entries()) {
      assert.equal(path, byteString(Buffer.from(`file-${i}`)));
      assert.ok(contents[i]?.equals(await scratch.read(at, size)), path);
    }
    await scratch.dispose();
  });
