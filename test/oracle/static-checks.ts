// A whole build against other people's programs: the kernel, umoci, fsck, veritysetup, sfdisk, ukify, systemd. Every kind of
// disk that we build passes the same checks.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { ashlarOk, type ReleaseFile, readRelease } from "../support/ashlar.ts";
import { oracle, requireOracle, requireRoot } from "../support/oracle.ts";

const MIB = 1024 * 1024;
const SIZES = ["--esp-size", "300M", "--slot-size", "512M", "--var-size", "64M"];
const ESP_SIZE = 300 * MIB;

/** What must be different between disks for different machines. */
export interface Machine {
  /** As OCI calls it. */
  readonly architecture: string;
  /** Of the PE header: IMAGE_FILE_MACHINE_… of the PE specification. */
  readonly peMachine: number;
  /** As UEFI calls it: the removable-media path. */
  readonly bootFile: string;
  /** Type UUIDs of the Discoverable Partitions Specification. */
  readonly root: string;
  readonly rootVerity: string;
}

export const AMD64: Machine = {
  architecture: "amd64",
  peMachine: 0x8664,
  bootFile: "BOOTX64.EFI",
  root: "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709",
  rootVerity: "2C7357ED-EBD2-46D9-AEC1-23D437EC2BF5",
};
export const ARM64: Machine = {
  architecture: "arm64",
  peMachine: 0xaa64,
  bootFile: "BOOTAA64.EFI",
  root: "B921B045-1DF0-41C3-AF44-4C6F280D3FAE",
  rootVerity: "DF3300CE-D69F-4C92-978C-9BFB0F38D820",
};

export interface CheckedBuild {
  readonly machine: Machine;
  /** Path of the OCI layout (tag `latest`), labelled as the test images are. */
  layout(): Promise<string>;
  /** More arguments of `ashlar build`. */
  flags?(): Promise<readonly string[]>;
}

/** `Machine` of the COFF header, whose place is at 0x3c of the DOS header; the signature comes before it. */
function peMachine(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return view.getUint16(view.getUint32(0x3c, true) + 4, true);
}

