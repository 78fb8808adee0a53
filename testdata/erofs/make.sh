#!/bin/sh
# Makes the images of this folder with mkfs.erofs of the tools root (erofs-utils 1.9): one for each way in which content,
# indexes, xattrs and metadata can be stored. All hold tree.tar. Run it where an image is to be added; the others stay the same
# only with the same mkfs.erofs.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 - "$work/tree.tar" <<'PYTHON'
import io, sys, tarfile
state = 7
def number(below):
    global state
    state = (state * 1103515245 + 12345) % 2**32
    return (state >> 8) % below
words = ["".join(chr(97 + number(26)) for _ in range(2 + number(9))) for _ in range(40)]
def text(size):
    out = ""
    while len(out) < size: out += words[number(40)] + " "
    return out[:size].encode()
noise = lambda size: bytes(number(256) for _ in range(size))
long = text(40000)
files = {
    "long": long, "long, moved": b"x" + long, "mixed": text(9000) + noise(4501) + text(3000), "short": text(300),
    "noise": noise(1500), "zeros": bytes(30000), "empty": b"", "text": text(12345), "block": text(4096),
}
with tarfile.open(sys.argv[1], "w", format=tarfile.PAX_FORMAT) as tar:
    def add(name, kind, content=b"", **more):
        info = tarfile.TarInfo(name)
        info.type, info.size, info.mtime, info.mode = kind, len(content), 1700000000, 0o755 if kind == tarfile.DIRTYPE else 0o644
        for key, value in more.items(): setattr(info, key, value)
        tar.addfile(info, io.BytesIO(content))
    xattrs = {"SCHILY.xattr.user.a.long.prefix.one": "1" * 60, "SCHILY.xattr.user.two": "2"}
    add(".", tarfile.DIRTYPE)
    add("dir", tarfile.DIRTYPE, pax_headers=xattrs)
    for i, (name, content) in enumerate(files.items()):
        add("dir/" + name, tarfile.REGTYPE, content, uid=70000 * (i % 2), pax_headers=xattrs if i < 4 else {})
    for i in range(60): add(f"dir/a name of some length {i}", tarfile.REGTYPE, uid=i)
    add("hard", tarfile.LNKTYPE, linkname="dir/short")
    add("link", tarfile.SYMTYPE, linkname="dir/long", mode=0o777)
    add("null", tarfile.CHRTYPE, devmajor=1, devminor=3)
PYTHON

make() {
  name=$1; shift
  ../../scripts/lib/in-tools mkfs.erofs --quiet -T1700000000 -U00112233-4455-6677-8899-aabbccddeeff "$@" --tar=f "$work/$name.erofs" "$work/tree.tar"
  gzip -9nc "$work/$name.erofs" >"$name.erofs.gz"
}
gzip -9nc "$work/tree.tar" >tree.tar.gz
prefix=--xattr-prefix=user.a.long.prefix.
make lz4-compact -zlz4
make lz4-big-full -zlz4 -C16384 -Elegacy-compress
make lz4-tails -b1024 -zlz4 -C4096 -Eztailpacking
make lz4-dedupe -zlz4 -Ededupe
make lz4-fragments -zlz4 -Efragments,legacy-compress
make lzma -zlzma,1 -C8192
make deflate-tails -zdeflate,1 -Eztailpacking
make zstd-extents -zzstd,3 -C8192 -E48bit
make zstd-extents-fragments -zzstd,3 -C16384 -E48bit,fragments
make zstd-metabox -zzstd,3 -C65536 -m4096:zstd -Eall-fragments "$prefix"
make lz4-directories -zlz4 --zD=1 -Edot-omitted
make chunks --chunksize=4096 -Eforce-chunk-indexes,48bit
make prefixes -x1 -Eplain-xattr-prefixes,xattr-name-filter "$prefix"
