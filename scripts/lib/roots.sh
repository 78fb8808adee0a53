# What the cached Debian roots are made of. Sourced after common.sh.
# A root's file name carries a hash of its recipe, so a changed list makes a new root and never meets an old one.

ROOTS="tools trixie trixie-arm64 bookworm selinux"
# Made only where a script asks for it: `go` builds the peers on a machine without a Go that is new enough.

# recipe NAME: the arguments of mmdebstrap, one a line; the last is the suite.
recipe() {
  variant=minbase
  case $1 in
    go)
      # Unpacked and not set up: all of it is the toolchain, which is linked statically and runs anywhere.
      variant=extract
      set -- --aptopt='Acquire::Check-Valid-Until "false"' --include=golang-go sid ;;
    tools)
      # sid: the newest peers to be compared with. Its Release file may be past its date on a mirror that is not fresh.
      # systemd-measure is in systemd-tpm and systemd-dissect in systemd-container there.
      set -- --aptopt='Acquire::Check-Valid-Until "false"' \
        --include=erofs-utils,umoci,skopeo,cryptsetup-bin,systemd,systemd-container,systemd-repart,systemd-tpm,systemd-ukify \
        --include=qemu-system-x86,ovmf,fdisk,dosfstools,e2fsprogs,mtools,attr,binutils,cpio,xz-utils,zstd \
        --include=composefs,fsverity,policycoreutils,selinux-utils \
        sid ;;
    trixie)
      # Since trixie veritysetup's generator and service are a package of their own.
      set -- --include="$(device_packages amd64),systemd-cryptsetup" trixie ;;
    trixie-arm64)
      # Its programs do not run here, so packages are unpacked and no more; the hooks do what their scripts would have done.
      variant=extract
      set -- --architectures=arm64 --include='?essential' --include="$(device_packages arm64),systemd-cryptsetup" \
        --extract-hook='for name in passwd group; do cp "$1/usr/share/base-passwd/$name.master" "$1/etc/$name"; done' \
        --extract-hook='sed "s/:.*/:*:20000:0:99999:7:::/" "$1/etc/passwd" >"$1/etc/shadow"' \
        --extract-hook='chmod 640 "$1/etc/shadow"; chgrp 42 "$1/etc/shadow"' \
        --extract-hook='depmod -b "$1" "$(basename "$1"/usr/lib/modules/*)"' \
        trixie ;;
    bookworm)
      set -- --include="$(device_packages amd64)" bookworm ;;
    selinux)
      # A system with an SELinux policy installed. Sid's policy does not build with sid's own libsemanage.
      set -- --include=selinux-policy-default,systemd trixie ;;
    *) die "no such root: $1 (known: $ROOTS go)" ;;
  esac
  printf '%s\n' --variant=$variant \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*/LC_MESSAGES/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    "$@"
}

# device_packages ARCHITECTURE: a small Debian that boots: what an image author would install, no more.
device_packages() {
  printf %s "systemd,systemd-sysv,systemd-boot,systemd-boot-efi,linux-image-cloud-$1,udev,dbus,kmod,e2fsprogs,dmsetup,login,passwd,"
  printf %s util-linux,iproute2,procps,attr,zstd,less
}

# Roots that are used where they lie are directories, those that images are made of are tar files.
is_directory() { case $1 in tools | go) true ;; *) false ;; esac; }

# root_path NAME: where the root is, or would be.
root_path() {
  text=$(recipe "$1")
  key=$(printf '%s\n' "$text" | sha256sum | cut -c 1-16)
  suffix=.tar
  ! is_directory "$1" || suffix=
  printf '%s/roots/%s-%s%s\n' "$(cache_dir)" "$1" "$key" "$suffix"
}
