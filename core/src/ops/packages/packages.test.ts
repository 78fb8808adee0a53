import assert from "node:assert/strict";
import { test } from "node:test";
import { type ByteString, encodeUtf8, fromUtf8 } from "../../bytes/index.ts";
import { bytesSource } from "../../source/index.ts";
import { attributes, type Directory, directory, putNode, regularFile, symlink } from "../../tree/index.ts";
import { readPackages } from "./index.ts";

function treeOf(files: Readonly<Record<string, string>>): Directory {
  const root = directory(attributes(0o755));
  for (const [path, content] of Object.entries(files)) {
    if (path.endsWith("/")) putNode(root, fromUtf8(path), directory(attributes(0o755)));
    else if (content.startsWith("-> "))
      putNode(root, fromUtf8(path), symlink(attributes(0o777), fromUtf8(content.slice(3))));
    else putNode(root, fromUtf8(path), regularFile(attributes(0o644), bytesSource(encodeUtf8(content))));
  }
  return root;
}
const at = (path: string): ByteString => fromUtf8(path);

test("dpkg: installed packages, files through merged directories, shared directories, records", async () => {
  const root = treeOf({
    "usr/bin/": "",
    bin: "-> usr/bin",
    "usr/bin/sh": "",
    "usr/bin/tool": "",
    "usr/lib/x.so": "",
    "usr/bin/local": "",
    "var/lib/dpkg/status": [
      "Package: dash",
      "Status: install ok installed",
      "Architecture: amd64",
      "Version: 0.5.12-2",
      "Description: shell",
      " Package: not this one",
      "",
      "Package: libx",
      "Status: install ok installed",
      "Architecture: amd64",
      "Version: 1:2.0",
      "",
      "Package: libx",
      "Status: install ok installed",
      "Architecture: i386",
      "Version: 1:2.0",
      "",
      "Package: gone",
      "Status: deinstall ok config-files",
      "Version: 1",
      "",
    ].join("\n"),
    "var/lib/dpkg/info/dash.list": "/.\n/bin\n/bin/sh\n/usr\n/usr/bin\n/usr/bin/tool\n/usr/share/doc/missing\n",
    "var/lib/dpkg/info/libx:amd64.list": "/.\n/usr\n/usr/lib\n/usr/lib/x.so\n",
    "var/lib/dpkg/info/libx:i386.list": "/.\n/usr\n",
  });
  const packages = await readPackages(root);
  assert.deepEqual(packages.managers, ["dpkg"]);
  assert.deepEqual([...packages.packages.keys()], ["dash", "libx:amd64", "libx:i386"]);
  assert.equal(packages.packages.get("dash")?.version, "0.5.12-2");
  assert.equal(packages.ownerOf(at("usr/bin/sh"))?.id, "dash");
  assert.equal(packages.ownerOf(at("usr/bin/tool"))?.id, "dash");
  assert.equal(packages.ownerOf(at("usr/lib/x.so"))?.id, "libx:amd64");
  assert.equal(packages.ownerOf(at("usr/lib"))?.id, "libx:amd64");
  assert.equal(packages.ownerOf(at("usr")), undefined, "several packages have it");
  assert.equal(packages.ownerOf(at("usr/bin/local")), undefined);
  assert.equal(packages.ownerOf(at("var/lib/dpkg/info/dash.list"))?.id, "dash");
  assert.deepEqual(packages.notes, []);
});

test("distroless: status.d with md5sums", async () => {
  const packages = await readPackages(
    treeOf({
      "etc/debian": "x",
      "var/lib/dpkg/status.d/base": "Package: base-files\nVersion: 12\nArchitecture: amd64\n",
      "var/lib/dpkg/status.d/base.md5sums": "d41d8cd98f00b204e9800998ecf8427e  etc/debian\nnonsense\n",
    }),
  );
  assert.equal(packages.ownerOf(at("etc/debian"))?.name, "base-files");
  assert.equal(packages.ownerOf(at("var/lib/dpkg/status.d/base"))?.version, "12");
});

test("apk: folders and files", async () => {
  const packages = await readPackages(
    treeOf({
      "bin/busybox": "x",
      "etc/top": "x",
      "lib/apk/db/installed":
        "C:Q1\nP:busybox\nV:1.36.1-r2\nA:x86_64\nF:bin\nR:busybox\na:0:0:755\n\nP:other\nV:1\nF:\nR:etc\nF:etc\nR:top\n",
    }),
  );
  assert.deepEqual(packages.managers, ["apk"]);
  assert.equal(packages.ownerOf(at("bin/busybox"))?.version, "1.36.1-r2");
  assert.equal(packages.ownerOf(at("etc/top"))?.id, "other");
});

test("pacman: desc and files", async () => {
  const packages = await readPackages(
    treeOf({
      "usr/bin/bash": "x",
      "var/lib/pacman/local/ALPM_DB_VERSION": "9\n",
      "var/lib/pacman/local/bash-5.2-1/desc": "%NAME%\nbash\n\n%VERSION%\n5.2-1\n\n%ARCH%\nx86_64\n\n",
      "var/lib/pacman/local/bash-5.2-1/files": "%FILES%\nusr/\nusr/bin/\nusr/bin/bash\n\n%BACKUP%\netc/x\tmd5\n",
    }),
  );
  assert.equal(packages.ownerOf(at("usr/bin/bash"))?.version, "5.2-1");
  assert.equal(packages.ownerOf(at("var/lib/pacman/local/bash-5.2-1/desc"))?.id, "bash");
});

test("names are escaped, and paths that leave the tree own nothing", async () => {
  const packages = await readPackages(
    treeOf({
      "etc/x": "x",
      "var/lib/dpkg/status": "Package: bad\x1b[2Jname\nStatus: install ok installed\nVersion: <script>\n",
      "var/lib/dpkg/info/bad.list": "/../etc/x\n/etc/../etc/x\n",
    }),
  );
  assert.deepEqual([...packages.packages.keys()], ["bad\\x1b[2Jname"]);
  assert.equal(packages.ownerOf(at("etc/x")), undefined);
});

test("no database: nothing owns anything", async () => {
  const packages = await readPackages(treeOf({ "etc/x": "x" }));
  assert.equal(packages.packages.size, 0);
  assert.deepEqual(packages.managers, []);
});