/** One line a path, a part of a fact: what `find`, `getfattr` and `sha256sum` say of a tree. */
function facts(root: string): Map<string, string> {
  const script = `cd "$1" || exit 1
find . -type d -printf '%P\\0%y %m %U:%G %T@ %n\\0' -o -printf '%P\\0%y %m %U:%G %T@ %n %s [%l]\\0'
printf '\\1\\0'
find . \\( -type b -o -type c \\) -exec stat --printf '%n\\0%t:%T\\0' {} +
printf '\\1\\0'
find . -type f -print0 | xargs -0 sha256sum -z
printf '\\1\\0'
getfattr -Rhd -m - -e hex . 2>/dev/null`;
  const { status, stdout, stderr } = spawnSync("sh", ["-c", script, "sh", root], { maxBuffer: 1024 * MIB });
  assert.equal(status, 0, stderr.toString());
  const [names = "", devices = "", digests = "", xattrs = ""] = stdout.toString("latin1").split("\x01\0");
  const result = new Map<string, string>();
  const add = (path: string, fact: string): void => {
    const key = path.replace(/^\.\//, "");
    result.set(key, `${result.get(key) ?? ""} ${fact}`);
  };
  for (const line of digests.split("\0")) if (line !== "") add(line.slice(66), line.slice(0, 64)); // hex, two spaces, path
  for (const text of [names, devices]) {
    const parts = text.split("\0");
    for (let i = 0; i + 1 < parts.length; i += 2) add(parts[i]!, parts[i + 1]!); // pairs
  }
  for (const block of xattrs.split("\n\n")) {
    const [head = "", ...lines] = block.split("\n");
    if (head !== "") add(head.replace("# file: ", ""), lines.sort().join(" "));
  }
  return result;
}

/** Paths that the build changes, as docs say. */
const DOCUMENTED = [
  /^(boot|dev|efi|proc|run|sys|tmp)(\/|$)/,
  /^etc\/machine-id$/,
  /^var\/lib\/dbus\/machine-id$/,
  /^etc\/fstab$/,
  /^usr\/lib\/os-release$/,
  /^var\/lib\/systemd\/(random-seed|credential\.secret)$/,
  /^$/,
];

/** With pefile, which ukify reads UKIs with too: the named sections of a PE, each into a file. */
const WRITE_SECTIONS = `
import pefile, sys
program, folder, *names = sys.argv[1:]
found = {s.Name.rstrip(b"\\0").decode(): s.get_data(length=s.Misc_VirtualSize) for s in pefile.PE(program, fast_load=True).sections}
for name in names: open(f"{folder}/{name}", "wb").write(found["." + name])
`;

/** Builds the image and registers the checks; what was built is there in tests that are registered after. */
export function staticChecks({ machine, layout, flags = async () => [] }: CheckedBuild): { release(): ReleaseFile } {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-build-"));
  const at = (name: string): string => join(folder, name);
  const [disk, erofs, verity, uki] = ["raw", "root.erofs", "root.verity", "efi"].map((ending) =>
    at(`ashlar-test_1.${ending}`),
  ) as [string, string, string, string];
  let release: ReleaseFile;
  before(async () => {
    ashlarOk(["build", `oci:${await layout()}`, "-o", folder, "--quiet", ...SIZES, ...(await flags())]);
    release = readRelease(at("ashlar-test_1.release.json"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  test("disk, boot loader and UKI are for the machine", async (t) => {
    assert.equal(release.architecture, machine.architecture);
    assert.equal(peMachine(readFileSync(uki)), machine.peMachine);
    const sfdisk = requireOracle(t, "sfdisk");
    const mtype = requireOracle(t, "mtype");
    if (sfdisk === undefined || mtype === undefined) return;
    const { stdout } = await sfdisk.ok(["--json", disk]);
    const table = JSON.parse(stdout) as { partitiontable: { partitions: { type: string }[] } };
    const types = table.partitiontable.partitions.map(({ type }) => type);
    for (const slot of [1, 4]) {
      assert.equal(types[slot], machine.root);
      assert.equal(types[slot + 1], machine.rootVerity);
    }
    const loader = await mtype.ok(["-i", `${disk}@@1M`, `::/EFI/BOOT/${machine.bootFile}`]);
    assert.equal(peMachine(loader.bytes), machine.peMachine);
  });

  for (const from of ["host", "tools"] as const)
    test(`fsck.erofs (${from}) finds nothing`, async (t) => {
      const fsck = requireOracle(t, "fsck.erofs", { from });
      await fsck?.ok([erofs]);
    });

  test("the mounted root differs from what umoci unpacks only by the documented normalisations", async (t) => {
    const umoci = requireOracle(t, "umoci", { from: "tools" });
    if (umoci === undefined || !requireRoot(t)) return;
    const bundle = at("bundle");
    const mount = at("mount");
    mkdirSync(mount);
    const started = Math.floor(Date.now() / 1000);
    await umoci.ok(["unpack", "--image", `${await layout()}:latest`, bundle]);
    const mounted = spawnSync("mount", ["-t", "erofs", "-o", "loop,ro", erofs, mount], { encoding: "utf8" });
    assert.equal(mounted.status, 0, mounted.stderr);
    let actual: Map<string, string>;
    try {
      actual = facts(mount);
    } finally {
      spawnSync("umount", [mount]);
    }
    const expected = facts(join(bundle, "rootfs"));
    rmSync(bundle, { recursive: true, force: true });

    const created = Date.parse("2025-01-01T00:00:00Z") / 1000; // the creation time of the test image is the clamp
    const TIME = / (\d+)\.\d{10} /;
    const secondsOf = (fact: string): number => Number(TIME.exec(fact)?.[1]);
    /** What umoci's fact should read in ours. It stamps directories that no layer names, and their parents, with the time of unpacking. */
    const expectedOf = (theirs: string, ours: string): string => {
      if (secondsOf(theirs) >= started) return theirs.replace(TIME, TIME.exec(ours)?.[0] ?? "");
      return secondsOf(theirs) >= created ? theirs.replace(TIME, ` ${created}.0000000000 `) : theirs;
    };
    const differences: string[] = [];
    for (const path of new Set([...actual.keys(), ...expected.keys()])) {
      const ours = actual.get(path);
      const theirs = expected.get(path);
      if (ours === undefined || theirs === undefined || ours !== expectedOf(theirs, ours)) differences.push(path);
    }
    assert.deepEqual(
      differences
        .filter((path) => !DOCUMENTED.some((rule) => rule.test(path)))
        .slice(0, 20)
        .map((path) => `${path}:${actual.get(path)} /${expected.get(path)}`),
      [],
    );
    assert.ok(actual.size > 3000);
  });

  test("veritysetup accepts the pair and makes the same bytes", async (t) => {
    const veritysetup = requireOracle(t, "veritysetup");
    if (veritysetup === undefined) return;
    await veritysetup.ok(["verify", erofs, verity, release.rootHash]);
    const { salt, uuid } = (release as ReleaseFile & { verity: { salt: string; uuid: string } }).verity;
    const { stdout } = await veritysetup.ok(["format", `--salt=${salt}`, `--uuid=${uuid}`, erofs, at("theirs")]);
    assert.match(stdout, new RegExp(`Root hash:\\s+${release.rootHash}`));
    assert.ok(readFileSync(at("theirs")).equals(readFileSync(verity)));
  });

  test("sfdisk and fsck.vfat find nothing", async (t) => {
    const sfdisk = requireOracle(t, "sfdisk");
    const fsck = requireOracle(t, "fsck.vfat");
    if (sfdisk === undefined || fsck === undefined) return;
    const { stdout, stderr } = await sfdisk.ok(["--verify", disk]);
    assert.match(stdout + stderr, /No errors detected/);
    spawnSync("dd", [`if=${disk}`, `of=${at("esp")}`, "bs=1M", "skip=1", `count=${ESP_SIZE / MIB}`, "conv=sparse"]);
    await fsck.ok(["-n", at("esp")]);
  });

  test("systemd-dissect accepts the disk", async (t) => {
    const host = requireOracle(t, "systemd-dissect", { from: "host" });
    if (host !== undefined) {
      const { stdout } = await host.run([disk]);
      t.diagnostic(`${stdout.split("\n").length} lines`);
    }
    const tools = requireOracle(t, "systemd-dissect", { from: "tools" });
    await tools?.ok(["--validate", disk]);
  });

  test("ukify reads the UKI, systemd-measure its parts", async (t) => {
    const ukify = requireOracle(t, "ukify", { from: "tools" });
    if (ukify !== undefined) {
      const { stdout } = await ukify.ok(["inspect", uki, "--json=short"]);
      const sections = JSON.parse(stdout) as Record<string, { size: number; text?: string }>;
      assert.ok(sections[".cmdline"]?.text?.includes(`roothash=${release.rootHash}`), stdout);
      assert.equal(sections[".uname"]?.text?.trim(), release.kernelVersion);
      for (const name of [".linux", ".initrd", ".osrel", ".sbat"]) assert.ok((sections[name]?.size ?? 0) > 0, name);
    }
    const measure = oracle("systemd-measure", { from: "tools" });
    const pefile = requireOracle(t, "python3", { from: "tools" }); // binutils knows PE files of its own machine alone
    if (measure === undefined || pefile === undefined) return;
    const parts = ["linux", "osrel", "cmdline", "initrd", "uname", "sbat"];
    await pefile.ok(["-c", WRITE_SECTIONS, uki, folder, ...parts]);
    await measure.ok(["calculate", ...parts.map((part) => `--${part}=${at(part)}`)]);
  });

  return { release: () => release };
}
