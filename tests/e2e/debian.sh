#!/bin/sh
# usage: debian.sh DIR
#
# Makes DIR/debian.tar, the root filesystem of a minimal Debian 12, out of Debian's packages. The name under which it is cached holds a
# hash of this text.
set -eu
mmdebstrap --quiet --variant=minbase bookworm "$1/debian.tar"
