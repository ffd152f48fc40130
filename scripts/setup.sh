#!/bin/sh
# usage: setup.sh demo|test
#
# Makes this machine ready for `make demo` or `make test`: system packages (packages.txt), the virtual environment .venv, and
# lamina in it, editable. Says each thing that it does in one line, and nothing when all is there.
set -eu
verb=$1
cd "$(dirname "$0")/.."
here=$(pwd -P)

say() { printf 'setup: %s\n' "$*" >&2; }

# The interpreter for .venv: Debian's own first, since pyenv's and conda's come and go; any that can make an environment will do.
find_python() {
    for candidate in ${PYTHON:+"$PYTHON"} /usr/bin/python3 python3 python3.11 python3.12 python3.13 python3.14; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            return 0
        fi
    done
    return 1
}

is_there() {
    if [ "$1" = ensurepip ]; then
        [ -x .venv/bin/python ] || find_python
    elif [ "${1#/}" = "$1" ]; then
        PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null
    else
        [ -e "$1" ]
    fi
}

missing_packages() {
    while read -r package proof verbs _; do
        case $package in '' | '#'*) continue ;; esac
        case ",$verbs," in *",$verb,"*) is_there "$proof" || printf ' %s' "$package" ;; esac
    done <scripts/packages.txt
}

apt_install() {
    apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
}

install_packages() {
    missing=$(missing_packages)
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        say "missing, and only root with apt can install it; run: apt-get install --no-install-recommends$missing"
        say "going on with what works without"
        return 0
    fi
    say "installing system packages:$missing"
    log=$(mktemp)
    # The package lists may be absent or old: they are fetched only when it does not work without.
    # shellcheck disable=SC2086  # a list of names
    if ! { apt_install $missing || { apt-get update; apt_install $missing; }; } </dev/null >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        say "apt-get failed (above); try: apt-get install --no-install-recommends$missing"
        say "going on with what works without"
    fi
    rm -f "$log"
}

# What the environment was made from. A moved checkout is another one: scripts in .venv/bin name their interpreter by full path.
recipe() { printf '%s %s\n' "$here" "$(cat pyproject.toml scripts/setup.sh | sha256sum)"; }

is_ready() {
    for made_for in "$verb" test; do
        if [ "$(cat ".venv/ready-for-$made_for" 2>/dev/null)" = "$(recipe)" ]; then
            .venv/bin/python -c 'import lamina' 2>/dev/null && return 0
        fi
    done
    return 1
}

pip() {
    if ! .venv/bin/python -m pip --quiet --quiet --disable-pip-version-check --no-input "$@" </dev/null; then
        say "pip failed (above), and nothing works without its packages"
        exit 1
    fi
}

make_environment() {
    if [ "$(.venv/bin/python -c 'import pip, sys; print(sys.prefix)' 2>/dev/null)" != "$here/.venv" ]; then
        if ! find_python; then
            say "no Python 3.11 or newer that can make virtual environments (Debian: python3-venv); nothing works without"
            exit 1
        fi
        say "making the virtual environment .venv with $("$python" --version), $(command -v "$python")"
        "$python" -m venv --clear .venv
    fi
    # The first pip that knows dependency groups (PEP 735).
    if ! .venv/bin/python -c 'import pip, sys; sys.exit(tuple(map(int, pip.__version__.split(".")[:2])) < (25, 1))'; then
        say "bringing pip up to date in .venv"
        pip install --upgrade 'pip>=25.1'
    fi
    if [ "$verb" = demo ]; then
        say "installing lamina and what it needs into .venv"
        pip install --editable .
    else
        say "installing lamina, what it needs and the tools of development into .venv"
        pip install --editable '.[conformance]' --group dev
        (pip install --editable '.[btrfs]') 2>/dev/null ||
            say "btrfsutil cannot be built, and without it there is no driver btrfs; try: make clean, once libbtrfsutil-dev is there"
    fi
    recipe >".venv/ready-for-$verb"
}

export DEBIAN_FRONTEND=noninteractive
install_packages
is_ready || make_environment
