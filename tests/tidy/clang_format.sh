#!/usr/bin/env bash
# clang_format.sh ROOT: fails when clang-format would change a source. The .def tables keep their columns.
set -euo pipefail
cd "$1"
find . \( -path ./build -o -path ./.git -o -path ./data -o -path ./run \) -prune -o -name '*.[ch]' -print0 |
    xargs -0 clang-format --dry-run -Werror
