// A real Debian in a repository: what an update stores and what reading a file fetches, in bytes. Long, since it builds two disks.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { decodeUtf8, equalBytes } from "../../core/src/bytes/index.ts";
import { openErofs, resolveInode } from "../../core/src/formats/erofs/index.ts";
import { fileScratch, nodeHashes, openArtifacts, openFile } from "../../core/src/node/index.ts";
import {
  openStoredRelease,
  pullRelease,
  pushReleases,
  type ReleaseFiles,
  resolveRelease,
  SECTION_TYPE,
} from "../../core/src/ops/publish/index.ts";
import { parseRelease } from "../../core/src/ops/release/index.ts";
import { ashlar, ashlarOk } from "../support/ashlar.ts";
import { debianLayout, LABELS } from "../support/debian.ts";
import { memoryRepository } from "../support/memory-repository.ts";
import { publishEnvironment } from "../support/releases.ts";
import { workFolder } from "../support/samples.ts";

const isLong = process.env["ASHLAR_LONG"] === "true";
const folder = workFolder({ after });

function open(directory: string, version: string): ReleaseFiles {
  const name = `ashlar-test_${version}.release.json`;
  const bytes = readFileSync(join(directory, name));
  return { name, release: parseRelease(bytes, name), bytes, open: (artifact) => openFile(join(directory, artifact)) };
}

test("Debian 13: an update of one line, a file read in place, a pull", {
  skip: isLong ? false : "long: set ASHLAR_LONG=true",
}, async (t) => {
  const environment = { ...(await publishEnvironment()), scratch: fileScratch(folder) };
  const repository = memoryRepository();
  const versions = ["1", "2"] as const;
  const layouts: string[] = [];
  for (const version of versions) {
    const layout = await debianLayout("trixie", {
      labels: { ...LABELS, "org.opencontainers.image.version": version },
      extraLayers: [[{ name: "etc/motd", content: `Release ${version} of the test image\n` }]],
    });
    layouts.push(layout);
    ashlarOk(["build", `oci:${layout}:latest`, "-o", join(folder, version), "--quiet", "--timestamp", "1735689600"]);
  }
  const [first, second] = versions.map((version) => open(join(folder, version), version)) as [
    ReleaseFiles,
    ReleaseFiles,
  ];
  const initial = await pushReleases([first], repository, { tag: "1" }, environment);
  t.diagnostic(`first push: ${initial.sent} bytes, ${initial.releases[0]?.newBlocks} blocks`);
  repository.traffic.sent = 0;
  const update = await pushReleases([second], repository, { tag: "2" }, environment);
  const blobs = update.releases[0]?.blobs ?? [];
  t.diagnostic(`update: ${repository.traffic.sent} bytes, ${update.releases[0]?.newBlocks} blocks`);
  for (const { mediaType, size, result } of blobs) t.diagnostic(`${mediaType} ${size} ${result}`);
  assert.ok(repository.traffic.sent <= 64_000, `the update sends ${repository.traffic.sent} bytes`);
  for (const { mediaType, result } of blobs) if (mediaType === SECTION_TYPE) assert.equal(result, "present");

  repository.traffic.read = 0;
  const descriptor = await resolveRelease(repository, { tag: "2" }, nodeHashes);
  const stored = await openStoredRelease(repository, descriptor, environment);
  const image = await openErofs((await stored.sources()).data);
  const inode = await resolveInode(image, "etc/os-release");
  assert.ok(inode !== undefined);
  const text = decodeUtf8(await image.content(inode).read(0, inode.size));
  await stored.close();
  assert.match(text, /^IMAGE_VERSION="?2"?$/m);
  t.diagnostic(`reading /etc/os-release: ${repository.traffic.read} bytes`);
  assert.ok(repository.traffic.read < 500_000, `reading a file fetches ${repository.traffic.read} bytes`);

  const output = join(folder, "pulled");
  const artifacts = await openArtifacts(output, { overwrite: false, resume: true });
  await pullRelease(repository, descriptor, artifacts, environment);
  await artifacts.discard();
  // The disk is held against its digest by the pull itself.
  for (const { name } of second.release.artifacts)
    if (!name.endsWith(".raw"))
      assert.ok(equalBytes(readFileSync(join(output, name)), readFileSync(join(folder, "2", name))));

  const reproduce = (layout: string) =>
    ashlar([
      "reproduce",
      join(folder, "1", first.name),
      "--source",
      `oci:${layout}:latest`,
      "--tmpdir",
      folder,
      "--quiet",
    ]);
  const same = reproduce(layouts[0]!);
  assert.equal(same.status, 0, same.stderr);
  assert.match(same.stdout, /: identical\n$/);
  const other = reproduce(layouts[1]!);
  assert.equal(other.status, 9, other.stderr);
  assert.match(other.stdout, /^root \/etc\/motd: has another content$/m);
  assert.match(other.stdout, /^uki \.cmdline: differs at byte \d+$/m);
});
