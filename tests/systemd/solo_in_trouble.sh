#!/usr/bin/env bash
# solo_in_trouble.sh BUILD: what the unit set does when something is wrong, under a systemd of its own (machine.sh): logs in the
# journal, a reload, secrets inside the sandbox, the periodic verification, a daemon that hangs, a damaged store; and solo.service in
# place of the set.
set -euo pipefail
build="$1"
. "$(dirname "$(readlink -f "$0")")/machine.sh"
if ! why="$(machine_possible)"; then
    echo "skipped: a machine with systemd cannot be made here: $why"
    exit 77
fi
[ -x "$build/bin/solod" ] || { echo "skipped: there is no release in $build (scripts/up --build-only)"; exit 77; }
machine_make || { echo "skipped: no overlay over / can be mounted here"; exit 77; }
trap machine_end EXIT

fail() {
    echo "solo_in_trouble: $1" >&2
    machine systemctl --no-pager status eventd deployd solo recoveryd >&2 || true
    machine journalctl --no-pager -n 60 >&2 || true
    exit 1
}

# Asks until it is so, at most 30 s.
until_true() {
    local _
    for _ in $(seq 300); do
        ! "$@" >/dev/null 2>&1 || return 0
        sleep 0.1
    done
    fail "it does not come true: $*"
}
pid_of() { machine soloctl describe "$1" -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])'; }
names() { machine soloctl get services -o name | sort; }

DESTDIR="$MACHINE_ROOT" cmake -P "$build/cmake_install.cmake" >/dev/null
# A watchdog that a test can wait for.
mkdir -p "$MACHINE_ROOT/etc/systemd/system/eventd.service.d"
printf '[Service]\nWatchdogSec=2s\n' >"$MACHINE_ROOT/etc/systemd/system/eventd.service.d/watchdog.conf"
machine_boot || fail "the machine does not boot"
machine systemctl start solo.target
until_true machine soloctl status --check

# A secret reaches its service through everybody's sandbox.
machine sh -c 'printf swordfish | soloctl secret set acme/db >/dev/null'
machine soloctl deploy acme/reader --secret db --wait -- sh -c 'cat "$CREDENTIALS_DIRECTORY/db" >got; exec sleep 100000' >/dev/null ||
    fail "a service with a secret does not start"
until_true machine grep -qx swordfish /var/lib/solo/tenants/acme/reader/got
pid="$(pid_of acme/reader)"

# It runs in a cgroup of its own, below deployd's delegated one; where there are controllers beside that, with its limits.
group="$(machine sed -n 's/^0:://p' "/proc/$pid/cgroup")"
case "$group" in
*/solo-*/t-acme/s-reader) ;;
*) fail "the service is in the cgroup $group" ;;
esac
if machine grep -qw memory "/sys/fs/cgroup$(dirname "$group")/cgroup.controllers"; then
    machine sh -c 'echo "{\"tenant\": \"acme\", \"name\": \"small\", \"argv\": [\"sleep\", \"100000\"], \"limits\": {\"memory\": \"32MiB\"}}" | soloctl apply -f - >/dev/null'
    small="$(machine sed -n 's/^0:://p' "/proc/$(pid_of acme/small)/cgroup")"
    [ "$(machine cat "/sys/fs/cgroup$small/memory.max")" = 33554432 ] || fail "its memory is not bounded by its cgroup"
fi

# The journal has fields, and no line of ours begins with a second time.
machine journalctl --no-pager -o json -u deployd.service SOLO_RUN=new | grep -q '"PRIORITY":"6"' || fail "the journal has no fields of deployd"
machine journalctl --no-pager -o json -u deployd.service PRIORITY=6 | grep -q 'program=tenantd' || fail "lines of a supervisor have no priority"
machine journalctl --no-pager -o cat -u eventd.service | grep -qE '^<|^20[0-9]{2}-.* level=' && fail "eventd's records are lines"

# A reload takes LIVE settings over.
machine sh -c 'echo "log_level = debug" >>/etc/solo/solo.conf'
old="$(machine systemctl show -P MainPID eventd.service)"
machine systemctl reload eventd.service tokend.service vaultd.service deployd.service
for daemon in eventd tokend vaultd deployd; do
    until_true machine sh -c "journalctl --no-pager -o cat -u $daemon.service SOLO_KEY=log_level | grep -q 'setting changed'"
done
[ "$(machine systemctl show -P MainPID eventd.service)" = "$old" ] || fail "a reload was a restart"

