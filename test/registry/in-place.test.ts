// A release that is read where it is: only the blocks that are needed travel, counted in front of the server.
import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { after, describe, test } from "node:test";

import { largeImage } from "../../bench/large-image.ts";
import { debianLayout, LABELS } from "../support/debian.ts";
import { missingPeers, PROGRAMS, startRegistry } from "../support/registry.ts";
import { clientSettings } from "../support/registry-clients.ts";
import * as faults from "../support/registry-faults.ts";
import { startProxy } from "../support/registry-proxy.ts";
import { assertOneLine, run, runOk, workFolder } from "../support/samples.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";
const folder = workFolder({ after });
const MEGABYTE = 1_000_000;
const identity = ["--image-id", LABELS["org.opencontainers.image.title"], "--image-version", "42"];

const IMAGES: readonly (readonly [title: string, layout: () => Promise<string>, skip: boolean])[] = [
  ["a Debian of 190 MB", () => debianLayout("trixie"), false],
  ["a Debian of 600 MB", async () => (await largeImage()).layout, !isLong],
];

describe("read in place", { skip: missingPeers(PROGRAMS.distribution) }, () => {
  for (const [title, layoutOf, skip] of IMAGES)
    test(title, { skip: skip && "set ASHLAR_LONG=true" }, async (t) => {
      const registry = await startRegistry(t, { kind: "distribution" });
      const proxy = await startProxy(t, registry);
      const settings = clientSettings(folder, registry, { host: proxy.host });
      const out = join(folder, title.replaceAll(" ", "-"));
      const ashlar = (...args: string[]) => runOk([...args, "--no-tls-verify"], settings);
      await runOk(["seal", `oci:${await layoutOf()}`, "-o", out, "--name", "os", ...identity, "--quiet"]);
      const reference = `docker://${proxy.host}/os:42`;
      await ashlar("push", out, reference, "--quiet");
      const pushed = proxy.received("upload");

      const local = await runOk(["cat", join(out, "os.release.json"), "/usr/lib/os-release"]);
      assert.match(local.stdout, /^IMAGE_VERSION=|^ID=/m);
      for (const [args, expected, limit] of [
        [["cat", reference, "/etc/os-release"], local.stdout, MEGABYTE],
        [["cat", reference, "/usr/lib/os-release"], local.stdout, MEGABYTE],
        [["ls", reference, "/etc/systemd"], (await runOk(["ls", join(out, "os.release.json"), "/etc/systemd"])).stdout, MEGABYTE], // biome-ignore format: a row
        [["inspect", reference], undefined, MEGABYTE],
      ] as const) {
        proxy.reset();
        const { stdout } = await ashlar(...args);
        if (expected !== undefined) assert.equal(stdout, expected);
        t.diagnostic(`${args.slice(0, 1)} ${args.slice(2)}: ${proxy.wireBytes()} of ${pushed} bytes, ${proxy.exchanges.length} requests`); // biome-ignore format: one line
        assert.ok(proxy.wireBytes() < limit, `${args.join(" ")}: ${proxy.wireBytes()} bytes`);
      }

      // Every block is held against the root hash: a bit that is another is refused, wherever it is.
      proxy.reset();
      await ashlar("cat", reference, "/etc/os-release");
      const requests = proxy.exchanges.filter(({ kind, method }) => kind === "blob" && method === "GET").length;
      let refused = 0;
      for (let at = 1; at <= requests; at += isLong ? 1 : 2) {
        proxy.reset();
        let count = 0;
        const injected = proxy.inject(faults.flipAt(20), { kind: "blob", method: "GET", when: () => ++count === at });
        const { status, stderr, stdout } = await run(
          ["cat", reference, "/etc/os-release", "--no-tls-verify"],
          settings,
        );
        assert.equal(injected.hits, 1);
        if (status === 0)
          assert.equal(stdout, local.stdout); // of a part that was read ahead and not needed
        else {
          assert.equal(status, 5, stderr);
          assertOneLine(stderr, /./);
          assert.equal(stdout, "");
          refused++;
        }
      }
      assert.ok(refused >= 2, `${refused} of ${requests} were an IntegrityError`);
    });
});
