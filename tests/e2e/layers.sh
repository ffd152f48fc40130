#!/bin/sh
# usage: layers.sh DEBIAN_TAR DIR
#
# Makes an image of four layers in DIR, as an OCI layout (oci/, tag debian), an OCI archive and a docker archive. The first three layers
# are what anybody's build makes: a base, packages on top, other packages and a removal on top of that. The fourth has one of
# everything that a layer can hold. The name under which it is cached holds a hash of this text.
set -eu
base=$1
out=$2
cd "$out"

b() { buildah --root "$out/store/root" --runroot "$out/store/run" --storage-driver vfs "$@"; }

# step PARENT NAME COMMANDS: one more layer
step() {
    container=$(b from --pull-never "$1")
    b run --isolation chroot "$container" -- sh -euc "export DEBIAN_FRONTEND=noninteractive; $3"
    b commit --quiet --format oci --rm "$container" "$2"
}

container=$(b from scratch)
b add --quiet "$container" "$base" /
b config --cmd /bin/bash --env LANG=C.UTF-8 --label org.example.suite=bookworm --workingdir /srv "$container"
b commit --quiet --format oci --rm "$container" base
get='apt-get update -qq; apt-get install -qq -y --no-install-recommends'
forget='rm -rf /var/lib/apt/lists/*'
step base one "$get iputils-ping less; $forget"
step one two "$get zstd file; apt-get purge -qq -y less; $forget"
b push --quiet two "oci:$out/oci:debian"
b rmi --all --force
rm -rf store

mkdir odd
cd odd
d=opt/odd
mkdir -p $d/sub/deeper $d/sticky $d/setgid
echo one >$d/one
ln $d/one $d/two
ln $d/one $d/sub/three
ln -s /proc/self/cwd/../.. $d/absolute
ln -s missing $d/dangling
mkfifo $d/fifo
mknod $d/char c 1 3
mknod $d/block b 259 70000
echo '#!/bin/sh' >$d/setuid
: >$d/empty
truncate -s 1M $d/holes
echo end >>$d/holes
echo capable >$d/capable
setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 $d/capable
setfattr -n user.note -v 'a note' $d/one
setfattr -n user.binary -v 0x00ff3d0a $d/sub
long=$(printf 'n%.0s' $(seq 1 200))
echo long >"$d/$long"
mkdir "$d/sub/$long"
echo longer >"$d/sub/$long/$long"
echo latin >"$(printf '%s/caf\351' $d)"
echo utf8 >"$(printf '%s/caf\303\251' $d)"
printf 'a\nb' >"$(printf '%s/new\nline' $d)"
chown -h 1000:2000 $d/one $d/dangling $d/fifo
chown 3000000000:3000000000 $d/empty
chmod 0000 $d/sub/deeper
chmod 1777 $d/sticky
chmod 2775 $d/setgid
chmod 4711 $d/setuid
# What was there before: hidden, emptied, and replaced by another kind.
mkdir -p usr/share/doc/file usr/share/common-licenses usr/share/zoneinfo etc/issue.net
: >usr/share/common-licenses/.wh.GPL-3
: >usr/share/doc/file/.wh..wh..opq
echo new >usr/share/doc/file/README
echo no directory >usr/share/lintian
echo in a file before >etc/issue.net/inside
find . -mindepth 1 -depth -exec touch -h -d '2001-02-03 04:05:06.789012345Z' {} +
touch -h -d '1969-12-31 23:59:58.5Z' $d/dangling $d/two
tar --create --file ../odd.tar --format=posix --numeric-owner --sort=name --xattrs --xattrs-include='*' etc opt usr
cd ..
umoci raw add-layer --image oci:debian odd.tar
umoci gc --layout oci
rm -rf odd odd.tar

skopeo copy --quiet oci:oci:debian oci-archive:debian.oci.tar:debian
skopeo copy --quiet oci:oci:debian docker-archive:debian.docker.tar:example.org/debian:12
