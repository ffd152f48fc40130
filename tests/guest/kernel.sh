#!/bin/sh
# usage: kernel.sh DIR
#
# Makes, out of Debian's packages, the kernel that the guest runs: DIR/vmlinuz and DIR/modules, Debian 12's stock kernel with OpenZFS built
# for it. All happens in a root of its own, that mmdebstrap makes and removes: nothing of this machine is used or changed. The name
# under which it is cached holds a hash of this text.
set -eu
export out="$1"

say() { printf 'guest: %s\n' "$*" >&2; }

# ZFS is compiled from what the package zfs-dkms brings, without DKMS. Sound, graphics and the like stay away.
cat >"$out/build.sh" <<'END'
set -eu
say() { printf 'guest: %s\n' "$*" >&2; }

headers=$(echo /usr/src/linux-headers-*-common)
version=$(basename /lib/modules/*)
mkdir /module /out
cd /module
apt-get download -qq -o APT::Sandbox::User=root "linux-image-$version" zfs-dkms
for package in *.deb; do dpkg -x "$package" .; done

say "configuring $(basename usr/src/zfs-*) for Linux $version"
(
    cd usr/src/zfs-*
    # Without debug information the compiler has half the work.
    export KCFLAGS=-g0
    sh ./configure --quiet --with-config=kernel --with-linux="$headers" --with-linux-obj="/lib/modules/$version/build" >/module/log 2>&1
    say "compiling it: this takes minutes, once"
    make --silent --jobs="$(nproc)" >/module/log 2>&1
) || { tail -n 20 log >&2; exit 1; }

mkdir -p "/out/modules/$version/extra"
cp "boot/vmlinuz-$version" /out/vmlinuz
cp usr/src/zfs-*/module/*/*.ko "/out/modules/$version/extra"
strip --strip-debug "/out/modules/$version/extra/"*.ko
cd "lib/modules/$version"
cp --parents -r modules.order modules.builtin modules.builtin.modinfo kernel/arch kernel/block kernel/crypto kernel/fs kernel/lib \
    kernel/mm kernel/net/9p kernel/drivers/block kernel/drivers/md kernel/drivers/virtio "/out/modules/$version"
END

say "fetching compiler and kernel headers"
# shellcheck disable=SC2016  # $1, the new root, is for the hooks
mmdebstrap --quiet --variant=apt --format=null --components=main,contrib --aptopt='APT::Install-Recommends "false"' \
    --include=linux-headers-amd64,make,gcc,libc6-dev \
    --customize-hook='cp "$out/build.sh" "$1/"' \
    --customize-hook='chroot "$1" sh /build.sh' \
    --customize-hook='cp -r "$1/out/." "$out"' \
    bookworm
rm "$out/build.sh"
say "the kernel is made: $(ls "$out/modules")"
