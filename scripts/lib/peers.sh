# Other people's registry programs that tests compare with, each at one version. Sourced after common.sh.
# A file name in the cache carries a hash of its recipe, so a new version makes a new file and never meets an old one.

PEERS="crane oras cosign tuf-client registry go-registry"

# Made only when it is named: the long tier wants it.
# qemu-arm64: runs the single executable of arm64 on the test machine.
# newer-node: the Node after the one that everything else runs under, since bytes must not depend on that.

# The least Go that the versions below build with.
GO_VERSION=1.26.7

# peer_recipe NAME: how it is made, in words: `install MODULE-PATH VERSION` with Go, `build FOLDER HASH` for a program of ours
# around a library of theirs, `unpack PACKAGE FILE SUITE` from Debian, `npm PACKAGE VERSION FILE`. Folders are those of the checkout.
peer_recipe() {
  case $1 in
    crane) echo install github.com/google/go-containerregistry/cmd/crane v0.22.1 ;;
    oras) echo install oras.land/oras/cmd/oras v1.3.6 ;;
    cosign) echo install github.com/sigstore/cosign/v3/cmd/cosign v3.1.3 ;;
    tuf-client) echo install github.com/theupdateframework/go-tuf/v2/examples/cli/tuf-client v2.4.2 ;;
    # The registry that most others descend from. Unpacked and not installed, which would start it as a service.
    registry) echo unpack docker-registry usr/bin/docker-registry "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" ;;
    # One that answers the referrers API: crane's, which its own command serves without.
    go-registry) echo build test/support/go-registry "$(cat "$here"/../test/support/go-registry/* | sha256sum | cut -c 1-16)" ;;
    newer-node) echo npm "node-linux-$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')" 26.10.0 bin/node ;;
    qemu-arm64) echo unpack qemu-user-static usr/bin/qemu-aarch64-static "$(. /etc/os-release && echo "${VERSION_CODENAME:-}")" ;;
    *) die "no such peer: $1 (known: $PEERS)" ;;
  esac
}

# peer_path NAME: where the program is, or would be.
peer_path() {
  text=$(peer_recipe "$1")
  key=$(printf '%s\n' "$text" | sha256sum | cut -c 1-16)
  printf '%s/peers/%s-%s\n' "$(cache_dir)" "$1" "$key"
}
