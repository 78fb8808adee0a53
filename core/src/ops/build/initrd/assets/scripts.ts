/**
 * The shell scripts of the initrd. They run in the image's own `sh`, so they are POSIX shell with `local` not used, and call
 * few programs: those of programs.ts. `\\` and `\${` are TypeScript's; everything else is as the shell sees it.
 */

/** Sourced by the others. */
export const FUNCTIONS = `# Shared by the scripts of this folder.

say() { echo "ashlar: $*"; }
fail() {
  echo "<3>ashlar: $*"
  exit 1
}

# Finds the device of the root as the kernel has it mounted, and what the kernel's own device-mapper table says of it.
# Sets data_device, MAJOR:MINOR of the device that holds its data, and root_hash. Refuses a root that is not dm-verity.
find_root() {
  root_device=
  while read -r _ _ device _ place _; do
    if [ "$place" = /sysroot ]; then root_device=$device; fi
  done < /proc/self/mountinfo
  [ -n "$root_device" ] || fail "nothing is mounted on /sysroot"
  table=$(dmsetup table -j "\${root_device%:*}" -m "\${root_device#*:}") ||
    fail "the root, device $root_device, is not a device-mapper device"
  # start, length, "verity", version, data device, hash device, two block sizes, data blocks, hash start, algorithm,
  # root hash, salt
  # shellcheck disable=SC2086 # the words of the table are wanted
  set -- $table
  [ "$3" = verity ] || fail "the root, device $root_device, is not dm-verity but $3"
  data_device=$5
  root_hash=\${12}
  case $root_hash in *[!0-9a-f]* | '') fail "the kernel's root hash reads '$root_hash'" ;; esac
}
`;

export const SEED = `# Fills a new /var from the image.

# Moves what is in directory $1 into directory $2; what is there already stays.
# Runs in a subshell, so that every level has its own variables.
merge() (
  for entry in "$1"/* "$1"/.[!.]* "$1"/..?*; do
    if [ ! -e "$entry" ] && [ ! -L "$entry" ]; then continue; fi
    other=$2/\${entry##*/}
    if [ ! -e "$other" ] && [ ! -L "$other" ]; then
      mv -T "$entry" "$other"
    elif [ -d "$entry" ] && [ ! -L "$entry" ] && [ -d "$other" ] && [ ! -L "$other" ]; then
      merge "$entry" "$other"
    fi
  done
)

# Copies directory $1, the image's /var, into the file system at $2, once. Power may go at any write: the copy is made
# aside, is on the disk before anything gets its name, and the marker comes last. Without a marker it is all done again;
# what has its name already is whole and stays, be it from the first try or somebody else's.
seed() {
  [ ! -e "$2/lib/ashlar/seeded" ] || return 0
  say "filling /var from the image"
  rm -rf "$2/.ashlar-seed"
  cp -aT "$1" "$2/.ashlar-seed"
  sync -f "$2"
  merge "$2/.ashlar-seed" "$2"
  # Emptied, it still has the mode, owner and attributes of the image's /var, and gives them to the file system's root.
  for entry in "$2/.ashlar-seed"/* "$2/.ashlar-seed"/.[!.]* "$2/.ashlar-seed"/..?*; do rm -rf "$entry"; done
  cp -aT "$2/.ashlar-seed" "$2"
  rm -rf "$2/.ashlar-seed"
  mkdir -p "$2/lib/ashlar"
  sync -f "$2"
  echo 1 > "$2/lib/ashlar/seeded"
  sync -f "$2"
}
`;

export const VAR = `#!/bin/sh
# Finds, makes, checks, fills, mounts and grows /var. From the unit: VAR_TYPE, VAR_FSTYPE.
set -eu
here=/usr/lib/ashlar/initrd
. "$here/functions.sh"
. "$here/seed.sh"

target=/sysroot/var
work=/run/ashlar/var

# Sets found to the device name of the partition of type VAR_TYPE on the disk that carries the root's data, the one
# with the lowest number. By type and disk, never by label: two disks with the same image may be attached.
find_var() {
  disk=$(cd -P "/sys/dev/block/$data_device" && [ -e partition ] && cd .. && pwd -P) ||
    fail "the root's data, device $data_device, is not on a partition"
  found=
  lowest=
  for file in "$disk"/*/partition; do
    directory=\${file%/partition}
    udevadm info --query=property --path="\${directory#/sys}" > "$work.properties" || continue
    type=
    name=
    while IFS='=' read -r key value; do
      case $key in
        ID_PART_ENTRY_TYPE) type=$value ;;
        DEVNAME) name=$value ;;
      esac
    done < "$work.properties"
    [ "$type" = "$VAR_TYPE" ] || continue
    read -r number < "$file"
    if [ -z "$lowest" ] || [ "$number" -lt "$lowest" ]; then
      lowest=$number
      found=$name
    fi
  done
  [ -n "$found" ]
}

# The layer of /etc lies on /var, so it is busy until all else has ended: systemd shall leave it to the last round of
# unmounting instead of failing earlier. /run goes along into the real system.
mkdir -p "$work" /run/systemd/system/var.mount.d
printf '[Unit]\\nDefaultDependencies=no\\n' > /run/systemd/system/var.mount.d/50-ashlar.conf

find_root
tries=0
until find_var; do
  tries=$((tries + 1))
  [ "$tries" -lt 10 ] || fail "no partition of type $VAR_TYPE on the disk of the root, $disk"
  udevadm settle --timeout=30 || :
  sleep 1
done
say "/var is $found"
/usr/lib/systemd/systemd-makefs "$VAR_FSTYPE" "$found" # only where nothing at all is on it
/usr/lib/systemd/systemd-fsck "$found"
mount -t "$VAR_FSTYPE" "$found" "$work"
seed "$target" "$work"
umount "$work" # and mounted anew, since what lies under a shared mount cannot be moved
mount -t "$VAR_FSTYPE" "$found" "$target"
/usr/lib/systemd/systemd-growfs "$target" || say "/var was not grown"
`;

