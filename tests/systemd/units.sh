#!/usr/bin/env bash
# units.sh BUILD SOURCE: what systemd itself says of the units, installed into a scratch folder: no error, and how much
# each daemon is shut in (systemd-analyze security, lower is better).
set -euo pipefail
build="$1"
source="$2"
if ! command -v systemd-analyze >/dev/null; then
    echo "skipped: systemd-analyze is not there (package systemd)"
    exit 77
fi
scratch="$(mktemp -d /tmp/solo-units-XXXXXX)"
trap 'rm -rf "$scratch"' EXIT
DESTDIR="$scratch" cmake -P "$build/systemd/cmake_install.cmake" >/dev/null
units="$scratch/usr/lib/systemd/system"
[ "$(ls "$units" | wc -l)" = "$(ls "$source/systemd/units" | wc -l)" ] || { echo "not every unit is installed"; exit 1; }

# The programs are looked for where the units name them, the units of the system in their usual place.
mkdir -p "$scratch/bin"
for unit in "$units"/*; do
    sed -i "s#=\(/usr/s\?bin/\)\(solod\|eventd\|tokend\|vaultd\|deployd\|recoveryd\)#=$scratch/bin/\2#" "$unit"
done
for program in solod eventd tokend vaultd deployd recoveryd; do
    ln -s /bin/true "$scratch/bin/$program"
done
if ! SYSTEMD_UNIT_PATH="$units:" systemd-analyze verify --man=no --recursive-errors=yes "$units"/* >"$scratch/log" 2>&1; then
    cat "$scratch/log"
    exit 1
fi
if grep -F "$units" "$scratch/log"; then
    exit 1
fi

failed=0
while read -r unit most; do
    # The exit code compares with a bound that is ten times the figure.
    said="$(systemd-analyze security --offline=yes --no-pager --threshold="$most" "$units/$unit.service" 2>&1)" || failed=1
    echo "$said" | tail -n 1
done <<END
eventd 6
tokend 6
vaultd 6
recoveryd 8
solo-verify 8
deployd 42
END

# What a daemon's child reads in the background goes behind everybody else's work.
for unit in eventd tokend vaultd; do
    if [ "$(grep '^SystemCallFilter=' "$units/$unit.service" | tail -n 1)" != "SystemCallFilter=setpriority ioprio_set" ]; then
        echo "$unit.service: setpriority and ioprio_set are not allowed"
        failed=1
    fi
done
[ "$failed" = 0 ] || { echo "a daemon is less shut in than it has to be, or more than it can be"; exit 1; }
