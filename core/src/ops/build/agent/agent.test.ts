/** The agent in a root: what it needs is there, what it is for is the same machine. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { encodeUtf8 } from "../../../bytes/index.ts";
import { sampleElf } from "../../../formats/elf/sample.ts";
import { pureHashes } from "../../../hash/index.ts";
import { nodeHashes } from "../../../node/index.ts";
import { bytesSource, memoryScratch, readAll } from "../../../source/index.ts";
import { attributes, type Directory, directory, getNode, putNode, regularFile, walkTree } from "../../../tree/index.ts";
import { architectureOf } from "../architecture.ts";
import { copyAgent, findAgent, putAgent } from "./agent.ts";
import { AGENT_FILES } from "./units.ts";

const AMD64 = architectureOf("amd64");
const program = bytesSource(sampleElf({ needed: ["libc.so.6", "libstdc++.so.6"] }));
const FILES = {
  "usr/lib/x86_64-linux-gnu/libc.so.6": "",
  "opt/lib/libstdc++.so.6": "",
  "etc/ld.so.conf.d/opt.conf": "/opt/lib\n",
  "usr/lib/systemd/systemd-bless-boot": "",
  "usr/bin/sh": "",
};

function tree(files: Readonly<Record<string, string>>): Directory {
  const root = directory(attributes(0o755));
  for (const [path, text] of Object.entries(files))
    putNode(root, path, regularFile(attributes(0o644), bytesSource(encodeUtf8(text))));
  return root;
}

const without = (path: keyof typeof FILES): Directory => {
  const { [path]: _, ...others } = FILES;
  return tree(others);
};

test("executable, units and what pulls them in are put in place, with the time that is asked for", async () => {
  const root = tree(FILES);
  assert.deepEqual(await putAgent(root, { content: program }, AMD64, 5n), []);
  const agent = getNode(root, "usr/bin/ashlar");
  assert.ok(agent?.type === "file" && agent.mode === 0o755 && agent.mtime === 5n && agent.content === program);
  const links = [...walkTree(root)].filter(({ node }) => node.type === "symlink");
  assert.equal(links.length, 5);
  for (const { path, node } of links) {
    assert.ok(node.type === "symlink");
    const unit = getNode(root, `usr/lib/systemd/system/${node.target.replace("../", "")}`);
    assert.equal(unit?.type, "file", path);
  }
  assert.deepEqual(
    (await putAgent(root, { content: program }, AMD64, 5n)).map(({ code }) => code),
    ["agent"],
  );
});

test("an image in which it would not start, or never be confirmed, is refused", async () => {
  const put = (root: Directory, content = program) => putAgent(root, { content }, AMD64, 0n);
  await assert.rejects(put(without("opt/lib/libstdc++.so.6")), {
    code: "agent-library",
    message: /libstdc\+\+\.so\.6/,
  });
  await assert.rejects(put(without("etc/ld.so.conf.d/opt.conf")), { code: "agent-library" });
  await assert.rejects(put(without("usr/lib/systemd/systemd-bless-boot")), { code: "no-bless" });
  const foreign = bytesSource(sampleElf({ machine: 183 }));
  await assert.rejects(put(tree(FILES), foreign), { code: "agent-architecture", message: /arm64.*amd64/ });
  await assert.rejects(put(tree(FILES), bytesSource(sampleElf({ bits: 1 }))), { code: "agent-architecture" });
});

test("a boot that is not healthy: the machine reboots while a try or another release is left", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-unhealthy-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const variable = join(folder, "variable"); // a pipe: in variables of the firmware nobody can seek, on some kernels
  execFileSync("mkfifo", [variable]);
  writeFileSync(join(folder, "systemctl"), '#!/bin/sh\necho "called: $*"\n', { mode: 0o755 });
  const script = AGENT_FILES["usr/lib/ashlar/agent/unhealthy.sh"]!.replaceAll(
    /\/sys\/\S+LoaderBootCountPath[-0-9a-f]+/g,
    variable,
  );
  for (const [name, reboots] of [
    ["os_2+2-1.efi", true],
    ["os_2+1-2.efi", true],
    ["os_2+0-3.efi", true],
    ["os_2+0-4.efi", false],
    ["os_2+0.efi", false],
    ["", false],
  ] as const) {
    const child = spawn("sh", [], {
      env: { PATH: `${folder}:${process.env["PATH"]}` },
      stdio: ["pipe", "pipe", "inherit"],
    });
    child.stdin.end(script);
    const content = Buffer.concat([Buffer.of(7, 0, 0, 0), Buffer.from(`\\EFI\\Linux\\${name}\0`, "utf16le")]);
    await writeFile(variable, content);
    const said = (await child.stdout.toArray()).join("");
    assert.equal(said.includes("called: --no-block reboot"), reboots, `${name}: ${said}`);
  }
});

test("a copy has the digest of the executable; what is none is refused", async () => {
  const environment = { hashes: nodeHashes, scratch: memoryScratch };
  const agent = await copyAgent(program, "agent", environment);
  const bytes = await readAll(agent.content, 1e6, "copy");
  assert.deepEqual(bytes, await readAll(program, 1e6, "program"));
  const hasher = pureHashes.create("sha256");
  hasher.update(bytes);
  assert.equal(agent.digest, `sha256:${Buffer.from(hasher.digest()).toString("hex")}`);
  for (const bad of ["", "ELF", "#!/bin/sh\n"])
    await assert.rejects(copyAgent(bytesSource(encodeUtf8(bad)), "script", environment), { code: "bad-agent" });
  assert.throws(() => findAgent(tree(FILES), "image"), { code: "no-agent" });
  assert.equal(findAgent(tree({ "usr/bin/ashlar": "x" }), "image").size, 1);
});
