/** `ashlar diff` on real Debian images that differ by one package, installed by dpkg; its report in Chromium. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { pathToFileURL } from "node:url";
import { ashlar, ashlarOk } from "../support/ashlar.ts";
import { findChromium, openPage } from "../support/browser.ts";
import { debianLayout } from "../support/debian.ts";
import { writeLayout } from "../support/oci.ts";
import { makeRoot } from "../support/roots.ts";
import { type TarEntry, tarBytes } from "../support/tar.ts";

const IN_CI = process.env["CI"] !== undefined && process.env["CI"] !== "";
const PROGRAM = Buffer.concat(
  Array.from({ length: 3 * 128 }, (_, index) => createHash("sha256").update(`program ${index}`).digest()),
); // three blocks of 4 KiB

let work = "";
let without = "";
let withPackage = "";

function run(command: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: "utf8", maxBuffer: 1 << 26 });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${error ?? ""}${stdout}${stderr}`);
  return stdout;
}

/** A package of our own, made by dpkg-deb. */
function makePackage(): string {
  const folder = join(work, "package");
  mkdirSync(join(folder, "DEBIAN"), { recursive: true });
  mkdirSync(join(folder, "usr/bin"), { recursive: true });
  mkdirSync(join(folder, "usr/share/ashlar-sample"), { recursive: true });
  writeFileSync(
    join(folder, "DEBIAN/control"),
    "Package: ashlar-sample\nVersion: 2.10-3\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: sample\n",
  );
  writeFileSync(join(folder, "usr/bin/ashlar-sample"), PROGRAM, { mode: 0o755 });
  writeFileSync(join(folder, "usr/share/ashlar-sample/notes"), "notes\n");
  const file = join(work, "ashlar-sample.deb");
  run("dpkg-deb", ["--root-owner-group", "--build", folder, file]);
  return file;
}

/** Installs it over the package database of the root and returns what changed as a layer. Needs no privileges. */
function packageLayer(): TarEntry[] {
  const root = join(work, "root");
  mkdirSync(root);
  run("tar", ["-C", root, "--exclude=*.lock", "-xf", makeRoot("trixie"), "./var/lib/dpkg"]);
  const dpkg = ["--force-not-root", "--force-depends", `--root=${root}`, `--log=${join(work, "dpkg.log")}`];
  run("dpkg", [...dpkg, "-i", makePackage()]);
  const info = "var/lib/dpkg/info";
  const files = [
    "usr/bin/ashlar-sample",
    "usr/share/ashlar-sample/notes",
    "var/lib/dpkg/status",
    ...readdirSync(join(root, info))
      .filter((name) => name.startsWith("ashlar-sample."))
      .map((name) => `${info}/${name}`),
  ];
  return [
    { name: "usr/share/ashlar-sample/" },
    ...files.map(
      (name): TarEntry => ({
        name,
        content: readFileSync(join(root, name)),
        mode: name.startsWith("usr/bin/") ? 0o755 : 0o644,
      }),
    ),
  ];
}

before(async () => {
  work = await mkdtemp(join(tmpdir(), "ashlar-diff-"));
  without = `oci:${await debianLayout("trixie")}`;
  withPackage = `oci:${await debianLayout("trixie", { extraLayers: [packageLayer()] })}`;
});
after(() => rm(work, { recursive: true, force: true }));

interface DiffJson {
  readonly schema: string;
  readonly same: boolean;
  readonly packages: readonly { readonly id: string | null; readonly change: string; readonly blocks: number }[];
  readonly files: readonly { readonly path: string; readonly change: string; readonly package: string | null }[];
  readonly blocks: { readonly basis: string; readonly moved: number; readonly metadata: number };
  readonly totals: { readonly added: { readonly files: number; readonly bytes: number } };
}
const diffJson = (...args: readonly string[]): DiffJson => JSON.parse(ashlarOk(["diff", "--json", ...args]).stdout);

