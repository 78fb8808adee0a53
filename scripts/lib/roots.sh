# What the cached Debian roots are made of. Sourced after common.sh.
# A root's file name carries a hash of its recipe, so a changed list makes a new root and never meets an old one.

ROOTS="tools trixie bookworm selinux"

# recipe NAME: the arguments of mmdebstrap, one a line; the last is the suite.
recipe() {
  case $1 in
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
      set -- --include="$DEVICE_PACKAGES,systemd-cryptsetup" trixie ;;
    bookworm)
      set -- --include="$DEVICE_PACKAGES" bookworm ;;
    selinux)
      # A system with an SELinux policy installed. Sid's policy does not build with sid's own libsemanage.
      set -- --include=selinux-policy-default,systemd trixie ;;
    *) die "no such root: $1 (known: $ROOTS)" ;;
  esac
  printf '%s\n' --variant=minbase \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*/LC_MESSAGES/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    "$@"
}

# A small Debian that boots: what an image author would install, no more.
DEVICE_PACKAGES=systemd,systemd-sysv,systemd-boot-efi,linux-image-cloud-amd64,udev,dbus,kmod,e2fsprogs,dmsetup,login,passwd
DEVICE_PACKAGES=$DEVICE_PACKAGES,util-linux,iproute2,procps,attr,zstd,less

# root_path NAME: where the root is, or would be. `tools` is a directory, the others are tar files.
root_path() {
  text=$(recipe "$1")
  key=$(printf '%s\n' "$text" | sha256sum | cut -c 1-16)
  case $1 in tools) suffix= ;; *) suffix=.tar ;; esac
  printf '%s/roots/%s-%s%s\n' "$(cache_dir)" "$1" "$key" "$suffix"
}