export const ETC = `#!/bin/sh
# Lays a writable layer over the sealed /etc: on /var, one generation for each sealed root, or in memory.
# From the unit: ETC, persistent or transient.
set -eu
. /usr/lib/ashlar/initrd/functions.sh

sealed=/sysroot/etc
state=/sysroot/var/lib/ashlar
generations=$state/etc

# Prints the machine id that this machine had before, if any.
known_id() {
  for file in "$state/machine-id" "$generations"/*/upper/machine-id; do
    if [ ! -f "$file" ] || [ -L "$file" ]; then continue; fi
    id=
    read -r id < "$file" || :
    case $id in *[!0-9a-f]*) continue ;; esac
    if [ "\${#id}" = 32 ]; then
      echo "$id"
      return 0
    fi
  done
  return 1
}

# Writes machine id $1 into file $2, at once or not at all.
write_id() {
  (umask 0222 && echo "$1" > "$2.new")
  sync "$2.new"
  mv "$2.new" "$2"
}

# Makes the two directories of an overlay in directory $1.
make_layer() {
  mkdir -p "$1/upper" "$1/work"
  chown --reference="$sealed" "$1/upper"
  chmod --reference="$sealed" "$1/upper"
}

# A generation appears under its name when it is whole. Its base says what it was made on.
make_generation() {
  say "a new generation of /etc for root $root_hash"
  mkdir -p "$generations"
  chmod 0700 "$generations" # what was private in /etc stays so
  new=$generations/.new
  rm -rf "$new"
  mkdir "$new"
  make_layer "$new"
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in IMAGE_ID=* | IMAGE_VERSION=*) printf '%s\\n' "$line" ;; esac
  done < /sysroot/usr/lib/os-release > "$new/base"
  echo "ROOT_HASH=$root_hash" >> "$new/base"
  if id=$(known_id); then write_id "$id" "$new/upper/machine-id"; fi
  sync -f "$new"
  mv -T "$new" "$generations/$root_hash"
  sync -f "$generations"
}

find_root
case $ETC in
  persistent)
    layer=$generations/$root_hash
    [ -d "$layer" ] || make_generation
    ;;
  transient)
    layer=/run/ashlar/etc
    mkdir -p "$layer"
    mount -t tmpfs -o mode=0700 ashlar-etc "$layer"
    make_layer "$layer"
    # Only the machine id lasts: systemd would make another at every boot.
    if ! id=$(known_id); then
      mkdir -p "$state"
      IFS=- read -r a b c d e < /proc/sys/kernel/random/uuid
      id=$a$b$c$d$e
      write_id "$id" "$state/machine-id"
      sync -f "$state"
    fi
    write_id "$id" "$layer/upper/machine-id"
    ;;
  *) fail "ETC is '$ETC', neither persistent nor transient" ;;
esac
layers=lowerdir=$sealed,upperdir=$layer/upper,workdir=$layer/work
mount -t overlay -o "$layers,index=off,metacopy=off,redirect_dir=off" ashlar-etc "$sealed"
`;

export const LIMIT = `#!/bin/sh
# The time of the initrd is over. With the root mounted the limits of what comes then hold: a long check of /var is no hang.
set -eu
. /usr/lib/ashlar/initrd/functions.sh

while read -r _ _ _ _ place _; do
  if [ "$place" = /sysroot ]; then exit 0; fi
done < /proc/self/mountinfo
echo "<0>ashlar: the initrd hangs, no root is mounted; the machine reboots in 5 s"
systemctl --no-pager --plain --full list-jobs || :
sleep 5
exit 1
`;

export const FAILURE = `#!/bin/sh
# Says on the console what failed, before the machine reboots.
echo "<0>ashlar: the initrd failed; the machine reboots in 5 s"
systemctl --no-pager --plain --full list-units --failed || :
sleep 5
`;
