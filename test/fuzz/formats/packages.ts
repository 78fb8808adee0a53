// Package databases.
import { fromUtf8 } from "../../../core/src/bytes/index.ts";
import { readPackages } from "../../../core/src/ops/packages/index.ts";
import type { Directory } from "../../../core/src/tree/index.ts";
import type { Parser } from "../harness.ts";
import { shape, text, treeOf } from "./common.ts";

const DPKG =
  "Package: dash\nStatus: install ok installed\nArchitecture: amd64\nVersion: 0.5\nDescription: x\n y\n\nPackage: dash\nStatus: install ok installed\nArchitecture: i386\nVersion: 0.5\n";
const LIST = "/.\n/bin\n/bin/sh\n/usr\n/usr/bin\n/usr/bin/tool\n";
const APK =
  "C:Q1\nP:busybox\nV:1.36.1-r2\nA:x86_64\nF:bin\nR:busybox\na:0:0:755\n\nP:other\nV:1\nF:\nR:etc\nF:etc\nR:top\n";
const PACMAN = [
  "%NAME%\nbash\n\n%VERSION%\n5.2-1\n\n%ARCH%\nx86_64\n\n",
  "%FILES%\nusr/\nusr/bin/\nusr/bin/tool\n\n%BACKUP%\netc/x\tmd5\n",
] as const;
const SUMS = "d41d8cd98f00b204e9800998ecf8427e  usr/bin/tool\nnonsense\n";

/** The same spoiled text in every place where a database is looked for. */
function withDatabases(bytes: Uint8Array): Directory {
  return treeOf({
    "usr/bin/tool": "x",
    "usr/bin/sh": "x",
    "var/lib/dpkg/status": bytes,
    "var/lib/dpkg/info/dash.list": bytes,
    "var/lib/dpkg/status.d/base": bytes,
    "var/lib/dpkg/status.d/base.md5sums": bytes,
    "lib/apk/db/installed": bytes,
    "var/lib/pacman/local/bash-5.2-1/desc": PACMAN[0],
    "var/lib/pacman/local/bash-5.2-1/files": bytes,
    "var/lib/pacman/local/zsh/desc": bytes,
  });
}

export const PACKAGE_PARSERS: readonly Parser[] = [
  {
    name: "package databases",
    mutants: text(DPKG, LIST, APK, PACMAN[0], PACMAN[1], SUMS),
    *shapes() {
      yield shape("one package many times", "Package: a\n\n".repeat(100_000));
      yield shape("long path", `P:a\nF:${"a/".repeat(500_000)}\nR:x\n`);
    },
    async read(bytes) {
      const packages = await readPackages(withDatabases(bytes));
      packages.ownerOf(fromUtf8("usr/bin/tool"));
    },
  },
];
