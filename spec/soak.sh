#!/bin/bash
# The stress programs for as long as they like; see each one's first comment.
set -eu
cd "$(dirname "$0")/.."
for source in spec/stress/*.c; do
    name=$(basename "$source" .c)
    echo "== $name"
    "build/dev/spec/stress/$name"
done
