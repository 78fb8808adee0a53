# Shared by the scripts of this folder; POSIX sh, sourced after `set -eu`.

# say TEXT: progress for people, on stderr, so that stdout stays for results.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

# Where everything expensive to fetch is kept; the tests ask fetch-roots instead of knowing this.
cache_dir() {
  if [ -n "${ASHLAR_CACHE:-}" ]; then printf '%s\n' "$ASHLAR_CACHE"
  elif [ -n "${XDG_CACHE_HOME:-}" ]; then printf '%s/ashlar\n' "$XDG_CACHE_HOME"
  elif [ -n "${HOME:-}" ]; then printf '%s/.cache/ashlar\n' "$HOME"
  else die "set HOME or ASHLAR_CACHE"
  fi
}

# need_packages PACKAGE…: installs the Debian packages that are missing, naming them; an ordinary user is told what to run.
need_packages() {
  missing=
  for package; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
  done
  [ -n "$missing" ] || return 0
  [ "$(id -u)" = 0 ] || die "missing packages, please run: sudo apt-get install --no-install-recommends$missing"
  say "installing with apt-get:$missing"
  apt_get() { DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" >&2; }
  # The lists of a fresh machine may be empty or old, so refresh them only once an install has failed.
  # shellcheck disable=SC2086 # a list of words
  apt_get install --no-install-recommends $missing || { apt_get update && apt_get install --no-install-recommends $missing; }
}
