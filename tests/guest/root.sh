#!/bin/sh
# usage: root.sh KERNEL_DIR DIR
#
# Makes what the guest boots with: DIR/root.img, an ext4 filesystem with a minimal Debian 12 and what the drivers of lamina call, and
# DIR/initrd, which mounts it. DIR/python says which Python it has. The name under which it is cached holds a hash of this text, of `init`
# and of the kernel's recipe.
set -eu
kernel=$1
out=$2
root=$out/root
version=$(ls "$kernel/modules")

say() { printf 'guest: %s\n' "$*" >&2; }

packages=python3,kmod,busybox-static,cpio,attr
packages=$packages,e2fsprogs,xfsprogs,btrfs-progs,libbtrfsutil1,erofs-utils,fuse-overlayfs
packages=$packages,dmsetup,thin-provisioning-tools,zfsutils-linux,python3-pyzfs

say "making its root filesystem"
mmdebstrap --quiet --variant=minbase --format=directory --components=main,contrib --aptopt='APT::Install-Recommends "false"' \
    --include="$packages" bookworm "$root"
ln -sf /proc/self/mounts "$root/etc/mtab"
mkdir "$root/exchange"
mkdir -p "$root/lib/modules"
cp -r "$kernel/modules/$version" "$root/lib/modules/"
chroot "$root" depmod "$version"
chroot "$root" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' >"$out/python"

say "packing it"
early=$root/tmp/early
mkdir -p "$early/bin" "$early/dev" "$early/root" "$early/modules"
cp "$root/bin/busybox" "$early/bin/"
install "$(dirname "$0")/init" "$early/init"
chroot "$root" modprobe --set-version "$version" --show-depends --all virtio_pci virtio_blk ext4 9p 9pnet_virtio |
    while read -r _ module _; do
        [ -e "$early/modules/${module##*/}" ] && continue
        cp "$root$module" "$early/modules/"
        echo "/modules/${module##*/}" >>"$early/order"
    done
chroot "$root" sh -c 'cd /tmp/early && find . | cpio --quiet --create --format=newc' | gzip >"$out/initrd"
rm -r "$early"
# Sparse, and as large as a test may need. A journal would guard what nobody keeps.
mkfs.ext4 -q -d "$root" -E assume_storage_prezeroed=1 -O ^has_journal "$out/root.img" 32G >/dev/null
rm -r "$root"
