// Images that podman keeps: a real store, made by podman, read through skopeo or podman, whichever is there.
import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { type TestContext, test } from "node:test";
import { isAshlarError } from "../../core/src/errors/index.ts";
import { exportContainerImage } from "../../core/src/node/containers-storage.ts";
import { fileScratch, nodeDecompressors, nodeFiles, nodeHashes } from "../../core/src/node/index.ts";
import { parseReference, readInput } from "../../core/src/ops/image/index.ts";
import { type Listing, listTree } from "../support/listing.ts";
import { archiveLayout, type OciLayout } from "../support/oci.ts";
import { type Oracle, requireOracle, requireRoot } from "../support/oracle.ts";
import { SAMPLE_ENTRIES, sampleLayout, workFolder } from "../support/samples.ts";
import { tarBytes, whiteout } from "../support/tar.ts";

const NAME = "localhost/sample:1";

interface Store {
  readonly work: string;
  readonly layout: OciLayout;
  readonly podman: Oracle;
  readonly skopeo: Oracle;
}

/** Changes an environment variable until the test ends. */
function setVariable(t: TestContext, name: string, value: string): void {
  const before = process.env[name];
  process.env[name] = value;
  t.after(() => {
    if (before === undefined) delete process.env[name];
    else process.env[name] = before;
  });
}

/** A store in a temporary folder; its driver needs no help of the kernel. Holds the sample image, under {@link NAME}. */
async function makeStore(t: TestContext): Promise<Store | undefined> {
  const podman = requireOracle(t, "podman", { from: "host" });
  const skopeo = requireOracle(t, "skopeo", { from: "host" });
  if (podman === undefined || skopeo === undefined || !requireRoot(t)) return undefined;
  const work = workFolder(t);
  const storage = ['driver = "vfs"', `graphroot = "${join(work, "graph")}"`, `runroot = "${join(work, "run")}"`];
  writeFileSync(join(work, "storage.conf"), ["[storage]", ...storage, ""].join("\n"));
  setVariable(t, "CONTAINERS_STORAGE_CONF", join(work, "storage.conf"));
  const layers = [SAMPLE_ENTRIES, [{ name: "etc/motd", content: "second layer\n" }, whiteout("etc/old")]];
  const layout = await sampleLayout(join(work, "layout"), {
    layers: layers.map((entries) => ({ tar: tarBytes(entries) })),
  });
  archiveLayout(layout.directory, join(work, "archive"));
  const { stdout } = await podman.ok(["load", "--quiet", "--input", join(work, "archive")]);
  const id = stdout.trim().split(":").at(-1) ?? "";
  await podman.ok(["tag", id, NAME]);
  return { work, layout, podman, skopeo };
}

async function read(reference: string, temporary: string): Promise<{ listing: Listing; digest: string | undefined }> {
  const input = await readInput(parseReference(reference), {
    hashes: nodeHashes,
    files: nodeFiles,
    scratch: fileScratch(temporary),
    decompressors: nodeDecompressors,
  });
  try {
    return { listing: await listTree(input.tree), digest: input.digest };
  } finally {
    await input.dispose();
  }
}

const fails = (code: string, message: RegExp) => (error: unknown) => {
  assert.ok(isAshlarError(error) && error.code === code, `expected ${code}, got ${error}`);
  assert.match(error.message, message);
  assert.ok(!error.message.includes("\n") && error.message.length < 800, error.message);
  return true;
};

/** The image id: the digest of the configuration. */
function imageId({ directory, manifests }: OciLayout): string {
  const path = join(directory, "blobs", manifests[0]!.digest.replace(":", "/"));
  return (JSON.parse(readFileSync(path, "utf8")) as { config: { digest: string } }).config.digest;
}

/** A folder with this program alone, to be the PATH. */
function onlyProgram(work: string, { name, path }: { readonly name: string; readonly path: string }): string {
  const folder = join(work, `only-${name}`);
  mkdirSync(folder);
  symlinkSync(path, join(folder, name));
  return folder;
}

for (const program of ["skopeo", "podman"] as const)
  test(`an image in podman's store, by ${program}: the same tree as its layout`, async (t) => {
    const store = await makeStore(t);
    if (store === undefined) return;
    const { work, layout } = store;
    const expected = await read(`oci:${layout.directory}`, work);
    const path = process.env["PATH"]?.split(":").find((folder) => readdirOf(folder).includes(program));
    assert.ok(path !== undefined);
    const temporary = join(work, "tmp");
    mkdirSync(temporary);
    setVariable(t, "TMPDIR", temporary);
    setVariable(t, "PATH", onlyProgram(work, { name: program, path: join(path, program) }));
    const { listing, digest } = await read(`containers-storage:${NAME}`, work);
    assert.deepEqual(listing, expected.listing);
    assert.equal(digest, imageId(layout));
    await assert.rejects(
      read("containers-storage:localhost/other", work),
      fails("containers-storage", new RegExp(`localhost/other: ${program}: `)),
    );
    assert.deepEqual(
      readdirSync(temporary).filter((name) => name.startsWith(".ashlar")),
      [],
    );
  });

function readdirOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

test("neither skopeo nor podman: it says what it needs", async (t) => {
  setVariable(t, "PATH", workFolder(t));
  await assert.rejects(exportContainerImage("x"), fails("no-container-tool", /needs skopeo or podman/));
  await assert.rejects(exportContainerImage("-x"), fails("containers-storage", /not the name of an image/));
});
