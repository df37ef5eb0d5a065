#!/usr/bin/env bash
# clang_tidy.sh ROOT BUILD: runs clang-tidy over every source that is not a test, as BUILD compiles it.
set -euo pipefail
cd "$1"
# Warning options that only gcc knows are no reason to stop.
find common eventd tokend vaultd deployd tenantd recoveryd solod soloctl bench -name '*.c' -print0 | sort -z |
    nice -n 10 xargs -0 clang-tidy -p "$2" --quiet --extra-arg=-Wno-unknown-warning-option 2>&1 |
    { grep -vE '^[0-9]+ warnings? generated\.$' || true; }