test("two Debian images that differ by one package: its name, files and bytes", () => {
  const { stdout } = ashlarOk(["diff", "--quiet", without, withPackage]);
  assert.match(stdout, /packages: 1 added, 0 removed, 0 with another version\n/);
  assert.match(stdout, /\+ ashlar-sample 2\.10-3 {2}\+5 files, \+12\.\d kB, 6 blocks/);
  assert.match(stdout, /\+ \/usr\/bin\/ashlar-sample +12\.3 kB, \[ashlar-sample\]/);
  assert.match(stdout, /~ \/var\/lib\/dpkg\/status +content/);

  const diff = diffJson(without, withPackage);
  assert.equal(diff.schema, "ashlar.diff/v1");
  assert.deepEqual(
    diff.packages.map(({ id, change }) => [id, change]),
    [
      [null, "same"],
      ["ashlar-sample", "added"],
    ].sort(([a], [b]) => Number(a === null) - Number(b === null)),
  );
  assert.deepEqual(
    diff.files.filter(({ package: owner }) => owner === "ashlar-sample").map(({ path, change }) => `${change} ${path}`),
    [
      "added /usr/bin/ashlar-sample",
      "added /usr/share/ashlar-sample",
      "added /usr/share/ashlar-sample/notes",
      "added /var/lib/dpkg/info/ashlar-sample.list",
      "added /var/lib/dpkg/info/ashlar-sample.md5sums",
    ],
  );
  assert.equal(diff.blocks.basis, "contents");
});

test("nothing differs: exit code 0 either way; something does: 9 only if asked for", () => {
  const same = ashlarOk(["diff", "--quiet", "--exit-code", without, without]);
  assert.match(same.stdout, /no difference/);
  ashlarOk(["diff", "--quiet", without, withPackage]);
  assert.equal(ashlar(["diff", "--quiet", "--exit-code", without, withPackage]).status, 9);
});

test("sealed: release, EROFS image and OCI reference compare with each other", () => {
  const out = join(work, "sealed");
  for (const [name, reference] of [
    ["one", without],
    ["two", withPackage],
  ] as const)
    ashlarOk(["seal", "--quiet", reference, "-o", out, "--name", name]);
  const fromTrees = diffJson(join(out, "one.release.json"), join(out, "two.release.json"));
  const fromData = diffJson(join(out, "one.root.erofs"), join(out, "two.root.erofs"));
  assert.equal(fromTrees.blocks.basis, "image");
  assert.deepEqual(fromData.blocks, fromTrees.blocks, "leaves and hashed data say the same");
  assert.equal(fromTrees.packages.find(({ id }) => id === "ashlar-sample")?.blocks, 6);
  const mixed = diffJson(withPackage, join(out, "two.release.json"));
  assert.equal(mixed.blocks.basis, "contents");
  assert.deepEqual(mixed.totals.added, { files: 0, bytes: 0 });
});

test("what has no tree of files is refused by name", async () => {
  const file = join(work, "initrd");
  await writeFile(file, spawnSync("sh", ["-c", "echo . | cpio -o -H newc --quiet"], { cwd: work }).stdout);
  const { status, stderr } = ashlar(["diff", "--quiet", file, without]);
  assert.equal(status, 4);
  assert.match(stderr, /has no tree of files to compare \(initrd\)/);
  const text = join(work, "text");
  await writeFile(text, "nothing that is known\n");
  assert.equal(ashlar(["diff", "--quiet", text, without]).status, 3);
  assert.equal(ashlar(["diff", "--quiet", join(work, "missing"), without]).status, 7);
});

const chromium = findChromium();

