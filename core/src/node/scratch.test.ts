import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import fsPromises from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileScratch } from "./scratch.ts";

const open = fsPromises.open;

for (const missing of [undefined, "ENOTSUP", "EISDIR"])
  test(`scratch files have no name, ${missing === undefined ? "on this file system" : `where O_TMPFILE says ${missing}`}`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "ashlar-scratch-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const named: string[] = [];
    fsPromises.open = (async (path: string, flags: string | number, mode?: number) => {
      if (typeof flags === "number" && missing !== undefined)
        throw Object.assign(new Error(missing), { code: missing });
      if (typeof flags === "string") named.push(path);
      return open(path, flags, mode);
    }) as typeof open;
    syncBuiltinESMExports();
    t.after(() => {
      fsPromises.open = open;
      syncBuiltinESMExports();
    });
    const scratch = await fileScratch(folder).create();
    assert.deepEqual(readdirSync(folder), []);
    assert.equal(named.length, missing === undefined && process.platform === "linux" ? 0 : 1);
    await scratch.append(new TextEncoder().encode("some content"));
    assert.equal(Buffer.from(await scratch.read(5, 7)).toString(), "content");
    await scratch.dispose();
  });
