#!/bin/bash
# How go.tar.gz and busybox.tar.gz were made: one sample tree, as archive/tar of Go 1.26.8 and busybox 1.35.0 write it.
# Run as root in an empty directory, with `go` and `busybox` in PATH.
set -e
umask 022
mkdir -p tree/usr/bin "tree/$(printf 'd%.0s' {1..90})/$(printf 'e%.0s' {1..90})" go
echo tool >tree/usr/bin/tool
chmod 6755 tree/usr/bin/tool
ln tree/usr/bin/tool tree/hard
ln -s usr/bin/tool tree/link
ln -s "$(printf 'l/%.0s' {1..80})" tree/long-link
echo deep >"tree/$(printf 'd%.0s' {1..90})/$(printf 'e%.0s' {1..90})/$(printf 'f%.0s' {1..90})"
echo wide >"tree/$(printf 'g%.0s' {1..250})"
echo latin >"tree/$(printf 'caf\351')"
head -c 513 /dev/zero | tr '\0' x >tree/odd
: >tree/empty
mkfifo tree/pipe
mknod tree/null c 1 3
mknod tree/disk b 259 4097
echo large >tree/large-ids
chown 3000000:4000000000 tree/large-ids
echo old >tree/old
find tree -exec touch -h -d @1700000000 {} +
touch -d @-1000 tree/old
touch -d @10000000000 tree/odd
busybox tar -C tree -cf busybox.tar .
cat >go/main.go <<'GO'
package main

import (
	"archive/tar"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	writer := tar.NewWriter(os.Stdout)
	seen := map[uint64]string{}
	must(filepath.WalkDir(os.Args[1], func(path string, _ fs.DirEntry, err error) error {
		must(err)
		info, err := os.Lstat(path)
		must(err)
		target, _ := os.Readlink(path)
		header, err := tar.FileInfoHeader(info, target)
		must(err)
		stat := info.Sys().(*syscall.Stat_t)
		header.Name, err = filepath.Rel(os.Args[1], path)
		must(err)
		if info.IsDir() {
			header.Name += "/"
		} else if first, ok := seen[stat.Ino]; ok {
			header.Typeflag, header.Linkname, header.Size = tar.TypeLink, first, 0
		}
		seen[stat.Ino] = header.Name
		header.Uname, header.Gname, header.AccessTime, header.ChangeTime = "", "", time.Time{}, time.Time{}
		if filepath.Base(path) == "hard" {
			header.PAXRecords = map[string]string{"SCHILY.xattr.user.note": "a\n=\xff", "SCHILY.acl.access": "user::rwx,user:1000:r--,group::r-x,mask::r-x,other::r-x"}
		}
		must(writer.WriteHeader(header))
		if header.Size > 0 {
			file, err := os.Open(path)
			must(err)
			_, err = io.Copy(writer, file)
			must(err)
		}
		return nil
	}))
	must(writer.Close())
}
GO
go run go/main.go tree >go.tar
gzip -9n go.tar busybox.tar
