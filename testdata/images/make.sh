#!/bin/bash
# How containers.tar.gz was made: one image of two layers, as buildah 1.39.3 and podman 5.4.2 (Debian trixie) write it in
# every format that Ashlar reads. Run as root in a Debian root of its own (mmdebstrap --include=buildah,podman,crun trixie)
# that is a mount point, has /proc, /sys, /sys/fs/cgroup and a few nodes in /dev, in an empty directory.
set -e
export STORAGE_DRIVER=vfs BUILDAH_ISOLATION=chroot XDG_RUNTIME_DIR=/tmp
mkdir -p src/d; echo one > src/a; echo two > src/d/b; ln -sf a src/l; touch -d @1700000000 src/a src/d/b
c=$(buildah from scratch)
buildah copy $c src /opt
buildah config --label org.opencontainers.image.title=t --label org.opencontainers.image.version=1 $c
buildah commit -q --timestamp 1735689600 $c localhost/one:1
c2=$(buildah from localhost/one:1)
buildah copy $c2 src/d/b /opt/new
m=$(buildah mount $c2); rm $m/opt/a; chmod 700 $m/opt/d; mkdir $m/opt/x; ln $m/opt/d/b $m/opt/x/h
buildah commit -q --timestamp 1735689600 $c2 localhost/two:1
rm -rf out; mkdir out
buildah push localhost/two:1 oci:out/b-oci:latest
buildah push localhost/two:1 docker-archive:out/b-docker.tar:localhost/two:1
buildah push localhost/two:1 oci-archive:out/b-ociarchive.tar
buildah push localhost/two:1 dir:out/b-dir
podman() { command podman --cgroup-manager=cgroupfs --events-backend=file "$@"; }
podman save --format docker-archive -o out/p-docker.tar localhost/two:1
podman save -m --format docker-archive -o out/p-multi.tar localhost/one:1 localhost/two:1
podman save --format oci-archive -o out/p-oci.tar localhost/two:1
podman save --format oci-dir -o out/p-ocidir localhost/two:1
podman save --format docker-dir -o out/p-dir localhost/two:1
tar -C out --sort=name --mtime=@1735689600 --owner=0 --group=0 --numeric-owner -cf - . | gzip -9n >containers.tar.gz