test("the report opens in Chromium without an error or a request", { skip: skipReason() }, async () => {
  const report = join(work, "report.html");
  ashlarOk(["diff", "--quiet", "--html", report, without, withPackage]);
  const url = pathToFileURL(report).href;
  for (const [width, height] of [
    [1280, 900],
    [500, 900],
  ] as const) {
    const page = await openPage(chromium!, url, { width, height }); // skipped without one
    try {
      assert.deepEqual(page.problems, []);
      assert.deepEqual(
        page.requests.filter((address) => address !== url && address !== "data:,"),
        [],
      );
      assert.equal(await page.evaluate("document.documentElement.dataset.ready"), "true");
      assert.match(String(await page.evaluate("document.getElementById('packages').textContent")), /ashlar-sample/);
      assert.match(
        String(await page.evaluate("document.getElementById('files').textContent")),
        /usr\/bin\/ashlar-sample/,
      );
      assert.ok(Number(await page.evaluate("document.querySelectorAll('.tile').length")) >= 2);
      assert.ok(
        Number(await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")) <= 0,
        `wider than ${width} px`,
      );
      // Search, sort, the two ways to group, and going down.
      const search =
        "const box = document.getElementById('search'); box.value = 'BIN/ashlar'; box.dispatchEvent(new Event('input'))";
      await page.evaluate(`{ ${search} }`);
      assert.equal(await page.evaluate("document.getElementById('count').textContent"), "1 file");
      await page.evaluate("document.querySelector('#files thead button').click()");
      assert.equal(
        await page.evaluate("document.querySelector('#files th[aria-sort]').getAttribute('aria-sort')"),
        "ascending",
      );
      await page.evaluate("document.querySelector('[data-group=path]').click()");
      await page.evaluate("document.querySelector('.tile').click()");
      assert.ok(Number(await page.evaluate("document.querySelectorAll('#crumbs button').length")) >= 1);
      await page.evaluate("document.querySelector('[data-metric=bytes]').click()");
      assert.deepEqual(page.problems, []);
    } finally {
      await page.close();
    }
  }
});

test("names cannot become markup", { skip: skipReason() }, async () => {
  const names = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    '"quoted" & <!--comment',
    "right\u202eto left",
  ];
  const layout = async (name: string, entries: readonly TarEntry[]): Promise<string> => {
    const { directory } = await writeLayout(join(work, name), { layers: [{ tar: tarBytes(entries) }] });
    return `oci:${directory}`;
  };
  const a = await layout("plain", [{ name: "etc/x", content: "x" }]);
  const b = await layout(
    "hostile <b>",
    names.map((name) => ({ name: `etc/${name.replaceAll("/", "_")}/${name}`, content: name })),
  );
  const report = join(work, "hostile.html");
  ashlarOk(["diff", "--quiet", "--html", report, a, b]);
  const text = readFileSync(report, "utf8");
  assert.equal(text.split("<script").length, 3, "data and program, nothing else");
  assert.ok(!text.includes("\u202e"));
  const page = await openPage(chromium!, pathToFileURL(report).href, { width: 1280, height: 900 });
  try {
    assert.deepEqual(page.problems, []);
    assert.equal(await page.evaluate("document.querySelectorAll('img, b.x').length"), 0);
    assert.match(String(await page.evaluate("document.getElementById('files').textContent")), /<img src=x onerror/);
  } finally {
    await page.close();
  }
});

test("a browser that does report errors and requests is what the tests above rely on", {
  skip: skipReason(),
}, async () => {
  const file = join(work, "control.html");
  await writeFile(file, '<img src="http://ashlar.invalid/x.png"><script>nothing.here()</script>');
  const page = await openPage(chromium!, pathToFileURL(file).href, { width: 800, height: 600 });
  try {
    assert.ok(page.problems.some((text) => text.includes("nothing is not defined")));
    assert.ok(page.requests.includes("http://ashlar.invalid/x.png"));
  } finally {
    await page.close();
  }
});

function skipReason(): string | false {
  if (chromium !== undefined) return false;
  if (IN_CI) throw new Error("Chromium is missing");
  return "needs Chromium (apt-get install chromium)";
}

test("a report that cannot be written leaves nothing behind", () => {
  const folder = join(work, "occupied");
  mkdirSync(join(folder, "report.html"), { recursive: true });
  const { status } = ashlar(["diff", "--quiet", "--html", join(folder, "report.html"), without, without]);
  assert.equal(status, 8);
  assert.deepEqual(readdirSync(folder), ["report.html"]);
  assert.ok(existsSync(folder));
});
