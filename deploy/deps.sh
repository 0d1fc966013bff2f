#!/bin/sh
# Install what sdlua needs, by Debian package name.
#
#   deploy/deps.sh          what building, running and testing need
#   deploy/deps.sh run      only what building and running need
#   deploy/deps.sh demo     that, and what deploy/demo-cluster needs
#
# As root, or with sudo.  Does nothing, fast, when nothing is missing.
set -eu

run="gcc libc6-dev make cmake ninja-build pkg-config libuv1-dev
    libluajit-5.1-dev libhiredis-dev libssl-dev libedit2 redis-server"
# libedit2 is for those who type into `sdlua attach`, and not needed else.
# chromium-driver brings the browser for the one spec of the chat's page;
# locales are there to make one in which the decimal point is a comma; iproute2
# and nftables build the hosts of spec/cluster.
test="git luajit lua-busted lua-check lua-cjson lua-messagepack lua-posix
    lua-socket curl procps util-linux python3 python3-websockets chromium
    chromium-driver locales clang clang-format clang-tidy libclang-rt-14-dev
    valgrind libc6-dbg strace iproute2 nftables"

case ${1:-test} in
run) wanted=$run ;;
demo) wanted="$run python3 iproute2" ;;
test) wanted="$run $test" ;;
*)
    echo "usage: deploy/deps.sh [run|demo]" >&2
    exit 2
    ;;
esac

missing=
for package in $wanted; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null |
        grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
echo "Installing:$missing"

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of names
$sudo apt-get install -y -qq --no-install-recommends $missing
