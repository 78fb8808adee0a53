import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { equalBytes } from "../bytes/index.ts";
import { passingChunksOf, type Source } from "../source/index.ts";
import { openFile } from "./files.ts";

const MIB = 2 ** 20;

async function bytesOf(source: Source): Promise<Uint8Array> {
  const whole = new Uint8Array(source.size);
  let at = 0;
  for await (const chunk of passingChunksOf(source)) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  assert.equal(at, source.size);
  return whole;
}

test("a sparse file reads as what it is, and its holes are not read", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-holes-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "sparse");
  const file = await open(path, "wx");
  const places = [9 * MIB - 5, 40 * MIB + 12_345, 119 * MIB - 3]; // over the edges of chunks, and the last bytes
  for (const place of places) await file.write(new Uint8Array(10_000).fill(7), 0, 10_000, place);
  await file.close();
  truncateSync(path, 119 * MIB);
  await using source = await openFile(path);
  assert.ok(equalBytes(await bytesOf(source), readFileSync(path)));
  if (source.dataFrom === undefined) return t.skip("this machine tells no holes");
  assert.ok(source.dataFrom(0) <= places[0]!);
  assert.ok(source.dataFrom(60 * MIB) > 100 * MIB, "the file system tells no holes");
  assert.equal(source.dataFrom(places[1]! + 5), places[1]! + 5);

  let read = 0;
  const counting: Source = {
    ...source,
    readInto(offset, target) {
      read += target.length;
      return source.readInto?.(offset, target);
    },
  };
  assert.ok(equalBytes(await bytesOf(counting), readFileSync(path)));
  assert.ok(read <= 4 * 4 * MIB, `${read} bytes read`);
});

test("holes up to the end, and a file that is one hole", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-holes-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "hole");
  await (await open(path, "wx")).close();
  truncateSync(path, 100 * MIB + 1);
  await using source = await openFile(path);
  assert.ok((await bytesOf(source)).every((byte) => byte === 0));
  if (source.dataFrom !== undefined) assert.equal(source.dataFrom(5), source.size);
});
