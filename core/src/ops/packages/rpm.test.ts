import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { concatBytes, encodeUtf8, fromUtf8 } from "../../bytes/index.ts";
import { isAshlarError } from "../../errors/index.ts";
import { bytesSource } from "../../source/index.ts";
import { attributes, directory, putNode, regularFile } from "../../tree/index.ts";
import { readPackages } from "./index.ts";
import { readSqliteTable } from "./sqlite.ts";

/** What SQLite itself writes. */
function database(rows: readonly Uint8Array[], pageSize: number): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-sqlite-"));
  try {
    const path = join(folder, "x");
    const db = new DatabaseSync(path);
    db.exec(`PRAGMA page_size = ${pageSize}; CREATE TABLE Other (x TEXT)`);
    db.exec("CREATE TABLE 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)");
    const insert = db.prepare("INSERT INTO Packages (blob) VALUES (?)");
    db.exec("BEGIN");
    for (const row of rows) insert.run(row);
    db.exec("COMMIT");
    db.close();
    return readFileSync(path);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

type HeaderValue = readonly [tag: number, type: number, values: readonly (string | number)[]];

/** An rpm header as it stands in the database. */
function header(values: readonly HeaderValue[]): Uint8Array {
  const data: number[] = [];
  const entries: number[] = [];
  for (const [tag, type, list] of values) {
    if (type === 4) while (data.length % 4 !== 0) data.push(0);
    entries.push(tag, type, data.length, list.length);
    for (const value of list)
      if (typeof value === "number") data.push(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255);
      else data.push(...encodeUtf8(value), 0);
  }
  const numbers = [values.length, data.length, ...entries];
  const intro = new Uint8Array(numbers.length * 4);
  for (const [index, value] of numbers.entries()) new DataView(intro.buffer).setUint32(index * 4, value);
  return concatBytes(intro, Uint8Array.from(data));
}

const samplePackage = (name: string, files: readonly string[], more: readonly HeaderValue[] = []): Uint8Array =>
  header([
    [1000, 6, [name]],
    [1001, 6, ["1.2"]],
    [1002, 6, ["3.fc43"]],
    [1022, 6, ["x86_64"]],
    [1116, 4, files.map(() => 0)],
    [1117, 8, files],
    [1118, 8, ["/usr/bin/"]],
    ...more,
  ]);

function treeWith(bytes: Uint8Array, files: readonly string[] = []) {
  const root = directory(attributes(0o755));
  putNode(root, "usr/lib/sysimage/rpm/rpmdb.sqlite", regularFile(attributes(0o644), bytesSource(bytes)));
  for (const name of files)
    putNode(root, `usr/bin/${name}`, regularFile(attributes(0o755), bytesSource(new Uint8Array(1))));
  return root;
}

test("rows of all sizes, on pages of all sizes", () => {
  for (const pageSize of [512, 4096, 65536]) {
    const rows = Array.from({ length: 700 }, (_, index) =>
      new Uint8Array(index % 50 === 0 ? index * 300 : (index * 37) % 900).fill(index),
    );
    const read = [...(readSqliteTable(database(rows, pageSize), "Packages") ?? [])].map(([, blob]) => blob);
    assert.equal(read.length, rows.length);
    for (const [index, row] of rows.entries())
      assert.deepEqual(Buffer.from(read[index] as Uint8Array), Buffer.from(row));
  }
  assert.equal(readSqliteTable(database([], 4096), "Missing"), undefined);
});

test("packages, epochs, keys that are none", async () => {
  const rows = [
    samplePackage("tool", ["tool", "toolctl"]),
    samplePackage("old", ["old"], [[1003, 4, [2]]]),
    samplePackage("gpg-pubkey", []),
  ];
  const packages = await readPackages(treeWith(database(rows, 4096), ["tool", "toolctl", "old", "local"]));
  assert.deepEqual(packages.managers, ["rpm"]);
  assert.deepEqual(
    [...packages.packages.values()].map(({ id, version, architecture }) => [id, version, architecture]),
    [
      ["old", "2:1.2-3.fc43", "x86_64"],
      ["tool", "1.2-3.fc43", "x86_64"],
    ],
  );
  assert.equal(packages.ownerOf(fromUtf8("usr/bin/toolctl"))?.id, "tool");
  assert.equal(packages.ownerOf(fromUtf8("usr/bin/local")), undefined);
});

test("a database of another form, or with a log, is named", async () => {
  const root = treeWith(database([], 4096));
  putNode(
    root,
    "usr/lib/sysimage/rpm/rpmdb.sqlite-wal",
    regularFile(attributes(0o644), bytesSource(new Uint8Array(9))),
  );
  assert.match((await readPackages(root)).notes[0]?.message ?? "", /write-ahead log/);
  const berkeley = directory(attributes(0o755));
  putNode(berkeley, "var/lib/rpm/Packages", regularFile(attributes(0o644), bytesSource(new Uint8Array(9))));
  assert.match((await readPackages(berkeley)).notes[0]?.message ?? "", /no SQLite database/);
});

test("damaged databases give rows or one of our errors", async () => {
  const whole = database(
    Array.from({ length: 120 }, (_, index) =>
      samplePackage(
        `p${index}`,
        Array.from({ length: index }, (_, file) => `f${file}`),
      ),
    ),
    1024,
  );
  let state = 7;
  const random = (limit: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % limit;
  };
  for (let round = 0; round < 400; round++) {
    const bytes = new Uint8Array(whole.subarray(0, round % 7 === 0 ? random(whole.length) : whole.length));
    for (let i = 0; i < 1 + random(12) && bytes.length > 0; i++)
      bytes[random(round % 2 === 0 ? Math.min(bytes.length, 4096) : bytes.length)] = [0, 1, 0x7f, 0xff, random(256)][
        random(5)
      ]!;
    try {
      await readPackages(treeWith(bytes));
    } catch (error) {
      assert.ok(isAshlarError(error), error instanceof Error ? error.stack : String(error));
    }
  }
});
