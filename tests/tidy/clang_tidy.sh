#!/usr/bin/env bash
# clang_tidy.sh ROOT BUILD [SOURCE]: runs clang-tidy over every source that is not a test, or over SOURCE, as BUILD
# compiles it.
# The analyzer walks 4,000 states of a function, with SOLO_LONG as many as it likes to (ten times the processor time).
set -euo pipefail
cd "$1"
depth=()
if [ -z "${SOLO_LONG:-}" ]; then
    depth=(--extra-arg=-Xclang --extra-arg=-analyzer-config --extra-arg=-Xclang --extra-arg=max-nodes=4000)
fi
# Warning options that only gcc knows are no reason to stop.
sources() {
    if [ $# -gt 0 ]; then
        printf '%s\0' "$1"
    else
        find common eventd tokend vaultd deployd tenantd recoveryd solod soloctl bench -name '*.c' -print0 | sort -z
    fi
}
sources "${@:3}" |
    nice -n 10 xargs -0 -n 8 -P "$(nproc)" clang-tidy -p "$2" --quiet --extra-arg=-Wno-unknown-warning-option "${depth[@]}" 2>&1 |
    { grep -vE '^[0-9]+ warnings? generated\.$' || true; }