# The periodic verification, as its timer starts it.
[ "$(machine systemctl is-active solo-verify.timer)" = active ] || fail "nobody verifies"
machine systemctl start solo-verify.service || fail "the verification finds something"

# One that hangs is killed and started again; requests wait, services go on.
machine kill -STOP "$old"
machine soloctl get events -n 1 >/dev/null & asker=$!
until_true sh -c "[ \"\$(nsenter -t $machine_leader --all systemctl show -P NRestarts eventd.service)\" -ge 1 ]"
wait $asker || fail "a request fails while eventd hangs"
[ "$(pid_of acme/reader)" = "$pid" ] || fail "a service noticed that eventd hung"

# A damaged store: eventd stays, says so, and is not started over and over by whoever waits for it.
machine systemctl stop eventd.service
machine sh -c 'cp -a /var/lib/solo/events /var/lib/solo/events.whole
    dd if=/dev/urandom of=/var/lib/solo/events/data.mdb bs=4096 count=64 conv=notrunc 2>/dev/null'
for _ in 1 2 3; do
    machine soloctl events -n 1 >/dev/null 2>&1 && fail "a damaged log is served"
done
[ "$(machine systemctl is-active eventd.service)" = active ] || fail "eventd does not stay with a damaged store"
machine systemctl show -P StatusText eventd.service | grep -q damaged || fail "its status does not say that the store is damaged"
old="$(machine systemctl show -P MainPID eventd.service)"
sleep 1
[ "$(machine systemctl show -P MainPID eventd.service)" = "$old" ] || fail "eventd is in a restart loop"
[ "$(machine cat /proc/"$pid"/comm)" = sleep ] || fail "a service noticed the damage"
machine sh -c 'systemctl stop eventd.service
    rm -r /var/lib/solo/events && mv /var/lib/solo/events.whole /var/lib/solo/events'
machine systemctl start eventd.service
until_true machine soloctl get events -n 1
machine systemctl restart deployd.service
until_true machine soloctl status --check
[ "$(pid_of acme/reader)" = "$pid" ] || fail "the way back from damage stopped a service"

# The whole as one unit, and back.
wanted="$(names)"
machine systemctl stop solo.target
machine systemctl start solo.service || fail "solo.service does not start"
until_true machine soloctl status --check
[ "$(names)" = "$wanted" ] || fail "solo.service has other services"
until_true machine grep -qx swordfish /var/lib/solo/tenants/acme/reader/got
pid="$(pid_of acme/reader)"
old="$(machine systemctl show -P MainPID solo.service)"
machine soloctl daemon restart eventd >/dev/null || fail "solod does not restart eventd"
machine systemctl reload solo.service
machine kill -9 "$old"
until_true sh -c "[ \"\$(nsenter -t $machine_leader --all systemctl show -P MainPID solo.service)\" -gt 1 ] &&
    [ \"\$(nsenter -t $machine_leader --all systemctl show -P MainPID solo.service)\" != $old ]"
until_true machine soloctl status --check
[ "$(pid_of acme/reader)" = "$pid" ] || fail "the death of solod stopped a service"
machine systemctl stop solo.service
[ -z "$(machine pgrep -f '^/usr/sbin/[a-z]*d( |$)|^sleep 100000' || true)" ] || fail "something is left after solo.service"
machine recoveryd log -n 1 | grep -q system_shutdown_complete || fail "solo.service did not close the log"
machine systemd-tmpfiles --create
machine systemctl start solo.target
until_true machine soloctl status --check
[ "$(names)" = "$wanted" ] || fail "the way back from solo.service lost services"
machine systemctl show -P StatusText recoveryd.service | grep -q '^recovered 1' || fail "recoveryd does not say what it did"

# A recovery that fails keeps nobody from stopping in order.
machine sh -c 'mkdir -p /etc/systemd/system/recoveryd.service.d
    printf "[Service]\nExecStart=\nExecStart=/bin/false\n" >/etc/systemd/system/recoveryd.service.d/fails.conf
    systemctl daemon-reload'
machine systemctl restart recoveryd.service 2>/dev/null && fail "the recovery does not fail"
machine systemctl stop solo.target
until_true sh -c "[ -z \"\$(nsenter -t $machine_leader --all systemctl list-jobs --no-legend)\" ]"
machine recoveryd log -n 1 | grep -q system_shutdown_complete || fail "after a failed recovery the log is not closed"
echo "journal, reload, secrets, verification, watchdog, a damaged store, solo.service and a failed recovery work"
