#!/bin/bash
# Formatting and static checks; build/dev must be configured.
set -u
cd "$(dirname "$0")/.." || exit 1
status=0

echo "== clang-format"
git ls-files '*.c' '*.h' | xargs clang-format-14 --dry-run --Werror || status=1

# clang-format leaves comments alone.
echo "== 80 columns"
git ls-files '*.c' '*.h' | xargs awk \
    'length > 80 { print FILENAME ":" FNR ": " $0; n++ } END { exit n > 0 }' ||
    status=1

echo "== clang-tidy"
git ls-files 'runtime/*.c' | xargs -P "$(nproc)" -n 4 \
    clang-tidy-14 -p build/dev --quiet 2> /dev/null || status=1

echo "== luacheck"
luacheck --quiet --no-color $(git ls-files '*.lua') || status=1

if command -v stylua > /dev/null; then
    echo "== stylua"
    stylua --check $(git ls-files 'lua/*.lua' 'scripts/*.lua') || status=1
fi
exit $status
