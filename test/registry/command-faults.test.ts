// Broken registries as the command's users see them: an exit code by class, one line, and nothing half-written.
import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { missingPeers, PROGRAMS, startRegistry, suiteLifetime } from "../support/registry.ts";
import { type ClientSettings, clientSettings } from "../support/registry-clients.ts";
import * as faults from "../support/registry-faults.ts";
import { type Fault, type RegistryProxy, startProxy } from "../support/registry-proxy.ts";
import { publishEnvironment, sampleRelease } from "../support/releases.ts";
import { assertOneLine, noise, run, runOk, sampleLayout, workFolder } from "../support/samples.ts";

const folder = workFolder({ after });
const at = (name: string): string => join(folder, name);

describe("a command and a broken registry", { skip: missingPeers(PROGRAMS.distribution) }, () => {
  const lifetime = suiteLifetime();
  let proxy: RegistryProxy;
  let settings: ClientSettings;

  before(async () => {
    const registry = await startRegistry(lifetime, { kind: "distribution" });
    proxy = await startProxy(lifetime, registry);
    settings = clientSettings(folder, registry, { host: proxy.host });
    await sampleLayout(at("layout"));
    const release = await sampleRelease({ data: noise(50_000, "command") }, await publishEnvironment(), {
      rootOnly: true,
    });
    mkdirSync(at("release"));
    for (const [name, bytes] of release.files) writeFileSync(join(at("release"), name), bytes);
    await runOk(["copy", `oci:${at("layout")}:latest`, place("os:image"), ...FLAGS], settings);
    await runOk(["push", at("release"), place("os:1"), ...FLAGS], settings);
  });

  const place = (name: string): string => `docker://${proxy.host}/${name}`;

  /** What each command would write, and what is left when it fails: nothing, or a layout in which nothing has a name. */
  const COMMANDS: readonly (readonly [name: string, args: (to: string) => string[], left: readonly string[]])[] = [
    ["seal", (to) => ["seal", place("os:image"), "-o", to, "--no-cache"], []],
    ["pull", (to) => ["pull", place("os:1"), "-o", to], []],
    ["copy to an archive", (to) => ["copy", place("os:image"), `oci-archive:${join(to, "site.tar")}`], []],
    ["copy to a layout", (to) => ["copy", place("os:image"), `oci:${join(to, "layout")}`], ["layout"]],
  ];
  const FAULTS: readonly (readonly [title: string, fault: () => Fault, code: number, said: RegExp])[] = [
    ["a bit is another", () => faults.flipAt(40), 5, /digest|verity|root hash/],
    ["access is denied", () => faults.status(403), 7, /denied/],
    ["a login page", () => faults.loginPage(), 7, /web page/],
    ["a line that always breaks", () => faults.resetAt(0), 7, /reset|closed|connection/],
  ];

  for (const [name, args, left] of COMMANDS)
    for (const [title, fault, code, said] of FAULTS)
      test(`${name}: ${title}`, async () => {
        const to = at(`${name}-${title}`.replaceAll(" ", "-"));
        mkdirSync(to);
        proxy.reset();
        const injected = proxy.inject(fault(), { kind: "blob", method: "GET" });
        const result = await run([...args(to), ...FLAGS], settings);
        assert.equal(result.status, code, result.stderr);
        assertOneLine(result.stderr, said);
        assert.equal(result.stdout, "");
        assert.ok(injected.hits >= 1);
        const found = readdirSync(to);
        if (name === "pull" && code === 7)
          assert.ok(
            found.every((file) => file.startsWith(".ashlar-")),
            found.join(),
          );
        else
          assert.deepEqual(
            found.filter((file) => !left.includes(file)),
            [],
          );
        if (existsSync(join(to, "layout/index.json"))) {
          const { status } = await run(["inspect", `oci:${join(to, "layout")}`]);
          assert.equal(status, 7, "the layout names something");
        }
        // And the same again, when all is well, over what was left.
        proxy.reset();
        await runOk([...args(to), ...FLAGS], settings);
      });
});

const FLAGS = ["--no-tls-verify", "--quiet", "--retry-times", "0"];
