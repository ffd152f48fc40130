#!/bin/sh
# usage: on-btrfs.sh COMMAND [ARGUMENT…]
#
# Runs a command with `--lamina-root=DIR` behind it, where DIR is an empty btrfs in a file, and takes that away again.
set -eu
place=$(mktemp -d "${TMPDIR:-/tmp}/lamina-btrfs-XXXXXX")
take_away() {
    umount "$place/root" 2>/dev/null || umount --lazy "$place/root" 2>/dev/null || true
    rm -rf "$place"
}
trap take_away EXIT
trap 'exit 130' INT TERM
truncate --size 4G "$place/image"
mkfs.btrfs --quiet "$place/image" >/dev/null 2>&1 || { echo "on-btrfs: needs mkfs.btrfs of the package btrfs-progs" >&2; exit 1; }
mkdir "$place/root"
mount -o loop "$place/image" "$place/root"
"$@" "--lamina-root=$place/root"
