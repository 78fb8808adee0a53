// An image without systemd-boot and its stub, as most container images are: both come from another image (`--tools`).
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ashlar } from "../support/ashlar.ts";
import { debianLayout } from "../support/debian.ts";
import { assertOneLine, workFolder } from "../support/samples.ts";
import { whiteout } from "../support/tar.ts";
import { AMD64, staticChecks } from "./static-checks.ts";

const bare = (): Promise<string> => debianLayout("trixie", { extraLayers: [[whiteout("usr/lib/systemd/boot")]] });
const tools = (): Promise<string> => debianLayout("trixie");

const built = staticChecks({
  machine: AMD64,
  layout: bare,
  flags: async () => ["--tools", `oci:${await tools()}`],
});

test("the release names both images, by digest", async () => {
  const digestOf = (layout: string): string =>
    (JSON.parse(readFileSync(join(layout, "index.json"), "utf8")) as { manifests: [{ digest: string }] }).manifests[0]
      .digest;
  assert.deepEqual(built.release().inputs, [
    { name: "image", digest: digestOf(await bare()) },
    { name: "tools", digest: digestOf(await tools()) },
  ]);
});

test("without tools, and with tools that have none, it says what is missing", async (t) => {
  const output = join(workFolder(t), "out");
  for (const [flags, where] of [
    [[], "in the image"],
    [["--tools", `oci:${await bare()}`], "in the image and the tools"],
  ] as const) {
    const { status, stderr } = ashlar(["build", `oci:${await bare()}`, "-o", output, "--quiet", ...flags]);
    assert.equal(status, 4, stderr);
    assertOneLine(stderr, new RegExp(`linuxx64.efi.stub: no systemd-stub ${where} `));
    assert.ok(!existsSync(output), "nothing is left behind");
  }
});
