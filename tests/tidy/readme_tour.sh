#!/usr/bin/env bash
# readme_tour.sh ROOT: runs the tour of README.md as its reader would, in a scratch folder that looks like the
# repository, on a free port. `scripts/up` runs in the "other terminal".
set -euo pipefail
root="$1"
scratch="$(mktemp -d /tmp/solo-tour-XXXXXX)"
first_up=0
chmod 755 "$scratch"

cleanup() {
    # Only what belongs to this scratch folder, by pid.
    for process in /proc/[0-9]*; do
        if tr '\0' '\n' 2>/dev/null <"$process/cmdline" | grep -qF "$scratch/"; then
            kill -9 "${process#/proc/}" 2>/dev/null || true
        fi
    done
    [ "$first_up" = 0 ] || wait "$first_up" 2>/dev/null || true
    rm -rf "$scratch"
}
trap cleanup EXIT

fail() {
    echo "readme_tour: $1" >&2
    tail -n 40 "$scratch"/*.log >&2 || true
    exit 1
}

cd "$scratch"
ln -s "$root/scripts" scripts
ln -s "$root/build" build
export SOLO_DATA_DIR="$scratch/data" SOLO_RUN_DIR="$scratch/run"
unset SOLO_CONFIG

# The one fenced block of shell in the section "A tour".
awk '/^## /{ in_tour = ($0 == "## A tour") } in_tour && /^```$/{ in_block = 0 }
     in_tour && in_block { print } in_tour && /^```sh$/{ in_block = 1; blocks++ }
     END { if (blocks != 1) exit 1 }' "$root/README.md" >tour.sh || fail "README.md has no tour"
[ "$(wc -l <tour.sh)" -ge 10 ] || fail "the tour of README.md is empty"
port="$(/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
sed -i "s/\b8080\b/$port/g" tour.sh

scripts/up >first-up.log 2>&1 &
first_up=$!
# The reader pastes when the other terminal shows that it runs.
for _ in $(seq 600); do
    [ ! -S run/solod.sock ] || break
    kill -0 "$first_up" 2>/dev/null || fail "scripts/up ended"
    sleep 0.1
done

# As an interactive shell would, with job control. What the commands did is judged by what they said.
bash -m tour.sh >tour.log 2>&1 || fail "the tour ended with an error"

[ "$(grep -c '^Hello from Solo$' tour.log)" = 2 ] || fail "the service did not answer before and after the crash"
grep -q '+ demo/web .*start' tour.log || fail "the dry run does not plan to start demo/web"
grep -q 'Plan: 1 to start' tour.log || fail "the dry run plans something else"
grep -q 'service_recovered' tour.log || fail "the events do not tell of the recovery"
grep -q 'demo/web killed' tour.log || fail "the service was not killed"
grep -q 'clean=true' up.log || fail "Solo did not end in order"
! ls run/*.sock >/dev/null 2>&1 || fail "a socket is left"
# The crash ended the first one.
wait "$first_up" 2>/dev/null && fail "the first scripts/up was not killed"
first_up=0
echo "the tour of README.md works (port $port)"
