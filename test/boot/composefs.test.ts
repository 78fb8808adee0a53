// composefs and fs-verity as the kernel has them: what it measures is what we compute, and our images mount. Long tier.
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { toHex } from "../../core/src/bytes/index.ts";
import { measureBytes } from "../../core/src/formats/fsverity/index.ts";
import { nodeHashes } from "../../core/src/node/hashes.ts";
import { ashlarOk } from "../support/ashlar.ts";
import { debianLayout } from "../support/debian.ts";
import { bootDisk } from "../support/qemu.ts";
import { type TarEntry, tarBytes } from "../support/tar.ts";

const LONG = process.env["ASHLAR_LONG"] === "true";
const BOOT_TIMEOUT = 600_000; // milliseconds
const PLACE = "usr/share/ashlar-composefs";

/** Enables fs-verity on its arguments and prints their digests: two ioctls of linux/fsverity.h, in the perl of every Debian. */
const MEASURE = `use strict;
for my $file (@ARGV) {
  my ($number) = $file =~ /sha512/ ? 2 : 1;
  open(my $handle, "<", $file) or die "$file: $!";
  my $enable = pack("L4 Q L2 Q x88", 1, $number, 4096, 0, 0, 0, 0, 0);
  ioctl($handle, 0x40806685, $enable) or die "enable $file: $!";
  close($handle);
  open($handle, "<", $file) or die "$file: $!";
  my $digest = pack("S2", 0, 64) . ("\\0" x 64);
  ioctl($handle, 0xC0046686, $digest) or die "measure $file: $!";
  my ($algorithm, $size) = unpack("S2", $digest);
  print unpack("H*", substr($digest, 4, $size)), " $file\\n";
}
`;

const content = (size: number): Uint8Array => new Uint8Array(size).map((_, i) => (i >> 6) ^ size);
const SIZES = [0, 1, 4096, 4097, 524_288, 524_289];

test("the kernel measures what we measure, and mounts our images", { skip: !LONG && "long tier" }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "ashlar-boot-composefs-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  // A tree of its own: an image of it, and its objects.
  const tree: TarEntry[] = [
    { name: "small", content: "small\n", mode: 0o640, uid: 5, xattrs: { "user.a": "b" } },
    { name: "big", content: content(300_000), mode: 0o755, mtime: 1_700_000_000 },
    { name: "again", type: "link", target: "big" },
    { name: "link", type: "symlink", target: "big" },
    { name: "bad", content: content(9000) },
    ...Array.from({ length: 120 }, (_, i): TarEntry => ({ name: `many/${"n".repeat(60)}-${i}`, content: `${i}` })),
  ];
  writeFileSync(join(folder, "tree.tar"), tarBytes(tree));
  const image = join(folder, "image.cfs");
  ashlarOk(["composefs", "create", "--quiet", `tar:${join(folder, "tree.tar")}`, image]);
  const objects = [content(300_000), content(9000)].map((bytes): TarEntry => {
    const digest = toHex(
      measureBytes(bytes, { algorithm: "sha256", blockSize: 4096, salt: new Uint8Array(0) }, nodeHashes).digest,
    );
    return { name: `${PLACE}/objects/${digest.slice(0, 2)}/${digest.slice(2)}`, content: bytes };
  });
  const layer: TarEntry[] = [
    { name: `${PLACE}/measure.pl`, content: MEASURE },
    { name: `${PLACE}/image.cfs`, content: readFileSync(image) },
    ...objects,
    ...SIZES.flatMap((size) =>
      (["sha256", "sha512"] as const).map(
        (algorithm): TarEntry => ({ name: `${PLACE}/files/${algorithm}-${size}`, content: content(size) }),
      ),
    ),
  ];
  const layout = await debianLayout("trixie", { extraLayers: [layer] });
  const sizes = ["--esp-size", "256M", "--slot-size", "512M", "--var-size", "256M"];
  ashlarOk(["build", `oci:${layout}:latest`, "-o", folder, ...sizes, "--quiet"]);

  await using guest = await bootDisk({ disk: join(folder, "ashlar-test_1.raw"), log: join(folder, "log") });
  await guest.waitFor(/login:/, BOOT_TIMEOUT);
  const store = "/var/verity";
  await guest.ok("truncate -s 64M /var/store.img && mkfs.ext4 -q -O verity -b 4096 /var/store.img", BOOT_TIMEOUT);
  await guest.ok(`mkdir -p ${store} /var/m /var/t && mount -o loop /var/store.img ${store}`, BOOT_TIMEOUT);
  await guest.ok(`cp -r /${PLACE}/. ${store}/`, BOOT_TIMEOUT);

  await t.test("digests", async () => {
    const files = SIZES.flatMap((size) => (["sha256", "sha512"] as const).map((algorithm) => ({ size, algorithm })));
    const paths = files.map(({ size, algorithm }) => `files/${algorithm}-${size}`);
    const said = await guest.ok(`cd ${store} && perl measure.pl ${paths.join(" ")}`, BOOT_TIMEOUT);
    const ours = files.map(({ size, algorithm }, i) => {
      const { digest } = measureBytes(
        content(size),
        { algorithm, blockSize: 4096, salt: new Uint8Array(0) },
        nodeHashes,
      );
      return `${toHex(digest)} ${paths[i]}`;
    });
    assert.deepEqual(
      said.split(/\r?\n/).map((line) => line.trim()),
      ours,
    );
  });

  await t.test("an image under overlayfs, every file checked by its digest", async () => {
    await guest.ok(`cd ${store} && perl measure.pl image.cfs $(find objects -type f)`, BOOT_TIMEOUT);
    await guest.ok(`mount -t erofs -o ro,loop ${store}/image.cfs /var/m`, BOOT_TIMEOUT);
    const overlay = `ro,metacopy=on,redirect_dir=on,verity=require,lowerdir=/var/m::${store}/objects`;
    await guest.ok(`mount -t overlay -o ${overlay} composefs /var/t`, BOOT_TIMEOUT);
    assert.equal(
      await guest.ok(
        `cmp /var/t/big ${store}/objects/${objects[0]!.name.toString().split("/objects/")[1]} && echo same`,
        BOOT_TIMEOUT,
      ),
      "same",
    );
    assert.equal(
      await guest.ok("stat -c '%s %a %u %h' /var/t/small /var/t/big /var/t/again | tr '\\n' ','", BOOT_TIMEOUT),
      "6 640 5 1,300000 755 0 2,300000 755 0 2,",
    );
    assert.equal(
      await guest
        .ok("cat /var/t/small; readlink /var/t/link; ls /var/t | tr '\\n' ' '; ls /var/t/many | wc -l", BOOT_TIMEOUT)
        .then((text) => text.replaceAll("\r", "")),
      "small\nbig\nagain bad big link many small 120",
    );
  });

  await t.test("an object that is another file is not shown", async () => {
    const object = `${store}/objects/${objects[1]!.name.toString().split("/objects/")[1]}`;
    await guest.ok(`rm ${object} && head -c 9000 /dev/zero >${object} && umount /var/t`, BOOT_TIMEOUT);
    const overlay = `ro,metacopy=on,redirect_dir=on,verity=require,lowerdir=/var/m::${store}/objects`;
    await guest.ok(`mount -t overlay -o ${overlay} composefs /var/t`, BOOT_TIMEOUT);
    assert.notEqual((await guest.run("cat /var/t/bad >/dev/null", BOOT_TIMEOUT)).status, 0);
  });
});
