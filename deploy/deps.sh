#!/bin/sh
# Install what sdlua needs, by Debian package name.
#
#   deploy/deps.sh            install what is missing (as root, or with sudo)
#   deploy/deps.sh --check    exit 0 when nothing is missing
set -eu

run="gcc make cmake ninja-build pkg-config libuv1-dev libluajit-5.1-dev
    libhiredis-dev libssl-dev redis-server"
specs="luajit lua-busted lua-check lua-cjson lua-socket lua-posix curl
    python3 python3-websockets clang clang-format clang-tidy
    libclang-rt-14-dev valgrind procps strace"

missing=
for package in $run $specs; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null |
        grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
[ "${1:-}" != --check ] || exit 1

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of names
$sudo apt-get install -y -qq --no-install-recommends $missing
